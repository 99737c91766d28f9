import ColocateModel

/// The starting point of ADMM, and the cuts that are there from the start.
///
/// M = J/P is the centre of the spectral set, the mean of all placements without their load caps;
/// with U = 0 the first X follows from it and the objective. ρ weighs the distance of M and X
/// against the objective, so it is chosen in units of the weights: as their mean deviation from
/// their mean, because a constant added to all weights moves neither step (rows of Y sum to c).
///
/// Under a load cap the load cuts of every vertex, in its own layer and the neighbouring one, and
/// the load product cuts of every boundary are few, and many are tight in the end. They are never
/// dropped. What lies inside layer l+1 alone is left to the next boundary.
extension ColocationRelaxation {
  /// Sets ρ, the objective, M = J/P, U = 0, and X from them.
  func start() {
    rho = parameters.penalty * weightScale()
    projections = (0..<control.threads).map { _ in
      SpectralProjection(
        experts: experts, groups: problem.groups, width: width, control: control)
    }
    setObjective()
    if problem.caps != nil { addLoadCuts() }
    let share = 1 / Double(problem.groups)
    for row in 0..<matrices.rows {
      for j in 0..<experts { matrices[row, j] = share }
    }
    boxStep()
  }

  /// The mean deviation of the weights from their mean; a hundredth of the mean where they are
  /// nearly equal.
  private func weightScale() -> Double {
    let mean = Double(problem.weights.reduce(0, +)) / Double(problem.weights.count)
    var deviation = 0.0
    for weight in problem.weights { deviation += abs(Double(weight) - mean) }
    deviation /= Double(problem.weights.count)
    return max(deviation, mean * 0.01, 1e-6)
  }

  private func setObjective() {
    for l in 0..<boundaries {
      for i in 0..<experts {
        for j in 0..<experts {
          objective[layout.between(l, i, j)] = Double(problem.weight(l, i, j)) / rho
        }
      }
    }
    guard !problem.coactivation.isEmpty else { return }
    for l in 0..<problem.layers {
      for i in 0..<experts {
        for j in (i + 1)..<max(experts, i + 1) {
          objective[layout.inside(l, i, j)] = Double(problem.coactivation(l, i, j)) / rho
        }
      }
    }
  }

  private func addLoadCuts() {
    for l in 0..<boundaries {
      let ownsRight = l == boundaries - 1
      for half in 0..<2 {
        for vertex in 0..<(half == 0 || ownsRight ? 2 * experts : experts) {
          for atMost in [true, false] {
            sparse[l].add(
              .load(vertex: vertex, half: half, atMost: atMost), context, fixed: true)
          }
        }
      }
      for (first, second) in ownsRight ? [(0, 0), (0, 1), (1, 1)] : [(0, 0), (0, 1)] {
        for atMost in [true, false] {
          sparse[l].add(
            .loadProduct(first: first, second: second, atMost: atMost), context, fixed: true)
        }
      }
    }
  }
}
