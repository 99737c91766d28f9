import Foundation

/// An integer array in a mapped file, of any integer type, byte order and axis order.
///
///     let ids = try IntegerArray(npy: "ids.npy")
///     print(ids.shape, try ids.integers())
public struct IntegerArray: Sendable {
  /// The file as it was named.
  public let file: String
  /// The file.
  let bytes: Data
  /// Where the entries start.
  let offset: Int
  let element: IntegerElement
  /// Lengths of the axes; a scalar has none.
  public let shape: [Int]
  let isFortranOrder: Bool

  /// The element type as numpy names it, "<i4".
  public var elementName: String { element.name }

  /// The array of a `.npy` file, whatever its shape.
  /// - Throws: `FormatError` where the file is no `.npy` file of integers.
  public init(npy path: String) throws(FormatError) {
    try self.init(npy: try MappedFile(path))
  }

  init(npy file: MappedFile) throws(FormatError) {
    if !NpyHeader.starts(file), let container = Container(file) {
      throw container.error(file.path, expected: "a .npy array")
    }
    let header: NpyHeader
    do {
      header = try file.bytes.withUnsafeBytes { bytes in try NpyHeader(bytes, file: file.path) }
    } catch {
      throw error as! FormatError
    }
    self.init(
      file: file.path, bytes: file.bytes, offset: header.dataOffset, element: header.element,
      shape: header.shape, isFortranOrder: header.isFortranOrder && header.shape.count > 1)
  }

  init(
    file: String, bytes: Data, offset: Int, element: IntegerElement, shape: [Int],
    isFortranOrder: Bool
  ) {
    self.file = file
    self.bytes = bytes
    self.offset = offset
    self.element = element
    self.shape = shape
    self.isFortranOrder = isFortranOrder
  }

  /// Copies rows `range` of the first axis to `to`, row-major, as integers of this machine.
  ///
  /// In Fortran order an entry's place is `Σ_a index_a · Π_{b<a} shape_b`: each of the inner places
  /// is a run of the first axis.
  func copyRows<Integer: FixedWidthInteger>(
    _ range: Range<Int>, to: UnsafeMutablePointer<Integer>
  ) {
    let inner = shape.dropFirst().reduce(1, *)
    let swapped = element.isBigEndian
    bytes.withUnsafeBytes { bytes in
      let base = bytes.baseAddress! + offset
      @inline(__always) func entry(_ index: Int) -> Integer {
        let raw = base.loadUnaligned(fromByteOffset: index * element.size, as: Integer.self)
        return swapped ? Integer(bigEndian: raw) : Integer(littleEndian: raw)
      }
      if isFortranOrder {
        // Place `p` of the inner axes in row-major order and where it is in the file, in runs of
        // shape[0].
        let axes = shape.dropFirst()
        for place in 0..<inner {
          var (rest, step, run) = (place, 1, 0)
          var strides = [Int]()
          for length in axes {
            strides.append(step)
            step *= length
          }
          for (length, stride) in zip(axes, strides).reversed() {
            run += rest % length * stride
            rest /= length
          }
          for row in range {
            to[(row - range.lowerBound) * inner + place] = entry(run * shape[0] + row)
          }
        }
      } else if element.size == 1 || !swapped {
        memcpy(
          to, base + range.lowerBound * inner * element.size, range.count * inner * element.size)
      } else {
        for index in 0..<(range.count * inner) {
          to[index] = entry(range.lowerBound * inner + index)
        }
      }
    }
  }

  /// The entries of `rows` of the first axis, row-major; nil for all.
  /// - Throws: `FormatError` for an entry beyond `Int`, with its place.
  public func integers(rows: Range<Int>? = nil) throws(FormatError) -> [Int] {
    try integers(rows: rows, wrapping: false)
  }

  /// - Parameter wrapping: whether an entry beyond `Int` becomes a negative number instead of an
  ///   error.
  func integers(rows: Range<Int>?, wrapping: Bool) throws(FormatError) -> [Int] {
    let rows = rows ?? 0..<(shape.first ?? 1)
    func convert<Integer: FixedWidthInteger>(_: Integer.Type) throws(FormatError) -> [Int] {
      let inner = shape.dropFirst().reduce(1, *)
      var raw = [Integer](repeating: 0, count: rows.count * inner)
      raw.withUnsafeMutableBufferPointer {
        if let base = $0.baseAddress, !$0.isEmpty { copyRows(rows, to: base) }
      }
      if !wrapping, Integer.bitWidth == 64, !Integer.isSigned,
        let index = raw.firstIndex(where: { $0 > Int.max })
      {
        let place = place(rows.lowerBound * inner + index)
        throw FormatError(file, "\(raw[index]) at entry \(place), expected at most 2^55")
      }
      return raw.map { Int(truncatingIfNeeded: $0) }
    }
    switch (element.size, element.isSigned) {
    case (1, true): return try convert(Int8.self)
    case (1, false): return try convert(UInt8.self)
    case (2, true): return try convert(Int16.self)
    case (2, false): return try convert(UInt16.self)
    case (4, true): return try convert(Int32.self)
    case (4, false): return try convert(UInt32.self)
    case (8, true): return try convert(Int64.self)
    default: return try convert(UInt64.self)
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
