/// The layered search over partitions, repeated from a certificate.
///
/// At fixed prices a placement loses against B the sum of its arcs' slacks, f_{l+1}(T) - value(T) - f_l(S) - 64·w(S, T) ≥ 0 over its P paths, plus
/// Σ_S (λ - f(S)) at the last layer. From a state (a partition) of layer l on it loses at least Σ_S pen(S), and at least doll_l. A search from layer k inside
/// the loss D starts with all partitions of layer k at loss 0 and keeps a state while g + max(Σ pen, doll) ≤ D; if nothing reaches the end, any completion
/// from layer k on loses more than D.
extension CertificatePaths {
  /// Groups of a partition as places in a layer's list, ascending, sixteen bits each.
  private struct State: Hashable {
    var words: SIMD4<UInt64> = .zero

    subscript(index: Int) -> Int {
      get { Int(words[index >> 2] >> UInt64(16 * (index & 3)) & 0xFFFF) }
      set { words[index >> 2] |= UInt64(newValue) << UInt64(16 * (index & 3)) }
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
    guard problem.groups <= 16 else {
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
    for k in stride(from: layers - 1, through: 0, by: -1) where dolls[k] > dolls[k + 1] {
      let limit = min(dolls[k] - 1, budget)
      guard
        try !reachesEnd(
          from: k, limit: limit, penalties: penalties, arcs: arcs, dolls: dolls)
      else { throw CertificateError("a placement loses less from layer \(k) on than claimed") }
    }
    if dolls[0] > budget { return }
    guard
      try !reachesEnd(from: 0, limit: budget, penalties: penalties, arcs: arcs, dolls: dolls)
    else { throw CertificateError("the layered search finds a better placement") }
  }

  private func reachesEnd(
    from k: Int, limit: Int, penalties: [[Int]], arcs: [[[Arc]]], dolls: [Int]
  ) throws(CertificateError) -> Bool {
    guard limit >= 0, dolls[k + 1] <= limit else { return false }
    var states = start(k, limit: limit, penalties: penalties[k])
    for l in k..<(problem.layers - 1) {
      if states.isEmpty { return false }
      guard states.count <= 20_000_000 else {
        throw CertificateError("more than 20 million partitions in layer \(l): out of range")
      }
      if control.shouldStop { throw CertificateError("stopped before the check was over") }
      states = advance(
        l, states, limit: limit, penalties: penalties[l], arcs: arcs[l], doll: dolls[l + 1])
    }
    // At the last layer pen(S) = λ - f(S), and states kept it within the limit.
    return !states.isEmpty
  }

  /// All partitions of layer k with Σ pen ≤ limit, at loss 0.
  private func start(_ k: Int, limit: Int, penalties: [Int]) -> [State: Int] {
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
        states[state(chosen)] = 0
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
    _ l: Int, _ states: [State: Int], limit: Int, penalties: [Int], arcs: [[Arc]], doll: Int
  ) -> [State: Int] {
    let groups = problem.groups
    var next = [State: Int]()
    var chosen = [Int](repeating: 0, count: groups)
    for (from, loss) in states {
      let places = (0..<groups).map { from[$0] }
      let least = places.reduce(0) { $0 + penalties[$1] }
      func extend(_ p: Int, _ used: UInt64, _ lost: Int, _ spare: Int) {
        guard p < groups else {
          let to = state(chosen)
          if let known = next[to], known <= lost { return }
          next[to] = lost
          return
        }
        for arc in arcs[places[p]] {
          if arc.reduced > spare { break }
          let set = subsets[l + 1][arc.to]
          guard set & used == 0, lost + arc.loss + doll <= limit else { continue }
          chosen[p] = arc.to
          extend(p + 1, used | set, lost + arc.loss, spare - arc.reduced)
        }
      }
      extend(0, 0, loss, limit - loss - least)
    }
    return next
  }
}
