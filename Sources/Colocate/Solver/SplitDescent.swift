import ColocateModel

/// Shares for which the windows' best placements agree as far as they can (`SplitBundle`), with
/// local search to say what a window's best placement is.
///
/// A window is a problem of two layers, for which local search needs milliseconds and is hardly
/// ever wrong; where it is, the trees find out. Each round asks all windows, each from the best
/// column that is known of it.
///
/// Where the windows agree on every layer they are a placement of the whole, and it is optimal. On
/// the way there, layers of different windows are put together to placements: layer l as window l
/// has it, or as window l-1 does. They are material for recombination.
package struct SplitDescent {
  package var bundle: SplitBundle
  let seed: UInt64
  private var round = 0

  /// Rounds of local search that a window gets: ordinarily, and where nothing seems left to gain,
  /// twice before that is believed. (With 12 for the last the trees of gpt-oss-20b's windows of 4
  /// groups still found better placements.)
  private static let searchRounds = [3, 12, 36]
  /// Rounds after which the descent ends anyway, and rounds in which f has to fall by a hundredth
  /// of what is left.
  package static let mostRounds = 400
  private static let patience = 30

  package init(split: WindowSplit, seed: UInt64) {
    bundle = SplitBundle(split: split)
    self.seed = seed
  }

  /// Asks all windows carefully at the shares that there are now.
  package mutating func look(under control: SearchControl) {
    let found = ask(bundle.split, care: 1, control)
    for (w, labels) in found.enumerated() where !labels.isEmpty { bundle.add(labels, window: w) }
  }

  /// Moves the shares until the bound that they promise is the incumbent, does not fall any more,
  /// or the control ends it.
  /// - Parameters:
  ///   - control: what the descent may take.
  ///   - kept: what the incumbent keeps now.
  ///   - onPlacements: takes placements of the whole, `[L, E]`, that are worth a look.
  package mutating func run(
    under control: SearchControl, kept: () -> Int, onPlacements: ([[Int]]) -> Void
  ) {
    let unit = Double(1 << bundle.fractionBits)
    var history = [Double]()
    var care = 0
    while history.count < Self.mostRounds, !control.shouldStop, !control.isWorkOver {
      let split = bundle.split
      let found = ask(split, care: care, control)
      if control.shouldStop || found.contains(where: \.isEmpty) { break }
      for (w, labels) in found.enumerated() { bundle.add(labels, window: w) }
      onPlacements(Self.joined(found, experts: split.problem.experts))
      let target = Double(kept()) * unit
      let expected = bundle.step(target: target)
      let gap = bundle.value - target
      history.append(gap)
      let isAtEnd = gap < 0.5 * unit || expected < 0.01 * unit
      care = isAtEnd ? care + 1 : 0
      if care == Self.searchRounds.count { break }
      // Asked once more, at the best shares.
      if isAtEnd { bundle.returnToBest() }
      if history.count > Self.patience {
        let before = history[history.count - 1 - Self.patience]
        if gap > 0.99 * before { break }
      }
    }
    bundle.returnToBest()
  }

  /// The best placement of each window that local search finds.
  private mutating func ask(
    _ split: WindowSplit, care: Int, _ control: SearchControl
  ) -> [[Int]] {
    let windows = split.windows.indices.map { w in
      // Limits of work are divided before the windows begin.
      (
        problem: split.windows[w].problem, start: bundle.best(window: w),
        seed: seed &+ UInt64(round * split.windows.count + w),
        control: SearchControl(part: .infinity, of: control, threads: 1)
      )
    }
    round += 1
    return concurrentMap(windows.count, threads: control.threads) { w in
      let (problem, start, seed, control) = windows[w]
      let incumbent = Incumbent()
      if let start { incumbent.offer(start, kept: problem.kept(start), source: .warmStart) }
      LocalSearch(
        problem: problem, seed: seed, control: control, incumbent: incumbent,
        pool: PartitionPool(problem: problem), recombines: false
      ).run(rounds: Self.searchRounds[care])
      return incumbent.entry?.labels ?? start ?? []
    }
  }

  /// Layer l from window l, the last one from the last window; and from window l-1, the first one
  /// from the first window.
  private static func joined(_ found: [[Int]], experts: Int) -> [[Int]] {
    guard let first = found.first, let last = found.last else { return [] }
    return [
      found.flatMap { $0.prefix(experts) } + last.suffix(experts),
      first.prefix(experts) + found.flatMap { $0.suffix(experts) },
    ]
  }
}
