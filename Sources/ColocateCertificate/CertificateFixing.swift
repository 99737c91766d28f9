import ColocateModel

/// Pairs of experts that placements which keep at least `target` must have together or apart, from
/// multipliers of the co-location relaxation, step by step; and what that leaves to be searched.
///
/// With the names of `CertificateColocation`, B = rest + Σ_x max C_x·x bounds what placements keep,
/// where x runs over pairs. Setting pairs to the values that their C do not prefer takes Σ|C_x|
/// from B, and no other term has these x in it. So a placement that keeps at least the target does
/// not set pairs so that Σ|C_x| > δ = B - target.
///
/// Experts that must share a group form classes, and so do, for two groups, those that must be on
/// opposite sides; then a class has two sides. Two classes are together as a whole or apart as a
/// whole (for two groups: first sides together, or first with second). If all pairs between them
/// lose more than δ in one case, it is the other. A case is also out where some group would have
/// more than c experts of a layer, or more load than the cap; for more than two groups also where a
/// pair between the classes is known to be apart. And for more than two groups, where only c
/// experts of a layer may be with a class, they are. All this is repeated until nothing is new:
/// what is known only grows, and δ only falls, so the order does not matter.
///
/// Of each step's multipliers the bound counts, with all pairs fixed so far: no placement keeps
/// more than the largest of target - 1 and the least of these. Where a pair can have neither value,
/// or δ < 0, none reaches the target. What is left may be searched (`CertificateLossSearch`).
package struct CertificateFixing: Sendable {
  /// Multipliers in the order in which they are used.
  package var steps: [CertificateColocation]
  /// The layer from which a search at the last step finds no placement that reaches the target; nil
  /// without a search.
  package var search: Int?

  package init(steps: [CertificateColocation], search: Int?) {
    self.steps = steps
    self.search = search
  }

  /// The most steps.
  package static let mostSteps = 1 << 10

  /// As below, with what the cap says.
  package func bound(
    of problem: CertifiedProblem, incumbent: Int, isRoomy: Bool, effort: CertificateEffort
  ) throws(CertificateError) -> Int {
    try bound(of: problem, incumbent: incumbent, known: nil, isRoomy: isRoomy, effort: effort)
  }

  /// An upper bound on what placements keep, at least `incumbent`.
  /// - Parameters:
  ///   - known: pairs that are known to begin with; nil for what the cap says.
  ///   - isRoomy: whether to take margins four times as large, so that other checkers prove no
  ///     less, and to believe the search.
  func bound(
    of problem: CertifiedProblem, incumbent: Int, known: CertificateFixedPairs? = nil,
    isRoomy: Bool = false, effort: CertificateEffort
  ) throws(CertificateError) -> Int {
    guard !steps.isEmpty, steps.count <= Self.mostSteps else {
      throw CertificateError(
        "\(steps.count) steps of fixing, expected 1 to \(Self.mostSteps)")
    }
    if let search, !(0..<problem.layers).contains(search) {
      throw CertificateError("a search from layer \(search) of \(problem.layers)")
    }
    // What placements keep are multiples of `step`: a better one keeps at least the next.
    let target = incumbent < 0 ? 0 : (incumbent / problem.step + 1) * problem.step
    var pairs = known ?? CertificateFixedPairs(problem)
    var least = Int128(problem.total)
    for (number, multipliers) in steps.enumerated() {
      do throws(CertificateError) {
        let parts = try multipliers.parts(of: problem, effort: effort)
        let slack = isRoomy ? 3 * parts.margin : 0
        try pairs.tighten(parts, slack: slack, target: target, effort: effort)
        if pairs.isExhausted { return incumbent }
        let bound = try parts.bound(pairs)
        least = min(least, isRoomy ? bound.roomyFloor : bound.floor)
        guard let search, number == steps.count - 1 else { continue }
        if isRoomy { return incumbent }
        try CertificateLossSearch(parts, pairs, target: target, effort: effort).check(from: search)
        return incumbent
      } catch {
        throw CertificateError("step \(number) of fixing: \(error.description)")
      }
    }
    return max(incumbent, Int(clamping: least))
  }
}
