import ColocateModel

/// The bound of the current multipliers.
///
/// U and λ are doubles in units of ρ and may be anything; any multipliers prove a bound, so they
/// are rounded to integers in units of 2^-q, made symmetric where the matrix is, and tightened by
/// row potentials (`RowPotentials`). From there on they are exact, and
/// `ColocationMultipliers.keptBound` evaluates them with full rigour. What an interrupted
/// evaluation leaves undone is only worse.
extension ColocationRelaxation {
  /// Rounds the multipliers, evaluates their bound rigorously and keeps them if it is the best.
  func evaluate() {
    let begun = control.elapsed
    evaluatedAt = iterations
    defer { evaluationSeconds = control.elapsed - begun }
    let unit = Double(1 << fractionBits) * rho
    let candidate = ColocationMultipliers(
      layers: problem.layers, experts: experts, groups: problem.groups, fractionBits: fractionBits,
      dual: roundedDual(unit: unit),
      cuts: triples.flatMap { $0.export(unit: unit) } + sparse.flatMap { $0.export(unit: unit) })
    guard let evaluation = candidate.evaluation(of: problem, control: control) else { return }
    let isStep = fix(candidate, evaluation)
    take(candidate, evaluation, isStep: isStep)
    if keptBound > incumbent { search(candidate, evaluation) }
  }

  /// U in units of 2^-q, tightened, `[L-1, 3, E, E]`.
  /// - Parameter unit: 2^q·ρ.
  private func roundedDual(unit: Double) -> [Int] {
    var blocks = concurrentMap(3 * boundaries, threads: control.threads) {
      rounded(copy: $0, unit: unit)
    }
    let before = blocks
    let tightened = concurrentMap(layout.blocks, threads: control.threads) {
      tightenedDual(ofVariables: $0, before, unit: unit)
    }
    for (copy, block) in tightened { blocks[copy] = block }
    let most = ColocationMultipliers.limit - 1
    return blocks.flatMap { $0.map { min(max($0, -most), most) } }
  }

  /// A block of U, `[E, E]`. Those of Z are symmetric up to rounding; the upper half counts.
  private func rounded(copy: Int, unit: Double) -> [Int] {
    let u = dual(copy: copy)
    let isSymmetric = copy % 3 != ColocationLayout.Block.between.rawValue
    var block = [Int]()
    block.reserveCapacity(experts * experts)
    for i in 0..<experts {
      for j in 0..<experts {
        let (row, column) = isSymmetric && j < i ? (j, i) : (i, j)
        block.append(
          Magnitude.whole(u[row * width + column] * unit, limit: ColocationMultipliers.limit / 4))
      }
    }
    return block
  }

  /// The block of U that takes the row potentials of a block of variables, and its number. An inner
  /// Z_l is in two blocks of U; the one of the boundary after it takes them.
  private func tightenedDual(
    ofVariables block: Int, _ dual: [[Int]], unit: Double
  ) -> (copy: Int, block: [Int]) {
    /// What the objective and the cuts make of a coefficient.
    func weight(_ i: Int, _ j: Int) -> Double {
      let row = block * experts + i
      return (objective[row, j] - sums[row, j]) * unit
    }
    if block < boundaries {
      let copy = layout.copy(block, .between)
      var potentials = RowPotentials(experts: experts, control: control, dual: dual[copy]) {
        weight($0, $1) - 2 * Double(dual[copy][$0 * experts + $1])
      }
      fix(&potentials, block: block)
      potentials.tightenRowsAndColumns(sum: problem.groupSize)
      return (copy, potentials.dual)
    }
    let copies = layout.copies(ofLayer: block - boundaries)
    let copy = copies.second ?? copies.first
    let other = copies.second == nil ? nil : dual[copies.first]
    var potentials = RowPotentials(experts: experts, control: control, dual: dual[copy]) { i, j in
      let place = min(i, j) * experts + max(i, j)
      let value = weight(min(i, j), max(i, j)) - 2 * Double(dual[copy][place])
      return other.map { value - 2 * Double($0[place]) } ?? value
    }
    fix(&potentials, block: block)
    potentials.tightenSymmetric(sum: problem.groupSize)
    return (copy, potentials.dual)
  }
}
