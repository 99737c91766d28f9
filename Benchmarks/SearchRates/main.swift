// How fast the path bound and the search on it are, as ratios taken in one run:
//
//     swift run -c release SearchRates [arcs] [dolls] [tree]
//
// * State arcs per second of an exact evaluation at C(16, 4), against reading a gigabyte of memory.
//   With its arcs stored, as 8-byte weights, an evaluation could not be faster than the memory;
//   here an arc's weight is the sum of two table entries that stay in the cache.
// * Proofs with two threads over one: by Russian dolls, and by a tree (the dolls are given too
//   little room, so that tree nodes have to be made).
import Colocate
import Foundation

func seconds(_ body: () throws -> Void) rethrows -> Double {
  let duration = try ContinuousClock().measure(body)
  return Double(duration.components.seconds) + Double(duration.components.attoseconds) * 1e-18
}

/// The least of several runs.
func leastSeconds(of runs: Int, _ body: () -> Void) -> Double {
  (0..<runs).reduce(.infinity) { least, _ in min(least, seconds(body)) }
}

/// A line at once, into a pipe too.
func line(_ text: String) {
  print(text)
  fflush(nil)
}

func fixed(_ value: Double) -> String { String(format: "%.2f", value) }

func problem(layers: Int, groups: Int, affinity: Double = 0.95) throws -> GroupingProblem {
  let counts = try SyntheticTrace(layers: layers, experts: 16, tokens: 40_000, affinity: affinity)
    .counts()
  return try Instance(counts: counts, topology: Topology(gpus: groups)).gpuProblem
}

func readingRate(threads: Int) -> Double {
  let words = 1 << 27
  let memory = SharedBuffer<UInt64>(repeating: 1, count: words)
  let sums = SharedBuffer<UInt64>(repeating: 0, count: threads * 8)
  let pass = {
    concurrentFor(threads, threads: threads) { _, part in
      var sum = SIMD8<UInt64>.zero
      let base = UnsafeRawPointer(memory.base + words / threads * part)
      for offset in stride(from: 0, to: words / threads * 8, by: 64) {
        sum &+= base.load(fromByteOffset: offset, as: SIMD8<UInt64>.self)
      }
      sums[part * 8] = sum.wrappedSum()
    }
  }
  let best = leastSeconds(of: 5, pass)
  precondition((0..<threads).reduce(0) { $0 + sums[$1 * 8] } > 0, "nothing was read")
  return Double(words * 8) / best
}

func evaluationRate(_ problem: GroupingProblem, threads: Int) -> Double {
  guard let relaxation = PathRelaxation(problem: problem, threads: threads) else {
    fatalError("the path relaxation does not apply")
  }
  let prices = relaxation.startPrices(share: 0.5)
  relaxation.evaluate(experts: prices)
  // Forward and backward.
  let arcs = 2 * relaxation.vertices.arcCount
  let best = leastSeconds(of: 7) { relaxation.evaluate(experts: prices) }
  return Double(arcs) / best
}

/// Seconds to the proof, and nodes.
func proof(_ problem: GroupingProblem, threads: Int, states: Int) -> (
  seconds: Double, nodes: Int, kept: Int
) {
  let incumbent = Incumbent()
  let pool = PartitionPool(problem: problem)
  let control = SearchControl(threads: threads)
  LocalSearch(
    problem: problem, seed: 1, control: control, incumbent: incumbent, pool: pool
  ).run(rounds: 24)
  var options = GroupingSearch.Options()
  (options.rootStates, options.treeNodeStates) = (states, states)
  var nodes = 0
  let time = seconds {
    let result = GroupingSearch(problem: problem, options: options).run(
      incumbent: incumbent, control: control)
    guard let result, result.stop == .proved else { fatalError("not proved") }
    nodes = result.treeNodes
  }
  return (time, nodes, incumbent.kept)
}

/// What was asked for; everything without it.
let asked = Set(CommandLine.arguments.dropFirst())
func isAsked(_ name: String) -> Bool { asked.isEmpty || asked.contains(name) }

let sixteen = try problem(layers: 24, groups: 4)
for threads in [1, 2] where isAsked("arcs") {
  let memory = readingRate(threads: threads)
  let arcs = evaluationRate(sixteen, threads: threads)
  line(
    "C(16, 4), \(threads) thread(s): \(fixed(arcs / 1e9))·10⁹ arcs/s; reading memory "
      + "\(fixed(memory / 1e9)) GB/s, which is \(fixed(memory / 8e9))·10⁹ stored arcs/s: "
      + "\(fixed(arcs * 8 / memory)) times")
}
for (name, layers, groups, affinity, states) in [
  ("dolls", 24, 8, 0.95, 6_000_000), ("dolls", 24, 4, 0.95, 6_000_000),
  ("tree", 12, 4, 0.95, 300), ("tree", 16, 8, 0.95, 300),
] where isAsked(name) {
  let instance = try problem(layers: layers, groups: groups, affinity: affinity)
  var ratios = [Double]()
  var nodes = [Int]()
  for _ in 0..<3 {
    let one = proof(instance, threads: 1, states: states)
    let two = proof(instance, threads: 2, states: states)
    precondition(one.kept == two.kept)
    ratios.append(one.seconds / two.seconds)
    nodes = [one.nodes, two.nodes]
    line(
      "\(name), 16 experts, \(layers) layers, \(groups) GPUs: \(fixed(one.seconds)) s / "
        + "\(fixed(two.seconds)) s, tree nodes \(nodes[0]) / \(nodes[1])")
  }
  line("  two threads over one: \(fixed(ratios.sorted()[1])) times (median of 3)")
}
