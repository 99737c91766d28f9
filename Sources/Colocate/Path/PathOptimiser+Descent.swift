/// L-BFGS on one kernel of the smoothed dual: projected on cut prices of at least 0.
extension PathOptimiser {
  /// Where a descent is.
  private struct Place {
    var value: Double
    var gradient: [Double]
  }

  /// Index of the first cut's price in a vector of multipliers.
  private var firstCut: Int { prices.experts.count }

  /// Descends from `point` until the stage is over (`isConverged`, `evaluationsLeft`), the prices
  /// have left the kernel's neighbourhood, or no step is accepted.
  /// - Returns: false where the kernel could not be evaluated at its own prices.
  func descend(_ kernel: PathSmoothing) -> Bool {
    var gradient = [Double](repeating: 0, count: point.count)
    guard let value = kernel.evaluate(point, gradient: &gradient) else { return false }
    evaluationsLeft -= 1
    var place = Place(value: value, gradient: gradient)
    let reference = point
    while true {
      if project(&place.gradient) < effort.tolerance {
        isConverged = true
        return true
      }
      if evaluationsLeft <= 0 || control.shouldStop { return true }
      guard step(from: &place, kernel) else {
        // Not even along the plain gradient: the stage has come as far as it can.
        if descent.isEmpty { evaluationsLeft = 0 }
        descent.reset()
        return true
      }
      var moved = 0.0
      for index in point.indices { moved = max(moved, abs(point[index] - reference[index])) }
      if moved * Double(relaxation.problem.groupSize) > effort.drift * mu { return true }
    }
  }

  /// A cut at price 0 that is not violated is where it should be: its derivative counts as 0.
  /// - Returns: the largest derivative, which is the largest deviation from coverage.
  private func project(_ gradient: inout [Double]) -> Double {
    var worst = 0.0
    for index in gradient.indices {
      if index >= firstCut && point[index] <= 0 && gradient[index] > 0 { gradient[index] = 0 }
      worst = max(worst, abs(gradient[index]))
    }
    return worst
  }

  /// The direction of the next step, with its slope and its largest component.
  private func direction(_ gradient: [Double]) -> ([Double], slope: Double, largest: Double) {
    var direction = descent.direction(gradient)
    for index in firstCut..<direction.count where point[index] <= 0 && direction[index] < 0 {
      direction[index] = 0
    }
    var (slope, largest) = Self.slope(direction, gradient)
    if slope >= 0 {
      // The kept curvature does not lead down from here.
      descent.reset()
      direction = descent.direction(gradient)
      (slope, largest) = Self.slope(direction, gradient)
    }
    return (direction, slope, largest)
  }

  private static func slope(_ direction: [Double], _ gradient: [Double]) -> (Double, Double) {
    var slope = 0.0
    var largest = 0.0
    for index in direction.indices {
      slope += direction[index] * gradient[index]
      largest = max(largest, abs(direction[index]))
    }
    return (slope, largest)
  }

  /// One step by Armijo's rule; moves `point` and `place`.
  /// - Returns: false where no length was accepted.
  private func step(from place: inout Place, _ kernel: PathSmoothing) -> Bool {
    let (direction, slope, largest) = direction(place.gradient)
    // Without curvature yet the direction is the plain gradient: move by about μ.
    var length = descent.isEmpty ? mu / largest : 1.0
    length = min(length, 8 * mu / (largest * Double(relaxation.problem.groupSize)))
    var gradient = place.gradient
    for _ in 0..<12 {
      var trial = point
      for index in trial.indices { trial[index] += length * direction[index] }
      for index in firstCut..<trial.count { trial[index] = max(0, trial[index]) }
      evaluationsLeft -= 1
      // Two passes over the smoothed dual's arcs.
      control.spend(1 + kernel.arcs / 16)
      if let value = kernel.evaluate(trial, gradient: &gradient),
        value <= place.value + 1e-4 * length * slope
      {
        descent.update(
          from: point, to: trial, gradient: place.gradient, newGradient: gradient)
        point = trial
        place = Place(value: value, gradient: gradient)
        return true
      }
      length *= 0.4
    }
    return false
  }
}
