import Colocate

extension FuzzRun {
  /// What is true of a case, found without the solver.
  struct Truth {
    let fuzz: FuzzCase
    let loads: [Int]
    /// Per layer, the most tokens of a GPU.
    let caps: [Int]?
    /// Of the objective; of the first step where it is staged. nil where the cap allows nothing.
    let optimum: ReferenceOptimum?
    var isFeasible: Bool { optimum != nil }
    /// Σ W and Σ V.
    let total: Int

    init(_ fuzz: FuzzCase, counts: TransitionCounts) {
      self.fuzz = fuzz
      loads = counts.loads
      total = fuzz.weights.reduce(0, +) + fuzz.coactivation.reduce(0, +) / 2
      caps = Self.caps(fuzz, loads: counts.loads)
      let level: ReferenceOptimum.Level
      switch fuzz.objective {
      case .flat:
        level = .init(nodes: 1, gpusPerNode: fuzz.gpus, perNode: 0, perGPU: 1)
      case .staged:
        // Any split into nodes, each of whose GPUs can be kept within the cap.
        level = .init(nodes: fuzz.nodes, gpusPerNode: fuzz.gpusPerNode, perNode: 1, perGPU: 0)
      case .joint(let weights):
        let (inter, intra) = (weights.interNode, weights.intraNode)
        level = .init(
          nodes: fuzz.nodes, gpusPerNode: fuzz.gpusPerNode, perNode: inter - intra, perGPU: intra)
      }
      optimum = Self.optimum(fuzz, loads: counts.loads, caps: caps, level)
    }

    static func optimum(
      _ fuzz: FuzzCase, loads: [Int], caps: [Int]?, _ level: ReferenceOptimum.Level
    ) -> ReferenceOptimum? {
      ReferenceOptimum(
        layers: fuzz.layers, experts: fuzz.experts, weights: fuzz.weights,
        coactivation: fuzz.coactivation, loads: loads, caps: caps, level: level)
    }

    /// `⌊ratio · tokens / P⌋`, or, where that is relaxed, the least that a layer can meet.
    private static func caps(_ fuzz: FuzzCase, loads: [Int]) -> [Int]? {
      guard let cap = fuzz.cap else { return nil }
      return (0..<fuzz.layers).map { l in
        let layer = Array(loads[(l * fuzz.experts)..<((l + 1) * fuzz.experts)])
        let product = Int128(layer.reduce(0, +)) * Int128(cap.numerator)
        let tokens = Int(product / (Int128(cap.denominator) * Int128(fuzz.gpus)))
        guard cap.isRelaxed else { return tokens }
        let level = ReferenceOptimum.Level(
          nodes: 1, gpusPerNode: fuzz.gpus, perNode: 0, perGPU: 1)
        let least = ReferenceOptimum.partitions(
          experts: fuzz.experts, level: level, loads: layer, cap: nil
        ).map { state in
          state.map { group in
            layer.indices.reduce(0) { group >> UInt64($1) & 1 == 1 ? $0 + layer[$1] : $0 }
          }.max() ?? 0
        }.min()
        return max(tokens, least ?? 0)
      }
    }

    /// An optimum as a placement.
    func placement(_ instance: Instance) -> Placement? {
      optimum.map {
        Placement(
          unchecked: instance.topology, layers: fuzz.layers, experts: fuzz.experts,
          assignment: $0.labels)
      }
    }

    /// Crossings between GPUs and between nodes, by the definition.
    func crossings(_ labels: [Int]) -> (gpu: Int, node: Int) {
      var (gpu, node) = (0, 0)
      func count(_ a: Int, _ b: Int, _ weight: Int) {
        if a != b { gpu += weight }
        if a / fuzz.gpusPerNode != b / fuzz.gpusPerNode { node += weight }
      }
      let experts = fuzz.experts
      for l in 0..<(fuzz.layers - 1) {
        for i in 0..<experts {
          for j in 0..<experts {
            count(
              labels[l * experts + i], labels[(l + 1) * experts + j],
              fuzz.weights[(l * experts + i) * experts + j])
          }
        }
      }
      guard !fuzz.coactivation.isEmpty else { return (gpu, node) }
      for l in 0..<fuzz.layers {
        for i in 0..<experts {
          for j in 0..<i {
            count(
              labels[l * experts + i], labels[l * experts + j],
              fuzz.coactivation[(l * experts + i) * experts + j])
          }
        }
      }
      return (gpu, node)
    }

    /// What the objective makes of a placement.
    func value(_ labels: [Int]) -> Int {
      let (gpu, node) = crossings(labels)
      guard case .joint(let weights) = fuzz.objective else { return gpu }
      return weights.interNode * node + weights.intraNode * (gpu - node)
    }

    /// The least value: of the objective, or of node crossings where it is staged.
    var best: Int? {
      guard let optimum else { return nil }
      guard case .joint(let weights) = fuzz.objective else { return total - optimum.saved }
      return weights.interNode * total - optimum.saved
    }
  }
}
