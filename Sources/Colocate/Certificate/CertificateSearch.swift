/// The layered search over partitions, repeated from a certificate.
///
/// At fixed prices a placement loses against B the sum of its arcs' slacks, f_{l+1}(T) - value(T) - f_l(S) - 64·w(S, T) ≥ 0 over its P paths, plus
/// Σ_S (λ - f(S)) at the last layer, plus for every priced cut what its partition leaves of it, v·(⌊|O|/2⌋ - Σ_S ⌊|S ∩ O|/2⌋) ≥ 0. From a state (a partition) of layer l on it loses at least Σ_S pen(S) more, and at least doll_l counted from before its own cuts. A search from layer k inside
/// the loss D starts with all partitions of layer k, each at the loss of its cuts, and keeps a state while g + max(Σ pen, doll) ≤ D; if nothing reaches the end, any completion
/// from layer k on loses more than D.
extension CertificatePaths {
  /// Groups that a `State` has room for.
  static let mostGroups = 16

  /// Groups of a partition as places in a layer's list, ascending, sixteen bits each.
  private struct State: Hashable {
    var words: SIMD4<UInt64> = .zero

    subscript(index: Int) -> Int {
      get { Int(words[index >> 2] >> UInt64(16 * (index & 3)) & 0xFFFF) }
      set { words[index >> 2] |= UInt64(newValue) << UInt64(16 * (index & 3)) }
    }
  }

  /// What the cuts of a layer pay: to each subset, and in all.
  private struct CutLoss {
    var perSubset: [Int]
    var total: Int

    func callAsFunction(_ groups: [Int]) -> Int {
      groups.reduce(total) { $0 - perSubset[$1] }
    }
  }

  private struct Arc {
    let to: Int
    /// slack
    let loss: Int
    /// slack + pen(T) - pen(S) ≥ 0
    let reduced: Int
  }

  /// Checks that no placement keeps at least `target`/64.
  func checkExhausted(_ prices: CertificatePrices, dolls: [Int], target: Int)
    throws(CertificateError)
  {
    let layers = problem.layers
    guard problem.groups <= Self.mostGroups else {
      throw CertificateError("a layered search over \(problem.groups) groups: out of range")
    }
    guard dolls.count == layers + 1, dolls[layers] == 0,
      dolls.allSatisfy({ 0 <= $0 && $0 < 1 << 50 })
    else { throw CertificateError("malformed dolls") }
    let potentials = try evaluate(prices, both: true)
    let budget = potentials.bound - target
    if budget < 0 { return }
    let penalties = (0..<layers).map { l in
      subsets[l].indices.map {
        potentials.longest - potentials.forward[l][$0] - potentials.backward[l][$0]
      }
    }
    let values = (0..<layers).map { self.values(prices, $0) }
    // Arcs that some search inside `budget` can use.
    let arcs = (0..<(layers - 1)).map { l in
      concurrentMap(subsets[l].count, threads: control.threads) { s -> [Arc] in
        guard penalties[l][s] <= budget else { return [] }
        var list = [Arc]()
        for t in subsets[l + 1].indices where penalties[l + 1][t] <= budget {
          // f_{l+1}(T) - value(T) is the longest path to T without T: the slack follows from it.
          let slack =
            potentials.forward[l + 1][t] - values[l + 1][t] - potentials.forward[l][s]
            - weight(l, subsets[l][s], subsets[l + 1][t])
          let reduced = slack + penalties[l + 1][t] - penalties[l][s]
          if reduced <= budget { list.append(Arc(to: t, loss: slack, reduced: reduced)) }
        }
        list.sort { ($0.reduced, $0.to) < ($1.reduced, $1.to) }
        return list
      }
    }
    let cuts = (0..<layers).map { l in
      let own = prices.cuts.filter { $0.layer == l && $0.price > 0 }
      return CutLoss(
        perSubset: subsets[l].map { set in
          own.reduce(0) { $0 + (set & $1.members).nonzeroBitCount / 2 * $1.price }
        }, total: own.reduce(0) { $0 + $1.members.nonzeroBitCount / 2 * $1.price })
    }
    for k in stride(from: layers - 1, through: 0, by: -1) where dolls[k] > dolls[k + 1] {
      let limit = min(dolls[k] - 1, budget)
      guard
        try !reachesEnd(
          from: k, limit: limit, penalties: penalties, cuts: cuts, arcs: arcs, dolls: dolls)
      else { throw CertificateError("a placement loses less from layer \(k) on than claimed") }
    }
    if dolls[0] > budget { return }
    guard
      try !reachesEnd(
        from: 0, limit: budget, penalties: penalties, cuts: cuts, arcs: arcs, dolls: dolls)
    else { throw CertificateError("the layered search finds a better placement") }
  }

