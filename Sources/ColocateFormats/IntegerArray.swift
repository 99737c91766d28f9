/// An integer array in a file, of any integer type, byte order and axis order.
///
///     let ids = try IntegerArray(npy: "ids.npy")
///     print(ids.shape, try ids.integers())
///
/// The file stays open and is read where rows are asked for; nothing of it is kept in memory. A
/// file that becomes shorter meanwhile ends in an error.
public struct IntegerArray: Sendable {
  private let source: PositionedFile
  /// Where the entries start.
  private let offset: Int
  let element: IntegerElement
  /// Lengths of the axes; a scalar has none.
  public let shape: [Int]
  let isFortranOrder: Bool

  /// The file as it was named.
  public var file: String { source.path }
  /// The element type as numpy names it, "<i4".
  public var elementName: String { element.name }
  /// Rows along the first axis; a scalar is one.
  private var rows: Int { shape.first ?? 1 }
  /// Entries of a row of the first axis.
  private var width: Int { shape.dropFirst().reduce(1, *) }

  /// The array of a `.npy` file, whatever its shape (numpy/lib/format.py, versions 1 to 3).
  /// - Throws: `FormatError` where the file is no `.npy` file of integers.
  public init(npy path: String) throws(FormatError) {
    try self.init(npy: try PositionedFile(path))
  }

  init(npy file: PositionedFile) throws(FormatError) {
    let head = try file.head()
    if !NpyHeader.starts(head), let container = Container(head, file: file.path) {
      throw container.error(file.path, expected: "a .npy array")
    }
    let header = try NpyHeader(file)
    self.init(
      file, offset: header.dataOffset, element: header.element, shape: header.shape,
      isFortranOrder: header.isFortranOrder && header.shape.count > 1)
  }

  /// - Parameter offset: of the first entry in the file, which the caller has found to hold all.
  init(
    _ source: PositionedFile, offset: Int, element: IntegerElement, shape: [Int],
    isFortranOrder: Bool = false
  ) {
    self.source = source
    self.offset = offset
    self.element = element
    self.shape = shape
    self.isFortranOrder = isFortranOrder
  }

  /// The rows of the first axis in blocks of about `entries` entries, at least a row in each.
  ///
  /// In Fortran order a block is read in as many pieces as a row has entries; blocks are larger
  /// there, so that the pieces are.
  func blocks(entries: Int = 1 << 20) -> [Range<Int>] {
    let wanted = isFortranOrder ? 4 * entries : entries
    let size = max(1, wanted / max(1, width))
    return stride(from: 0, to: rows, by: size).map { $0..<min($0 + size, rows) }
  }

  /// Copies rows `range` of the first axis to `to`, row-major, as integers of this machine.
  /// - Parameter to: room for `range.count` rows.
  /// - Throws: `FormatError` where the file cannot be read or has become shorter.
  func copyRows<Integer: FixedWidthInteger & BitwiseCopyable>(
    _ range: Range<Int>, to: UnsafeMutablePointer<Integer>
  ) throws(FormatError) {
    guard !isFortranOrder else { return try copyRuns(range, to: to) }
    let count = range.count * width
    try read(count, from: range.lowerBound * width, to: to)
  }

  /// Where in the file the entries of some rows are, if they stand there as they are in memory.
  func plainBytes(ofRows range: Range<Int>) -> Range<Int>? {
    guard element.isNative, !isFortranOrder else { return nil }
    let row = width * element.size
    return (offset + range.lowerBound * row)..<(offset + range.upperBound * row)
  }

  /// Bytes of all entries.
  var bytes: Int { rows * width * element.size }

  /// Whether the entries are in that file.
  func isIn(_ file: PositionedFile) -> Bool { source === file }

  /// Copies entries as they stand in the file, in this machine's byte order.
  private func read<Integer: FixedWidthInteger & BitwiseCopyable>(
    _ count: Int, from first: Int, to: UnsafeMutablePointer<Integer>
  ) throws(FormatError) {
    let start = offset + first * element.size
    try source.read(start..<(start + count * element.size), into: UnsafeMutableRawPointer(to))
    guard !element.isNative else { return }
    for index in 0..<count { to[index] = to[index].byteSwapped }
  }

