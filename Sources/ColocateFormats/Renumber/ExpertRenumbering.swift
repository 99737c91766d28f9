import Colocate

/// New numbers for the experts of a model, so that the plain placement is the one that was planned.
///
/// **Idea.** Engines place experts contiguously: with E experts and P GPUs, c = E / P, GPU p holds
/// the numbers p·c ..< (p + 1)·c of each layer. Let σ be a permutation of a layer's experts that
/// lists those of GPU 0 first, then those of GPU 1, and so on: the expert with the new number s is
/// the old σ(s). A checkpoint whose router has row σ(s) in row s, and whose expert σ(s) is called
/// s, computes the same function: scores are the old ones in another order, so is what is chosen
/// among them (softmax, sigmoid and top-k do not look at numbers), and a chosen expert's output is
/// weighted as before. Only the order of sums may change, and with it the rounding.
///
/// **Groups.** Some routers first choose among G groups of m = E / G neighbouring numbers and then
/// among the experts of the chosen groups. There σ has to map groups onto groups: the numbers
/// h·m ..< (h + 1)·m are the experts of one old group g. The GPUs fix how many numbers of h lie on
/// each GPU, v_h(p); the plan fixes how many experts of g do, u_g(p). A σ exists if and only if
/// the old groups can be matched to the new with u_g = v_h, that is, if both are the same multiset
/// of vectors. Groups with equal vectors are interchangeable, so that matching each h with the
/// first unused g of its vector is exact.
///
/// Within one GPU (and group) experts keep their order: a plan that is contiguous already changes
/// nothing.
package struct ExpertRenumbering: Hashable, Sendable {
  /// Experts of each layer, `E`.
  package let experts: Int
  /// Model layer → `σ`, `[E]`: the old number of the expert with each new number.
  package let slotToExpert: [Int: [Int]]

  /// - Parameters:
  ///   - placement: where each expert is to live.
  ///   - modelLayers: `[L]`: the model's layer of each layer of `placement`.
  ///   - groups: `G`, groups of neighbouring numbers that the router chooses among; divides `E`.
  /// - Throws: `ModelError.placement` where a layer's plan does not keep the groups together.
  package init(_ placement: Placement, modelLayers: [Int], groups: Int) throws(ModelError) {
    guard modelLayers.count == placement.layers, groups >= 1, placement.experts % groups == 0
    else {
      throw .placement(
        "\(placement.layers) layers and \(placement.experts) experts in \(groups) groups: "
          + "expected \(modelLayers.count) layers and groups of one size")
    }
    var slotToExpert = [Int: [Int]]()
    for (l, layer) in modelLayers.enumerated() {
      slotToExpert[layer] = try Self.order(placement, l, layer: layer, groups: groups)
    }
    self.slotToExpert = slotToExpert
    experts = placement.experts
  }

  /// - Throws: `ModelError.placement` where a row is no permutation of `0 ..< experts`.
  package init(experts: Int, slotToExpert: [Int: [Int]]) throws(ModelError) {
    for (layer, row) in slotToExpert where row.sorted() != Array(0..<experts) {
      throw .placement("layer \(layer): expected each of 0 to \(experts - 1) once")
    }
    self.experts = experts
    self.slotToExpert = slotToExpert
  }

  /// σ of one layer.
  private static func order(
    _ placement: Placement, _ l: Int, layer: Int, groups: Int
  ) throws(ModelError) -> [Int] {
    let (experts, gpus) = (placement.experts, placement.topology.gpus)
    let (perGPU, perGroup) = (experts / gpus, experts / groups)
    // u_g(p), as sorted GPUs: two groups with the same GPUs, as often each, are alike.
    var unused = (0..<groups).map { g in
      (
        group: g,
        gpus: (g * perGroup..<(g + 1) * perGroup).map { placement[layer: l, expert: $0] }.sorted()
      )
    }
    var order = [Int]()
    order.reserveCapacity(experts)
    for h in 0..<groups {
      let slots = h * perGroup..<(h + 1) * perGroup
      let wanted = slots.map { $0 / perGPU }
      guard let match = unused.firstIndex(where: { $0.gpus == wanted }) else {
        throw .placement(
          "layer \(layer): the router chooses among \(groups) groups of \(perGroup) neighbouring "
            + "experts, and the plan \(describe(unused.map(\.gpus), perGPU: perGPU)); expected "
            + "experts to move only as whole groups, or within a group")
      }
      let members = unused.remove(at: match).group
      // Those of one GPU in their old order: the sort is by GPU, then by number.
      order += (members * perGroup..<(members + 1) * perGroup).sorted {
        (placement[layer: l, expert: $0], $0) < (placement[layer: l, expert: $1], $1)
      }
    }
    return order
  }

  /// What the plan does to the first group that fits nowhere.
  private static func describe(_ groups: [[Int]], perGPU: Int) -> String {
    let spread = groups.map { Set($0).count }.max() ?? 1
    return spread > 1
      ? "spreads the experts of a group over \(spread) GPUs in a way that no group of numbers has"
      : "gives a GPU groups that its \(perGPU) numbers do not cover"
  }

  /// Model layer → `σ⁻¹`, `[E]`: the new number of each old expert.
  package var expertToSlot: [Int: [Int]] {
    slotToExpert.mapValues { row in
      var inverse = [Int](repeating: 0, count: row.count)
      for (slot, expert) in row.enumerated() { inverse[expert] = slot }
      return inverse
    }
  }

  /// The renumbering that takes this one back.
  package var inverse: ExpertRenumbering {
    ExpertRenumbering(unchecked: experts, expertToSlot)
  }

  /// Experts whose number changes, in all layers together.
  package var changed: Int {
    slotToExpert.values.reduce(0) { $0 + $1.enumerated().count { $0 != $1 } }
  }

  private init(unchecked experts: Int, _ slotToExpert: [Int: [Int]]) {
    self.experts = experts
    self.slotToExpert = slotToExpert
  }
}
