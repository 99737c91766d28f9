import Colocate

/// The placement problem as an integer linear program, for any solver to check: free MPS and LP
/// files.
///
/// ExFlow's program has one binary for each token and boundary. Tokens with the same pair of
/// experts behave alike, so the aggregated one below has the same optimum with at most `E² (L-1)`
/// pair variables, one for each `W_l[i,j] > 0`:
///
///     minimise   Σ_l Σ_ij W_l[i,j] · y_{l,i,j}
///     one_l_e:   Σ_g x_{l,e,g} = 1                          every expert has one GPU
///     size_l_g:  Σ_e x_{l,e,g} = E / P                      every GPU has E / P experts of a layer
///     load_l_g:  Σ_e loads_l(e) · x_{l,e,g} ≤ cap_l         with a load cap
///     y_l_i_j_g: y_{l,i,j} ≥ x_{l,i,g} - x_{l+1,j,g}         for every g
///     x binary, 0 ≤ y ≤ 1
///
/// With binary `x`, the least `y_{l,i,j}` is 1 where `i` and `j` are on different GPUs (the row of
/// i's GPU) and 0 where they share one: the optimum is the crossings. `y` need not be declared
/// integer. The joint objective has pair variables `n` between nodes with rows over
/// `Σ_{g of node} x`, and weights `w_intra` on `y` and `w_inter - w_intra` on `n`. Co-activation
/// has pair variables `v` inside a layer.
///
/// **Symmetry.** GPUs are interchangeable; nodes are, and the GPUs of one. The option orders them
/// by their smallest expert in layer 0 (`Placement.canonical()`), which keeps one of each class of
/// equal placements: GPU g takes expert e only if GPU g - 1 has a smaller one,
///
///     order_e_g:  x_{0,e,g} ≤ Σ_{f<e} x_{0,f,g-1}
///
/// and for the first GPU of a node the GPU before it is the first of the node before.
public struct IntegerProgram {
  /// Rows that are never exceeded.
  public static let mostRows = 50_000_000

  let instance: Instance
  private let breaksSymmetry: Bool
  let pairs: [PairKind]

  /// A family of pair variables and how their groups are made of GPUs.
  struct PairKind {
    /// First letter of the variables.
    let letter: Character
    /// Weight of a pair in the objective, as a multiple of its count.
    let weight: Int
    /// GPUs in a group.
    let groupSize: Int
    /// Whether the pairs are of one layer, `i > j`, instead of a boundary.
    let isCoactivation: Bool

    /// Pairs on different GPUs.
    static func ofGPUs(weight: Int, _ isCoactivation: Bool) -> PairKind {
      PairKind(
        letter: isCoactivation ? "v" : "y", weight: weight, groupSize: 1,
        isCoactivation: isCoactivation)
    }
  }

  /// The variable of a pair.
  struct Pair {
    let kind: PairKind
    /// The boundary, or the layer of co-activation.
    let l: Int
    let i: Int
    let j: Int
    /// How often tokens use the pair.
    let count: Int

    /// "y_0_3_5".
    var name: String { "\(kind.letter)_\(l)_\(i)_\(j)" }
    /// The layer that `j` is in.
    var layerOfSecond: Int { kind.isCoactivation ? l : l + 1 }
  }

  /// - Throws: `ModelError.sizes` for the staged objective, which is several programs, and for one
  ///   of too many rows.
  public init(_ instance: Instance, breaksSymmetry: Bool = false) throws(ModelError) {
    self.instance = instance
    self.breaksSymmetry = breaksSymmetry
    let topology = instance.topology
    var kinds = [PairKind]()
    for isCoactivation in [false, true]
    where !isCoactivation || !instance.counts.coactivation.isEmpty {
      switch instance.objective {
      case .flat: kinds.append(.ofGPUs(weight: 1, isCoactivation))
      case .staged:
        throw .sizes(
          "the staged objective is a program for the nodes and one for each node: export the first "
            + "with as many GPUs as nodes and the flat objective")
      case .joint(let weights):
        let (inter, intra) = (weights.interNode, weights.intraNode)
        if intra > 0 { kinds.append(.ofGPUs(weight: intra, isCoactivation)) }
        if inter > intra {
          kinds.append(
            PairKind(
              letter: isCoactivation ? "u" : "n", weight: inter - intra,
              groupSize: topology.gpusPerNode, isCoactivation: isCoactivation))
        }
      }
    }
    pairs = kinds
    let nonzero =
      instance.counts.weights.count { $0 > 0 }
      + instance.counts.coactivation.count { $0 > 0 } / 2
    let rows = nonzero * kinds.reduce(0) { $0 + topology.gpus / $1.groupSize }
    guard rows <= Self.mostRows else {
      throw .sizes("\(rows) rows: expected at most \(Self.mostRows)")
    }
  }

  var layers: Int { instance.counts.layers }
  var experts: Int { instance.counts.experts }
  var gpus: Int { instance.topology.gpus }

  /// Weight of the pair `(i, j)` of kind `kind` at `l`: a boundary, or a layer for co-activation
  /// (`i > j` there).
  func count(_ kind: PairKind, _ l: Int, _ i: Int, _ j: Int) -> Int {
    kind.isCoactivation
      ? instance.counts.coactivation[(l * experts + i) * experts + j] : instance.counts[l, i, j]
  }

  /// Calls `body` for every pair variable, by kind, l, i and j.
  func forEachPair(_ body: (Pair) throws -> Void) rethrows {
    for kind in pairs {
      for l in 0..<(kind.isCoactivation ? layers : layers - 1) {
        try forEachPair(kind, l, body)
      }
    }
  }

  private func forEachPair(
    _ kind: PairKind, _ l: Int, _ body: (Pair) throws -> Void
  ) rethrows {
    for i in 0..<experts {
      for j in 0..<(kind.isCoactivation ? i : experts) {
        let count = count(kind, l, i, j)
        if count > 0 { try body(Pair(kind: kind, l: l, i: i, j: j, count: count)) }
      }
    }
  }

  /// The GPU that must have a smaller expert of layer 0 than `gpu`, or nil.
  func predecessor(of gpu: Int) -> Int? {
    guard breaksSymmetry, gpu > 0 else { return nil }
    let perNode = instance.topology.gpusPerNode
    // With the flat objective nodes do not matter: all GPUs are interchangeable.
    if case .flat = instance.objective { return gpu - 1 }
    return gpu % perNode == 0 ? gpu - perNode : gpu - 1
  }

  /// The first line of a file, as a comment.
  func header(_ comment: String) -> String {
    let counts = instance.counts
    return "\(comment) expert placement: \(layers) layers, \(experts) experts, \(gpus) GPUs on "
      + "\(instance.topology.nodes) nodes, \(counts.total) transitions\n"
  }
}
