/// Work on numbers of one of the machine's integer types, whichever a file turns out to hold.
protocol IntegerWork {
  associatedtype Answer
  /// Does the work with numbers of this type.
  func callAsFunction<Integer: FixedWidthInteger & BitwiseCopyable>(
    _: Integer.Type
  ) throws(FormatError) -> Answer
}

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

  /// Whether the bytes of a number stand as this machine has them.
  var isNative: Bool { size == 1 || isBigEndian == (1.bigEndian == 1) }

  /// Does `work` with the machine's type of this size and sign: the one place where a file's type
  /// becomes a type of the program.
  func perform<Work: IntegerWork>(_ work: Work) throws(FormatError) -> Work.Answer {
    switch (size, isSigned) {
    case (1, true): try work(Int8.self)
    case (1, false): try work(UInt8.self)
    case (2, true): try work(Int16.self)
    case (2, false): try work(UInt16.self)
    case (4, true): try work(Int32.self)
    case (4, false): try work(UInt32.self)
    case (8, true): try work(Int64.self)
    default: try work(UInt64.self)
    }
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
    let remedy: String
    let load = "numpy.load('\(FormatError(file, "").file)')"
    switch kind {
    case "i", "u":
      guard let size = Int(rest), [1, 2, 4, 8].contains(size) else { fallthrough }
      self.init(size: size, isSigned: kind == "i", isBigEndian: order == ">")
      return
    case "f", "c":
      what = "floating-point numbers"
      remedy =
        "if they are ids, numpy.save('t.npy', \(load).astype('int32')); not a router's scores"
    case "b":
      what = "truth values"
      remedy = "a mask of experts becomes ids with numpy.nonzero"
    case "O":
      what = "Python objects"
      remedy =
        "rows of one length make an array, numpy.asarray(ROWS, 'int32'), shorter ones end in -1"
    case "U", "S", "T":
      what = "text"
      remedy = "numpy.save('t.npy', \(load).astype('int32'))"
    default:
      what = "an element type that is not known"
      remedy = "numpy.save('t.npy', \(load).astype('int32'))"
    }
    throw FormatError(
      file, "holds \(what) ('\(name)'), expected integers of 1, 2, 4 or 8 bytes: \(remedy)")
  }
}
