/// The distinct ranks among those of a token's experts, each once, the strongest expert's first.
///
/// A row goes once to each of these ranks, however many of its experts live there, so every count
/// of rows rests on this one loop. Each rank is marked with the number of the last row that it was
/// seen for; rows are numbered as they come. Marks never have to be cleared between rows, and a row
/// of k experts takes k steps whatever the number of ranks.
struct DistinctRanks {
  /// `[R + 1]`: the number of the last row that each rank was seen for; last, the number of the
  /// row at hand. 0 stands for no row yet.
  private let marks: UnsafeMutablePointer<Int>
  private let ranks: Int

  init(ranks: Int, memory: Memory) throws(EngineError) {
    self.ranks = ranks
    marks = try memory.allocate(ranks + 1, of: Int.self)
  }

  /// Calls `body` once for each distinct rank of a row's experts.
  ///
  /// - Parameters:
  ///   - experts: `[k]`, the strongest first.
  ///   - rankOf: the rank of an expert.
  ///   - body: is given the rank, and whether it is the strongest expert's: the next home of a
  ///     token that moves.
  @inline(__always)
  func forEach(
    of experts: UnsafePointer<Int32>, count k: Int, rankOf: (_ expert: Int) -> Int,
    _ body: (_ rank: Int, _ isStrongest: Bool) -> Void
  ) {
    let row = marks[ranks] &+ 1
    marks[ranks] = row
    for j in 0..<k {
      let rank = rankOf(Int(experts[j]))
      guard marks[rank] != row else { continue }
      marks[rank] = row
      body(rank, j == 0)
    }
  }
}
