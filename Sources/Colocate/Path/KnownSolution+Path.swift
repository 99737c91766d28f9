import ColocateModel

/// What a known solution loses under the prices of a path relaxation: the equation of
/// `RussianDolls` term by term, against which every doll is held.
extension KnownSolution {
  /// What it loses from each layer on, in ticks, `[L]`: the least that the doll of that layer can
  /// be. nil where some of its groups are not among the vertices.
  package func losses(in evaluation: PathEvaluation) -> [Int]? {
    let labels = Labels(labels, experts: problem.experts)
    guard let places = evaluation.vertices.places(of: labels, groups: problem.groups) else {
      return nil
    }
    let last = problem.layers - 1
    var losses = [Int](repeating: 0, count: problem.layers)
    for l in stride(from: last, through: 0, by: -1) {
      let subsets = evaluation.layers[l]
      var loss = evaluation.prices.cuts.reduce(0) { sum, cut in
        guard cut.layer == l else { return sum }
        let held = places[l].reduce(0) { $0 + cut.count(subsets.masks[$1]) }
        return sum + (cut.most - held) * cut.price
      }
      if l == last {
        for place in places[l] { loss += Int(evaluation.penalty(l, place)) }
      } else {
        loss += losses[l + 1] + slack(in: evaluation, boundary: l, places, labels)
      }
      losses[l] = loss
    }
    return losses
  }

  /// `Σ f(T) − own(T) − f(S) − w(S, T)` over the arcs that its groups take across a boundary.
  private func slack(
    in evaluation: PathEvaluation, boundary l: Int, _ places: [[Int]], _ labels: Labels
  ) -> Int {
    var slack = 0.0
    for (s, t) in zip(places[l], places[l + 1]) {
      slack += evaluation.forward[l + 1][t] - evaluation.own[l + 1][t] - evaluation.forward[l][s]
    }
    for i in 0..<problem.experts {
      for j in 0..<problem.experts where labels[l, i] == labels[l + 1, j] {
        slack -= Double(problem.weight(l, i, j) * PathSubsets.ticks)
      }
    }
    return Int(slack)
  }
}
