import Foundation

/// What an array of three axes `[A, B, B]` means: counts `[L-1, E, E]`, or a trace `[T, L, k]` of a
/// model with as many layers as experts per token.
///
/// Two facts tell them apart.
/// * Counts of complete tokens conserve flow: who enters an expert leaves it, so the column sums of
///   a boundary are the row sums of the next. A trace's ids do nothing of the kind.
/// * A trace's rows hold k different ids (or -1, or one id throughout where nothing was routed).
///   Rows of counts do so by chance only: of values in 0..<R with probability
///   `p = Π_{i<B} (1 - i / R)` a row, `p^(A·B)` all.
struct ArrayMeaning {
  enum Answer {
    case trace
    case counts
    /// Nothing tells: the user must say.
    case unknown
  }

  /// Layers that a file of counts never exceeds; also the matrices that are looked at.
  private static let mostMatrices = 4095
  /// Choices that a trace never exceeds.
  private static let mostChoices = 256
  /// Ids that an expert can have: below this.
  private static let mostIDs = 4096

  private let matrices: Int
  private let side: Int
  private var conserves = true
  /// Rows of different ids, and rows that no router writes. Rows that repeat one value are neither.
  private var (goodRows, badRows) = (0, 0)
  private var (smallest, largest) = (0, 0)

  /// - Throws: `FormatError` for an entry that is no integer of 64 bits with a sign.
  static func of(_ array: IntegerArray) throws(FormatError) -> Answer {
    let (matrices, side) = (array.shape[0], array.shape[1])
    guard matrices > 1, side <= mostChoices else { return .counts }
    if side == 1 {
      // One expert a layer, whom every token meets; or one layer of a trace.
      return Set(try array.integers(rows: nil, wrapping: true)).count == 1 ? .counts : .trace
    }
    guard matrices <= mostMatrices else { return .trace }
    var meaning = ArrayMeaning(matrices: matrices, side: side)
    try meaning.look(array)
    return meaning.answer
  }

  private init(matrices: Int, side: Int) {
    self.matrices = matrices
    self.side = side
  }

  private mutating func look(_ array: IntegerArray) throws(FormatError) {
    var entered = [Int]()
    var seen = [Int](repeating: -1, count: Self.mostIDs)
    for block in array.blocks() {
      let entries = try array.integers(rows: block, wrapping: true)
      for matrix in block {
        let start = (matrix - block.lowerBound) * side * side
        let sums = look(
          entries[start..<(start + side * side)], array.element, matrix, seen: &seen)
        if !entered.isEmpty, entered != sums.rows { conserves = false }
        entered = sums.columns
      }
    }
  }

  /// Looks at one matrix.
  /// - Parameter seen: for each id the number of the row that had it last.
  /// - Returns: the sums of its rows and columns.
  private mutating func look(
    _ entries: ArraySlice<Int>, _ element: IntegerElement, _ matrix: Int, seen: inout [Int]
  ) -> (rows: [Int], columns: [Int]) {
    var rows = [Int](repeating: 0, count: side)
    var columns = rows
    for row in 0..<side {
      let first = entries.startIndex + row * side
      let number = matrix * side + row
      var (isGood, repeats) = (true, true)
      for column in 0..<side {
        let value = entries[first + column]
        rows[row] &+= value
        columns[column] &+= value
        smallest = min(smallest, value)
        repeats = repeats && value == entries[first]
        if isPadding(value, element) { continue }
        largest = max(largest, value)
        guard value < seen.count, seen[value] != number else {
          isGood = false
          continue
        }
        seen[value] = number
      }
      if repeats { continue }
      if isGood { goodRows += 1 } else { badRows += 1 }
    }
    return (rows, columns)
  }

  /// -1, or what it looks like without a sign.
  private func isPadding(_ value: Int, _ element: IntegerElement) -> Bool {
    if value < 0 || (value == 255 && element.size == 1) { return true }
    return !element.isSigned && TraceBlocks.isMinusOneWithoutSign(value)
  }

  private var answer: Answer {
    let isPadded = smallest == -1
    guard smallest >= -1, goodRows > 0 else { return isPadded ? .trace : .counts }
    if isPadded { return .trace }
    guard badRows == 0 else {
      // Nearly all rows are a router's, and more of them than a model has layers: a damaged trace?
      let isOdd = !conserves && matrices > 128 && goodRows > 9 * badRows && largest < Self.mostIDs
      return isOdd ? .unknown : .counts
    }
    // Counts that conserve flow; but so may a trace of permutations of 0..<B.
    if conserves { return largest < side ? .unknown : .counts }
    let range = Double(largest + 1)
    let chance = (0..<side).reduce(0.0) { $0 + log(max(0, 1 - Double($1) / range)) }
    if chance * Double(matrices * side) < log(1e-4) { return .trace }
    // More experts than a layer has visits: no trace to place anything from.
    return largest + 1 > matrices * side ? .counts : .unknown
  }
}
