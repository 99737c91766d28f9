/// Where each expert of each layer lives: `π_l(e) ∈ 0 ..< P`, every GPU holding exactly `E / P`
/// experts of each layer.
///
/// A value of this type is valid by construction.
public struct Placement: Hashable, Sendable {
  /// The machines that the GPU numbers refer to.
  public let topology: Topology
  /// MoE layers, `L`.
  public let layers: Int
  /// Experts in each layer, `E`.
  public let experts: Int
  /// `π`, shape `[L, E]`, row-major: the GPU of each expert.
  public let assignment: [Int]

  /// - Parameters:
  ///   - topology: the machines that the GPU numbers refer to.
  ///   - layers: MoE layers, `L`.
  ///   - experts: experts in each layer, `E`.
  ///   - assignment: `[L, E]`, GPU numbers.
  /// - Throws: `ModelError.sizes` where `E` is not a multiple of `P`, `ModelError.placement` where
  ///   a GPU number is out of range or a GPU holds too many or too few experts of a layer.
  public init(
    topology: Topology, layers: Int, experts: Int, assignment: [Int]
  ) throws(ModelError) {
    let perGPU = try topology.expertsPerGPU(experts: experts)
    guard layers >= 1, assignment.count == layers * experts else {
      throw .placement(
        "\(assignment.count) entries: expected \(layers) layers × \(experts) experts = "
          + "\(layers * experts)"
      )
    }
    var held = [Int](repeating: 0, count: topology.gpus)
    for l in 0..<layers {
      for gpu in held.indices { held[gpu] = 0 }
      for e in 0..<experts {
        let gpu = assignment[l * experts + e]
        guard held.indices.contains(gpu) else {
          throw .placement(
            "layer \(l), expert \(e) is on GPU \(gpu): expected a number from 0 to "
              + "\(topology.gpus - 1)"
          )
        }
        held[gpu] += 1
      }
      if let gpu = held.firstIndex(where: { $0 != perGPU }) {
        throw .placement(
          "layer \(l): GPU \(gpu) holds \(held[gpu]) experts, expected \(perGPU) (= \(experts) "
            + "experts / \(topology.gpus) GPUs)"
        )
      }
    }
    self.topology = topology
    self.layers = layers
    self.experts = experts
    self.assignment = assignment
  }

  /// The GPU of expert `expert` of layer `layer`.
  public subscript(layer layer: Int, expert expert: Int) -> Int {
    assignment[layer * experts + expert]
  }

  /// The experts of layer `layer` on GPU `gpu`, ascending.
  public func experts(layer: Int, gpu: Int) -> [Int] {
    (0..<experts).filter { self[layer: layer, expert: $0] == gpu }
  }

  /// The same placement with its interchangeable labels in one order: within layer 0, nodes by
  /// their smallest expert, and the GPUs of a node by theirs. Crossings and loads do not change.
  public func canonical() -> Placement {
    let g = topology.gpusPerNode
    var smallest = [Int](repeating: Int.max, count: topology.gpus)
    for e in stride(from: experts - 1, through: 0, by: -1) {
      smallest[self[layer: 0, expert: e]] = e
    }
    let nodes = (0..<topology.nodes).sorted { a, b in
      (smallest[(a * g)..<((a + 1) * g)].min() ?? 0)
        < (smallest[(b * g)..<((b + 1) * g)].min() ?? 0)
    }
    var renamed = [Int](repeating: 0, count: topology.gpus)
    for (newNode, node) in nodes.enumerated() {
      let gpus = ((node * g)..<((node + 1) * g)).sorted { smallest[$0] < smallest[$1] }
      for (index, gpu) in gpus.enumerated() { renamed[gpu] = newNode * g + index }
    }
    return Placement(
      unchecked: topology, layers: layers, experts: experts,
      assignment: assignment.map { renamed[$0] })
  }

  /// For code whose construction keeps the invariant.
  package init(unchecked topology: Topology, layers: Int, experts: Int, assignment: [Int]) {
    self.topology = topology
    self.layers = layers
    self.experts = experts
    self.assignment = assignment
  }
}
