import Colocate

/// Runs a case and compares the answer with the optimum.
package struct FuzzRun {
  /// What a run has shown.
  package struct Report: Sendable {
    /// What is wrong; empty where nothing is. Each begins with a word that names the kind.
    package var faults: [String] = []
    /// The methods whose bounds proved stages optimal.
    package var proofs: [String] = []
    /// Stages that ended without a proof.
    package var open = 0
    package var certificates = 0
    package var forgeries = 0
    package var isInfeasible = false
    /// Whether the clock could end the run.
    package var isTimed = false
  }

  let fuzz: FuzzCase
  var report = Report()

  package static func report(on fuzz: FuzzCase) -> Report {
    var run = FuzzRun(fuzz: fuzz)
    run.run()
    return run.report
  }

  private init(fuzz: FuzzCase) { self.fuzz = fuzz }

  mutating func fail(_ text: String) { report.faults.append(text) }

  private mutating func run() {
    report.isTimed = fuzz.options.timeLimit != nil || fuzz.cancels
    let counts: TransitionCounts
    do {
      counts = try fuzz.counts()
    } catch {
      return fail("refused: \(error)")
    }
    let truth = Truth(fuzz, counts: counts)
    let instance: Instance
    do {
      instance = try fuzz.instance()
    } catch .cap(let text), .infeasible(let text) {
      if truth.isFeasible { fail("infeasible: the cap can be met, but \(text)") }
      report.isInfeasible = true
      return
    } catch {
      return fail("refused: \(error)")
    }
    guard truth.isFeasible else { return fail("door: no placement meets the cap") }
    if instance.capPerLayer != truth.caps {
      return fail("caps: \(instance.capPerLayer ?? []) instead of \(truth.caps ?? [])")
    }
    var options = fuzz.options
    if fuzz.plants { options.debug.knownSolution = truth.placement(instance) }
    var warmValue: Int?
    if let seed = fuzz.warmStart {
      var random = SeededGenerator(seed: seed)
      let labels = FuzzCase.randomLabels(fuzz, &random)
      if instance.gpuProblem.isFeasible(labels) {
        options.warmStart = Placement(
          unchecked: instance.topology, layers: fuzz.layers, experts: fuzz.experts,
          assignment: labels)
        warmValue = truth.value(labels)
      }
    }
    guard let outcome = solve(instance, options) else { return }
    check(outcome, instance, truth)
    if let warmValue, let value = outcome.value, value > warmValue, fuzz.objective != .staged {
      fail("warm start: \(value), from a placement of \(warmValue)")
    }
    if options.keepsCertificate { checkCertificate(outcome, instance, counts, truth) }
    if fuzz.repeats { repeatRun(outcome, instance, options) }
  }

  private mutating func solve(_ instance: Instance, _ options: SolverOptions) -> SolverOutcome? {
    do throws(ModelError) {
      let start = ContinuousClock.now
      let outcome = try Solver(options).solve(instance) { _ in fuzz.cancels ? .stop : .proceed }
      let elapsed = start.duration(to: .now)
      if elapsed > .seconds(20) { fail("slow: \(elapsed)") }
      return outcome
    } catch {
      fail("thrown: \(error)")
      return nil
    }
  }

  /// Nothing depends on the clock where work alone ends a run, and on the number of threads only
  /// where a tree was searched.
  private mutating func repeatRun(
    _ outcome: SolverOutcome, _ instance: Instance, _ options: SolverOptions
  ) {
    var options = options
    if outcome.statistics.treeNodes <= 1 {
      options.threads = fuzz.repeatThreads
    } else if options.threads > 1 {
      return
    }
    guard let again = solve(instance, options) else { return }
    if again.value != outcome.value || again.bound != outcome.bound
      || again.status != outcome.status || again.placement != outcome.placement
    {
      fail(
        "repeat: \(Self.text(outcome)) and, with \(options.threads) threads, \(Self.text(again))")
    }
  }

  private static func text(_ outcome: SolverOutcome) -> String {
    "\(outcome.status) value \(outcome.value ?? -1) bound \(outcome.bound ?? -1)"
  }
}
