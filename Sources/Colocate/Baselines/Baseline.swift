import ColocateModel

/// The placements that people know, for comparison and as starting points.
///
/// `plainPlacement` is the method of its name, followed by nothing; `placement` is that where it
/// meets the load cap, and otherwise what `LoadRepair` makes of it by swaps. All of them maximise
/// what `Objective.flat` counts (crossings between GPUs) whatever the instance's objective is.
public enum Baseline: Hashable, Sendable, CaseIterable, CustomStringConvertible {
  /// Expert `e` on GPU `e / c`: what frameworks do by default.
  case contiguous
  /// Expert `e` on GPU `e mod P`.
  case roundRobin
  /// Each layer shuffled, from a seed.
  case random(seed: UInt64)
  /// Layer 0 contiguous; each next layer the best response to the one before, one transportation
  /// problem.
  case greedyForwards
  /// The same from the last layer to the first.
  case greedyBackwards
  /// The same from the middle layer outwards.
  case greedyOutwards
  /// Greedy over all pairs of neighbouring experts, the heaviest first: a pair that can still share
  /// a GPU is put on one.
  case heaviestPair
  /// ExFlow's reference code splits all layers in two, then each half again; there by a general
  /// solver, here by local search with a fixed budget. P must be a power of two.
  case recursiveBisection
  /// Loads alone, as EPLB packs without replicas: heaviest expert first, to the least loaded GPU
  /// with room. Blind to transitions.
  case loadPacking

  public static let allCases: [Baseline] = [
    .contiguous, .roundRobin, .random(seed: 1), .greedyForwards, .greedyBackwards,
    .greedyOutwards, .heaviestPair, .recursiveBisection, .loadPacking,
  ]

  /// The name in tables and on the command line.
  public var description: String {
    switch self {
    case .contiguous: return "contiguous"
    case .roundRobin: return "round-robin"
    case .random: return "random"
    case .greedyForwards: return "greedy forwards"
    case .greedyBackwards: return "greedy backwards"
    case .greedyOutwards: return "greedy outwards"
    case .heaviestPair: return "heaviest pair"
    case .recursiveBisection: return "recursive bisection"
    case .loadPacking: return "EPLB packing, no replicas"
    }
  }

  /// Why there is no placement.
  public struct NotApplicable: Error, Hashable, Sendable, CustomStringConvertible {
    /// One line.
    public let description: String
  }

  /// The placement, within the load cap where the instance has one: the plain one where it meets
  /// the cap, otherwise brought under it by `LoadRepair`.
  /// - Parameters:
  ///   - instance: what is to be placed, on which machines.
  ///   - timeLimit: seconds it may take; nil for no limit.
  /// - Throws: `NotApplicable` where the method does not fit the instance, time was over before it
  ///   had an answer, or its placement could not be brought under the cap.
  public func placement(
    for instance: Instance, timeLimit: Double? = nil
  ) throws(NotApplicable) -> Placement {
    try placement(for: instance, control: SearchControl(timeLimit: timeLimit))
  }

  /// The method's own placement, whether it meets the load cap or not.
  /// - Throws: as above.
  public func plainPlacement(
    for instance: Instance, timeLimit: Double? = nil
  ) throws(NotApplicable) -> Placement {
    try plainPlacement(for: instance, control: SearchControl(timeLimit: timeLimit))
  }

  /// As above, with whatever else can stop it.
  package func placement(
    for instance: Instance, control: SearchControl
  ) throws(NotApplicable) -> Placement {
    try repaired(
      try plainPlacement(for: instance, control: control), for: instance, control: control)
  }

  /// A plain placement brought under the instance's load cap.
  package func repaired(
    _ plain: Placement, for instance: Instance, control: SearchControl
  ) throws(NotApplicable) -> Placement {
    guard let placement = instance.repaired(unchecked: plain, control: control) else {
      throw NotApplicable(
        description: control.shouldStop
          ? "\(self): stopped before it was under the load cap"
          : "\(self): swaps do not bring it under the load cap")
    }
    return placement
  }

  /// As above, with whatever else can stop it.
  package func plainPlacement(
    for instance: Instance, control: SearchControl
  ) throws(NotApplicable) -> Placement {
    let problem = instance.reduced.gpuProblem
    let labels = try labels(for: problem, control: control)
    return Placement(
      unchecked: instance.topology, layers: problem.layers, experts: problem.experts,
      assignment: labels)
  }

  /// Labels `[L, E]` without regard to caps.
  func labels(
    for problem: GroupingProblem, control: SearchControl
  ) throws(NotApplicable) -> [Int] {
    let (layers, experts, groups) = (problem.layers, problem.experts, problem.groups)
    func finished(_ labels: [Int]?) throws(NotApplicable) -> [Int] {
      guard let labels else {
        throw NotApplicable(
          description: "\(self): \(control.isCancelled ? "interrupted" : "out of time")")
      }
      return labels
    }
    switch self {
    case .contiguous:
      return (0..<(layers * experts)).map { $0 % experts / problem.groupSize }
    case .roundRobin: return (0..<(layers * experts)).map { $0 % experts % groups }
    case .random(let seed):
      var random = SeededGenerator(seed: seed)
      return (0..<layers).flatMap { _ in
        (0..<experts).map { $0 % groups }.shuffled(using: &random)
      }
    case .greedyForwards:
      return try finished(GreedyLayers.labels(problem, from: 0, control: control))
    case .greedyBackwards:
      return try finished(GreedyLayers.labels(problem, from: layers - 1, control: control))
    case .greedyOutwards:
      return try finished(GreedyLayers.labels(problem, from: layers / 2, control: control))
    case .heaviestPair: return try finished(HeaviestPair.labels(problem, control: control))
    case .recursiveBisection:
      guard groups.nonzeroBitCount == 1 else {
        throw NotApplicable(
          description: "recursive bisection: \(groups) GPUs, expected a power of two")
      }
      return try finished(RecursiveBisection.labels(problem, control: control))
    case .loadPacking: return LoadPacking.labels(problem)
    }
  }
}
