import Colocate

/// The placement problem as an integer linear program, for any solver to check: free MPS and LP
/// files.
///
/// ExFlow's program has one binary for each token and boundary. Tokens with the same pair of
/// experts behave alike, so the aggregated one below has the same optimum with at most `E² (L-1)`
/// pair variables, one for each `W_l[i,j] > 0`:
///
///     minimise   Σ_l Σ_ij W_l[i,j] · y_{l,i,j}
///     one_l_e:   Σ_g x_{l,e,g} = 1                           every expert has one GPU
///     size_l_g:  Σ_e x_{l,e,g} = E / P                       every GPU has E / P experts of a layer
///     load_l_g:  Σ_e loads_l(e) · x_{l,e,g} ≤ cap_l          with a load cap
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

  private let instance: Instance
  private let breaksSymmetry: Bool
  private let pairs: [PairKind]

  /// A family of pair variables and how their groups are made of GPUs.
  private struct PairKind {
    /// First letter of the variables.
    let letter: Character
    /// Weight of a pair in the objective, as a multiple of its count.
    let weight: Int
    /// GPUs in a group.
    let groupSize: Int
    let isCoactivation: Bool
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
      case .flat:
        kinds.append(
          PairKind(
            letter: isCoactivation ? "v" : "y", weight: 1, groupSize: 1,
            isCoactivation: isCoactivation))
      case .staged:
        throw .sizes(
          "the staged objective is a program for the nodes and one for each node: export the first with as many GPUs as nodes and the flat objective"
        )
      case .joint(let weights):
        let (inter, intra) = (weights.interNode, weights.intraNode)
        if intra > 0 {
          kinds.append(
            PairKind(
              letter: isCoactivation ? "v" : "y", weight: intra, groupSize: 1,
              isCoactivation: isCoactivation))
        }
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

  private var layers: Int { instance.counts.layers }
  private var experts: Int { instance.counts.experts }
  private var gpus: Int { instance.topology.gpus }

  /// Weight of the pair `(i, j)` of kind `kind` at `l`: a boundary, or a layer for co-activation
  /// (`i > j` there).
  private func count(_ kind: PairKind, _ l: Int, _ i: Int, _ j: Int) -> Int {
    kind.isCoactivation
      ? instance.counts.coactivation[(l * experts + i) * experts + j] : instance.counts[l, i, j]
  }

  /// Calls `body` for every pair variable: kind, l, i, j, count.
  private func forEachPair(
    _ body: (PairKind, Int, Int, Int, Int) throws -> Void
  ) rethrows {
    for kind in pairs {
      for l in 0..<(kind.isCoactivation ? layers : layers - 1) {
        for i in 0..<experts {
          for j in 0..<(kind.isCoactivation ? i : experts) {
            let count = count(kind, l, i, j)
            if count > 0 { try body(kind, l, i, j, count) }
          }
        }
      }
    }
  }

  /// The GPU that must have a smaller expert of layer 0 than `gpu`, or nil.
  private func predecessor(of gpu: Int) -> Int? {
    guard breaksSymmetry, gpu > 0 else { return nil }
    let perNode = instance.topology.gpusPerNode
    // With the flat objective nodes do not matter: all GPUs are interchangeable.
    if case .flat = instance.objective { return gpu - 1 }
    return gpu % perNode == 0 ? gpu - perNode : gpu - 1
  }

  private func header(_ comment: String) -> String {
    let counts = instance.counts
    return
      "\(comment) expert placement: \(layers) layers, \(experts) experts, \(gpus) GPUs on \(instance.topology.nodes) nodes, \(counts.total) transitions\n"
  }

  /// Writes the program in LP format.
  /// - Throws: `FormatError` where the file cannot be written.
  public func writeLP(to path: String) throws {
    try AtomicFile.write(to: path) { file in
      try file.put(header("\\"))
      try file.put("Minimize\n crossings:")
      var terms = 0
      try forEachPair { kind, l, i, j, count in
        try file.put(" + \(kind.weight * count) \(kind.letter)_\(l)_\(i)_\(j)")
        terms += 1
        if terms % 8 == 0 { try file.put("\n ") }
      }
      if terms == 0 { try file.put(" 0 x_0_0_0") }
      try file.put("\nSubject To\n")
      for l in 0..<layers {
        for e in 0..<experts {
          try file.put(" one_\(l)_\(e):")
          for g in 0..<gpus { try put(&file, " + x_\(l)_\(e)_\(g)", g) }
          try file.put(" = 1\n")
        }
        for g in 0..<gpus {
          try file.put(" size_\(l)_\(g):")
          for e in 0..<experts { try put(&file, " + x_\(l)_\(e)_\(g)", e) }
          try file.put(" = \(experts / gpus)\n")
        }
        guard let caps = instance.capPerLayer else { continue }
        for g in 0..<gpus {
          try file.put(" load_\(l)_\(g):")
          for e in 0..<experts {
            try put(&file, " + \(instance.counts.load(layer: l, expert: e)) x_\(l)_\(e)_\(g)", e)
          }
          try file.put(" <= \(caps[l])\n")
        }
      }
      try forEachPair { kind, l, i, j, _ in
        let next = kind.isCoactivation ? l : l + 1
        for group in 0..<(gpus / kind.groupSize) {
          let name = "\(kind.letter)_\(l)_\(i)_\(j)"
          try file.put(" \(name)_\(group): \(name)")
          for g in (group * kind.groupSize)..<((group + 1) * kind.groupSize) {
            try file.put(" - x_\(l)_\(i)_\(g) + x_\(next)_\(j)_\(g)")
          }
          try file.put(" >= 0\n")
        }
      }
      for g in 0..<gpus {
        guard let before = predecessor(of: g) else { continue }
        for e in 0..<experts {
          try file.put(" order_\(e)_\(g): x_0_\(e)_\(g)")
          for f in 0..<e { try put(&file, " - x_0_\(f)_\(before)", f) }
          try file.put(" <= 0\n")
        }
      }
      try file.put("Bounds\n")
      try forEachPair { kind, l, i, j, _ in
        try file.put(" 0 <= \(kind.letter)_\(l)_\(i)_\(j) <= 1\n")
      }
      try file.put("Binaries\n")
      for l in 0..<layers {
        for e in 0..<experts {
          for g in 0..<gpus { try put(&file, " x_\(l)_\(e)_\(g)", g) }
          try file.put("\n")
        }
      }
      try file.put("End\n")
    }
  }

  /// A term, with a line break after every 16.
  private func put(_ file: inout AtomicFile, _ term: String, _ index: Int) throws {
    try file.put(index % 16 == 15 ? term + "\n " : term)
  }

  /// Writes the program in free MPS format. Columns come by variable, so the rows of a variable are
  /// worked out from its name.
  /// - Throws: `FormatError` where the file cannot be written.
  public func writeMPS(to path: String) throws {
    let counts = instance.counts
    try AtomicFile.write(to: path) { file in
      try file.put(header("*"))
      try file.put("NAME colocate\nROWS\n N crossings\n")
      for l in 0..<layers {
        for e in 0..<experts { try file.put(" E one_\(l)_\(e)\n") }
        for g in 0..<gpus { try file.put(" E size_\(l)_\(g)\n") }
        if instance.capPerLayer != nil {
          for g in 0..<gpus { try file.put(" L load_\(l)_\(g)\n") }
        }
      }
      try forEachPair { kind, l, i, j, _ in
        for group in 0..<(gpus / kind.groupSize) {
          try file.put(" G \(kind.letter)_\(l)_\(i)_\(j)_\(group)\n")
        }
      }
      for g in 0..<gpus where predecessor(of: g) != nil {
        for e in 0..<experts { try file.put(" L order_\(e)_\(g)\n") }
      }
      try file.put("COLUMNS\n MARK0 'MARKER' 'INTORG'\n")
      for l in 0..<layers {
        for e in 0..<experts {
          for g in 0..<gpus {
            let x = " x_\(l)_\(e)_\(g)"
            try file.put("\(x) one_\(l)_\(e) 1\n\(x) size_\(l)_\(g) 1\n")
            if instance.capPerLayer != nil, counts.load(layer: l, expert: e) > 0 {
              try file.put("\(x) load_\(l)_\(g) \(counts.load(layer: l, expert: e))\n")
            }
            for kind in pairs {
              let group = g / kind.groupSize
              // As the first of a pair, and as the second.
              if kind.isCoactivation {
                for other in 0..<experts where other != e {
                  let (i, j) = (max(e, other), min(e, other))
                  guard count(kind, l, i, j) > 0 else { continue }
                  try file.put("\(x) \(kind.letter)_\(l)_\(i)_\(j)_\(group) \(e == i ? -1 : 1)\n")
                }
              } else {
                for j in 0..<experts where l < layers - 1 && counts[l, e, j] > 0 {
                  try file.put("\(x) \(kind.letter)_\(l)_\(e)_\(j)_\(group) -1\n")
                }
                for i in 0..<experts where l > 0 && counts[l - 1, i, e] > 0 {
                  try file.put("\(x) \(kind.letter)_\(l - 1)_\(i)_\(e)_\(group) 1\n")
                }
              }
            }
            guard l == 0 else { continue }
            if predecessor(of: g) != nil { try file.put("\(x) order_\(e)_\(g) 1\n") }
            for next in 0..<gpus where predecessor(of: next) == g {
              for later in (e + 1)..<max(experts, e + 1) {
                try file.put("\(x) order_\(later)_\(next) -1\n")
              }
            }
          }
        }
      }
      try file.put(" MARK1 'MARKER' 'INTEND'\n")
      try forEachPair { kind, l, i, j, count in
        let name = "\(kind.letter)_\(l)_\(i)_\(j)"
        try file.put(" \(name) crossings \(kind.weight * count)\n")
        for group in 0..<(gpus / kind.groupSize) { try file.put(" \(name) \(name)_\(group) 1\n") }
      }
      try file.put("RHS\n")
      for l in 0..<layers {
        for e in 0..<experts { try file.put(" RHS one_\(l)_\(e) 1\n") }
        for g in 0..<gpus {
          try file.put(" RHS size_\(l)_\(g) \(experts / gpus)\n")
          if let caps = instance.capPerLayer { try file.put(" RHS load_\(l)_\(g) \(caps[l])\n") }
        }
      }
      try file.put("BOUNDS\n")
      for l in 0..<layers {
        for e in 0..<experts {
          for g in 0..<gpus { try file.put(" UP BND x_\(l)_\(e)_\(g) 1\n") }
        }
      }
      try forEachPair { kind, l, i, j, _ in
        try file.put(" UP BND \(kind.letter)_\(l)_\(i)_\(j) 1\n")
      }
      try file.put("ENDATA\n")
    }
  }
}
