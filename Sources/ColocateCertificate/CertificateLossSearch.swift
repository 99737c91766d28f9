import ColocateModel

/// The search over partitions that is left after fixing, repeated (`CertificateFixing`).
///
/// A placement that reaches the target loses at most δ = B - target over the pairs that are free:
/// Σ of |C_x| over those with the value that C_x does not prefer; fixed pairs have their values.
/// Pairs join experts of one layer or of two neighbouring ones, so what a placement loses beyond a
/// layer depends on the layers before it through that layer's partition only. From all partitions
/// of one layer whose own pairs lose at most δ, the partitions of the next are listed with the
/// least that is lost on the way, up to the last layer; then from the same start back to the first
/// one, each start charged with the least that its way to the last layer loses. A placement that
/// reaches the target has a start with ways in both directions that lose at most δ together, and
/// keeps no more than the most that is kept along such ways. If that is below the target for every
/// start, there is none.
///
/// Losses are rounded down to multiples of a power of two, and δ up, so that sums are exact in
/// `Int`.
struct CertificateLossSearch {
  static let mostExperts = 64
  static let mostGroups = 16
  /// The most partitions of a layer, and arcs between two layers.
  static let mostStates = 4_000_000
  static let mostArcs = 16_000_000

  let problem: CertifiedProblem
  let effort: CertificateEffort
  private let delta: Int
  private let target: Int
  /// What experts a and b = l·E + e lose together and apart, by a and the place of b among its
  /// layer and the two around it: `[L·E, 3E]`.
  private let together: [Int]
  private let apart: [Int]

  /// A partition: each expert's group in four bits, groups in the order of their first experts.
  private struct State: Hashable {
    var words = SIMD4<UInt64>.zero

    init(_ labels: [Int]) {
      var names = [Int](repeating: -1, count: CertificateLossSearch.mostGroups)
      var met = 0
      for (e, label) in labels.enumerated() {
        if names[label] < 0 {
          names[label] = met
          met += 1
        }
        words[e / 16] |= UInt64(names[label]) << UInt64(4 * (e % 16))
      }
    }

    subscript(e: Int) -> Int { Int(words[e / 16] >> UInt64(4 * (e % 16)) & 15) }
  }

  private struct Arc {
    let from: Int
    let to: Int
    let loss: Int
    /// What is kept between the two partitions, and inside the second.
    let kept: Int
  }

  /// Ways from a state to an end: the least loss, δ + 1 where there is none; and of those within δ
  /// the most that is kept.
  private struct Rest {
    var loss: Int
    var kept: Int
  }

  /// Partitions of a layer with the least loss up to there.
  private struct States {
    var keys = [State]()
    var lost = [Int]()
    var number = [State: Int]()

    mutating func add(_ key: State, _ loss: Int) -> Int {
      if let known = number[key] {
        lost[known] = min(lost[known], loss)
        return known
      }
      number[key] = keys.count
      keys.append(key)
      lost.append(loss)
      return keys.count - 1
    }
  }

  init(
    _ parts: CertificateColocation.Parts, _ pairs: CertificateFixedPairs, target: Int,
    effort: CertificateEffort
  ) throws(CertificateError) {
    problem = pairs.problem
    self.effort = effort
    self.target = target
    let experts = problem.experts
    guard experts <= Self.mostExperts, (2...Self.mostGroups).contains(problem.groups) else {
      throw CertificateError(
        "a search over partitions of \(experts) experts into \(problem.groups) groups: beyond "
          + "the checker's limits")
    }
    let room = try Checked.difference(
      parts.bound(pairs).units, Int128(target) << Int128(parts.bits))
    var shift = Int128(0)
    while max(room, 0) >> shift >= 1 << 44 { shift += 1 }
    // Rounded up; negative where nothing reaches the target.
    let delta = room < 0 ? -1 : Int((room + (1 << shift) - 1) >> shift)
    self.delta = delta
    let width = 3 * experts
    var together = [Int](repeating: 0, count: problem.layers * experts * width)
    var apart = together
    for v in 0..<(problem.layers * experts) {
      for place in 0..<width {
        let w = (v / experts - 1) * experts + place
        guard 0 <= w, w < problem.layers * experts, w != v else { continue }
        let index = v * width + place
        switch pairs[v, w] {
        case .together: apart[index] = delta + 1
        case .apart: together[index] = delta + 1
        case .free:
          let l = min(min(v, w) / experts, problem.layers - 2)
          let value = try Checked.product(
            parts.sums[l, v - l * experts, w - l * experts],
            1 << Int128(CertificateColocation.finer))
          let size = Int(min((value < 0 ? -value : value) >> shift, Int128(delta + 1)))
          if value > 0 { apart[index] = size } else { together[index] = size }
        }
      }
    }
    (self.together, self.apart) = (together, apart)
  }

