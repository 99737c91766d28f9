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
    plan.loadCap = instance.loadCap
    plan.status = .feasible
    plan.stopReason = stopReason
    plan.traces = input.traces
    plan.moeLayers = input.moeLayers
    plan.options = record
    plan.tool = Self.tool
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
