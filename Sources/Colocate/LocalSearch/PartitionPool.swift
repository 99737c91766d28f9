import ColocateModel
import Synchronization

/// Good partitions of each layer, and the best placement that can be put together from them.
///
/// Every solution found leaves its layers' unlabelled partitions here. Choosing one partition per
/// layer is a longest path through a layered graph with arc weights `θ_l(Π, Π')` (label matching),
/// so one dynamic programme over the chain recombines all solutions exactly:
///
///     f_{l+1}(Π') = inside(Π') + max_Π ( f_l(Π) + θ_l(Π, Π') )
///
/// `θ` is only computed where `f_l(Π)` plus an upper bound on it (each row of the overlap by its
/// largest entry; before that, each expert of layer `l + 1` by its best group) exceeds what is
/// already reached, and is kept for the next time. Partitions are stored under one naming (groups
/// by their smallest member; on two levels the nodes too), so equal ones meet. Where a layer is
/// full, the oldest of the worse half leaves: the half of the best solutions is variants of one
/// incumbent, and what is new must stay long enough to be combined with it.
package final class PartitionPool: Sendable {
  private let problem: GroupingProblem
  private let saved: SavedWeights
  /// Partitions kept per layer.
  package let limit: Int
  private let state: Mutex<State>

  private struct Entry {
    /// `[E]`, canonical names.
    var labels: [UInt16]
    /// Best value of a solution that used it.
    var value: Int
    /// `inside`: value inside the layer (co-activation).
    var inside: Int
    /// When it came.
    var time: Int
  }

  private struct State {
    var entries: [[Entry]]
    var slotOf: [[[UInt16]: Int]]
    /// Per boundary `[limit, limit]`, `from · limit + to`; -1 where not computed.
    var theta: [[Int]]
    var time = 0
  }

  /// - Parameter limit: most partitions per layer; by default up to 150, fewer where one
  ///   recombination would take more than about a second.
  package init(problem: GroupingProblem, saved: SavedWeights? = nil, limit: Int? = nil) {
    self.problem = problem
    self.saved = saved ?? .flat(groups: problem.groups)
    // About limit² · (L-1) · P · E additions to fill the table of θ.
    let work = (problem.layers - 1) * problem.groups * problem.experts
    var most = 150
    while most > 12, most * most * work > 300_000_000 { most -= 1 }
    self.limit = limit ?? most
    state = Mutex(
      State(
        entries: [[Entry]](repeating: [], count: problem.layers),
        slotOf: [[[UInt16]: Int]](repeating: [:], count: problem.layers),
        theta: [[Int]](repeating: [], count: problem.layers - 1)))
  }

  /// Distinct partitions held of layer `l`.
  package func count(layer l: Int) -> Int { state.withLock { $0.entries[l].count } }

  /// The held partitions of layer `l`, each `[E]` with groups named by their smallest member, best
  /// first.
  package func partitions(layer l: Int) -> [[Int]] {
    state.withLock { state in
      state.entries[l].sorted { $0.value > $1.value }.map { $0.labels.map(Int.init) }
    }
  }

  /// Adds the partitions of a feasible solution (`[L, E]`) of value `value`.
  package func add(_ labels: [Int], value: Int) {
    let experts = problem.experts
    let canonical = (0..<problem.layers).map { l in
      Self.canonical(labels[(l * experts)..<((l + 1) * experts)], saved: saved, problem.groups)
    }
    state.withLock { state in
      state.time += 1
      for l in 0..<problem.layers {
        let partition = canonical[l]
        if let slot = state.slotOf[l][partition] {
          state.entries[l][slot].value = max(state.entries[l][slot].value, value)
          continue
        }
        let entry = Entry(
          labels: partition, value: value, inside: inside(l, partition), time: state.time)
        if state.entries[l].count < limit {
          state.slotOf[l][partition] = state.entries[l].count
          state.entries[l].append(entry)
          continue
        }
        // The better half stays; of the rest the oldest leaves.
        let entries = state.entries[l]
        let worst = entries.indices.sorted {
          (entries[$0].value, entries[$0].time) < (entries[$1].value, entries[$1].time)
        }.prefix((limit + 1) / 2).min { (entries[$0].time, $0) < (entries[$1].time, $1) }!
        state.slotOf[l][state.entries[l][worst].labels] = nil
        state.slotOf[l][partition] = worst
        state.entries[l][worst] = entry
        if l > 0, !state.theta[l - 1].isEmpty {
          for a in 0..<limit { state.theta[l - 1][a * limit + worst] = -1 }
        }
        if l < problem.layers - 1, !state.theta[l].isEmpty {
          for b in 0..<limit { state.theta[l][worst * limit + b] = -1 }
        }
      }
    }
  }

  /// The best placement made of held partitions.
  /// - Returns: nil while the pool is empty or where stopped before the end.
  package func recombine(control: SearchControl) -> (labels: [Int], value: Int)? {
    state.withLock { state in
      guard !state.entries[0].isEmpty else { return nil }
      let layers = problem.layers
      var reached = state.entries[0].map(\.inside)
      var from = [[Int]]()
      for l in 0..<(layers - 1) {
        if control.shouldStop { return nil }
        let back = join(&state, l, &reached, control: control)
        if control.shouldStop { return nil }
        from.append(back)
      }
      var slot = reached.indices.max { reached[$0] < reached[$1] }!
      let value = reached[slot]
      var labels = [Int]()
      var chosen = [Int]()
      for l in stride(from: layers - 1, through: 0, by: -1) {
        chosen.append(slot)
        if l > 0 { slot = from[l - 1][slot] }
      }
      for (l, slot) in chosen.reversed().enumerated() {
        labels += state.entries[l][slot].labels.map(Int.init)
      }
      var matching = LabelMatching()
      matching.apply(problem, saved: saved, labels: &labels)
      return (labels, value)
    }
  }

  /// One step of the programme: `reached` from layer `l` to layer `l + 1`; returns where each came
  /// from.
  private func join(
    _ state: inout State, _ l: Int, _ reached: inout [Int], control: SearchControl
  ) -> [Int] {
    let (experts, groups) = (problem.experts, problem.groups)
    let first = state.entries[l]
    let second = state.entries[l + 1]
    if state.theta[l].isEmpty { state.theta[l] = [Int](repeating: -1, count: limit * limit) }
    // rows[a][g][j] = Σ_{i ∈ g} W[i, j], and how much any partner could keep of it.
    var rows = [Int](repeating: 0, count: first.count * groups * experts)
    var ceiling = [Int](repeating: 0, count: first.count)
    for (a, entry) in first.enumerated() {
      if control.shouldStop { return [] }
      let base = a * groups * experts
      for i in 0..<experts {
        let target = base + Int(entry.labels[i]) * experts
        let source = (l * experts + i) * experts
        for j in 0..<experts { rows[target + j] += problem.weights[source + j] }
      }
      for j in 0..<experts {
        var most = 0
        var all = 0
        var node = 0
        for g in 0..<groups {
          if g % saved.groupsPerNode == 0 { node = 0 }
          let entry = rows[base + g * experts + j]
          most = max(most, entry)
          node += entry
          all = max(all, node)
        }
        ceiling[a] += saved.group * most + saved.node * all
      }
    }
    let order = reached.indices.sorted { (reached[$0], $1) > (reached[$1], $0) }
    let before = reached
    var next = [Int](repeating: 0, count: second.count)
    var back = [Int](repeating: 0, count: second.count)
    let tasks = min(control.threads, second.count)
    let limit = limit
    let saved = saved
    state.theta[l].withUnsafeMutableBufferPointer { theta in
      next.withUnsafeMutableBufferPointer { next in
        back.withUnsafeMutableBufferPointer { back in
          nonisolated(unsafe) let theta = theta
          nonisolated(unsafe) let next = next
          nonisolated(unsafe) let back = back
          let rows = rows
          let ceiling = ceiling
          concurrentFor(tasks, threads: tasks) { _, task in
            var matching = LabelMatching(control: groups > 64 ? control : nil)
            var overlap = [Int](repeating: 0, count: groups * groups)
            for b in stride(from: task, to: second.count, by: tasks) {
              var best = -1
              var origin = 0
              if control.shouldStop { return }
              for a in order {
                if before[a] + ceiling[a] <= best { continue }
                var value = theta[a * limit + b]
                if value < 0 {
                  for index in overlap.indices { overlap[index] = 0 }
                  for g in 0..<groups {
                    let row = (a * groups + g) * experts
                    for j in 0..<experts {
                      overlap[g * groups + Int(second[b].labels[j])] += rows[row + j]
                    }
                  }
                  if saved.node == 0 {
                    var bound = 0
                    for g in 0..<groups {
                      var most = 0
                      for h in 0..<groups { most = max(most, overlap[g * groups + h]) }
                      bound += most
                    }
                    if before[a] + saved.group * bound <= best { continue }
                  }
                  value = overlap.withUnsafeBufferPointer {
                    matching.best(groups: groups, saved: saved, overlap: $0.baseAddress!)
                  }
                  if control.shouldStop { return }
                  theta[a * limit + b] = value
                }
                if before[a] + value > best { (best, origin) = (before[a] + value, a) }
              }
              next[b] = best + second[b].inside
              back[b] = origin
            }
          }
        }
      }
    }
    reached = next
    return back
  }

  private func inside(_ l: Int, _ labels: [UInt16]) -> Int {
    guard !problem.coactivation.isEmpty else { return 0 }
    var sum = 0
    for i in 0..<problem.experts {
      for j in 0..<i {
        sum +=
          problem.coactivation[(l * problem.experts + i) * problem.experts + j]
          * saved.saved(Int(labels[i]), Int(labels[j]))
      }
    }
    return sum
  }

  /// Groups named by their smallest member; on two levels nodes by theirs, then groups inside the
  /// node.
  static func canonical(
    _ labels: ArraySlice<Int>, saved: SavedWeights, _ groups: Int
  ) -> [UInt16] {
    let per = saved.groupsPerNode
    var name = [Int](repeating: -1, count: groups)
    var nodeName = [Int](repeating: -1, count: groups / per)
    var inNode = [Int](repeating: 0, count: groups / per)
    var nodes = 0
    return labels.map { g in
      if name[g] < 0 {
        let node = g / per
        if nodeName[node] < 0 {
          nodeName[node] = nodes
          nodes += 1
        }
        name[g] = nodeName[node] * per + inNode[node]
        inNode[node] += 1
      }
      return UInt16(truncatingIfNeeded: name[g])
    }
  }
}
