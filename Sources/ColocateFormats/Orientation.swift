import ColocateModel

/// Which of the first two axes of a small trace, `[T, L]` or `[T, L, k]`, is the layers', as far as
/// its ids tell.
///
/// A layer has its favourite experts, and what an id means changes from layer to layer. So two
/// tokens share ids in one layer more often than two layers do in one token:
///
///     c_layer = Σ_l Σ_{t≠t'} [common ids of (t, l) and (t', l)] / (L · T (T-1) · k²)
///     c_token = Σ_t Σ_{l≠l'} [common ids of (t, l) and (t, l')] / (T · L (L-1) · k²)
///
/// Were all ids drawn from one distribution, the two rates would have the same mean. Each is a
/// number of coincidences, about Poisson, over a number n of pairs that counts every pair both
/// ways, so their difference has a standard deviation of about `√(2 c_layer / n_layer + 2 c_token /
/// n_token)`. Six of these, and a tenth of the lower rate, are no chance.
///
/// Routing without favourites says nothing, and a trace whose tokens keep to an id through the
/// layers looks transposed: so this decides only where the shape alone leaves it open.
enum Orientation {
  /// The second axis is the layers'.
  case asRead
  /// The first one is.
  case transposed
  case unknown

  /// Looks at all ids: for arrays of few tokens.
  /// - Throws: `FormatError` where the file cannot be read.
  init(_ array: IntegerArray) throws(FormatError) {
    let (rows, columns) = (array.shape[0], array.shape[1])
    let choices = array.shape.count == 3 ? array.shape[2] : 1
    let ids = try array.integers(rows: nil, wrapping: true)
    let experts = TransitionAccumulator.mostExperts
    /// Pairs of equal ids in the lines of an axis, both ways and each id with itself.
    func equalPairs(lines: Int, _ line: (Int) -> Int) -> Double {
      var counts = [Int](repeating: 0, count: lines * experts)
      for (index, id) in ids.enumerated() where id >= 0 && id < experts {
        counts[line(index / choices) * experts + id] += 1
      }
      return counts.reduce(0) { $0 + Double($1) * Double($1) }
    }
    // Those inside one token's row of one layer, which both axes count.
    var own = 0.0
    for first in stride(from: 0, to: ids.count, by: choices) {
      let row = ids[first..<(first + choices)].filter { $0 >= 0 && $0 < experts }
      for id in row { own += Double(row.count { $0 == id }) }
    }
    let perPair = Double(choices * choices)
    let byColumn = Double(columns * rows * (rows - 1)) * perPair
    let byRow = Double(rows * columns * (columns - 1)) * perPair
    guard byColumn > 0, byRow > 0 else {
      self = .unknown
      return
    }
    let column = (equalPairs(lines: columns) { $0 % columns } - own) / byColumn
    let row = (equalPairs(lines: rows) { $0 / columns } - own) / byRow
    // Pairs both ways are counted twice: half as many tell.
    let deviation = (2 * column / byColumn + 2 * row / byRow).squareRoot()
    let difference = column - row
    if difference > max(6 * deviation, 0.1 * row) {
      self = .asRead
    } else if -difference > max(6 * deviation, 0.1 * column) {
      self = .transposed
    } else {
      self = .unknown
    }
  }
}
