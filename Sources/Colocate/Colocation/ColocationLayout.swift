/// Where the variables of the co-location relaxation stand in flat memory.
///
/// The variables X are blocks of `[E, stride]` each: first Y_0 … Y_{L-2}, then Z_0 … Z_{L-1}.
/// `Y_l[i, j]` says whether expert i of layer l and expert j of layer l+1 share a group, `Z_l[i,
/// j]` whether experts i and j of layer l do. Z_l is symmetric, so its variables are the places
/// with i < j; the places with i ≥ j are there for loops that run over whole blocks.
///
/// Boundary l is a graph on 2E vertices: `0 ..< E` are the experts of layer l and `E ..< 2E` those
/// of layer l+1. Its edges carry the matrix
///
///     M_l = [[Z_l, Y_l], [Y_lᵀ, Z_{l+1}]]
///
/// whose three blocks are held, boundary by boundary, as `[L-1, 3, E, stride]` (`copy`): an inner
/// layer's Z_l stands in the matrices of both its boundaries.
package struct ColocationLayout: Sendable {
  /// A block of a boundary's matrix; Y_lᵀ is not held.
  package enum Block: Int, CaseIterable, Sendable {
    /// Z_l, symmetric.
    case left = 0
    /// Y_l.
    case between = 1
    /// Z_{l+1}, symmetric.
    case right = 2

    /// Which half of the boundary's vertices its rows are: 0 for layer l, 1 for layer l+1.
    package var rowHalf: Int { self == .right ? 1 : 0 }
    /// Which half of the boundary's vertices its columns are.
    package var columnHalf: Int { self == .left ? 0 : 1 }
  }

  package let layers: Int
  package let experts: Int
  /// Numbers from one row to the next, at least E.
  package let stride: Int

  /// - Parameter stride: E where nothing is given.
  package init(layers: Int, experts: Int, stride: Int? = nil) {
    self.layers = layers
    self.experts = experts
    self.stride = stride ?? experts
  }

  /// `L - 1`.
  package var boundaries: Int { layers - 1 }
  /// Blocks of variables: L-1 of Y, then L of Z.
  package var blocks: Int { 2 * layers - 1 }
  /// Places of a block.
  package var blockSize: Int { experts * stride }
  /// All places, used and unused.
  package var count: Int { blocks * blockSize }

  // MARK: Vertices

  /// The vertices of a boundary that are layer l's (`half` 0) or layer l+1's (`half` 1).
  @inline(__always)
  package func vertices(half: Int) -> Range<Int> { (half * experts)..<((half + 1) * experts) }

  /// The vertex of expert `e` of layer l + `half`.
  @inline(__always)
  package func vertex(_ half: Int, _ e: Int) -> Int { half * experts + e }

  // MARK: Variables

  /// The place of Y_l[i, j].
  @inline(__always)
  package func between(_ l: Int, _ i: Int, _ j: Int) -> Int { (l * experts + i) * stride + j }

  /// The place of Z_l[i, j] = Z_l[j, i].
  @inline(__always)
  package func inside(_ l: Int, _ i: Int, _ j: Int) -> Int {
    ((boundaries + l) * experts + min(i, j)) * stride + max(i, j)
  }

  /// The place of the edge between two different vertices of boundary l, in any order.
  @inline(__always)
  package func pair(_ l: Int, _ a: Int, _ b: Int) -> Int {
    let (low, high) = a < b ? (a, b) : (b, a)
    if high < experts { return inside(l, low, high) }
    if low >= experts { return inside(l + 1, low - experts, high - experts) }
    return between(l, low, high - experts)
  }

  // MARK: Blocks

  /// Number of the block of variables that a block of boundary l's matrix holds.
  @inline(__always)
  package func variables(_ l: Int, _ block: Block) -> Int {
    switch block {
    case .left: boundaries + l
    case .between: l
    case .right: boundaries + l + 1
    }
  }

  /// Number of a block of boundary l's matrix in `[L-1, 3]`.
  @inline(__always)
  package func copy(_ l: Int, _ block: Block) -> Int { 3 * l + block.rawValue }

  /// Numbers of the matrices' blocks that hold Z_l: one at either end, two in between.
  package func copies(ofLayer l: Int) -> (first: Int, second: Int?) {
    if l == 0 { return (copy(0, .left), nil) }
    let before = copy(l - 1, .right)
    return l == layers - 1 ? (before, nil) : (before, copy(l, .left))
  }

  /// How many entries of the matrices are this variable: both mirror images in one boundary or two.
  ///
  /// It is also h, the curvature of the augmented Lagrangian in this variable over ρ.
  @inline(__always)
  package func entries(of place: Int) -> Int {
    let block = place / blockSize
    guard block >= boundaries else { return 2 }
    let l = block - boundaries
    return l == 0 || l == layers - 1 ? 2 : 4
  }
}
