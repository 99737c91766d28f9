/// The three steps of ADMM: in M, in X and in U.
///
/// All three are written in units of ρ: with L divided by ρ, U stands for U/ρ and the objective for
/// Ŵ/ρ.
///
/// **M.** L is -½‖M_l - X_l - U_l‖² in M_l, up to what does not depend on it: the projection of
/// X_l + U_l (`SpectralProjection`).
///
/// **X.** A variable x that is h entries of the matrices, with weight w and cuts' share (Aᵀλ)_x,
/// adds
///
///     (w - (Aᵀλ)_x)·x - Σ_entries U·x - ½ Σ_entries (m - x)²
///
/// to L, which is largest at  x̂ = mean of (m - U) over its entries + (w - (Aᵀλ)_x)/h. Without cuts
/// X is x̂ clipped to [0, 1]; λ follows by dual ascent (`CutAscent`), a few passes in each
/// iteration, and starts from where it was. The unclipped values are kept, because the ascent needs
/// them; who reads X clips.
///
/// **U.** A step of length γ down the gradient of the dual function: U_l ← U_l - γ·(M_l - X_l).
extension ColocationRelaxation {
  /// M_l for all boundaries.
  func spectralStep() {
    concurrentFor(boundaries, threads: control.threads) { worker, l in
      if control.shouldStop { return }
      let projection = projections[worker]
      for block in ColocationLayout.Block.allCases {
        projection.setTarget(block, x: variables(l, block), dual: dual(l, block))
      }
      guard projection.decompose() else { return }
      for block in ColocationLayout.Block.allCases {
        projection.write(block, to: matrix(l, block))
      }
    }
  }

  /// X and λ.
  func boxStep() {
    concurrentFor(layout.blocks, threads: control.threads) { _, block in setMaximiser(block) }
    fixVariables()
    for _ in 0..<parameters.sweeps {
      for parity in 0..<min(2, boundaries) { ascend(parity: parity) }
    }
    concurrentFor(problem.layers, threads: control.threads) { _, l in mirror(l) }
  }

  /// x̂ of a block of variables.
  private func setMaximiser(_ block: Int) {
    let start = block * experts
    let x = values.row(start)
    let (weight, sum) = (objective.row(start), sums.row(start))
    let copies =
      block < boundaries
      ? (first: layout.copy(block, .between), second: nil)
      : layout.copies(ofLayer: block - boundaries)
    let (m0, u0) = (matrix(copy: copies.first), dual(copy: copies.first))
    var j = 0
    guard let second = copies.second else {
      while j < layout.blockSize {
        let free = load4(m0, j) - load4(u0, j)
        store4(x, j, free + 0.5 * (load4(weight, j) - load4(sum, j)))
        j += 4
      }
      return
    }
    let (m1, u1) = (matrix(copy: second), dual(copy: second))
    while j < layout.blockSize {
      let free = load4(m0, j) + load4(m1, j) - load4(u0, j) - load4(u1, j)
      store4(x, j, 0.5 * free + 0.25 * (load4(weight, j) - load4(sum, j)))
      j += 4
    }
  }

  /// What is fixed stays at its value whatever the ascent on cuts adds to it.
  private func fixVariables() {
    for place in fixedPlaces.zeros { values[Int(place)] = -1e6 }
    for place in fixedPlaces.ones { values[Int(place)] = 1e6 }
  }

  /// One pass of dual ascent on the cuts of every other boundary: boundaries that are two apart
  /// share no layer, so their cuts have no variable in common.
  private func ascend(parity: Int) {
    concurrentFor((boundaries + 1 - parity) / 2, threads: control.threads) { _, index in
      let state = CutAscent(values: values.base, sums: sums.base, inverse: inverse.base)
      triples[2 * index + parity].ascend(state)
      sparse[2 * index + parity].ascend(state)
    }
  }

  /// The lower triangle of Z_l from the upper.
  private func mirror(_ l: Int) {
    let z = values.row((boundaries + l) * experts)
    for i in 0..<experts {
      for j in 0..<i { z[i * width + j] = z[j * width + i] }
    }
  }

  /// U_l -= γ (M_l - X_l).
  func dualStep() {
    let step = SIMD4(repeating: parameters.step)
    concurrentFor(boundaries, threads: control.threads) { _, l in
      for block in ColocationLayout.Block.allCases {
        let (x, m, dual) = (variables(l, block), matrix(l, block), dual(l, block))
        var j = 0
        while j < layout.blockSize {
          store4(dual, j, load4(dual, j) - step * (load4(m, j) - clippedToUnit(load4(x, j))))
          j += 4
        }
      }
    }
  }

  /// Finds cuts that X violates.
  func separate() {
    concurrentFor(boundaries, threads: control.threads) { _, l in
      if control.shouldStop { return }
      let m = BoundaryMarginals(boundary: l, values: values.base, layout: layout)
      triples[l].purge()
      triples[l].separate(
        m, layout: layout, triples: problem.groups == 2, threshold: parameters.violation,
        limit: parameters.cutsPerExpert * experts)
      guard iterations >= parameters.firstSparse, parameters.sparsePerExpert > 0 else { return }
      sparse[l].purge()
      sparse[l].separate(
        m, context: context, threshold: parameters.sparseViolation,
        limit: parameters.sparsePerExpert * experts,
        covers: parameters.coverViolation, hypermetric: parameters.hypermetric, control: control)
      sparse[l].weigh(inverse.base)
    }
  }
}
