import ColocateModel
import Synchronization

/// One run of `DestinationSolver`: the layers, their limits, and what is known of them.
final class DestinationRun: Sendable {
  /// What is known of a layer.
  struct LayerState: Sendable {
    /// GPU of each expert, `[E]`.
    var groupOf: [Int]
    var outcome: DestinationLayerOutcome
  }

  let sets: TokenSets
  let topology: Topology
  let objective: DestinationObjective
  let options: DestinationOptions
  /// The most tokens of a GPU in each layer, `[L]`; nil without a cap.
  let caps: [Int]?
  /// A placement within the cap, `[L, E]`.
  let start: [Int]
  let control: SearchControl
  private let states: Mutex<[LayerState]>
  private let progress: @Sendable (DestinationProgress) -> ProgressAction

  init(
    _ sets: TokenSets, topology: Topology, objective: DestinationObjective, loadCap: LoadCap?,
    options: DestinationOptions,
    progress: @escaping @Sendable (DestinationProgress) -> ProgressAction
  ) throws(ModelError) {
    let size = try topology.expertsPerGPU(experts: sets.experts)
    if case .joint(let inter, let intra) = objective {
      guard inter >= intra, intra >= 0, inter > 0, inter <= 1 << 20 else {
        throw .option(
          "weights of \(inter) between nodes and \(intra) inside: expected "
            + "inside from 0 to between, and between from 1 to \(1 << 20)")
      }
    }
    if let warm = options.warmStart {
      try sets.check(warm)
      guard warm.topology == topology else {
        throw .placement("the warm start is for other machines")
      }
    }
    self.sets = sets
    self.topology = topology
    self.objective = objective
    self.options = options
    self.progress = progress
    control = SearchControl(
      timeLimit: options.timeLimit, workLimit: options.workLimit, threads: options.threads)
    if let loadCap {
      let found = try loadCap.perLayer(
        counts: Self.loadsAlone(sets), gpus: topology.gpus, known: options.warmStart?.assignment)
      caps = Array(found.caps.prefix(sets.layers))
      start = Array(found.packing.prefix(sets.layers * sets.experts))
    } else {
      caps = nil
      start =
        options.warmStart?.assignment
        ?? (0..<sets.layers).flatMap { _ in (0..<sets.experts).map { $0 / size } }
    }
    states = Mutex([])
    let first = (0..<sets.layers).map { state($0, labels: start($0)) }
    states.withLock { $0 = first }
  }

  /// Counts without transitions: what load caps look at.
  private static func loadsAlone(_ sets: TokenSets) throws(ModelError) -> TransitionCounts {
    var layers = sets.layerSets
    // Counts have a boundary at least; a layer given twice asks for the same cap twice.
    if layers.count == 1 { layers.append(layers[0]) }
    let square = sets.experts * sets.experts
    return try TransitionCounts(
      layers: layers.count, experts: sets.experts,
      weights: [Int](repeating: 0, count: (layers.count - 1) * square),
      loads: layers.flatMap(\.loads))
  }

  /// The start's labels of layer `l`.
  func start(_ l: Int) -> [Int] { Array(start[(l * sets.experts)..<((l + 1) * sets.experts)]) }

  /// The objective's value of layer `l` under `labels`.
  func value(_ l: Int, _ labels: [Int]) -> Int {
    let layer = sets.layerSets[l]
    let gpu = layer.destinations(groupOf: labels, groups: topology.gpus)
    let node = layer.destinations(
      groupOf: labels.map(topology.node(of:)), groups: topology.nodes)
    return objective.value(gpu: gpu, node: node)
  }

  private func state(_ l: Int, labels: [Int]) -> LayerState {
    LayerState(
      groupOf: labels,
      outcome: DestinationLayerOutcome(
        value: value(l, labels), bound: nil, status: .feasible, seconds: 0, prices: []))
  }

  /// Passes over layers that are not proved: what early layers could not do in their share of the
  /// time, they may do with what the others left.
  private static let passes = 3

  /// Solves all layers.
  func run() -> Placement {
    states.withLock { report($0, layer: nil) }
    pass(Array(0..<sets.layers), isFirst: true)
    if options.timeLimit != nil, options.workLimit == nil, options.proves {
      for _ in 1..<Self.passes {
        let open = states.withLock { states in
          states.indices.filter { states[$0].outcome.status != .optimal }
        }
        if open.isEmpty || control.isOver { break }
        pass(open, isFirst: false)
      }
    }
    let labels = states.withLock { $0.flatMap(\.groupOf) }
    return Placement(
      unchecked: topology, layers: sets.layers, experts: sets.experts, assignment: labels)
  }

