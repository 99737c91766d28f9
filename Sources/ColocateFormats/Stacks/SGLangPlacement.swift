/// SGLang's `--init-expert-location` (0.5.23, sglang/srt/eplb/expert_location.py): a JSON object
/// with `physical_to_logical_map`, `[H][S]`, and no other key, since SGLang hands the keys over as
/// arguments.
///
/// Slot `s` lives on GPU `s / (S / P)`. SGLang takes whatever number of rows and slots there is,
/// and a row without some expert: such files are refused here.
enum SGLangPlacement {
  private static let key = "physical_to_logical_map"

  /// The file of a placement; dense layers are in their first order, replicas counted through.
  static func text(_ placement: StackPlacement) -> JSONText {
    let plan = placement.plan
    let dense = (0..<plan.slotsPerLayer).map { $0 % plan.experts }
    let rows = placement.rows.map { layer in layer.map { plan.slots[$0] } ?? dense }
    return .object([(key, .array(rows.map { JSONText($0) }))])
  }

  static func rows(_ document: JSONNode) throws(JSONProblem) -> SlotRows {
    try document.checkKeys([key])
    return SlotRows(slots: try document.member(key).table())
  }
}
