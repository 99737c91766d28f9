/// A `.npy` array of integers in memory: in a text, or a member of an archive. What the header must
/// be, `NpyHeader` says.
struct NpyBytes: Hashable {
  let shape: [Int]
  /// Row-major.
  let values: [Int]

  /// - Parameter file: the name for messages.
  /// - Throws: `FormatError` where the bytes are no `.npy` file of integers.
  init(_ bytes: [UInt8], file: String) throws(FormatError) {
    let start = (bytes.count > 6 && bytes[6] > 1) ? 12 : 10
    guard bytes.starts(with: NpyHeader.magic), bytes.count >= start, (1...3).contains(bytes[6])
    else { throw FormatError(file, "no .npy array") }
    let length = bytes[8..<start].reversed().reduce(0) { ($0 << 8) | Int($1) }
    guard length <= bytes.count - start, length <= 1 << 16 else {
      throw FormatError(file, "a .npy header of \(length) bytes, which ends early")
    }
    let offset = start + length
    var parser = PythonLiteral(bytes: Array(bytes[start..<offset]), file: file, offset: start)
    let entries = try parser.dictionary()
    guard entries.count == 3, let type = entries.first(where: { $0.0 == "descr" })?.1,
      let order = entries.first(where: { $0.0 == "fortran_order" })?.1,
      let lengths = entries.first(where: { $0.0 == "shape" })?.1, case .string(let name) = type,
      case .bool(let isFortran) = order, case .tuple(let shape) = lengths
    else { throw FormatError(file, "a .npy header without descr, fortran_order and shape") }
    let element = try IntegerElement(numpy: name, file: file)
    try NpyHeader.check(
      shape: shape, element: element, available: bytes.count - offset, file: file)
    self.shape = shape
    let count = (bytes.count - offset) / element.size
    let numbers = (0..<count).map { element.integer(bytes, at: offset + $0 * element.size) }
    if element.size == 8, !element.isSigned, let bad = numbers.first(where: { $0 < 0 }) {
      throw FormatError(file, "\(UInt(bitPattern: bad)), expected at most 2^63 - 1")
    }
    guard isFortran, shape.count > 1 else {
      values = numbers
      return
    }
    // Place by place in row-major order; in the file the first axis changes fastest.
    let strides = shape.indices.map { shape[..<$0].reduce(1, *) }
    values = (0..<count).map { index in
      var (rest, place) = (index, 0)
      for axis in shape.indices.reversed() {
        place += rest % shape[axis] * strides[axis]
        rest /= shape[axis]
      }
      return numbers[place]
    }
  }
}

extension IntegerElement {
  /// The number at `place`; one beyond `Int` becomes negative.
  func integer(_ bytes: [UInt8], at place: Int) -> Int {
    var word = UInt64(0)
    for index in 0..<size {
      word = (word << 8) | UInt64(bytes[place + (isBigEndian ? index : size - 1 - index)])
    }
    let unused = UInt64(64 - 8 * size)
    guard isSigned else { return Int(truncatingIfNeeded: word) }
    return Int(Int64(bitPattern: word << unused) >> Int64(unused))
  }
}
