import ColocateModel

/// Whether listed groups cover every expert exactly once within a budget: exact, by depth-first
/// search on the uncovered expert with the fewest groups.
///
/// A group's excess, its reduced cost less the least of all, is at least 0. An uncovered expert
/// will cost a c-th of the least excess among its groups at least; where those sums pass what is
/// left of the budget nothing is there to be found.
struct DestinationCover {
  private typealias Group = (mask: UInt64, excess: Int)

  /// By the first of the group's experts in the order of search.
  private var groupsOf: [[Group]]
  private var order: [Int]
  /// The least excess of a group with the expert.
  private var leastExcess: [Int]
  private let size: Int

  /// - Parameter least: the smallest reduced cost of any group.
  init(_ list: [DestinationGroups.Priced], experts: Int, size: Int, least: Int) {
    self.size = size
    var number = [Int](repeating: 0, count: experts)
    leastExcess = [Int](repeating: .max, count: experts)
    for group in list {
      for e in 0..<experts where group.mask >> UInt64(e) & 1 == 1 {
        number[e] += 1
        leastExcess[e] = min(leastExcess[e], group.reduced - least)
      }
    }
    order = (0..<experts).sorted { (number[$0], $0) < (number[$1], $1) }
    groupsOf = [[Group]](repeating: [], count: experts)
    for group in list {
      guard let first = order.first(where: { group.mask >> UInt64($0) & 1 == 1 }) else { continue }
      groupsOf[first].append((group.mask, group.reduced - least))
    }
    for e in 0..<experts {
      groupsOf[e].sort { ($0.excess, $0.mask) < ($1.excess, $1.mask) }
    }
  }

  /// - Throws: `CertificateError` where the search is too large or takes too long.
  func exists(budget: Int, effort: CertificateEffort) throws(CertificateError) -> Bool {
    guard !leastExcess.contains(.max) else { return false }
    var steps = 0
    let rest = leastExcess.reduce(0, +)
    return try search(0, covered: 0, left: budget, rest: rest, &steps, effort)
  }

  /// - Parameters:
  ///   - position: in `order`; everything before is covered.
  ///   - rest: `Σ leastExcess` of what is uncovered.
  private func search(
    _ position: Int, covered: UInt64, left: Int, rest: Int, _ steps: inout Int,
    _ effort: CertificateEffort
  ) throws(CertificateError) -> Bool {
    guard rest <= left * size else { return false }
    var position = position
    while position < order.count, covered >> UInt64(order[position]) & 1 == 1 { position += 1 }
    guard position < order.count else { return true }
    for group in groupsOf[order[position]] {
      guard group.excess <= left else { break }
      steps += 1
      if steps & 0xFFFF == 0 { try effort.proceed() }
      guard steps < DestinationEvidence.mostSteps else {
        throw CertificateError("exact cover of \(order.count) experts: too large to check")
      }
      guard group.mask & covered == 0 else { continue }
      var paid = 0
      for e in order.indices where group.mask >> UInt64(e) & 1 == 1 { paid += leastExcess[e] }
      if try search(
        position + 1, covered: covered | group.mask, left: left - group.excess, rest: rest - paid,
        &steps, effort)
      {
        return true
      }
    }
    return false
  }
}
