import ColocateModel

/// A valid inequality a·X ≤ b on the co-location variables of one boundary, with its multiplier.
///
/// The variables of boundary l are m_ij for two vertices of its graph (`ColocationLayout`): 1 where
/// they share a group, else 0, and m_ii = 1. A placement gives such numbers; most matrices of
/// numbers between 0 and 1 belong to no placement, not even to a mixture of placements, and a cut
/// separates some of these from those that do. Each family says something that holds for every
/// placement, and each stands, with its proof, in a file of its own:
///
/// * `ColocationCut+Partition`: sharing a group is transitive (triangles, and beyond).
/// * `ColocationCut+Crowd`: many vertices in few groups must meet.
/// * `ColocationCut+Company`: who shares a group shares all of its members.
/// * `ColocationCut+Hypermetric`: no group holds a fraction of a vertex.
/// * `ColocationCut+Cover`: experts too heavy for one group are not in one.
/// * `ColocationCut+Load`: a group's load is within the cap.
/// * `ColocationCut+LoadPair`: the loads of two groups, by whether they are one.
/// * `ColocationCut+LoadProduct`: how unequal loads within the cap can be.
///
/// The proofs use nothing but this: the P groups split each layer's E experts into sets of c = E/P,
/// and with a cap each group's load in layer l is at most `caps[l]`. Validity is all that a bound
/// needs: any multiplier λ ≥ 0 may go with a cut (`ColocationMultipliers`).
package struct ColocationCut: Hashable, Sendable {
  /// Which inequality. Vertices are `0 ..< 2E`; a `half` is 0 for layer l and 1 for layer l+1.
  package enum Shape: Hashable, Sendable {
    /// Σ_{S×T} m - Σ_{pairs of S} m - Σ_{pairs of T} m ≤ min(|S|, |T|) for disjoint S and T.
    case partition([Int], [Int])
    /// Of these vertices so many pairs share a group.
    case crowd([Int])
    /// (c - |rest|)·m_ik ≤ Σ_{j∈first} m_ij + Σ_{j∈second} m_kj, the rest being all other experts
    /// of the layer.
    case company(Int, Int, half: Int, first: [Int], second: [Int])
    /// -Σ_{i<j} b_i b_j m_ij ≤ (Σ b_i² + P·k(k+1) - (2k+1)·σ)/2, σ = Σ b_i, k = ⌊σ/P⌋: vertices and
    /// their integer weights b.
    case hypermetric([Int], [Int])
    /// Σ_{j∈E(C)} m_aj ≤ |C| - 1 for experts C of one layer that exceed the cap together.
    case cover(vertex: Int, half: Int, members: [Int])
    /// Σ_{pairs of C} m ≤ (|C| - 1)(|C| - 2)/2.
    case coverPairs(half: Int, members: [Int])
    /// The load of a vertex's group in one of the two layers, at most or (`atMost` false) at least.
    case load(vertex: Int, half: Int, atMost: Bool)
    /// The loads of the groups of two vertices in one of the two layers.
    case loadPair(Int, Int, half: Int, relation: PairRelation)
    /// Σ_g load_g(l + first) · load_g(l + second), at most or at least.
    case loadProduct(first: Int, second: Int, atMost: Bool)
  }

  /// Which inequality of `Shape.loadPair`.
  package enum PairRelation: Int, Hashable, Sendable, CaseIterable {
    case difference = 0
    case most = 1
    case least = 2
  }

  /// l.
  package let boundary: Int
  package let shape: Shape
  /// λ ≥ 0 in units of 2^-q.
  package var multiplier: Int

  package init(boundary: Int, shape: Shape, multiplier: Int) {
    self.boundary = boundary
    self.shape = shape
    self.multiplier = multiplier
  }

  /// The most vertices of a partition or a crowd cut: their rows have a term for every pair.
  static let mostVertices = 64

  /// The inequality `Σ coefficient · X[index] ≤ limit` in places of `ColocationLayout`.
  package struct Row: Sendable {
    package var terms: [(index: Int, coefficient: Int)]
    package var limit: Int

    package init(terms: [(index: Int, coefficient: Int)] = [], limit: Int) {
      self.terms = terms
      self.limit = limit
    }

    /// A term, unless it is 0.
    mutating func add(_ index: Int, _ coefficient: Int) {
      if coefficient != 0 { terms.append((index, coefficient)) }
    }
  }

  /// The inequality's row, or nil where the cut is malformed: vertices that are none or stand
  /// twice, sets that overlap, or a cap that the problem does not have.
  package func row(in context: Context) -> Row? {
    guard 0 <= boundary, boundary < context.problem.layers - 1 else { return nil }
    switch shape {
    case .partition(let first, let second): return partitionRow(first, second, in: context)
    case .crowd(let vertices): return crowdRow(vertices, in: context)
    case .company(let i, let k, let half, let first, let second):
      return companyRow(i, k, half: half, first: first, second: second, in: context)
    case .hypermetric(let vertices, let weights):
      return hypermetricRow(vertices, weights, in: context)
    case .cover(let vertex, let half, let members):
      return coverRow(vertex, half: half, members: members, in: context)
    case .coverPairs(let half, let members):
      return coverPairsRow(half: half, members: members, in: context)
    case .load(let vertex, let half, let atMost):
      return loadRow(vertex, half: half, atMost: atMost, in: context)
    case .loadPair(let i, let k, let half, let relation):
      return loadPairRow(i, k, half: half, relation: relation, in: context)
    case .loadProduct(let first, let second, let atMost):
      return loadProductRow(first: first, second: second, atMost: atMost, in: context)
    }
  }
}
