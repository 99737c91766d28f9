import Colocate
import ColocateFormats

/// A plan to be read, in any of the formats that `colocate convert` knows; ExFlow's table by its
/// name, which ends in .csv.
enum PlanInput {
  /// What the file does not say, and the command line or the traces do.
  struct Sizes {
    /// `P`; nil as the file says.
    var gpus: Int?
    /// `N` of a file that does not say; nil is 1.
    var nodes: Int?
    /// The model's layers that the traces are of; nil where these are all.
    var moeLayers: [Int]?
  }

  private static func isTable(_ path: String) -> Bool { path.lowercased().hasSuffix(".csv") }

  /// What a plan of the tool's own says of how its traces were counted; nil of other formats.
  static func recorded(_ path: String) throws -> PlanFile? {
    guard !isTable(path), try PlacementReader.format(of: path) == nil else { return nil }
    return try PlanFile.read(path)
  }

  /// - Parameter counts: of the model that the plan must be for.
  static func read(
    _ path: String, for counts: TransitionCounts, _ sizes: Sizes
  ) throws -> PlanFile {
    let plan = try plan(path, for: counts, sizes)
    let placement = plan.placement
    guard placement.layers == counts.layers, placement.experts == counts.experts else {
      throw FormatError(
        path,
        "a plan for \(placement.layers) layers × \(placement.experts) experts, expected "
          + "\(counts.layers) × \(counts.experts) as in the trace"
          + (placement.layers == counts.layers && placement.experts > counts.experts
            ? " (or its last experts are never used: --experts \(placement.experts))" : "")
          + (plan.moeLayers.map { layers in
            " (the plan's layers are \(Remark.list(layers)) of its trace: --moe-layers)"
          } ?? "")
      )
    }
    return plan
  }

  private static func plan(
    _ path: String, for counts: TransitionCounts, _ sizes: Sizes
  ) throws -> PlanFile {
    if isTable(path) {
      return PlanFile(
        placement: try ExFlowCSV.read(
          path, layers: counts.layers, experts: counts.experts, gpus: sizes.gpus,
          nodes: sizes.nodes ?? 1))
    }
    guard let format = try PlacementReader.format(of: path) else { return try PlanFile.read(path) }
    var reading = PlacementReading()
    (reading.gpus, reading.nodes) = (sizes.gpus, sizes.nodes)
    if format.hasDenseLayers { reading.moeLayers = sizes.moeLayers }
    let found = try PlacementReader.read(path, as: format, reading).placement
    guard found.plan.redundant == 0 else { throw unsaidDispatch(path, found.plan) }
    return try CommandFailure.naming([path]) { () throws(ModelError) in
      PlanFile(placement: try found.plan.placement())
    }
  }

  /// What is said of a plan with copies where one slot for each expert is expected.
  static func unsaidDispatch(_ path: String, _ plan: SlotPlan) -> FormatError {
    FormatError(
      path,
      "\(plan.slotsPerLayer) slots for \(plan.experts) experts, expected one for each (evaluate "
        + "--dispatch counts plans with copies)")
  }

  /// The slots of a plan, whether experts have copies or not.
  /// - Parameter sizes: nodes are put in place of those that the file has.
  static func slots(_ path: String, experts: Int, _ sizes: Sizes) throws -> SlotPlan {
    let format = isTable(path) ? .exflow : try PlacementReader.format(of: path) ?? .colocate
    var reading = PlacementReading()
    (reading.gpus, reading.nodes, reading.experts) = (sizes.gpus, sizes.nodes, experts)
    if format.hasDenseLayers { reading.moeLayers = sizes.moeLayers }
    return try PlacementReader.read(path, as: format, reading).placement.plan
  }
}
