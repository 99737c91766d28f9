import ColocateModel
import Synchronization

/// A solution that is known, held against every step of a search that excludes solutions.
///
/// While it keeps more than the incumbent it must survive: no deletion may take one of its groups,
/// no price vector, doll or multiplier may prove less than it keeps, one child of every branch has
/// it, no prune takes a node that has it, and every cut holds for it. A step that breaks this is a
/// fault of the solver, whatever the answer comes to; the first is noted with its name, and the run
/// is asked to stop.
package final class KnownSolution: Sendable {
  package let problem: GroupingProblem
  /// `[L, E]`, groups `0 ..< P`.
  package let labels: [Int]
  /// What it keeps.
  package let kept: Int
  /// Where the search is.
  package let stage: Stage
  package let faults: FaultLog

  /// - Returns: nil where the labels are no solution of the problem.
  package init?(
    problem: GroupingProblem, labels: [Int], stage: Stage = .gpus, faults: FaultLog = FaultLog()
  ) {
    guard problem.isFeasible(labels) else { return nil }
    self.problem = problem
    self.labels = labels
    kept = problem.kept(labels)
    self.stage = stage
    self.faults = faults
  }

  /// Notes a step that has excluded it, unless it is no better than the incumbent.
  package func lost(to step: String, incumbent: Int = -1) {
    guard kept > incumbent else { return }
    faults.note(
      "stage \(stage): \(step) excludes a known solution that keeps \(kept); the incumbent keeps "
        + "\(max(incumbent, 0))")
  }

  /// A bound on what any solution keeps.
  package func check(bound: Int, by method: BoundMethod) {
    guard bound < kept else { return }
    lost(to: "the bound \(bound) (\(method.rawValue))")
  }

  /// What it loses from each layer on under the prices of `relaxation`, in ticks, `[L]`: the least
  /// that the doll of that layer can be. nil where the relaxation has not all of its groups.
  package func losses(in relaxation: PathRelaxation) -> [Int]? {
    let (layers, experts) = (problem.layers, problem.experts)
    // Number of each group's subset, layer by layer.
    var places = [[Int]]()
    for l in 0..<layers {
      let subsets = relaxation.layers[l]
      var masks = [UInt64](repeating: 0, count: problem.groups)
      for e in 0..<experts { masks[labels[l * experts + e]] |= 1 << UInt64(e) }
      let found = masks.compactMap { mask in (0..<subsets.count).first { subsets.masks[$0] == mask }
      }
      guard found.count == masks.count else { return nil }
      places.append(found)
    }
    var losses = [Int](repeating: 0, count: layers)
    for l in stride(from: layers - 1, through: 0, by: -1) {
      let cuts = relaxation.prices.cuts.filter { $0.layer == l }
      var loss = cuts.reduce(0) { sum, cut in
        let held = places[l].reduce(0) { $0 + cut.count(relaxation.layers[l].masks[$1]) }
        return sum + (cut.most - held) * cut.price
      }
      if l == layers - 1 {
        for place in places[l] { loss += Int(relaxation.penalty(l, place)) }
      } else {
        loss += losses[l + 1] + slack(in: relaxation, boundary: l, places[l], places[l + 1])
      }
      losses[l] = loss
    }
    return losses
  }

  /// `Σ f(T) − own(T) − f(S) − w(S, T)` over the arcs that its groups take across a boundary.
  private func slack(
    in relaxation: PathRelaxation, boundary l: Int, _ from: [Int], _ to: [Int]
  ) -> Int {
    let experts = problem.experts
    let own = relaxation.vertexWeights(l + 1)
    var slack = 0.0
    for (s, t) in zip(from, to) {
      slack += relaxation.forward[l + 1][t] - own[t] - relaxation.forward[l][s]
    }
    for i in 0..<experts {
      for j in 0..<experts where labels[l * experts + i] == labels[(l + 1) * experts + j] {
        slack -= Double(problem.weights[(l * experts + i) * experts + j] * PathSubsets.ticks)
      }
    }
    return Int(slack)
  }
}
