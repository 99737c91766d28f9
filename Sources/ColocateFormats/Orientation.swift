/// Which of the first two axes of a small trace, `[T, L]` or `[T, L, k]`, is the layers', as far as
/// its ids tell.
///
/// A layer has its favourite experts, and what an id means changes from layer to layer. So two
/// tokens share ids in one layer more often than two layers do in one token:
///
///     c_layer = Σ_l Σ_{t≠t'} [common ids of (t, l) and (t', l)] / n_layer
///     c_token = Σ_t Σ_{l≠l'} [common ids of (t, l) and (t, l')] / n_token
///
/// where n_layer and n_token count the same pairs of ids, equal or not: `L · T (T-1) · k²` and
/// `T · L (L-1) · k²` where no id is missing. Ids that are missing, -1, make no pair, or a token
/// that has none would pass for a line of ids that are alike.
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
  /// - Parameter largest: the largest id that is an expert's: those above it are missing, as -1 in
  ///   an unsigned type is.
  /// - Throws: `FormatError` where the file cannot be read.
  init(_ array: IntegerArray, largest: Int) throws(FormatError) {
    let (rows, columns) = (array.shape[0], array.shape[1])
    let choices = array.shape.count == 3 ? array.shape[2] : 1
    let ids = try array.integers(rows: nil, wrapping: true)
    let experts = largest + 1
    /// Pairs in the lines of an axis, both ways and each id with itself: of equal ids, and all.
    func pairs(lines: Int, _ line: (Int) -> Int) -> (equal: Double, all: Double) {
      var counts = [Int](repeating: 0, count: lines * experts)
      for (index, id) in ids.enumerated() where id >= 0 && id < experts {
        counts[line(index / choices) * experts + id] += 1
      }
      var sums = (equal: 0.0, all: 0.0)
      for line in 0..<lines {
        let row = counts[(line * experts)..<((line + 1) * experts)]
        let length = Double(row.reduce(0, +))
        sums.equal += row.reduce(0) { $0 + Double($1) * Double($1) }
        sums.all += length * length
      }
      return sums
    }
    // Those inside one token's row of one layer, which both axes count.
    var own = (equal: 0.0, all: 0.0)
    for first in stride(from: 0, to: ids.count, by: choices) {
      let row = ids[first..<(first + choices)].filter { $0 >= 0 && $0 < experts }
      for id in row { own.equal += Double(row.count { $0 == id }) }
      own.all += Double(row.count * row.count)
    }
    let byColumn = pairs(lines: columns) { $0 % columns }
    let byRow = pairs(lines: rows) { $0 / columns }
    let (columnPairs, rowPairs) = (byColumn.all - own.all, byRow.all - own.all)
    guard columnPairs > 0, rowPairs > 0 else {
      self = .unknown
      return
    }
    let column = (byColumn.equal - own.equal) / columnPairs
    let row = (byRow.equal - own.equal) / rowPairs
    // Pairs both ways are counted twice: half as many tell.
    let deviation = (2 * column / columnPairs + 2 * row / rowPairs).squareRoot()
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
