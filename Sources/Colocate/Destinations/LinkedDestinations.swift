import ColocateModel

/// What couples the layers again: crossings beside destinations, or coherent mode's rows.
///
/// Both are minimised by sweeps: with the neighbours fixed, what they ask of a layer is a cost
/// `linear[e, q]` of expert `e` on GPU `q`, and for rows **anchors**: a token that comes from GPU
/// `g` counts `λ(S ∪ {g})`. So a layer is the same problem as before (`DestinationLayer`), and the
/// same swaps improve it. Layers of one parity do not touch each other and are improved side by
/// side; a layer's new placement is taken only if the layer's own terms fall, so the value falls
/// with every sweep. There is no bound here beyond that of the destinations alone.
public struct LinkedDestinations: Sendable {
  /// What is minimised.
  public enum Target: Hashable, Sendable {
    /// `GPU destinations + weight · GPU crossings`, weight ≥ 0.
    case crossings(weight: Int)
    /// Rows that coherent mode sends; the sets must know their followers.
    case rows
  }

  private let sets: TokenSets
  private let counts: TransitionCounts?
  private let topology: Topology
  private let target: Target
  /// `[L]`, or nil.
  private let caps: [Int]?
  private let options: DestinationOptions
  private let cancelledWhen: (@Sendable () -> Bool)?

  /// - Parameters:
  ///   - sets: which experts tokens use together.
  ///   - counts: transitions of the same trace; needed for crossings alone.
  ///   - topology: the machines.
  ///   - target: what to minimise.
  ///   - caps: the most tokens of a GPU in each layer, `[L]`; nil without a cap.
  ///   - options: what to spend.
  ///   - cancelledWhen: somebody's wish to stop, asked at every look.
  /// - Throws: `ModelError.counts` where what the target needs is not there or does not fit,
  ///   `ModelError.option` for a negative weight.
  public init(
    _ sets: TokenSets, counts: TransitionCounts?, topology: Topology, target: Target,
    caps: [Int]? = nil, options: DestinationOptions = DestinationOptions(),
    cancelledWhen: (@Sendable () -> Bool)? = nil
  ) throws(ModelError) {
    switch target {
    case .crossings(let weight):
      guard (0...(1 << 20)).contains(weight) else {
        throw .option("a crossing weight of \(weight): expected 0 to \(1 << 20)")
      }
      guard let counts, counts.layers == sets.layers, counts.experts == sets.experts else {
        throw .counts("crossings ask for the transition counts of the same trace")
      }
    case .rows:
      guard sets.knowsFollowers else {
        throw .counts(
          "coherent rows ask for sets that know the strongest expert of the layer before")
      }
    }
    _ = try topology.expertsPerGPU(experts: sets.experts)
    self.sets = sets
    self.counts = counts
    self.topology = topology
    self.target = target
    self.caps = caps
    self.options = options
    self.cancelledWhen = cancelledWhen
  }

  /// The target's value of `placement`, by the definitions.
  /// - Throws: `ModelError.placement` where the placement is for a model of other sizes.
  public func value(of placement: Placement) throws(ModelError) -> Int {
    switch target {
    case .crossings(let weight):
      let crossings = try counts?.crossings(of: placement).gpuPerBoundary.reduce(0, +) ?? 0
      return try sets.destinations(of: placement).gpu + weight * crossings
    case .rows:
      return try sets.coherentRows(of: placement)?.total ?? 0
    }
  }

  /// A placement at least as good as `start`, which must be within the caps.
  /// - Throws: `ModelError.placement` where `start` is for a model of other sizes or other
  ///   machines.
  public func improve(_ start: Placement) throws(ModelError) -> Placement {
    try sets.check(start)
    guard start.topology == topology else {
      throw .placement("the placement to start from is for other machines")
    }
    let control = SearchControl(
      timeLimit: options.timeLimit, workLimit: options.workLimit, threads: options.threads,
      cancelledWhen: cancelledWhen)
    let experts = sets.experts
    var labels = Labels(start.assignment, experts: experts)
    var isDone = false
    var sweep = 0
    while !isDone, !control.isOver {
      isDone = true
      for parity in 0..<min(2, sets.layers) {
        let layers = Array(stride(from: parity, to: sets.layers, by: 2))
        let share = options.workLimit.map { _ in max(1, control.workLeft / layers.count) }
        let (now, isFirst) = (labels, sweep == 0)
        let found = concurrentMap(layers.count, threads: control.threads) { index in
          let part = control.share(seconds: control.remaining, work: share)
          let l = layers[index]
          let better = better(l, now, trials: isFirst ? 400 * experts : 0, control: part)
          control.spend(part.workSpent)
          return better
        }
        for (index, better) in found.enumerated() {
          guard let better else { continue }
          isDone = false
          for e in 0..<experts { labels[layers[index], e] = better[e] }
        }
      }
      sweep += 1
    }
    return Placement(
      unchecked: topology, layers: sets.layers, experts: experts, assignment: labels.flat)
  }

