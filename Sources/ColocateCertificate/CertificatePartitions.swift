import ColocateModel

/// All partitions of a layer in the order that chain evidence is written in.
///
/// The smallest expert without a group chooses its c - 1 companions among the larger ones without a
/// group, in lexicographic order, and so on. A partition is the list of its groups as bit sets, in
/// the order in which they were formed (which is by smallest member). Partitions over the cap are
/// left out.
package enum CertificatePartitions {
  /// The most partitions of a layer, with or without a cap, that chain evidence may be about.
  package static let most = 60_000

  /// `[partitions, P]`.
  package static func list(
    _ problem: CertifiedProblem, layer: Int
  ) throws(CertificateError) -> [UInt64] {
    let (experts, size) = (problem.experts, problem.groupSize)
    // E! / (c!^P · P!): the cap can only strike some of them, so this bounds the work too.
    var count = 1.0
    for left in stride(from: experts, to: 0, by: -size) {
      for k in 1..<max(size, 1) { count *= Double(left - k) / Double(k) }
    }
    guard experts <= 64, count <= Double(most) else {
      throw CertificateError(
        "chain evidence over more than \(most) partitions a layer: beyond the checker's limit")
    }
    let cap = problem.caps?[layer] ?? Int.max
    var found = [UInt64]()
    var formed = [UInt64]()
    func form(_ free: UInt64) {
      guard free != 0 else {
        found += formed
        return
      }
      let first = free.trailingZeroBitCount
      func choose(_ group: UInt64, _ load: Int, _ count: Int, _ after: Int) {
        guard load <= cap else { return }
        if count == size {
          formed.append(group)
          form(free & ~group)
          formed.removeLast()
          return
        }
        for e in after..<max(after, experts) where free >> UInt64(e) & 1 == 1 {
          choose(
            group | 1 << UInt64(e), load + problem.loads[layer * experts + e], count + 1, e + 1)
        }
      }
      choose(1 << UInt64(first), problem.loads[layer * experts + first], 1, first + 1)
    }
    form(experts == 64 ? .max : (1 << UInt64(experts)) - 1)
    return found
  }
}
