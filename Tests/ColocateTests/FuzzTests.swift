import Colocate
import Synchronization
import TestSupport
import Testing

/// The whole solver on random cases (`FuzzCase`) against the true optimum, and the fuzzer itself.
@Suite struct FuzzTests {
  /// Whatever the options, the answer is valid, the bound holds, what is called optimal is, and the
  /// certificate is accepted as it is and refused one better. Every method must have had its share.
  @Test func everyAnswerIsTrue() {
    let (cases, parts, start) = (2_000, 40, UInt64(1))
    let tally = Mutex(FuzzTally())
    concurrentFor(parts, threads: 2) { _, part in
      var seen = FuzzTally()
      for index in stride(from: part, to: cases, by: parts) {
        let seed = start + UInt64(index)
        let fuzz = FuzzCase(seed: seed)
        let report = FuzzRun.report(on: fuzz)
        seen.add(report)
        guard let first = report.faults.first else { continue }
        let kind = first.prefix { $0 != ":" }
        let smallest = fuzz.shrunk(runs: 150) { candidate in
          FuzzRun.report(on: candidate).faults.contains { $0.hasPrefix(kind + ":") }
        }
        Issue.record(
          "seed \(seed): \(report.faults)\nswift run -c release SolverFuzz --replay \"\(smallest)\""
        )
      }
      let part = seen
      tally.withLock { $0.add(part) }
    }
    let seen = tally.withLock { $0 }
    #expect(seen.cases == cases)
    for method in [BoundMethod.path, .dolls, .tree, .colocation] {
      #expect(seen.share(method.rawValue) >= 0.15, "\(method): \(seen.text)")
    }
    #expect(seen.share(BoundMethod.colocationSearch.rawValue) >= 0.03, "\(seen.text)")
    #expect(seen.certificates > cases / 4 && seen.forgeries > cases / 2, "\(seen.text)")
  }

  /// The line that a failure prints is the case.
  @Test func casesAreReadFromTheirLines() {
    for seed in 0..<400 {
      let fuzz = FuzzCase(seed: UInt64(seed))
      #expect(FuzzCase(line: fuzz.description) == fuzz, "seed \(seed)")
    }
    #expect(FuzzCase(line: "L=2 E=x=3 what=1") == nil)
  }

  /// Two references that share nothing agree, and the labels have the value.
  @Test func theReferenceAgreesWithAnotherOne() throws {
    for seed in 0..<60 {
      let random = RandomProblem(seed: UInt64(seed) + 700_000, experts: [2, 4, 6], maxLayers: 4)
      let problem = random.problem
      let optimum = ReferenceOptimum(
        layers: problem.layers, experts: problem.experts, weights: problem.weights,
        coactivation: problem.coactivation, loads: problem.loads, caps: problem.caps,
        level: .init(nodes: 1, gpusPerNode: problem.groups, perNode: 0, perGPU: 1))
      let other = problem.bruteForce()
      #expect(optimum?.saved == other?.kept, "\(random)")
      guard let optimum else { continue }
      #expect(problem.isFeasible(optimum.labels), "\(random)")
      #expect(problem.kept(optimum.labels) == optimum.saved, "\(random)")
    }
  }

  /// A case shrinks to what its fault needs: here two layers, two experts, two units of weight.
  @Test func failuresShrink() throws {
    var shrunk = 0
    for seed in 0..<40 {
      let fuzz = FuzzCase(seed: UInt64(seed))
      func fails(_ fuzz: FuzzCase) -> Bool {
        fuzz.weights.reduce(0, +) >= 2 && fuzz.gpus >= 2 && !fuzz.options.methods.chain
      }
      guard fails(fuzz) else { continue }
      let smallest = fuzz.shrunk(runs: 5_000, while: fails)
      shrunk += 1
      #expect(fails(smallest))
      #expect(smallest.layers == 2 && smallest.experts == 2, "seed \(seed): \(smallest)")
      #expect(smallest.weights.reduce(0, +) <= 3, "seed \(seed): \(smallest)")
      #expect(smallest.cap == nil && smallest.coactivation.isEmpty && !smallest.plants)
    }
    #expect(shrunk > 15)
  }
}
