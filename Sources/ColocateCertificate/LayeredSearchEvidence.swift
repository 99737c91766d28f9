import ColocateModel
import Synchronization

/// The layered search over partitions, repeated from a certificate.
///
/// At fixed prices a placement loses against B
///
/// * the slack of each arc of its P paths, f_{l+1}(T) - value(T) - f_l(S) - 64·w(S, T) ≥ 0,
/// * Σ_S (λ - f(S)) at the last layer, and
/// * of every priced cut what its partition leaves of it, v·(⌊|O|/2⌋ - Σ_S ⌊|S ∩ O|/2⌋) ≥ 0.
///
/// From a state (a partition) of layer l on it loses at least Σ_S pen(S) more, and at least doll_l,
/// counted from before its own cuts. A search from layer k inside the loss D starts with all
/// partitions of layer k, each at the loss of its cuts, and keeps a state while
/// g + max(Σ pen, doll) ≤ D; if nothing reaches the end, any completion from layer k on loses more
/// than D. Dolls are checked from the last layer on, each with the help of those behind it.
extension CertificatePaths {
  /// Groups that a `State` has room for.
  static let mostGroups = 16
  /// The most partitions of a layer in one search, and the most arcs of all boundaries.
  static let mostStates = 8_000_000
  static let mostArcs = 80_000_000

  /// Checks that no placement keeps at least `target`/64.
  func checkExhausted(
    _ prices: CertificatePrices, dolls: [Int], target: Int128
  ) throws(CertificateError) {
    let layers = problem.layers
    guard problem.groups <= Self.mostGroups else {
      throw CertificateError("a layered search over more than \(Self.mostGroups) groups")
    }
    guard dolls.count == layers + 1, dolls[layers] == 0,
      dolls.allSatisfy({ 0 <= $0 && $0 < 1 << 60 })
    else { throw CertificateError("malformed dolls") }
    let potentials = try evaluate(prices, both: true)
    if potentials.bound < target { return }
    guard potentials.bound - target < 1 << 60 else {
      throw CertificateError("a layered search inside a loss of more than 2^60/64")
    }
    let budget = Int(potentials.bound - target)
    let search = try LayeredSearch(
      self, prices, potentials: potentials, budget: budget, dolls: dolls)
    for k in stride(from: layers - 1, through: 0, by: -1) where dolls[k] > dolls[k + 1] {
      guard try !search.reachesEnd(from: k, limit: min(dolls[k] - 1, budget)) else {
        throw CertificateError("a placement loses less from layer \(k) on than claimed")
      }
    }
    if dolls[0] > budget { return }
    guard try !search.reachesEnd(from: 0, limit: budget) else {
      throw CertificateError("the layered search finds a better placement")
    }
  }
}

/// One leaf's search. Losses are at most 2^60 and slacks of kept arcs at most 2^61, so sums of two
/// are exact.
private struct LayeredSearch {
  /// Groups of a partition as places in a layer's list, ascending, sixteen bits each.
  struct State: Hashable {
    var words: SIMD4<UInt64> = .zero

    init(_ groups: [Int]) {
      for (index, group) in groups.sorted().enumerated() {
        words[index >> 2] |= UInt64(group) << UInt64(16 * (index & 3))
      }
    }

    subscript(index: Int) -> Int { Int(words[index >> 2] >> UInt64(16 * (index & 3)) & 0xFFFF) }
  }

  /// What the cuts of a layer pay: to each subset, and in all.
  struct CutLoss {
    var perSubset: [Int]
    var total: Int

    func callAsFunction(_ groups: [Int]) -> Int { groups.reduce(total) { $0 - perSubset[$1] } }
  }

  struct Arc {
    let to: Int
    /// slack
    let loss: Int
    /// slack + pen(T) - pen(S) ≥ 0
    let reduced: Int
  }

  let paths: CertificatePaths
  let penalties: [[Int]]
  let arcs: [[[Arc]]]
  let cuts: [CutLoss]
  let dolls: [Int]

  init(
    _ paths: CertificatePaths, _ prices: CertificatePrices,
    potentials: CertificatePaths.Potentials, budget: Int, dolls: [Int]
  ) throws(CertificateError) {
    self.paths = paths
    self.dolls = dolls
    let layers = paths.problem.layers
    penalties = (0..<layers).map { l in
      paths.subsets[l].indices.map { potentials.penalty(l, $0) }
    }
    var arcs = [[[Arc]]]()
    let count = Atomic<Int>(0)
    for l in 0..<(layers - 1) {
      let (here, next) = (penalties[l], penalties[l + 1])
      let value = paths.values(prices, l + 1)
      arcs.append(
        try paths.effort.map(here.count) { s -> [Arc] in
          guard here[s] <= budget, count.load(ordering: .relaxed) <= CertificatePaths.mostArcs
          else { return [] }
          var list = [Arc]()
          for t in next.indices where next[t] <= budget {
            // f_{l+1}(T) - value(T) is the longest path to T without T: the slack follows from it.
            let slack =
              potentials.forward[l + 1][t] - value[t] - potentials.forward[l][s]
              - paths.weight(l, paths.subsets[l][s], paths.subsets[l + 1][t])
            let reduced = slack + next[t] - here[s]
            if reduced <= budget { list.append(Arc(to: t, loss: slack, reduced: reduced)) }
          }
          list.sort { ($0.reduced, $0.to) < ($1.reduced, $1.to) }
          count.wrappingAdd(list.count, ordering: .relaxed)
          return list
        })
      guard count.load(ordering: .relaxed) <= CertificatePaths.mostArcs else {
        throw CertificateError(
          "a layered search over more than \(CertificatePaths.mostArcs) arcs")
      }
    }
    self.arcs = arcs
    cuts = (0..<layers).map { l in
      let own = prices.cuts.filter { $0.layer == l && $0.price > 0 }
      return CutLoss(
        perSubset: paths.subsets[l].map { set in own.reduce(0) { $0 + $1.value(set) } },
        total: own.reduce(0) { $0 + $1.constant })
    }
  }

