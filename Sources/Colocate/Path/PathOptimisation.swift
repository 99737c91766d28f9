import ColocateModel

/// Prices for the path relaxation: L-BFGS on the smoothed dual, μ halved stage by stage, exact
/// evaluation and deletion in between.
///
/// L-BFGS (Liu, Nocedal, Math. Programming 1989) with memory 30, steps of at most 8 μ, Armijo's
/// rule 1e-4 with backtracking by 0.4. A stage ends when every expert is covered to 2 %, or when
/// the stage's evaluations are used up. After each stage, and whenever the prices have moved by
/// more than a few μ, the prices are rounded to ticks and evaluated exactly over all arcs; subsets
/// that the penalties rule out are deleted.
extension PathRelaxation {
  /// What optimising may cost.
  package struct Effort: Sendable {
    /// First and last μ in tokens; nil chooses them from the instance: `firstShare` and 10⁻⁴ (at
    /// most 4 tokens) of a boundary's weight.
    package var firstMu: Double? = nil
    package var lastMu: Double? = nil
    /// Below the last μ stages go on, down to this share of it, while each lowers the bound by
    /// `deepGain` of the gap to the incumbent. What is left of the smoothing, some P·μ a layer, is
    /// all that a subset-row cut would cut off before: only prices near the true minimum show which
    /// cuts are violated. (gpt-oss-20b on 16 GPUs: the root's gap fell from 1341 tokens to 576.)
    package var deepShare = 1.0 / 64
    package var deepGain = 0.02
    /// Evaluations of the smoothed dual per stage, and per stage below the last μ.
    package var evaluationsPerStage = 100
    package var deepEvaluations = 1000
    /// Largest deviation from coverage at which a stage ends.
    package var tolerance = 0.02
    /// Arcs of the smoothed dual: those with a penalty up to `cutoff` μ, and at most `arcLimit` per
    /// boundary. (A cutoff of 16 is enough near the minimum, but with hot and near-empty experts
    /// side by side the prices then ran off along arcs that had been left out.)
    package var cutoff = 40.0
    package var arcLimit = 300_000
    /// The kernel is built anew when a subset's price has moved by this many μ.
    package var drift = 12.0
    /// The first μ as a share of a boundary's weight, where `firstMu` is nil. Larger starts were
    /// slower (the kernel is flat, nothing can be left out of it) and ended no lower.
    package var firstShare = 0.003
    /// Rounds of separating subset-row cuts after the last stage, cuts that a round adds per layer,
    /// and the μ (in last μ) at which the stages start again.
    package var cutRounds = 8
    package var cutsPerLayer = 40
    /// Rounds end when one gains less than this share of the gap to the incumbent.
    package var cutGain = 0.02
    package var cutRestart = 4.0
    /// Whether subsets are deleted on the way. A restricted master (PathGeneration.swift) keeps its
    /// own.
    package var deletes = true
    package init() {}
  }

  /// Arcs of all boundaries.
  package var arcCount: Int {
    zip(layers, layers.dropFirst()).reduce(0) { $0 + $1.0.count * $1.1.count }
  }

  /// Start: half of an expert's incident weight, scaled to the share that can be kept.
  package func startPrices(share: Double) -> [Int] {
    var start = [Int](repeating: 0, count: problem.layers * experts)
    for l in 0..<problem.layers {
      for e in 0..<experts {
        var sum = 0
        for other in 0..<experts {
          if l > 0 { sum += problem.weights[((l - 1) * experts + other) * experts + e] }
          if l < problem.layers - 1 { sum += problem.weights[(l * experts + e) * experts + other] }
          if !problem.coactivation.isEmpty {
            sum += problem.coactivation[(l * experts + e) * experts + other]
          }
        }
        start[l * experts + e] = Int(0.5 * share * Double(sum * PathSubsets.ticks))
      }
    }
    return start
  }

  /// See `Effort.lastMu`; in tokens.
  var defaultLastMu: Double {
    min(4, max(0.05, Double(problem.total) / Double(problem.layers - 1) * 1e-4))
  }

