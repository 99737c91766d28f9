import Colocate
import ColocateFormats

/// What all plans of one run have in common, whichever of its placements they hold.
struct PlanDraft {
  static let tool = "colocate \(ToolVersion.current)"

  let instance: Instance
  let input: TraceInput
  let record: [(key: String, value: JSONText)]

  /// The plan of an incumbent whose run did not come to its end.
  func plan(of placement: Placement, stopReason: StopReason) throws -> PlanFile {
    var plan = try PlanFile(
      placement: placement, on: instance.counts, objective: instance.objective)
    plan.destinations = try input.sets?.destinations(of: placement)
    plan.rows = try input.sets?.coherentRows(of: placement)
    plan.describe(
      loadCap: instance.loadCap, stopReason: stopReason, input: input, options: record)
    return plan
  }

  /// The plan of an answer.
  func plan(of placement: Placement, outcome: SolverOutcome) throws -> PlanFile {
    var plan = try plan(of: placement, stopReason: outcome.stopReason)
    plan.status = outcome.status
    plan.bound = outcome.bound
    plan.stages = outcome.stages
    plan.joint = outcome.joint
    return plan
  }
}

extension PlanFile {
  /// Says what the run was, of a placement that nothing is proved about yet.
  mutating func describe(
    loadCap: LoadCap?, stopReason: StopReason, input: TraceInput,
    options: [(key: String, value: JSONText)]
  ) {
    self.loadCap = loadCap
    status = .feasible
    self.stopReason = stopReason
    traces = input.traces
    moeLayers = input.moeLayers
    self.options = options
    tool = PlanDraft.tool
  }
}