  /// Whether some completion from layer k on loses at most `limit`.
  func reachesEnd(from k: Int, limit: Int) throws(CertificateError) -> Bool {
    guard limit >= 0, dolls[k + 1] <= limit else { return false }
    var states = try start(k, limit: limit)
    for l in k..<(paths.problem.layers - 1) {
      if states.isEmpty { return false }
      states = try advance(l, states, limit: limit)
    }
    // At the last layer pen(S) = λ - f(S), and states kept it within the limit.
    return !states.isEmpty
  }

  /// Counts steps and states of a recursion, and says when it has to end.
  private struct Watch {
    let effort: CertificateEffort
    var steps = 0
    var isOver = false

    mutating func step(states: Int) -> Bool {
      steps += 1
      if states > CertificatePaths.mostStates || (steps & 0xFFF == 0 && effort.isOver) {
        isOver = true
      }
      return isOver
    }

    func finish(_ l: Int) throws(CertificateError) {
      guard isOver else { return }
      try effort.proceed()
      throw CertificateError(
        "more than \(CertificatePaths.mostStates) partitions in layer \(l): "
          + "beyond the checker's limit")
    }
  }

  /// All partitions of layer k with Σ pen and the loss of their cuts within the limit.
  private func start(_ k: Int, limit: Int) throws(CertificateError) -> [State: Int] {
    let experts = paths.problem.experts
    let subsets = paths.subsets[k]
    let penalties = penalties[k]
    var holding = [[Int]](repeating: [], count: experts)
    for s in subsets.indices where penalties[s] <= limit {
      holding[subsets[s].trailingZeroBitCount].append(s)
    }
    for e in 0..<experts { holding[e].sort { (penalties[$0], $0) < (penalties[$1], $1) } }
    var states = [State: Int]()
    var chosen = [Int]()
    var watch = Watch(effort: paths.effort)
    func cover(_ free: UInt64, _ left: Int) {
      if watch.step(states: states.count) { return }
      guard free != 0 else {
        let lost = cuts[k](chosen)
        if lost <= left { states[State(chosen)] = lost }
        return
      }
      for s in holding[free.trailingZeroBitCount] {
        if penalties[s] > left || watch.isOver { break }
        guard subsets[s] & ~free == 0 else { continue }
        chosen.append(s)
        cover(free & ~subsets[s], left - penalties[s])
        chosen.removeLast()
      }
    }
    cover(.max >> UInt64(64 - experts), limit)
    try watch.finish(k)
    return states
  }

  private func advance(
    _ l: Int, _ states: [State: Int], limit: Int
  ) throws(CertificateError) -> [State: Int] {
    let groups = paths.problem.groups
    let subsets = paths.subsets[l + 1]
    let (arcs, penalties, doll) = (arcs[l], penalties[l], dolls[l + 1])
    let everyone: UInt64 = .max >> UInt64(64 - paths.problem.experts)
    var next = [State: Int]()
    var watch = Watch(effort: paths.effort)
    var chosen = [Int](repeating: 0, count: groups)
    // Experts that the groups from p on can hold.
    var reachable = [UInt64](repeating: 0, count: groups + 1)
    for (from, loss) in states {
      // Groups with few arcs first.
      let places = (0..<groups).map { from[$0] }.sorted {
        (arcs[$0].count, $0) < (arcs[$1].count, $1)
      }
      let least = places.reduce(0) { $0 + penalties[$1] }
      for p in stride(from: groups - 1, through: 0, by: -1) {
        reachable[p] = reachable[p + 1]
        for arc in arcs[places[p]] where arc.reduced <= limit - loss - least {
          reachable[p] |= subsets[arc.to]
        }
      }
      func extend(_ p: Int, _ used: UInt64, _ lost: Int, _ spare: Int) {
        if watch.step(states: next.count) { return }
        guard p < groups else {
          let cut = cuts[l + 1](chosen)
          if cut > spare { return }
          let to = State(chosen)
          if let known = next[to], known <= lost + cut { return }
          next[to] = lost + cut
          return
        }
        // Experts that only this group can still hold.
        let due = everyone & ~used & ~reachable[p + 1]
        for arc in arcs[places[p]] {
          if arc.reduced > spare || watch.isOver { break }
          let set = subsets[arc.to]
          guard set & used == 0, due & ~set == 0, lost + arc.loss + doll <= limit else { continue }
          chosen[p] = arc.to
          extend(p + 1, used | set, lost + arc.loss, spare - arc.reduced)
        }
      }
      extend(0, 0, loss, limit - loss - least)
      if watch.isOver { break }
    }
    try watch.finish(l + 1)
    return next
  }
}
