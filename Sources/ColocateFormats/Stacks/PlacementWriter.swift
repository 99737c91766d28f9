import ColocateModel

/// Writes a placement in any `PlacementFormat`.
public enum PlacementWriter {
  /// The file's text.
  /// - Throws: `ModelError.placement` where the format cannot hold the placement: copies of experts
  ///   where it has one place for each, an expert twice on a GPU where that must not be, or a plan
  ///   that LMDeploy cannot be led to.
  public static func text(
    _ placement: StackPlacement, as format: PlacementFormat
  ) throws(ModelError) -> String {
    guard placement.plan.redundant == 0 || format.hasReplicas else {
      throw .placement(
        "\(placement.plan.redundant) redundant slots, expected none: \(format.rawValue) has one "
          + "place for each expert, copies are for "
          + PlacementFormat.allCases.filter(\.hasReplicas).map(\.rawValue).joined(separator: ", "))
    }
    switch format {
    case .colocate where placement.plan.redundant > 0:
      var plan = try SlotPlanFile(placement.plan)
      plan.moeLayers = placement.modelLayers
      plan.tool = "colocate \(ToolVersion.current)"
      return plan.json.text
    case .colocate:
      var plan = PlanFile(placement: try placement.plan.placement())
      plan.moeLayers = placement.modelLayers
      plan.tool = "colocate \(ToolVersion.current)"
      return plan.json.text
    case .exflow: return ExFlowCSV.text(try placement.plan.placement())
    case .sglang: return SGLangPlacement.text(placement).text
    case .tensorRTLLM: return TensorRTPlacement.text(placement)
    case .vllm: return VLLMPlacement.text(placement)
    case .vllmMap: return JSONText.array(placement.plan.slots.map { JSONText($0) }).text
    case .vllmAscend: return try AscendPlacement.text(placement).text
    case .lmdeploy: return try LMDeployPlacement.text(placement).text
    }
  }

  /// Writes the file, whole or not at all.
  /// - Throws: `ModelError` as `text(_:as:)`; `FormatError` where the file cannot be written, or
  /// has
  ///   a name that its stack does not read.
  public static func write(
    _ placement: StackPlacement, as format: PlacementFormat, to path: String
  ) throws {
    try checkName(path, for: format)
    try AtomicFile.write(text(placement, as: format), to: path)
  }

  /// SGLang and vLLM-Ascend go by the name's end.
  /// - Throws: `FormatError` where the stack would not read a file of this name.
  public static func checkName(
    _ path: String, for format: PlacementFormat
  ) throws(FormatError) {
    guard format == .vllmAscend || format == .sglang, !path.hasPrefix("/dev/") else { return }
    guard path.hasSuffix(".json") else {
      throw FormatError(path, "\(format.rawValue) reads names that end in .json, expected such")
    }
  }
}
