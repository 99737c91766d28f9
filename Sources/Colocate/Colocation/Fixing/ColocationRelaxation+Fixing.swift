import ColocateModel

/// Fixing in the course of ADMM (`ColocationFixings`).
///
/// Each evaluation of the bound may fix pairs. From then on they stand still in ADMM's box step,
/// where values far outside [0, 1] keep them at 0 or 1 whatever the cuts' ascent adds, and count as
/// fixed in every later bound. For the ascent they have as good as no 1/h: a cut's exact step is
/// longer where fewer of its variables can move (`CutAscent`).
///
/// A certificate repeats the steps, so there should not be too many: one is made where it fixes a
/// tenth of what is still free, or ends the search.
extension ColocationRelaxation {
  /// Part of the free variables that a step has to fix.
  static let leastShare = 0.1

  /// Draws conclusions about placements that are better than the incumbent.
  /// - Returns: whether these multipliers have become a step.
  func fix(_ candidate: ColocationMultipliers, _ evaluation: ColocationEvaluation) -> Bool {
    guard parameters.fixes, incumbent >= 0, !fixings.isExhausted else { return false }
    var more = fixings
    more.tighten(evaluation, target: incumbent + 1, control: control)
    if control.shouldStop { return false }
    let free = Double(fixings.variables - fixings.count)
    guard
      more.isExhausted
        || (more.count > fixings.count
          && Double(more.count - fixings.count) >= Self.leastShare * free)
    else { return false }
    known?.check(more, incumbent: incumbent)
    if keepsUnfixed, !fixings.dependsOnTarget {
      let copy = ColocationRelaxation(problem: problem, control: control)
      copy.parameters = parameters
      copy.start(from: self)
      copy.multipliers = multipliers ?? candidate
      copy.keptBound = keptBound
      unfixed = copy
    }
    fixings = more
    if keepsFixingSteps { fixingSteps.append(candidate) }
    listFixedPlaces()
    return true
  }

  /// The steps, and what proves the bound beside them: for a certificate, where steps are kept.
  package var evidenceSteps: [ColocationMultipliers] {
    guard searchStart == nil, !bestIsStep, let multipliers else { return fixingSteps }
    return fixingSteps + [multipliers]
  }

  /// Takes the bound of multipliers if it is the best.
  /// - Parameter isStep: whether they are the last step.
  func take(
    _ candidate: ColocationMultipliers, _ evaluation: ColocationEvaluation, isStep: Bool
  ) {
    var bound = incumbent
    if !fixings.isExhausted {
      guard let found = evaluation.keptBound(fixings, total: problem.total) else { return }
      bound = fixings.dependsOnTarget ? max(found, incumbent) : found
    }
    guard bound < keptBound else { return }
    keptBound = bound
    multipliers = candidate
    bestIsStep = isStep
  }

  /// `fixedPlaces` from `fixings`.
  func listFixedPlaces() {
    fixedPlaces = ([], [])
    for l in 0..<problem.layers {
      for i in 0..<experts {
        fixedPlaces.ones.append(Int32(layout.inside(l, i, i)))
        for j in (i + 1)..<max(experts, i + 1) {
          list(layout.inside(l, i, j), fixings[fixings.layout.inside(l, i, j)])
        }
        guard l < boundaries else { continue }
        for j in 0..<experts {
          list(layout.between(l, i, j), fixings[fixings.layout.between(l, i, j)])
        }
      }
    }
    for place in fixedPlaces.zeros { inverse[Int(place)] = Self.standingStill }
    for place in fixedPlaces.ones { inverse[Int(place)] = Self.standingStill }
    for cuts in sparse { cuts.weigh(inverse.base) }
  }

  /// 1/h of what is fixed: small beside the ½ and ¼ of others, and not 0, so that a cut all of
  /// whose variables are fixed has a step that is finite.
  private static let standingStill = 1e-3

  private func list(_ place: Int, _ state: ColocationFixings.State) {
    switch state {
    case .free: break
    case .apart: fixedPlaces.zeros.append(Int32(place))
    case .together: fixedPlaces.ones.append(Int32(place))
    }
  }

  /// The fixed entries of a block of variables.
  func fix(_ potentials: inout RowPotentials, block: Int) {
    let isBetween = block < boundaries
    for i in 0..<experts {
      for j in 0..<experts where isBetween || i != j {
        let place =
          isBetween
          ? fixings.layout.between(block, i, j) : fixings.layout.inside(block - boundaries, i, j)
        switch fixings[place] {
        case .free: break
        case .apart: potentials.fix(i, j, at: 0)
        case .together: potentials.fix(i, j, at: 1)
        }
      }
    }
  }
}