  /// Rows of an array in Fortran order, where an entry's place is `Σ_a index_a · Π_{b<a} shape_b`:
  /// for each place of the inner axes the file has a run of the first axis. Of each run the piece
  /// of the wanted rows is read; where all rows are wanted, runs join, and as many are read at once
  /// as fit a piece.
  private func copyRuns<Integer: FixedWidthInteger & BitwiseCopyable>(
    _ range: Range<Int>, to: UnsafeMutablePointer<Integer>
  ) throws(FormatError) {
    let most = 1 << 18
    let width = width
    guard !range.isEmpty, width > 0 else { return }
    let together = range.count == rows ? max(1, most / rows) : 1
    let size = together > 1 ? rows : min(range.count, most)
    let piece = UnsafeMutablePointer<Integer>.allocate(capacity: together * size)
    defer { piece.deallocate() }
    for first in stride(from: 0, to: width, by: together) {
      let runs = first..<min(first + together, width)
      for start in stride(from: range.lowerBound, to: range.upperBound, by: size) {
        let count = min(size, range.upperBound - start)
        try read(runs.count * count, from: first * rows + start, to: piece)
        for run in runs {
          let from = piece + (run - first) * count
          let target = to + (start - range.lowerBound) * width + rowMajorPlace(ofRun: run)
          for row in 0..<count { target[row * width] = from[row] }
        }
      }
    }
  }

  /// The row-major place in the inner axes of the run that is the `run`-th in the file, where the
  /// first of the inner axes changes fastest.
  private func rowMajorPlace(ofRun run: Int) -> Int {
    var (rest, place, step) = (run, 0, width)
    for length in shape.dropFirst() {
      step /= length
      place += rest % length * step
      rest /= length
    }
    return place
  }

  /// The entries of `rows` of the first axis, row-major; nil for all.
  /// - Throws: `FormatError` for an entry beyond `Int`, with its place, and where the file cannot
  ///   be read or has become shorter.
  public func integers(rows: Range<Int>? = nil) throws(FormatError) -> [Int] {
    try integers(rows: rows, wrapping: false)
  }

  /// - Parameter wrapping: whether an entry beyond `Int` becomes a negative number instead of an
  ///   error.
  func integers(rows: Range<Int>?, wrapping: Bool) throws(FormatError) -> [Int] {
    try element.perform(
      Widening(array: self, rows: rows ?? 0..<self.rows, isWrapping: wrapping))
  }

  /// Reads rows and makes every entry an `Int`.
  private struct Widening: IntegerWork {
    let array: IntegerArray
    let rows: Range<Int>
    let isWrapping: Bool

    func callAsFunction<Integer: FixedWidthInteger & BitwiseCopyable>(
      _: Integer.Type
    ) throws(FormatError) -> [Int] {
      var raw = [Integer](repeating: 0, count: rows.count * array.width)
      try raw.withUnsafeMutableBufferPointer { buffer throws(FormatError) in
        if let base = buffer.baseAddress, !buffer.isEmpty { try array.copyRows(rows, to: base) }
      }
      if !isWrapping, Integer.bitWidth == 64, !Integer.isSigned,
        let index = raw.firstIndex(where: { $0 > Int.max })
      {
        let place = array.place(rows.lowerBound * array.width + index)
        throw FormatError(
          array.file, "\(raw[index]) at entry \(place), expected at most 2^55")
      }
      return raw.map { Int(truncatingIfNeeded: $0) }
    }
  }

  /// "[1, 2, 3]" for a row-major index.
  private func place(_ index: Int) -> String {
    var (rest, place) = (index, [Int]())
    for length in shape.reversed() {
      place.append(rest % length)
      rest /= length
    }
    return "\(place.reversed().map { $0 })"
  }
}
