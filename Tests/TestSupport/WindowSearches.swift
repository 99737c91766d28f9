import Colocate

extension WindowSearch {
  /// At the shares of the whole's multipliers, against the incumbent's parts; nil where it has
  /// none.
  /// - Parameter incumbent: `[L, E]`.
  package static func atMultipliers(
    of whole: ColocationRelaxation, incumbent: [Int], parameters: Parameters,
    control: SearchControl
  ) -> WindowSearch? {
    guard let multipliers = whole.multipliers,
      let split = WindowSplit(problem: whole.problem, multipliers: multipliers)
    else { return nil }
    return WindowSearch(
      whole: whole, split: split,
      bests: split.windows.indices.map {
        split.windows[$0].problem.kept(split.labels(incumbent, window: $0))
      },
      parameters: parameters, control: control)
  }
}