  /// Lowers the bound from the current prices (evaluated before) until the stages are through,
  /// nothing better than `incumbent()` is possible, or `control` stops. Deletes on the way.
  package func optimise(
    incumbent: () -> Int, effort: Effort = Effort(), control: SearchControl,
    progress: (PathRelaxation) -> Void = { _ in }
  ) {
    guard !isEmpty, !isStopped else { return }
    var count = prices.count
    let ownPrices = prices.experts.count
    let perBoundary = Double(problem.total) / Double(problem.layers - 1)
    let ticks = Double(PathSubsets.ticks)
    var lastMu = (effort.lastMu ?? defaultLastMu) * ticks
    let deepMu = lastMu * effort.deepShare
    var mu = max((effort.firstMu ?? perBoundary * effort.firstShare) * ticks, lastMu)
    var point = prices.vector
    var lbfgs = LimitedMemory(count: count, memory: 30)
    var gradient = Block(count, 0.0)
    var trialGradient = Block(count, 0.0)
    var rounds = 0
    var boundBefore = Int.max
    var boundAbove = Int.max
    let drift = effort.drift
    var latest: PathSmoothing?
    while true {
      var evaluationsLeft =
        boundAbove == .max ? effort.evaluationsPerStage : effort.deepEvaluations
      deepestMu = mu / ticks
      var converged = false
      lbfgs.reset()
      while !converged && evaluationsLeft > 0 {
        guard evaluate(prices.rounded(point)) else { return }
        progress(self)
        if bound <= incumbent() || control.shouldStop { return }
        if effort.deletes, delete(incumbent: incumbent()) > 0 {
          if isEmpty { return }
          guard evaluate(prices) else { return }
          if bound <= incumbent() { return }
        }
        point = prices.vector
        let smooth = PathSmoothing(
          relaxation: self, mu: mu, cutoff: effort.cutoff, arcLimit: effort.arcLimit,
          previous: latest?.cutoffs ?? [])
        latest = smooth
        // An arc of the exact evaluation takes about a thirtieth of a unit.
        control.spend(1 + arcCount / 32)
        if control.isWorkOver { return }
        guard var value = smooth.evaluate(point, gradient: gradient.base) else { return }
        evaluationsLeft -= 1
        let reference = point
        while true {
          var worst = 0.0
          for index in 0..<count {
            // A cut at price 0 that is not violated is where it should be.
            if index >= ownPrices && point[index] <= 0 && gradient[index] > 0 {
              gradient[index] = 0
            }
            worst = max(worst, abs(gradient[index]))
          }
          if worst < effort.tolerance {
            converged = true
            break
          }
          if evaluationsLeft <= 0 || control.shouldStop { break }
          var direction = lbfgs.direction(gradient)
          var slope = 0.0
          var largest = 0.0
          for index in 0..<count {
            if index >= ownPrices && point[index] <= 0 && direction[index] < 0 {
              direction[index] = 0
            }
            slope += direction[index] * gradient[index]
            largest = max(largest, abs(direction[index]))
          }
          if slope >= 0 {
            lbfgs.reset()
            direction = lbfgs.direction(gradient)
            (slope, largest) = (0, 0)
            for index in 0..<count {
              slope += direction[index] * gradient[index]
              largest = max(largest, abs(direction[index]))
            }
          }
          // Without curvature yet the direction is the plain gradient: move by about μ.
          var step = lbfgs.isEmpty ? mu / largest : 1.0
          step = min(step, 8 * mu / (largest * Double(problem.groupSize)))
          var accepted = false
          for _ in 0..<12 {
            var trial = point
            for index in 0..<count { trial[index] += step * direction[index] }
            for index in ownPrices..<count { trial[index] = max(0, trial[index]) }
            evaluationsLeft -= 1
            // Two passes over the smoothed dual's arcs.
            control.spend(1 + smooth.arcs / 16)
            if let trialValue = smooth.evaluate(trial, gradient: trialGradient.base),
              trialValue <= value + 1e-4 * step * slope
            {
              lbfgs.update(
                from: point, to: trial, gradient: gradient, newGradient: trialGradient)
              point = trial
              value = trialValue
              gradient.base.update(from: trialGradient.base, count: count)
              accepted = true
              break
            }
            step *= 0.4
          }
          if !accepted {
            if lbfgs.isEmpty { evaluationsLeft = 0 }
            lbfgs.reset()
            break
          }
          var moved = 0.0
          for index in 0..<count { moved = max(moved, abs(point[index] - reference[index])) }
          if moved * Double(problem.groupSize) > drift * mu { break }
        }
      }
      if mu <= lastMu && mu > deepMu && rounds == 0 {
        guard evaluate(prices.rounded(point)) else { return }
        progress(self)
        if bound <= incumbent() || control.shouldStop { return }
        let gap = Double(bound - incumbent())
        if boundAbove == .max || Double(boundAbove - bound) >= effort.deepGain * gap {
          boundAbove = bound
          mu /= 2
          lastMu = mu
          continue
        }
      }
      if mu <= lastMu {
        guard rounds < effort.cutRounds, experts <= 64, problem.groupSize > 1, let latest else {
          break
        }
        rounds += 1
        guard evaluate(prices.rounded(point)) else { return }
        progress(self)
        if bound <= incumbent() || control.shouldStop { return }
        let gap = Double(bound - incumbent())
        if rounds > 1 && Double(boundBefore - bound) < effort.cutGain * gap { break }
        boundBefore = bound
        let cuts = latest.violatedTriples(
          tolerance: 0.05, most: effort.cutsPerLayer, control: control)
        if control.shouldStop { return }
        if cuts.isEmpty { break }
        // Cuts that carry no price go, the new ones come in at 0.
        var next = prices.rounded(point)
        next.cuts = next.cuts.filter { $0.price > 0 } + cuts
        point = next.vector
        count = next.count
        guard evaluate(next) else { return }
        gradient = Block(count, 0.0)
        trialGradient = Block(count, 0.0)
        lbfgs = LimitedMemory(count: count, memory: 30)
        mu = lastMu * effort.cutRestart
        continue
      }
      mu = max(mu / 2, lastMu)
    }
    guard evaluate(prices.rounded(point)) else { return }
    progress(self)
    if effort.deletes, bound > incumbent(), delete(incumbent: incumbent()) > 0 {
      evaluate(prices)
    }
  }
}