  /// Works on the given layers, each with an even share of the time among those not begun.
  private func pass(_ layers: [Int], isFirst: Bool) {
    let share = options.workLimit.map { max(1, $0 / layers.count) }
    let begun = Atomic<Int>(0)
    concurrentFor(layers.count, threads: control.threads) { _, index in
      guard !control.shouldStop else { return }
      let l = layers[index]
      let waiting = layers.count - begun.wrappingAdd(1, ordering: .relaxed).oldValue
      let threads = Double(min(control.threads, waiting))
      let part = control.share(
        seconds: control.remaining * threads / Double(waiting), work: share)
      let before = isFirst ? nil : states.withLock { $0[l] }
      let state = LayerRun(self, layer: l, before: before, control: part).solve()
      control.spend(part.workSpent)
      finish(l, before.map { merged(l, $0, state) } ?? state)
    }
  }

  /// The better of two answers for a layer, with what both prove.
  private func merged(_ l: Int, _ old: LayerState, _ new: LayerState) -> LayerState {
    let (a, b) = (old.outcome, new.outcome)
    let seconds = a.seconds + b.seconds
    if objective == .staged {
      // Bounds belong to their own first stage.
      let isNew = b.status == .optimal || rank(l, new) < rank(l, old)
      let (state, outcome) = isNew ? (new, b) : (old, a)
      return LayerState(
        groupOf: state.groupOf,
        outcome: DestinationLayerOutcome(
          value: outcome.value, bound: outcome.bound, status: outcome.status, seconds: seconds,
          prices: outcome.prices))
    }
    let bound = [a.bound, b.bound].compactMap { $0 }.max()
    let value = min(a.value, b.value)
    return LayerState(
      groupOf: b.value < a.value ? new.groupOf : old.groupOf,
      outcome: DestinationLayerOutcome(
        value: value, bound: bound,
        status: bound == value || b.status == .optimal ? .optimal : .feasible, seconds: seconds,
        prices: (b.bound ?? -1) >= (a.bound ?? -1) ? b.prices : a.prices))
  }

  /// Node destinations first, then GPU destinations.
  private func rank(_ l: Int, _ state: LayerState) -> (Int, Int) {
    let nodeOf = state.groupOf.map(topology.node(of:))
    let node = sets.layerSets[l].destinations(groupOf: nodeOf, groups: topology.nodes)
    return (node, state.outcome.value)
  }

  private func finish(_ l: Int, _ state: LayerState) {
    states.withLock { states in
      states[l] = state
      report(states, layer: l)
    }
  }

  /// Passes news on. Called under the lock: one call at a time.
  private func report(_ states: [LayerState], layer: Int?) {
    let placement = Placement(
      unchecked: topology, layers: sets.layers, experts: sets.experts,
      assignment: states.flatMap(\.groupOf))
    let action = progress(
      DestinationProgress(
        layer: layer, outcome: layer.map { states[$0].outcome },
        value: states.reduce(0) { $0 + $1.outcome.value },
        bound: states.reduce(0) { $0 + ($1.outcome.bound ?? 0) }, layers: states.count,
        proved: states.count { $0.outcome.status == .optimal }, placement: placement,
        seconds: control.elapsed))
    if action == .stop { control.cancel() }
  }

  func outcome(_ placement: Placement) throws(ModelError) -> DestinationOutcome {
    let layers = states.withLock { $0.map(\.outcome) }
    let destinations = try sets.destinations(of: placement)
    let bounds = layers.compactMap(\.bound)
    let isStaged = objective == .staged && topology.nodes > 1
    let isOptimal = layers.allSatisfy { $0.status == .optimal }
    let reason: StopReason =
      isOptimal
      ? .proved
      : control.isCancelled
        ? .cancelled : control.isTimeOver ? .time : control.isWorkOver ? .work : .finished
    return DestinationOutcome(
      status: isOptimal ? .optimal : .feasible, stopReason: reason, placement: placement,
      destinations: destinations, value: objective.value(of: destinations),
      bound: bounds.count == layers.count && !isStaged ? bounds.reduce(0, +) : nil,
      layers: layers, caps: caps, seconds: control.elapsed, work: control.workSpent)
  }
}
