/// An integer type as files store it.
struct IntegerElement: Hashable {
  /// Bytes: 1, 2, 4 or 8.
  let size: Int
  let isSigned: Bool
  let isBigEndian: Bool

  /// As numpy names it, "<i4".
  var name: String {
    (size == 1 ? "|" : isBigEndian ? ">" : "<") + (isSigned ? "i" : "u") + "\(size)"
  }

  init(size: Int, isSigned: Bool, isBigEndian: Bool = false) {
    self.size = size
    self.isSigned = isSigned
    self.isBigEndian = isBigEndian && size > 1
  }

  /// - Parameter numpy: the type string of a `.npy` header: byte order, kind, bytes.
  init(numpy name: String, file: String) throws(FormatError) {
    var rest = Substring(name)
    var order: Character = "="
    if let first = rest.first, "<>=|".contains(first) {
      order = first
      rest.removeFirst()
    }
    let kind = rest.popFirst()
    let what: String
    switch kind {
    case "i", "u":
      guard let size = Int(rest), [1, 2, 4, 8].contains(size) else { fallthrough }
      self.init(size: size, isSigned: kind == "i", isBigEndian: order == ">")
      return
    case "f", "c": what = "floating-point numbers"
    case "b": what = "truth values"
    case "O": what = "Python objects"
    case "U", "S": what = "text"
    default: what = "an element type that is not known"
    }
    throw FormatError(file, "holds \(what) ('\(name)'), expected integers of 1, 2, 4 or 8 bytes")
  }
}