  /// A better placement of layer `l` beside its neighbours, or nil.
  private func better(
    _ l: Int, _ labels: Labels, trials: Int, control: SearchControl
  ) -> [Int]? {
    guard !control.isOver else { return nil }
    let layer = layer(l, labels)
    let now = labels.layer(l)
    var search = DestinationSearch(
      layer, seed: options.seed &+ UInt64(l), control: control)
    search.offer(now)
    for trials in [0, trials] where trials > 0 || search.optima.isEmpty {
      var start = search.best?.groupOf ?? now
      search.improve(&start, trials: trials)
    }
    guard let best = search.best, best.value < layer.value(now) else { return nil }
    return best.groupOf
  }

  /// Layer `l` with what its neighbours ask for.
  package func layer(_ l: Int, _ labels: Labels) -> DestinationLayer {
    let sets = sets.layerSets[l]
    var entries = [DestinationLayer.Entry]()
    for t in 0..<sets.count { entries.append((sets[t].map { Int($0) }, sets.multiplicities[t])) }
    var linear = [Int](repeating: 0, count: self.sets.experts * topology.gpus)
    switch target {
    case .crossings(let weight): addCrossings(l, labels, weight, &linear)
    case .rows:
      addDispatch(l, labels, &entries)
      addFollowers(l, labels, &linear)
    }
    return DestinationLayer(
      experts: self.sets.experts, groups: topology.gpus, sets: entries, loads: sets.loads,
      cap: caps?[l], linear: linear)
  }

  /// A transition costs `weight` unless both ends are on one GPU.
  private func addCrossings(
    _ l: Int, _ labels: Labels, _ weight: Int, _ linear: inout [Int]
  ) {
    guard let counts else { return }
    let (experts, gpus) = (sets.experts, topology.gpus)
    func add(_ e: Int, _ neighbour: Int, _ tokens: Int) {
      for q in 0..<gpus where q != neighbour { linear[e * gpus + q] += weight * tokens }
    }
    for i in 0..<experts {
      for j in 0..<experts {
        if l > 0 {
          add(j, labels[l - 1, i], counts.weights[((l - 1) * experts + i) * experts + j])
        }
        if l + 1 < sets.layers {
          add(i, labels[l + 1, j], counts.weights[(l * experts + i) * experts + j])
        }
      }
    }
  }

  /// The dispatch into layer `l`: `λ(S ∪ {t})` with the GPU of `t` as an anchor.
  private func addDispatch(
    _ l: Int, _ labels: Labels, _ entries: inout [DestinationLayer.Entry]
  ) {
    let layer = sets.layerSets[l]
    var merged = [[Int]: Int]()
    var known = [Int](repeating: 0, count: layer.count)
    for follower in layer.followers {
      let anchor = sets.experts + labels[l - 1, Int(follower.previous)]
      merged[layer[follower.set].map { Int($0) } + [anchor], default: 0] += follower.multiplicity
      known[follower.set] += follower.multiplicity
    }
    for t in 0..<layer.count where known[t] < layer.multiplicities[t] {
      merged[layer[t].map { Int($0) }, default: 0] += layer.multiplicities[t] - known[t]
    }
    for (members, tokens) in merged.sorted(by: { $0.key.lexicographicallyPrecedes($1.key) }) {
      entries.append((members, tokens))
    }
  }

  /// The dispatch into layer `l + 1`: its tokens come from the GPU of their strongest expert here.
  private func addFollowers(_ l: Int, _ labels: Labels, _ linear: inout [Int]) {
    guard l + 1 < sets.layers else { return }
    let next = sets.layerSets[l + 1]
    let gpus = topology.gpus
    for follower in next.followers {
      let groups = Set(next[follower.set].map { labels[l + 1, Int($0)] })
      for q in 0..<gpus where !groups.contains(q) {
        linear[Int(follower.previous) * gpus + q] += follower.multiplicity
      }
    }
  }
}
