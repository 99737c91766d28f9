import Colocate
import ColocateFormats

/// The placement that a solve starts from: a plan for this machine that meets the load cap.
struct WarmStart {
  private let path: String
  /// The plan's GPUs, on the nodes of this run.
  let placement: Placement

  /// Reads a plan.
  /// - Throws: `FormatError` naming the plan, where it is for another model or machine.
  init(_ path: String, input: TraceInput, topology: Topology) throws {
    self.path = path
    let plan = try PlanInput.read(
      path, for: input.counts,
      .init(gpus: topology.gpus, nodes: topology.nodes, moeLayers: input.moeLayers))
    guard plan.placement.topology.gpus == topology.gpus else {
      throw FormatError(
        path, "a plan for \(plan.placement.topology.gpus) GPUs, expected \(topology.gpus)")
    }
    placement = try Placement(
      topology: topology, layers: plan.placement.layers, experts: plan.placement.experts,
      assignment: plan.placement.assignment)
  }

  /// The placement, repaired by swaps where it breaks the load cap; then a note says so.
  /// - Throws: `FormatError` naming the plan, where swaps do not bring it under the cap.
  func placement(for instance: Instance, note: (String) -> Void) throws -> Placement {
    guard let violation = try LoadViolation(of: placement, in: instance) else { return placement }
    guard let repaired = try instance.repaired(placement) else {
      throw FormatError(
        path, "\(violation), and swaps do not repair it: expected a plan within the cap, or none")
    }
    let old = try instance.counts.crossings(of: placement).gpu
    let new = try instance.counts.crossings(of: repaired).gpu
    note("colocate: warning: " + FormatError(path, "\(violation)").description)
    note(
      "colocate: note: the search starts from it repaired by swaps: \(old) GPU crossings became "
        + "\(new)"
    )
    return repaired
  }
}

/// Where a placement breaks the load cap, the worst place.
struct LoadViolation: CustomStringConvertible {
  let layer: Int
  let gpu: Int
  let load: Int
  let cap: Int
  let ratio: Double
  let capRatio: Double

  /// nil where the placement meets the cap, or there is none.
  init?(of placement: Placement, in instance: Instance) throws {
    guard let loadCap = instance.loadCap, let caps = instance.capPerLayer else { return nil }
    let gpus = placement.topology.gpus
    let loads = try instance.counts.gpuLoads(of: placement)
    var worst: (ratio: Double, place: Int)?
    for place in loads.indices where loads[place] > caps[place / gpus] {
      let tokens = instance.counts.load(layer: place / gpus)
      let ratio = Double(loads[place]) * Double(gpus) / Double(tokens)
      if ratio > worst?.ratio ?? 0 { worst = (ratio, place) }
    }
    guard let worst else { return nil }
    (layer, gpu) = (worst.place / gpus, worst.place % gpus)
    (load, cap) = (loads[worst.place], caps[worst.place / gpus])
    (ratio, capRatio) = (worst.ratio, loadCap.ratio)
  }

  /// nil where the placement meets the cap on `sets`.
  init?(of placement: Placement, in sets: TokenSets, cap loadCap: LoadCap) throws {
    let gpus = placement.topology.gpus
    let loads = try sets.gpuLoads(of: placement)
    var worst: (ratio: Double, place: Int, cap: Int)?
    for place in loads.indices {
      let tokens = sets.layerSets[place / gpus].loads.reduce(0, +)
      let cap = loadCap.tokens(of: tokens, groups: gpus)
      guard loads[place] > cap else { continue }
      let ratio = Double(loads[place]) * Double(gpus) / Double(tokens)
      if ratio > worst?.ratio ?? 0 { worst = (ratio, place, cap) }
    }
    guard let worst else { return nil }
    (layer, gpu) = (worst.place / gpus, worst.place % gpus)
    (load, cap) = (loads[worst.place], worst.cap)
    (ratio, capRatio) = (worst.ratio, loadCap.ratio)
  }

  var description: String {
    "breaks the load cap: layer \(layer), GPU \(gpu) has \(load) tokens (\(Show.ratio(ratio)) × "
      + "the mean), the cap is \(cap) (--max-load \(capRatio))"
  }
}
