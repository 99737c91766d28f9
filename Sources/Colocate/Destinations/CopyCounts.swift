import ColocateModel

/// How many copies each expert of a layer gets.
///
/// EPLB's rule (github.com/deepseek-ai/EPLB, replicate_experts): every expert has one copy; then,
/// as often as there are redundant slots, one more goes to the expert whose copies serve the most
/// tokens each. That makes the largest load of a copy as small as any counts can: a copy heavier
/// than the rule's heaviest is what some other choice is left with. Of equal loads the first expert
/// is taken. One thing is added here: an expert that has a copy on every GPU gets no more.
package enum CopyCounts {
  /// - Parameters:
  ///   - loads: tokens of each expert, `[E]`, none negative.
  ///   - slots: `S`, from `E` to `E · gpus`.
  /// - Returns: `[E]`, each from 1 to `gpus`, together `slots`. O((S − E) · E).
  package static func counts(_ loads: [Int], slots: Int, gpus: Int) -> [Int] {
    var counts = [Int](repeating: 1, count: loads.count)
    for _ in loads.count..<max(slots, loads.count) {
      var heaviest = -1
      for expert in loads.indices where counts[expert] < gpus {
        guard heaviest >= 0 else {
          heaviest = expert
          continue
        }
        // load / copies, compared without rounding; loads are at most 2^36, copies 2^20.
        if loads[expert] * counts[heaviest] > loads[heaviest] * counts[expert] {
          heaviest = expert
        }
      }
      guard heaviest >= 0 else { return counts }
      counts[heaviest] += 1
    }
    return counts
  }
}