  /// - Throws: where a placement may reach the target, or the search is too large.
  func check(from start: Int) throws(CertificateError) {
    guard delta >= 0 else { return }
    var first = States()
    var none = [Arc]()
    try extend(nil, to: start, step: 0, into: &first, &none)
    let ahead = try rest(from: first, at: start, step: 1)
    for s in first.keys.indices {
      first.lost[s] = ahead[s].loss > delta ? delta + 1 : first.lost[s] + ahead[s].loss
    }
    let back = try rest(from: first, at: start, step: -1)
    for s in first.keys.indices {
      guard back[s].loss <= delta, first.lost[s] + back[s].loss <= delta else { continue }
      // Counts add up to at most 2^56.
      guard ahead[s].kept + back[s].kept + inside(start, first.keys[s]) < target else {
        throw CertificateError("the search over partitions finds what may be a better placement")
      }
    }
  }

  /// What a partition of layer l keeps inside.
  private func inside(_ l: Int, _ key: State) -> Int {
    guard !problem.coactivation.isEmpty else { return 0 }
    let experts = problem.experts
    var sum = 0
    for i in 0..<experts {
      for j in 0..<i where key[i] == key[j] {
        sum += problem.coactivation[(l * experts + i) * experts + j]
      }
    }
    return sum
  }

  /// The ways of each state to the last or the first layer.
  private func rest(
    from first: States, at start: Int, step: Int
  ) throws(CertificateError) -> [Rest] {
    var lost = [first.lost]
    var arcs = [[Arc]]()
    var states = first
    var layer = start
    while (0..<problem.layers).contains(layer + step) {
      layer += step
      var (next, list) = (States(), [Arc]())
      try extend(states, to: layer, step: step, into: &next, &list)
      arcs.append(list)
      lost.append(next.lost)
      states = next
    }
    var rest = [Rest](repeating: Rest(loss: 0, kept: 0), count: states.keys.count)
    for (list, lost) in zip(arcs, lost).reversed() {
      var before = [Rest](repeating: Rest(loss: delta + 1, kept: 0), count: lost.count)
      for arc in list where rest[arc.to].loss <= delta {
        let loss = arc.loss + rest[arc.to].loss
        if lost[arc.from] + loss > delta { continue }
        before[arc.from].loss = min(before[arc.from].loss, loss)
        before[arc.from].kept = max(before[arc.from].kept, arc.kept + rest[arc.to].kept)
      }
      rest = before
    }
    return rest
  }

  /// What labels of a layer keep with those of the layer `step` before it.
  private func kept(between before: State, _ layer: Int, _ step: Int, _ labels: [Int]) -> Int {
    let experts = problem.experts
    var sum = 0
    for i in 0..<experts {
      for j in 0..<experts where before[i] == labels[j] {
        sum +=
          step > 0
          ? problem.weights[((layer - 1) * experts + i) * experts + j]
          : problem.weights[(layer * experts + j) * experts + i]
      }
    }
    return sum
  }

  /// All partitions of `layer` within δ beside those of the layer `step` before it.
  private func extend(
    _ states: States?, to layer: Int, step: Int, into next: inout States, _ arcs: inout [Arc]
  ) throws(CertificateError) {
    for number in 0..<(states?.keys.count ?? 1) {
      try effort.proceed()
      let lost = states?.lost[number] ?? 0
      if lost > delta { continue }
      var branch = Branch(self, layer: layer, beside: states?.keys[number], step: step, lost: lost)
      branch.run()
      if branch.isOver { try effort.proceed() }
      for found in branch.found {
        let to = next.add(found.state, found.lost)
        guard let states else { continue }
        arcs.append(
          Arc(
            from: number, to: to, loss: found.lost - lost,
            kept: kept(between: states.keys[number], layer, step, found.labels)
              + inside(layer, found.state)))
      }
      guard next.keys.count <= Self.mostStates, arcs.count <= Self.mostArcs, !branch.isOver else {
        throw CertificateError(
          "more than \(Self.mostStates) partitions in layer \(layer): beyond the checker's limit")
      }
    }
  }

