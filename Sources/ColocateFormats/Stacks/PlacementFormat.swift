import ColocateModel

/// The files in which serving stacks, and this tool, keep a placement.
///
/// | case | file | rows | GPUs |
/// |---|---|---|---|
/// | `colocate` | the tool's own plan, JSON | MoE layers | in the file |
/// | `exflow` | `Expert,Node` table | MoE layers | largest number + 1 |
/// | `sglang` | JSON for `--init-expert-location` | all hidden layers | not in the file |
/// | `tensorrt-llm` | YAML of `moe_load_balancer` | MoE layers by number | not in the file |
/// | `vllm` | one mapping record, JSON lines | MoE layers | not in the file |
/// | `vllm-map` | JSON table | MoE layers | not in the file |
/// | `vllm-ascend` | expert map, JSON | MoE layers | in the file |
/// | `lmdeploy` | JSON table of loads that LMDeploy packs into the plan | all hidden layers | no |
///
/// A plan with copies of experts is a `SlotPlanFile` in the tool's own format, and can be in no
/// `exflow` and no `lmdeploy` file.
public enum PlacementFormat: String, Hashable, Sendable, CaseIterable {
  case colocate
  case exflow
  case sglang
  case tensorRTLLM = "tensorrt-llm"
  case vllm
  case vllmMap = "vllm-map"
  case vllmAscend = "vllm-ascend"
  case lmdeploy

  /// Whether the file has a row for every hidden layer, dense ones among them.
  public var hasDenseLayers: Bool { self == .sglang || self == .lmdeploy }
  /// Whether an expert may have several slots.
  public var hasReplicas: Bool {
    switch self {
    case .exflow, .lmdeploy: false
    case .colocate, .sglang, .tensorRTLLM, .vllm, .vllmMap, .vllmAscend: true
    }
  }
}

/// A placement as a stack's file has it, and which layers of the model its rows are.
public struct StackPlacement: Hashable, Sendable {
  /// The MoE layers' slots.
  public var plan: SlotPlan
  /// The model's layers that the plan's layers are, ascending, shape `[L]`; nil where nothing says.
  public var modelLayers: [Int]?
  /// Layers of the model, dense ones among them, `H`; nil where nothing says.
  public var hiddenLayers: Int?

  /// - Throws: `ModelError.placement` where the layer numbers are not `L` ascending ones below `H`.
  public init(plan: SlotPlan, modelLayers: [Int]? = nil, hiddenLayers: Int? = nil)
    throws(ModelError)
  {
    if let modelLayers {
      guard modelLayers.count == plan.layers else {
        throw .placement(
          "\(plan.layers) MoE layers, expected \(modelLayers.count): "
            + "\(Remark.list(modelLayers))")
      }
      guard modelLayers[0] >= 0, zip(modelLayers, modelLayers.dropFirst()).allSatisfy(<) else {
        throw .placement("MoE layers \(Remark.list(modelLayers)), expected ascending numbers")
      }
    }
    let last = modelLayers?.last ?? plan.layers - 1
    guard last < hiddenLayers ?? Self.mostHiddenLayers else {
      throw .placement(
        "MoE layer \(last), expected at most \((hiddenLayers ?? Self.mostHiddenLayers) - 1)")
    }
    self.plan = plan
    self.modelLayers = modelLayers
    self.hiddenLayers = hiddenLayers
  }

  /// Layers that a model never exceeds.
  static let mostHiddenLayers = 4096

  /// The model's layers in the order of a file with a row for each: the plan's layer, or nil for a
  /// dense one.
  var rows: [Int?] {
    let numbers = modelLayers ?? Array(0..<plan.layers)
    var rows = [Int?](repeating: nil, count: hiddenLayers ?? (numbers.last ?? 0) + 1)
    for (layer, number) in numbers.enumerated() { rows[number] = layer }
    return rows
  }
}

/// What a stack's file does not say and its reader has to know.
public struct PlacementReading: Hashable, Sendable {
  /// `P`; nil as the file says.
  public var gpus: Int?
  /// `N`, of which only the tool's own plan knows; nil takes 1.
  public var nodes: Int?
  /// `E`; nil as the file says, or the largest id + 1.
  public var experts: Int?
  /// The model's MoE layers, ascending. Of files with a row for every hidden layer these rows are
  /// read; other files must have as many rows.
  public var moeLayers: [Int]?
  /// `H`; nil as the file says.
  public var hiddenLayers: Int?

  public init() {}
}
