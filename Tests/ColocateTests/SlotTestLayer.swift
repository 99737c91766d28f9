import Colocate

/// Small seeded layers of token sets with plans of slots: experts without tokens, several copies,
/// one node and more, S = E among them.
struct SlotTestLayer: CustomStringConvertible {
  let seed: UInt64
  let plan: SlotPlan
  let layer: TokenSets.Layer
  let sets: TokenSets
  var topology: Topology { plan.topology }
  var description: String {
    "seed \(seed): E=\(plan.experts) S=\(plan.slotsPerLayer) P=\(topology.gpus) "
      + "N=\(topology.nodes) slots \(plan.slots[0])"
  }

  /// - Parameter copies: whether S may be above E.
  init(seed: UInt64, copies: Bool = true) throws {
    var random = SeededGenerator(seed: seed &+ 7_000)
    let (nodes, perNode) = [(1, 2), (2, 1), (2, 2), (1, 4), (3, 2), (2, 3)][
      random.next(below: 6)]
    let gpus = nodes * perNode
    let room = 1 + random.next(below: 4)
    let slots = gpus * room
    // Every expert has at most one copy on each GPU.
    let least = max(1, room)
    let experts = copies ? min(slots, least + random.next(below: slots - least + 1)) : slots
    self.seed = seed
    plan = try SlotPlan(
      topology: Topology(gpus: gpus, nodes: nodes), experts: experts,
      slots: [Self.row(experts: experts, gpus: gpus, room: room, &random)])
    let choices = 1 + random.next(below: min(4, experts))
    let largest = [1, 3, 100][random.next(below: 3)]
    var (lists, weights) = ([[Int]](), [Int]())
    for _ in 0..<[3, 20, 60][random.next(below: 3)] {
      lists.append((0..<choices).map { _ in random.next(below: experts) })
      weights.append(random.next(below: largest + 1))
    }
    layer = try TokenSets.Layer(experts: experts, sets: lists, multiplicities: weights)
    sets = try TokenSets(experts: experts, layers: [layer])
  }

  /// Experts for the slots of one layer, different ones on each GPU, all of them somewhere.
  private static func row(
    experts: Int, gpus: Int, room: Int, _ random: inout SeededGenerator
  ) -> [Int] {
    var counts = [Int](repeating: 1, count: experts)
    for _ in experts..<(gpus * room) {
      let open = counts.indices.filter { counts[$0] < gpus }
      counts[open[random.next(below: open.count)]] += 1
    }
    // Dealt out one by one, neighbouring copies of an expert meet different GPUs.
    let names = Array(0..<experts).shuffled(using: &random)
    let deck = names.flatMap { [Int](repeating: $0, count: counts[$0]) }
    let places = Array(0..<gpus).shuffled(using: &random)
    return (0..<gpus).flatMap { gpu in
      deck.indices.filter { places[$0 % gpus] == gpu }.map { deck[$0] }.shuffled(using: &random)
    }
  }
}

/// The rules by their words, token by token: every outcome of what a rule leaves open with its
/// chance. Shares no code with the definition.
struct PlainDispatch {
  let plan: SlotPlan
  let rule: DispatchRule

  struct Means: Equatable {
    var gpus = 0.0
    var nodes = 0.0
    var rows = 0.0
    var loads: [Double]
  }

  private func slots(of expert: Int) -> [Int] {
    plan.slots[0].indices.filter { plan.slots[0][$0] == expert }
  }

  private func gpu(_ slot: Int) -> Int {
    slot / (plan.slots[0].count / (plan.topology.nodes * plan.topology.gpusPerNode))
  }

  /// The slots that may serve the expert of a token of `source`, all with the same chance.
  private func open(_ expert: Int, source: Int) -> [Int] {
    let all = slots(of: expert)
    guard rule == .sglang, all.count > 1 else { return all }
    if let own = all.first(where: { gpu($0) == source }) { return [own] }
    let perNode = plan.topology.gpusPerNode
    let near = all.filter { gpu($0) / perNode == source / perNode }
    return near.isEmpty || near.count == all.count ? all : [near[0]]
  }

  /// Every choice of slots for a set, with its chance.
  private func choices(_ set: [Int], source: Int) -> [(slots: [Int], chance: Double)] {
    if rule == .vllm {
      // The product of all numbers of copies is a period of the hash, if not the shortest.
      let lists = set.map { slots(of: $0) }
      let period = lists.reduce(1) { $0 * $1.count }
      return (0..<period).map { hash in
        (lists.map { $0[hash % $0.count] }, 1 / Double(period))
      }
    }
    var all: [(slots: [Int], chance: Double)] = [([], 1)]
    for expert in set {
      let open = open(expert, source: source)
      all = all.flatMap { part in
        open.map { (part.slots + [$0], part.chance / Double(open.count)) }
      }
    }
    return all
  }

  func means(_ layer: TokenSets.Layer) -> Means {
    let gpus = plan.topology.gpus
    var means = Means(loads: [Double](repeating: 0, count: gpus))
    for index in 0..<layer.count {
      for source in 0..<gpus {
        for choice in choices(layer[index].map { Int($0) }, source: source) {
          let weight = Double(layer.multiplicities[index]) * choice.chance / Double(gpus)
          let used = choice.slots.map(gpu)
          means.gpus += weight * Double(Set(used).count)
          means.nodes += weight * Double(Set(used.map { $0 / plan.topology.gpusPerNode }).count)
          means.rows += weight * Double(Set(used).subtracting([source]).count)
          for gpu in used { means.loads[gpu] += weight }
        }
      }
    }
    return means
  }
}
