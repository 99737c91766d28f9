import ColocateModel

/// `θ` of one boundary for any pair of listed partitions, over a table of the overlaps of all
/// groups that occur.
///
/// Many partitions share a group (12 experts in groups of three: 15,400 partitions, 220 groups), so
/// the weight between every group that occurs before the boundary and every group that occurs after
/// it is added up once. The overlaps of two partitions are then P² entries of that table, and θ is
/// an assignment over them (`ThetaTable`).
struct PartitionStep: Sendable {
  let groups: Int
  /// `[states, P]`: each group's row in `overlap`.
  let from: [Int32]
  /// `[states, P]`: each group's column.
  let to: [Int32]
  let columns: Int
  /// `[groups that occur before, groups that occur after]`.
  let overlap: [Int]

  /// Targets that a thread takes at a time.
  private static let chunk = 16

  /// - Parameters:
  ///   - from: partitions of layer `boundary` as group masks, `[count, P]`.
  ///   - to: partitions of the next layer.
  init(_ problem: GroupingProblem, boundary: Int, from: [UInt64], to: [UInt64]) {
    groups = problem.groups
    let (rows, columns) = (GroupIndex(from), GroupIndex(to))
    self.from = rows.ids
    self.to = columns.ids
    self.columns = columns.groups.count
    var table = [Int](repeating: 0, count: rows.groups.count * columns.groups.count)
    for (r, row) in rows.groups.enumerated() {
      var sums = [Int](repeating: 0, count: problem.experts)
      for i in row {
        for j in 0..<problem.experts { sums[j] += problem.weight(boundary, i, j) }
      }
      for (c, column) in columns.groups.enumerated() {
        var sum = 0
        for j in column { sum += sums[j] }
        table[r * columns.groups.count + c] = sum
      }
    }
    overlap = table
  }

  /// Numbers for the distinct groups of some partitions, in the order of their first appearance.
  private struct GroupIndex {
    var ids: [Int32] = []
    var groups: [ExpertSet] = []

    init(_ states: [UInt64]) {
      var known = [UInt64: Int32]()
      for mask in states {
        let id = known[mask] ?? Int32(groups.count)
        if id == groups.count {
          known[mask] = id
          groups.append(ExpertSet(bits: mask))
        }
        ids.append(id)
      }
    }
  }

  /// `max_Π f(Π) + θ(Π, Π')` for every `Π'`; nil where stopped. Each target is one thread's, so the
  /// answer does not depend on their number.
  func forward(_ values: [Int], control: SearchControl) -> [Int]? {
    let count = to.count / groups
    var next = [Int](repeating: -1, count: count)
    let tasks = (count + Self.chunk - 1) / Self.chunk
    let workers = min(control.threads, tasks)
    next.withUnsafeMutableBufferPointer { next in
      // Every target is written by the one worker that has its task.
      nonisolated(unsafe) let next = next
      concurrentFor(workers, threads: workers) { _, worker in
        var theta = ThetaTable(groups: groups)
        for task in stride(from: worker, to: tasks, by: workers) {
          if control.shouldStop { return }
          for b in (task * Self.chunk)..<min(count, (task + 1) * Self.chunk) {
            next[b] = theta.most(self, values, to: b)
          }
        }
      }
    }
    return control.shouldStop && next.contains(-1) ? nil : next
  }

  /// The first state from which the only target reaches `value`.
  func origin(of value: Int, _ values: [Int]) -> Int? {
    var theta = ThetaTable(groups: groups)
    return values.indices.first { values[$0] + theta.best(self, from: $0, to: 0) == value }
  }
}