  /// Groups for the experts of one layer, one expert after the other: the one whose two cheapest
  /// groups differ most is next. The experts without a group lose at least what each loses in its
  /// cheapest one.
  private struct Branch {
    let search: CertificateLossSearch
    let layer: Int
    let hasNames: Bool
    let before: Int
    var found = [(state: State, labels: [Int], lost: Int)]()
    var isOver = false
    private var steps = 0
    private var costs: [Int]
    private var labels: [Int]
    private var sizes: [Int]
    private var loads: [Int]

    init(_ search: CertificateLossSearch, layer: Int, beside: State?, step: Int, lost: Int) {
      self.search = search
      self.layer = layer
      hasNames = beside != nil
      before = lost
      let (experts, groups) = (search.problem.experts, search.problem.groups)
      costs = [Int](repeating: 0, count: groups * experts)
      labels = [Int](repeating: -1, count: experts)
      sizes = [Int](repeating: 0, count: groups)
      loads = sizes
      guard let beside else { return }
      for i in 0..<experts {
        let v = (layer - step) * experts + i
        charge(v, in: beside[i])
      }
    }

    /// Adds what the layer's experts lose beside expert v in group g, or take back.
    private mutating func charge(_ v: Int, in g: Int, sign: Int = 1) {
      let (experts, groups) = (search.problem.experts, search.problem.groups)
      let base = v * 3 * experts + (layer - v / experts + 1) * experts
      for h in 0..<groups {
        for e in 0..<experts {
          costs[h * experts + e] +=
            sign * (h == g ? search.together[base + e] : search.apart[base + e])
        }
      }
    }

    mutating func run() { assign(before) }

    private func isOpen(_ g: Int, _ e: Int) -> Bool {
      let problem = search.problem
      guard sizes[g] < problem.groupSize else { return false }
      guard let caps = problem.caps else { return true }
      return loads[g] + problem.loads[layer * problem.experts + e] <= caps[layer]
    }

    /// Groups that are to be told apart: those with experts or names, and one empty one.
    private var choices: [Int] {
      var isEmptySeen = false
      return sizes.indices.filter { g in
        if hasNames || sizes[g] > 0 { return true }
        defer { isEmptySeen = true }
        return !isEmptySeen
      }
    }

    private mutating func assign(_ lost: Int) {
      let experts = search.problem.experts
      steps += 1
      if steps & 0xFFF == 0, search.effort.isOver { isOver = true }
      if found.count > CertificateLossSearch.mostStates { isOver = true }
      if isOver { return }
      let choices = choices
      var (least, next, largest) = (lost, -1, -1)
      for e in 0..<experts where labels[e] < 0 {
        var (one, two) = (Int.max, Int.max)
        for g in choices where isOpen(g, e) {
          let cost = costs[g * experts + e]
          if cost < one { (one, two) = (cost, one) } else if cost < two { two = cost }
        }
        if one == .max { return }
        least += one
        if least > search.delta { return }
        let difference = two == .max ? Int.max : two - one
        if difference > largest { (largest, next) = (difference, e) }
      }
      guard next >= 0 else {
        found.append((State(labels), labels, lost))
        return
      }
      for g in choices where isOpen(g, next) {
        let cost = costs[g * experts + next]
        if lost + cost > search.delta { continue }
        let v = layer * experts + next
        labels[next] = g
        sizes[g] += 1
        loads[g] += search.problem.loads[v]
        charge(v, in: g)
        assign(lost + cost)
        charge(v, in: g, sign: -1)
        loads[g] -= search.problem.loads[v]
        sizes[g] -= 1
        labels[next] = -1
      }
    }
  }
}
