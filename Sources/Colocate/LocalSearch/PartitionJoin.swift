import ColocateModel

/// One step of the pool's programme: from the partitions held of one layer to those of the next.
///
///     f_{l+1}(Π') = inside(Π') + max_Π ( f_l(Π) + θ_l(Π, Π') )
///
/// A value of θ costs P · E additions for the overlap and a match of P groups, O(P³); most are not
/// needed. The partitions Π come in the order of falling f_l, and two upper bounds on θ are asked
/// first, each against the best that Π' has reached so far. The ceiling of Π lets every expert of
/// layer `l + 1` join the group (and the node) of Π that sends it most, whatever Π' is. The second
/// bound, on one level, lets each row of the overlap have its largest entry, although two rows may
/// want the same column. Both only leave out what cannot win, so the answer is the exact maximum,
/// and of several origins the first in that order.
struct PartitionJoin: Sendable {
  private let saved: SavedWeights
  private let experts: Int
  private let groups: Int
  private let from: [PartitionPool.Entry]
  private let to: [PartitionPool.Entry]
  /// `[from, P, E]`: `Σ_{i ∈ g} W[i, j]`.
  private let rows: [Int]
  /// `[from]`: what any partner could save at most.
  private let ceiling: [Int]

  /// How a partition of the second layer is reached best.
  struct Arrival {
    var value: Int
    /// Slot in the first layer.
    var origin: Int
  }

  /// - Returns: nil where stopped.
  init?(
    _ problem: GroupingProblem, _ saved: SavedWeights, boundary: Int,
    from: [PartitionPool.Entry], to: [PartitionPool.Entry], control: SearchControl
  ) {
    (self.saved, self.from, self.to) = (saved, from, to)
    (experts, groups) = (problem.experts, problem.groups)
    var rows = [Int](repeating: 0, count: from.count * groups * experts)
    var ceiling = [Int]()
    for (a, entry) in from.enumerated() {
      if control.shouldStop { return nil }
      let base = a * groups * experts
      for i in 0..<experts {
        let target = base + Int(entry.labels[i]) * experts
        for j in 0..<experts { rows[target + j] += problem.weight(boundary, i, j) }
      }
      ceiling.append(
        Self.ceiling(rows[base..<(base + groups * experts)], saved, experts, groups))
    }
    (self.rows, self.ceiling) = (rows, ceiling)
  }

  /// - Parameter rows: of one partition, `[P, E]`.
  private static func ceiling(
    _ rows: ArraySlice<Int>, _ saved: SavedWeights, _ experts: Int, _ groups: Int
  ) -> Int {
    var ceiling = 0
    for j in 0..<experts {
      var (most, all, node) = (0, 0, 0)
      for g in 0..<groups {
        if g % saved.groupsPerNode == 0 { node = 0 }
        let entry = rows[rows.startIndex + g * experts + j]
        most = max(most, entry)
        node += entry
        all = max(all, node)
      }
      ceiling += saved.group * most + saved.node * all
    }
    return ceiling
  }

  /// - Parameters:
  ///   - reached: `f_l`, `[from]`.
  ///   - theta: `[limit, limit]`, -1 where not known yet; empty for nothing known.
  /// - Returns: `[to]`; nil where stopped. Each is one thread's, so the answer does not depend on
  ///   their number.
  func step(
    from reached: [Int], theta: inout [Int], limit: Int, control: SearchControl
  ) -> [Arrival]? {
    if theta.isEmpty { theta = [Int](repeating: -1, count: limit * limit) }
    let order = reached.indices.sorted { (reached[$0], $1) > (reached[$1], $0) }
    var arrivals = [Arrival](repeating: Arrival(value: 0, origin: 0), count: to.count)
    let workers = min(control.threads, to.count)
    theta.withUnsafeMutableBufferPointer { theta in
      arrivals.withUnsafeMutableBufferPointer { arrivals in
        // Column b of theta and arrival b are touched by the one worker that has target b.
        nonisolated(unsafe) let (theta, arrivals) = (theta, arrivals)
        concurrentFor(workers, threads: workers) { _, worker in
          var matcher = Matcher(groups: groups, control: control)
          for b in stride(from: worker, to: to.count, by: workers) where !control.shouldStop {
            arrivals[b] = matcher.arrival(at: b, self, reached, order, theta, limit: limit)
          }
        }
      }
    }
    return control.shouldStop ? nil : arrivals
  }

  /// The scratch memory of one thread.
  private struct Matcher {
    private var matching: LabelMatching
    /// `[P, P]`.
    private var overlap: [Int]
    private let control: SearchControl

    init(groups: Int, control: SearchControl) {
      matching = LabelMatching(control: groups > 64 ? control : nil)
      overlap = [Int](repeating: 0, count: groups * groups)
      self.control = control
    }

    /// The best way to target `b`; without meaning where stopped.
    mutating func arrival(
      at b: Int, _ join: PartitionJoin, _ reached: [Int], _ order: [Int],
      _ theta: UnsafeMutableBufferPointer<Int>, limit: Int
    ) -> Arrival {
      var best = Arrival(value: -1, origin: 0)
      for a in order where reached[a] + join.ceiling[a] > best.value {
        var value = theta[a * limit + b]
        if value < 0 {
          guard let match = match(a, b, join, above: best.value - reached[a]) else { continue }
          if control.shouldStop { return best }
          theta[a * limit + b] = match
          value = match
        }
        if reached[a] + value > best.value { best = Arrival(value: reached[a] + value, origin: a) }
      }
      best.value += join.to[b].inside
      return best
    }

    /// `θ`; nil where the rows' largest entries show that it is not above `floor`.
    private mutating func match(
      _ a: Int, _ b: Int, _ join: PartitionJoin, above floor: Int
    ) -> Int? {
      let (experts, groups) = (join.experts, join.groups)
      for index in overlap.indices { overlap[index] = 0 }
      for g in 0..<groups {
        let row = (a * groups + g) * experts
        for j in 0..<experts {
          overlap[g * groups + Int(join.to[b].labels[j])] += join.rows[row + j]
        }
      }
      if join.saved.node == 0 {
        var bound = 0
        for g in 0..<groups {
          var most = 0
          for h in 0..<groups { most = max(most, overlap[g * groups + h]) }
          bound += most
        }
        if join.saved.group * bound <= floor { return nil }
      }
      return matching.match(groups: groups, saved: join.saved, overlap: overlap)
    }
  }
}
