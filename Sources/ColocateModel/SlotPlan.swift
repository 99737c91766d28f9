/// Which expert each physical slot holds: the form in which serving stacks know a placement.
///
/// Each of `P` GPUs has `S / P` slots a layer, and slot `s` lives on GPU `s / (S / P)`. With
/// `S = E` a slot plan is a `Placement` together with an order of the experts on their GPU; with
/// `S > E` some experts have replicas.
///
/// A value of this type is valid by construction: every expert of every layer has a slot.
public struct SlotPlan: Hashable, Sendable {
  /// More slots of all layers together than any deployment has.
  static let mostSlots = 1 << 26

  /// The machines that the slots are on.
  public let topology: Topology
  /// Experts in each layer, `E`.
  public let experts: Int
  /// `slots[l][s]`: the expert in slot `s` of MoE layer `l`, shape `[L][S]`.
  public let slots: [[Int]]

  /// MoE layers, `L`.
  public var layers: Int { slots.count }
  /// Slots of a layer, `S`.
  public var slotsPerLayer: Int { slots[0].count }
  /// Slots of a layer on one GPU, `S / P`.
  public var slotsPerGPU: Int { slotsPerLayer / topology.gpus }
  /// Slots beyond one for each expert, `S - E`.
  public var redundant: Int { slotsPerLayer - experts }

  /// - Parameters:
  ///   - topology: the machines.
  ///   - experts: experts in each layer, `E`.
  ///   - slots: `[L][S]`, ids from 0 to `E - 1`.
  ///   - layerNumbers: what the layers are called in messages; without it 0, 1, ….
  /// - Throws: `ModelError.sizes` where `S` is not a multiple of `P` or smaller than `E`,
  ///   `ModelError.placement` with layer and slot where rows differ in length, an id is out of
  ///   range, or an expert has no slot.
  public init(
    topology: Topology, experts: Int, slots: [[Int]], layerNumbers: [Int]? = nil
  ) throws(ModelError) {
    func name(_ layer: Int) -> Int {
      layerNumbers.flatMap { $0.indices.contains(layer) ? $0[layer] : nil } ?? layer
    }
    guard let width = slots.first?.count else { throw .placement("no layer: at least 1 is needed") }
    guard experts >= 1, experts <= TransitionAccumulator.mostExperts else {
      throw .sizes("\(experts) experts: expected 1 to \(TransitionAccumulator.mostExperts)")
    }
    guard width >= experts else {
      throw .sizes("\(width) slots for \(experts) experts: expected one for each at least")
    }
    guard width <= Self.mostSlots / slots.count else {
      throw .sizes("\(slots.count) layers × \(width) slots: expected at most \(Self.mostSlots)")
    }
    guard width % topology.gpus == 0 else {
      throw .sizes(
        "\(width) slots do not spread evenly over \(topology.gpus) GPUs: the number of GPUs must "
          + "be one of " + Topology.list(Topology.divisors(of: width)))
    }
    var seen = [Int](repeating: -1, count: experts)
    for (layer, row) in slots.enumerated() {
      guard row.count == width else {
        throw .placement(
          "layer \(name(layer)): \(row.count) slots, expected \(width) as in layer \(name(0))")
      }
      for (slot, expert) in row.enumerated() {
        guard seen.indices.contains(expert) else {
          throw .placement(
            "layer \(name(layer)), slot \(slot): expert \(expert), expected 0 to \(experts - 1)")
        }
        seen[expert] = layer
      }
      if let missing = seen.firstIndex(where: { $0 != layer }) {
        throw .placement(
          "layer \(name(layer)): no slot holds expert \(missing), expected all \(experts) experts")
      }
    }
    self.topology = topology
    self.experts = experts
    self.slots = slots
  }

  /// One slot for each expert: on every GPU its experts in ascending order. O(L · E).
  public init(_ placement: Placement) {
    topology = placement.topology
    experts = placement.experts
    let perGPU = placement.experts / placement.topology.gpus
    slots = (0..<placement.layers).map { layer in
      var row = [Int](repeating: 0, count: placement.experts)
      var used = [Int](repeating: 0, count: placement.topology.gpus)
      for expert in 0..<placement.experts {
        let gpu = placement[layer: layer, expert: expert]
        row[gpu * perGPU + used[gpu]] = expert
        used[gpu] += 1
      }
      return row
    }
  }

  /// The same slots on GPUs that are spread over `nodes` nodes.
  /// - Throws: `ModelError.sizes` where the GPUs do not spread evenly over them.
  public func on(nodes: Int) throws(ModelError) -> SlotPlan {
    try SlotPlan(
      topology: Topology(gpus: topology.gpus, nodes: nodes), experts: experts, slots: slots)
  }

  /// The GPU of slot `slot`, in every layer.
  public func gpu(ofSlot slot: Int) -> Int { slot / slotsPerGPU }

  /// The placement that the slots are.
  /// - Throws: `ModelError.placement` where an expert has replicas.
  public func placement() throws(ModelError) -> Placement {
    var assignment = [Int](repeating: -1, count: layers * experts)
    for (layer, row) in slots.enumerated() {
      for (slot, expert) in row.enumerated() {
        guard assignment[layer * experts + expert] < 0 else {
          throw .placement(
            "layer \(layer): expert \(expert) has a replica in slot \(slot), expected "
              + "\(experts) slots, one for each expert")
        }
        assignment[layer * experts + expert] = gpu(ofSlot: slot)
      }
    }
    return try Placement(
      topology: topology, layers: layers, experts: experts, assignment: assignment)
  }

  /// The first replica that serves nothing: layer, GPU and expert of a GPU that has an expert
  /// twice.
  public var uselessReplica: (layer: Int, gpu: Int, expert: Int)? {
    guard redundant > 0 else { return nil }
    var seen = [Int](repeating: -1, count: experts)
    for (layer, row) in slots.enumerated() {
      for (slot, expert) in row.enumerated() {
        let visit = layer * topology.gpus + gpu(ofSlot: slot)
        if seen[expert] == visit { return (layer, gpu(ofSlot: slot), expert) }
        seen[expert] = visit
      }
    }
    return nil
  }
}