/// The pairs of steps and gradient changes that L-BFGS keeps, and its two-loop recursion.
struct LimitedMemory {
  private let count: Int
  private let memory: Int
  private var steps: [[Double]] = []
  private var changes: [[Double]] = []
  private var curvatures: [Double] = []

  init(count: Int, memory: Int) {
    self.count = count
    self.memory = memory
  }

  var isEmpty: Bool { steps.isEmpty }

  mutating func reset() {
    steps.removeAll()
    changes.removeAll()
    curvatures.removeAll()
  }

  mutating func update(
    from: [Double], to: [Double], gradient: Block<Double>, newGradient: Block<Double>
  ) {
    var step = [Double](repeating: 0, count: count)
    var change = step
    var curvature = 0.0
    var norm = 0.0
    for index in 0..<count {
      step[index] = to[index] - from[index]
      change[index] = newGradient[index] - gradient[index]
      curvature += step[index] * change[index]
      norm += change[index] * change[index]
    }
    guard curvature > 1e-12 * norm.squareRoot(), norm > 0 else { return }
    if steps.count == memory {
      steps.removeFirst()
      changes.removeFirst()
      curvatures.removeFirst()
    }
    steps.append(step)
    changes.append(change)
    curvatures.append(curvature)
  }

  /// −H·gradient with the H of the kept pairs; −gradient without any.
  func direction(_ gradient: Block<Double>) -> [Double] {
    var q = (0..<count).map { -gradient[$0] }
    var factors = [Double](repeating: 0, count: steps.count)
    for k in stride(from: steps.count - 1, through: 0, by: -1) {
      var dot = 0.0
      for index in 0..<count { dot += steps[k][index] * q[index] }
      factors[k] = dot / curvatures[k]
      for index in 0..<count { q[index] -= factors[k] * changes[k][index] }
    }
    if let change = changes.last {
      var norm = 0.0
      for index in 0..<count { norm += change[index] * change[index] }
      let scale = curvatures.last! / norm
      for index in 0..<count { q[index] *= scale }
    }
    for k in 0..<steps.count {
      var dot = 0.0
      for index in 0..<count { dot += changes[k][index] * q[index] }
      let correction = factors[k] - dot / curvatures[k]
      for index in 0..<count { q[index] += correction * steps[k][index] }
    }
    return q
  }
}
