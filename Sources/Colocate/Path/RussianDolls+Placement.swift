/// The placement that a state of the last layer stands for.
///
/// Back-pointers give a partition of every layer. How the groups of neighbouring partitions belong
/// together is not stored; it is the matching along arcs with the least total slack, whose sum is
/// the difference of the two states' losses.
extension RussianDolls {
  /// `[L, E]`.
  func labels(tables: [PartitionTable], last: Int64) -> [Int] {
    var partitions = [[Int]](repeating: [], count: layers)
    var number = last
    for l in stride(from: layers - 1, through: 0, by: -1) {
      let state = tables[l].state(number)
      partitions[l] = state.groups
      number = state.parent
    }
    var labels = Labels(layers: layers, experts: evaluation.experts)
    var order = partitions[0]
    for l in 0..<layers {
      if l > 0 { order = match(order, partitions[l], boundary: l - 1) }
      for (group, s) in order.enumerated() {
        for e in evaluation.layers[l].row(s) { labels[l, Int(e)] = group }
      }
    }
    return labels.flat
  }

  /// `to` in the order that joins it to `from` with the least slack: depth-first search over the
  /// arcs between the two, of which there are few.
  private func match(_ from: [Int], _ to: [Int], boundary l: Int) -> [Int] {
    let arcs = self.arcs[l]
    let candidates = from.map { s in
      (Int(arcs.rowStart[s])..<Int(arcs.rowStart[s + 1]))
        .map { (target: Int(arcs.target[$0]), slack: Int(arcs.slack[$0])) }
        .filter { to.contains($0.target) }
        .sorted { $0.slack < $1.slack }
    }
    var best = Int.max
    var bestOrder = to
    var order = to
    var used = Set<Int>()
    func place(_ g: Int, _ sum: Int) {
      if sum >= best { return }
      if g == from.count {
        best = sum
        bestOrder = order
        return
      }
      for candidate in candidates[g] where used.insert(candidate.target).inserted {
        order[g] = candidate.target
        place(g + 1, sum + candidate.slack)
        used.remove(candidate.target)
      }
    }
    place(0, 0)
    return bestOrder
  }
}
