/// Prices for the path relaxation: L-BFGS on the smoothed dual, μ halved stage by stage, exact evaluation and deletion in between.
///
/// L-BFGS (Liu, Nocedal, Math. Programming 1989) with memory 30, steps of at most 8 μ, Armijo's rule 1e-4 with backtracking by 0.4. A stage ends when
/// every expert is covered to 2 %, or when the stage's evaluations are used up. After each stage, and whenever the prices have moved by more than
/// a few μ, the prices are rounded to ticks and evaluated exactly over all arcs; subsets that the penalties rule out are deleted.
extension PathRelaxation {
  /// What optimising may cost.
  package struct Effort: Sendable {
    /// First and last μ in tokens; nil chooses the first from the instance.
    package var firstMu: Double? = nil
    package var lastMu = 4.0
    /// Evaluations of the smoothed dual per stage.
    package var evaluationsPerStage = 60
    /// Largest deviation from coverage at which a stage ends.
    package var tolerance = 0.02
    /// Arcs per boundary that the smoothed dual keeps.
    package var arcLimit = 300_000
    /// The kernel is built anew when a subset's price has moved by this many μ.
    package var drift = 8.0
    /// The first μ as a share of a boundary's weight, where `firstMu` is nil. Larger starts were slower (the kernel is flat, nothing can
    /// be left out of it) and ended no lower.
    package var firstShare = 0.003
    package init() {}
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

  /// Lowers the bound from the current prices (evaluated before) until the stages are through, nothing better than `incumbent()` is possible,
  /// or `control` stops. Deletes on the way.
  package func optimise(
    incumbent: () -> Int, effort: Effort = Effort(), control: SearchControl,
    progress: (PathRelaxation) -> Void = { _ in }
  ) {
    guard !isEmpty else { return }
    let count = prices.count
    let perBoundary = Double(problem.total) / Double(problem.layers - 1)
    let ticks = Double(PathSubsets.ticks)
    var mu = (effort.firstMu ?? max(perBoundary * effort.firstShare, effort.lastMu)) * ticks
    let lastMu = effort.lastMu * ticks
    var point = prices.map(Double.init)
    var lbfgs = LimitedMemory(count: count, memory: 30)
    let gradient = Block(count, 0.0)
    let trialGradient = Block(count, 0.0)
    let drift = effort.drift
    while true {
      var evaluationsLeft = effort.evaluationsPerStage
      var converged = false
      lbfgs.reset()
      while !converged && evaluationsLeft > 0 {
        evaluate(point.map { Int($0.rounded()) })
        progress(self)
        if bound <= incumbent() || control.shouldStop { return }
        if delete(incumbent: incumbent()) > 0 {
          if isEmpty { return }
          evaluate(prices)
          if bound <= incumbent() { return }
        }
        point = prices.map(Double.init)
        let smooth = PathSmoothing(
          relaxation: self, mu: mu, cutoff: 16, arcLimit: effort.arcLimit)
        control.spend(1)
        guard var value = smooth.evaluate(point, gradient: gradient.base) else { return }
        evaluationsLeft -= 1
        let reference = point
        while true {
          var worst = 0.0
          for index in 0..<count { worst = max(worst, abs(gradient[index])) }
          if worst < effort.tolerance {
            converged = true
            break
          }
          if evaluationsLeft <= 0 || control.shouldStop { break }
          var direction = lbfgs.direction(gradient)
          var slope = 0.0
          var largest = 0.0
          for index in 0..<count {
            slope += direction[index] * gradient[index]
            largest = max(largest, abs(direction[index]))
          }
          if slope >= 0 {
            lbfgs.reset()
            direction = lbfgs.direction(gradient)
            slope = 0
            largest = 0
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
            evaluationsLeft -= 1
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
      if mu <= lastMu { break }
      mu = max(mu / 2, lastMu)
    }
    evaluate(point.map { Int($0.rounded()) })
    progress(self)
    if bound > incumbent() && delete(incumbent: incumbent()) > 0 { evaluate(prices) }
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
