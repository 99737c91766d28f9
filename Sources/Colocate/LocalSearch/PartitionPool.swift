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
/// A step (`PartitionJoin`) computes θ only where it can matter, and keeps it for the next time.
/// Partitions are stored under one naming (groups by their smallest member; on two levels the nodes
/// too), so equal ones meet. Where a layer is full, the oldest of the worse half leaves: the half
/// of the best solutions is variants of one incumbent, and what is new must stay long enough to be
/// combined with it. What a sequence of additions and recombinations gives does not depend on the
/// number of threads.
package final class PartitionPool: Sendable {
  private let problem: GroupingProblem
  private let saved: SavedWeights
  /// Partitions kept per layer.
  package let limit: Int
  private let state: Mutex<State>

  /// A partition of one layer.
  struct Entry: Sendable {
    /// `[E]`, canonical names.
    let labels: [UInt16]
    /// Best value of a solution that used it.
    var value: Int
    /// `inside`: value inside the layer (co-activation).
    let inside: Int
    /// When it came.
    let time: Int
  }

  private struct State {
    var entries: [[Entry]]
    var slotOf: [[[UInt16]: Int]]
    /// Per boundary `[limit, limit]`, `from · limit + to`; -1 where not computed.
    var theta: [[Int]]
    var time = 0

    /// Takes an entry for a full layer. The better half stays; of the rest the oldest leaves, and
    /// what was known of its matches with it.
    mutating func replaceOne(by entry: Entry, layer l: Int, limit: Int) {
      let held = entries[l]
      let worse = held.indices.sorted {
        (held[$0].value, held[$0].time) < (held[$1].value, held[$1].time)
      }.prefix((limit + 1) / 2)
      guard let slot = worse.min(by: { (held[$0].time, $0) < (held[$1].time, $1) }) else { return }
      slotOf[l][held[slot].labels] = nil
      slotOf[l][entry.labels] = slot
      entries[l][slot] = entry
      if l > 0, !theta[l - 1].isEmpty {
        for a in 0..<limit { theta[l - 1][a * limit + slot] = -1 }
      }
      if l < theta.count, !theta[l].isEmpty {
        for b in 0..<limit { theta[l][slot * limit + b] = -1 }
      }
    }
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

  /// The held partitions of layer `l`, each `[E]` with groups named by their smallest member, best
  /// first.
  package func partitions(layer l: Int) -> [[Int]] {
    state.withLock { state in
      state.entries[l].sorted { $0.value > $1.value }.map { $0.labels.map(Int.init) }
    }
  }

  /// Adds the partitions of a feasible solution (`[L, E]`) of value `value`.
  package func add(_ labels: [Int], value: Int) {
    let labels = Labels(labels, experts: problem.experts)
    let partitions = (0..<problem.layers).map {
      Self.canonical(labels.layer($0), saved: saved, groups: problem.groups)
    }
    state.withLock { state in
      state.time += 1
      for (l, partition) in partitions.enumerated() {
        if let slot = state.slotOf[l][partition] {
          state.entries[l][slot].value = max(state.entries[l][slot].value, value)
          continue
        }
        let entry = Entry(
          labels: partition, value: value,
          inside: saved.inside(problem, layer: l, labels.layer(l)), time: state.time)
        if state.entries[l].count < limit {
          state.slotOf[l][partition] = state.entries[l].count
          state.entries[l].append(entry)
        } else {
          state.replaceOne(by: entry, layer: l, limit: limit)
        }
      }
    }
  }

  /// The best placement made of held partitions.
  /// - Returns: nil while the pool is empty or where stopped before the end.
  package func recombine(control: SearchControl) -> (labels: [Int], value: Int)? {
    state.withLock { state in
      guard !state.entries[0].isEmpty else { return nil }
      var reached = state.entries[0].map(\.inside)
      var origins = [[Int]]()
      for l in 0..<(problem.layers - 1) {
        guard
          let join = PartitionJoin(
            problem, saved, boundary: l, from: state.entries[l], to: state.entries[l + 1],
            control: control),
          let arrivals = join.step(
            from: reached, theta: &state.theta[l], limit: limit, control: control)
        else { return nil }
        reached = arrivals.map(\.value)
        origins.append(arrivals.map(\.origin))
      }
      guard let last = reached.indices.max(by: { reached[$0] < reached[$1] }) else { return nil }
      var slots = [last]
      for from in origins.reversed() { slots.append(from[slots[slots.count - 1]]) }
      var labels = [Int]()
      for (l, slot) in slots.reversed().enumerated() {
        labels += state.entries[l][slot].labels.map(Int.init)
      }
      var matching = LabelMatching()
      matching.relabel(&labels, problem: problem, saved: saved)
      return (labels, reached[last])
    }
  }

  /// Groups named by their smallest member; on two levels nodes by theirs, then groups inside the
  /// node.
  private static func canonical(
    _ groupOf: [Int], saved: SavedWeights, groups: Int
  ) -> [UInt16] {
    let per = saved.groupsPerNode
    var name = [Int](repeating: -1, count: groups)
    var nodeName = [Int](repeating: -1, count: groups / per)
    var inNode = [Int](repeating: 0, count: groups / per)
    var nodes = 0
    return groupOf.map { g in
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
