import ColocateModel

/// A relaxation that goes on from another's state instead of from nothing.
///
/// ADMM may start anywhere; where it starts near the end it needs few iterations. A window takes
/// the boundary's blocks of M and U and its cuts with their multipliers from the whole. Its own
/// weights of pairs inside a layer are C/2 + 2U + Aᵀλ with the whole's C, so with the same U and λ
/// its coefficients there are C/2: nothing changes for it. A constant that was added to all pairs
/// of a layer (`WindowSplit.Window.added`) is taken up by U, half of it by each entry. ρ grows with
/// the weights, but to a tenth of that: of 3, 1, 0.3, 0.1, 0.03 and 0.01 the one that lowered the
/// bounds of gpt-oss-20b's windows of 4 groups the most in the same time.
extension ColocationRelaxation {
  /// ρ of a window over that of the whole, in the same units.
  private static let windowPenalty = 0.1

  /// Starts from boundary `w` of the relaxation of the whole.
  package func start(
    fromBoundary w: Int, of whole: ColocationRelaxation, window: WindowSplit.Window,
    fractionBits: Int
  ) {
    let factor = Self.windowPenalty
    rho = whole.rho * Double(1 << fractionBits) * factor
    copy(boundary: w, of: whole, to: 0)
    let duals = dual(0, .left)
    for i in 0..<(3 * experts * width) { duals[i] /= factor }
    for (block, added) in [
      (ColocationLayout.Block.left, window.added.first), (.right, window.added.second),
    ] where added != 0 {
      let rows = dual(0, block)
      let half = 0.5 * Double(added) / rho
      for i in 0..<experts {
        for j in 0..<experts { rows[i * width + j] += half }
      }
    }
    prepare()
    triples[0].adopt(whole.triples[w], layout, factor: 1 / factor)
    sparse[0].adopt(whole.sparse[w], context, factor: 1 / factor)
    goOn()
  }

  /// Starts from another relaxation of the same problem.
  package func start(from other: ColocationRelaxation) {
    rho = other.rho
    for l in 0..<boundaries { copy(boundary: l, of: other, to: l) }
    prepare()
    for l in 0..<boundaries {
      triples[l].adopt(other.triples[l], layout)
      sparse[l].adopt(other.sparse[l], context)
    }
    goOn()
  }

  /// Starts from what is kept of another relaxation of the same window.
  package func start(from state: ColocationState) {
    rho = state.rho
    for place in 0..<state.matrices.count {
      matrices[place] = Double(state.matrices[place])
      duals[place] = Double(state.duals[place])
    }
    prepare()
    triples[0].adopt(state.triples, layout)
    sparse[0].adopt(state.sparse, context)
    goOn()
  }

  private func copy(boundary w: Int, of other: ColocationRelaxation, to own: Int) {
    let count = 3 * experts * width
    matrix(own, .left).update(from: other.matrix(w, .left), count: count)
    dual(own, .left).update(from: other.dual(w, .left), count: count)
  }

  private func goOn() {
    for place in 0..<sums.count { sums[place] = 0 }
    for l in 0..<boundaries {
      triples[l].addSums(to: sums.base)
      sparse[l].addSums(to: sums.base)
      sparse[l].weigh(inverse.base)
    }
    isStarted = true
    boxStep()
  }
}
