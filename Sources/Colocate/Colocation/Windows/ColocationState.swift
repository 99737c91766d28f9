/// What a window's relaxation needs to go on: M and U and the cuts that have multipliers, in little
/// space.
///
/// Open nodes wait with the state of their parents, thousands at a time, so what a relaxation can
/// derive anew (X, the objective, places of cuts) is not kept, and numbers are single precision:
/// where ADMM starts proves nothing, and M and U change by more with every iteration.
/// (Qwen1.5-MoE on 4 GPUs took 991 MB with 2,528 nodes, where whole relaxations took 2,270 MB with
/// 2,032.)
package final class ColocationState: Sendable {
  let rho: Double
  /// M and U/ρ, each the three blocks of `ColocationLayout`, `[3, E, width]`.
  let matrices: [Float]
  let duals: [Float]
  let triples: TripleCuts.Kept
  let sparse: SparseCuts.Kept

  /// - Parameter relaxation: of one boundary.
  package init(of relaxation: ColocationRelaxation) {
    precondition(relaxation.boundaries == 1)
    rho = relaxation.rho
    matrices = (0..<relaxation.matrices.count).map { Float(relaxation.matrices.base[$0]) }
    duals = (0..<relaxation.duals.count).map { Float(relaxation.duals.base[$0]) }
    triples = relaxation.triples[0].kept
    sparse = relaxation.sparse[0].kept
  }

  /// Of memory, roughly.
  package var bytes: Int {
    4 * (matrices.count + duals.count) + triples.bytes + sparse.bytes
  }
}

extension TripleCuts {
  /// The cuts with a positive multiplier.
  struct Kept: Sendable {
    fileprivate(set) var vertices = [SIMD4<Int16>]()
    fileprivate(set) var multipliers = [Float]()

    var bytes: Int { 12 * vertices.count }
  }

  var kept: Kept {
    var kept = Kept()
    let count = multipliers.reduce(0) { $1 > 0 ? $0 + 1 : $0 }
    kept.vertices.reserveCapacity(count)
    kept.multipliers.reserveCapacity(count)
    for (cut, multiplier) in zip(vertices, multipliers) where multiplier > 0 {
      kept.vertices.append(cut)
      kept.multipliers.append(Float(multiplier))
    }
    return kept
  }
}

extension SparseCuts {
  /// The cuts with a positive multiplier. Lists of vertices may be shared with other states that
  /// have the same cuts; they are counted in each.
  struct Kept: Sendable {
    fileprivate(set) var shapes = [ColocationCut.Shape]()
    fileprivate(set) var multipliers = [Float]()

    var bytes: Int { shapes.reduce(0) { $0 + 150 + 8 * $1.listed } }
  }

  var kept: Kept {
    var kept = Kept()
    for (shape, multiplier) in zip(shapes, multipliers) where multiplier > 0 {
      kept.shapes.append(shape)
      kept.multipliers.append(Float(multiplier))
    }
    return kept
  }
}

extension ColocationCut.Shape {
  /// Entries of its lists, which take 8 bytes each.
  fileprivate var listed: Int {
    switch self {
    case .partition(let first, let second), .hypermetric(let first, let second),
      .company(_, _, half: _, let first, let second):
      first.count + second.count
    case .crowd(let members), .cover(vertex: _, half: _, let members),
      .coverPairs(half: _, let members):
      members.count
    case .load, .loadPair, .loadProduct: 0
    }
  }
}