  private func reachesEnd(
    from k: Int, limit: Int, penalties: [[Int]], cuts: [CutLoss], arcs: [[[Arc]]], dolls: [Int]
  ) throws(CertificateError) -> Bool {
    guard limit >= 0, dolls[k + 1] <= limit else { return false }
    var states = start(k, limit: limit, penalties: penalties[k], cuts: cuts[k])
    for l in k..<(problem.layers - 1) {
      if states.isEmpty { return false }
      guard states.count <= 20_000_000 else {
        throw CertificateError("more than 20 million partitions in layer \(l): out of range")
      }
      if control.shouldStop { throw CertificateError("stopped before the check was over") }
      states = advance(
        l, states, limit: limit, penalties: penalties[l], cuts: cuts[l + 1], arcs: arcs[l],
        doll: dolls[l + 1])
    }
    // At the last layer pen(S) = λ - f(S), and states kept it within the limit.
    return !states.isEmpty
  }

  /// All partitions of layer k with Σ pen and the loss of their cuts within the limit.
  private func start(_ k: Int, limit: Int, penalties: [Int], cuts: CutLoss) -> [State: Int] {
    let experts = problem.experts
    var holding = [[Int]](repeating: [], count: experts)
    for s in subsets[k].indices where penalties[s] <= limit {
      holding[subsets[k][s].trailingZeroBitCount].append(s)
    }
    for e in 0..<experts { holding[e].sort { (penalties[$0], $0) < (penalties[$1], $1) } }
    var states = [State: Int]()
    var chosen = [Int]()
    func cover(_ free: UInt64, _ left: Int) {
      guard free != 0 else {
        let lost = cuts(chosen)
        if lost <= left { states[state(chosen)] = lost }
        return
      }
      for s in holding[free.trailingZeroBitCount] {
        if penalties[s] > left { break }
        guard subsets[k][s] & ~free == 0 else { continue }
        chosen.append(s)
        cover(free & ~subsets[k][s], left - penalties[s])
        chosen.removeLast()
      }
    }
    cover(experts == 64 ? .max : (1 << UInt64(experts)) - 1, limit)
    return states
  }

  private func state(_ groups: [Int]) -> State {
    var state = State()
    for (index, group) in groups.sorted().enumerated() { state[index] = group }
    return state
  }

  private func advance(
    _ l: Int, _ states: [State: Int], limit: Int, penalties: [Int], cuts: CutLoss,
    arcs: [[Arc]], doll: Int
  ) -> [State: Int] {
    let groups = problem.groups
    let everyone: UInt64 = .max >> UInt64(64 - problem.experts)
    var next = [State: Int]()
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
          reachable[p] |= subsets[l + 1][arc.to]
        }
      }
      func extend(_ p: Int, _ used: UInt64, _ lost: Int, _ spare: Int) {
        guard p < groups else {
          let cut = cuts(chosen)
          if cut > spare { return }
          let to = state(chosen)
          let lost = lost + cut
          if let known = next[to], known <= lost { return }
          next[to] = lost
          return
        }
        // Experts that only this group can still hold.
        let due = everyone & ~used & ~reachable[p + 1]
        for arc in arcs[places[p]] {
          if arc.reduced > spare { break }
          let set = subsets[l + 1][arc.to]
          guard set & used == 0, due & ~set == 0, lost + arc.loss + doll <= limit else { continue }
          chosen[p] = arc.to
          extend(p + 1, used | set, lost + arc.loss, spare - arc.reduced)
        }
      }
      extend(0, 0, loss, limit - loss - least)
    }
    return next
  }
}
