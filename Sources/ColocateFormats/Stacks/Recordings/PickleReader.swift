/// What a Python pickle holds, for the few kinds of values that SGLang's recorder writes.
///
/// Containers are numbers into the reader's tables: a pickle may refer to one container many times,
/// and to itself; so reading a hostile file costs time and memory in proportion to its bytes, and
/// nothing in it can recurse.
enum PickleValue: Hashable {
  case none
  case bool(Bool)
  case integer(Int)
  case number(Double)
  case text(String)
  case list(Int)
  case tuple(Int)
  case dictionary(Int)
  case global(PickleGlobal)
  /// Ordered dictionaries, which hold no more than a tensor's hooks, and those are empty.
  case nothing
  case storage(Int)
  case tensor(Int)
}

/// The only names that a recording may call for. A pickle can ask for any function of Python; none
/// of these runs anything here.
enum PickleGlobal: String, Hashable, CaseIterable {
  case rebuildTensor = "torch._utils._rebuild_tensor_v2"
  case integers = "torch.IntStorage"
  case longs = "torch.LongStorage"
  case orderedDictionary = "collections.OrderedDict"
}

/// A reader of pickles (protocol 2, the opcodes that PyTorch writes), which makes values and runs
/// nothing.
struct PickleReader {
  /// Numbers in a member `data/KEY` of the archive.
  struct Storage: Hashable {
    let key: String
    /// Bytes of a number: 4 or 8, with a sign.
    let size: Int
    let count: Int
  }

  /// A view of a storage.
  struct Tensor: Hashable {
    let storage: Storage
    let offset: Int
    let shape: [Int]
    let strides: [Int]
  }

  private(set) var root = PickleValue.none
  private(set) var lists: [[PickleValue]] = []
  private(set) var tuples: [[PickleValue]] = []
  private(set) var dictionaries: [[(key: PickleValue, value: PickleValue)]] = []
  private(set) var storages: [Storage] = []
  private(set) var tensors: [Tensor] = []

  private let bytes: [UInt8]
  private var at = 0
  private var stack: [PickleValue] = []
  private var marks: [Int] = []
  private var memo: [Int: PickleValue] = [:]

  /// - Throws: `JSONProblem` with the byte of what cannot be read.
  init(_ bytes: [UInt8]) throws(JSONProblem) {
    self.bytes = bytes
    while true {
      guard let code = Opcode(rawValue: try byte()) else {
        at -= 1
        throw problem("opcode 0x\(String(bytes[at], radix: 16)), which no recording has")
      }
      if code == .stop { break }
      try run(code)
    }
    guard stack.count == 1, marks.isEmpty else { throw problem("\(stack.count) values at the end") }
    root = stack[0]
    (stack, memo) = ([], [:])
  }

  private enum Opcode: UInt8 {
    case mark = 0x28
    case emptyTuple = 0x29
    case stop = 0x2E
    case binFloat = 0x47
    case binInt = 0x4A
    case binInt1 = 0x4B
    case binInt2 = 0x4D
    case none = 0x4E
    case binPersonID = 0x51
    case reduce = 0x52
    case binUnicode = 0x58
    case emptyList = 0x5D
    case append = 0x61
    case global = 0x63
    case appends = 0x65
    case binGet = 0x68
    case longBinGet = 0x6A
    case binPut = 0x71
    case longBinPut = 0x72
    case setItem = 0x73
    case tuple = 0x74
    case setItems = 0x75
    case emptyDictionary = 0x7D
    case proto = 0x80
    case tuple1 = 0x85
    case tuple2 = 0x86
    case tuple3 = 0x87
    case newTrue = 0x88
    case newFalse = 0x89
    case long1 = 0x8A
  }

  private mutating func run(_ code: Opcode) throws(JSONProblem) {
    switch code {
    case .proto:
      let version = try byte()
      guard version == 2 else { throw problem("protocol \(version), expected 2") }
    case .mark: marks.append(stack.count)
    case .none: stack.append(.none)
    case .newTrue: stack.append(.bool(true))
    case .newFalse: stack.append(.bool(false))
    case .binInt1: stack.append(.integer(Int(try byte())))
    case .binInt2: stack.append(.integer(try number(2)))
    case .binInt: stack.append(.integer(Int(Int32(truncatingIfNeeded: try number(4)))))
    case .long1: stack.append(.integer(try long()))
    case .binFloat:
      var pattern = UInt64(0)
      for _ in 0..<8 { pattern = pattern << 8 | UInt64(try byte()) }
      stack.append(.number(Double(bitPattern: pattern)))
    case .binUnicode: stack.append(.text(try text(try number(4))))
    case .global: stack.append(.global(try global()))
    case .emptyList:
      stack.append(.list(lists.count))
      lists.append([])
    case .emptyDictionary:
      stack.append(.dictionary(dictionaries.count))
      dictionaries.append([])
    case .emptyTuple: pushTuple([])
    case .tuple: pushTuple(try sinceMark())
    case .tuple1: pushTuple(try pop(1))
    case .tuple2: pushTuple(try pop(2))
    case .tuple3: pushTuple(try pop(3))
    case .append: try append(try pop(1))
    case .appends: try append(try sinceMark())
    case .setItem: try set(try pop(2))
    case .setItems: try set(try sinceMark())
    case .binPut: try put(Int(try byte()))
    case .longBinPut: try put(try number(4))
    case .binGet: try get(Int(try byte()))
    case .longBinGet: try get(try number(4))
    case .binPersonID: try storage()
    case .reduce: try reduce()
    case .stop: break
    }
  }

  private mutating func byte() throws(JSONProblem) -> UInt8 {
    guard at < bytes.count else { throw problem("it ends early") }
    at += 1
    return bytes[at - 1]
  }

  /// A number without a sign, the lowest byte first.
  private mutating func number(_ size: Int) throws(JSONProblem) -> Int {
    guard size <= bytes.count - at else { throw problem("it ends early") }
    at += size
    return (1...size).reduce(0) { $0 << 8 | Int(bytes[at - $1]) }
  }

  /// A number with a sign of any length, of which 64 bits are enough.
  private mutating func long() throws(JSONProblem) -> Int {
    let size = Int(try byte())
    guard size <= 8 else { throw problem("an integer of \(size) bytes") }
    guard size > 0 else { return 0 }
    let value = UInt64(bitPattern: Int64(try number(size)))
    let unused = UInt64(64 - 8 * size)
    return Int(Int64(bitPattern: value << unused) >> Int64(unused))
  }

  private mutating func text(_ length: Int) throws(JSONProblem) -> String {
    guard length <= bytes.count - at else { throw problem("it ends early") }
    at += length
    guard let text = String(validating: bytes[(at - length)..<at], as: UTF8.self) else {
      throw problem("a text that is not UTF-8")
    }
    return text
  }

  /// "module\nname\n".
  private mutating func global() throws(JSONProblem) -> PickleGlobal {
    var parts = [String]()
    for _ in 0..<2 {
      guard let end = bytes[at...].firstIndex(of: 0x0A) else { throw problem("it ends early") }
      parts.append(String(decoding: bytes[at..<end].prefix(100), as: UTF8.self))
      at = end + 1
    }
    let name = parts.joined(separator: ".")
    guard let global = PickleGlobal(rawValue: name) else {
      throw problem("it calls for '\(name)', which no recording needs: refused")
    }
    return global
  }

  private mutating func pop(_ count: Int) throws(JSONProblem) -> [PickleValue] {
    guard stack.count - count >= marks.last ?? 0 else { throw problem("too few values") }
    defer { stack.removeLast(count) }
    return Array(stack.suffix(count))
  }

  private mutating func sinceMark() throws(JSONProblem) -> [PickleValue] {
    guard let mark = marks.popLast(), mark <= stack.count else { throw problem("no mark") }
    defer { stack.removeSubrange(mark...) }
    return Array(stack[mark...])
  }

  private mutating func pushTuple(_ values: [PickleValue]) {
    stack.append(.tuple(tuples.count))
    tuples.append(values)
  }

  private mutating func append(_ values: [PickleValue]) throws(JSONProblem) {
    guard case .list(let list) = stack.last else { throw problem("no list to append to") }
    lists[list] += values
  }

  private mutating func set(_ values: [PickleValue]) throws(JSONProblem) {
    guard case .dictionary(let dictionary) = stack.last, values.count % 2 == 0 else {
      throw problem("no dictionary to fill")
    }
    for index in stride(from: 0, to: values.count, by: 2) {
      dictionaries[dictionary].append((values[index], values[index + 1]))
    }
  }

  private mutating func put(_ place: Int) throws(JSONProblem) {
    guard let value = stack.last else { throw problem("nothing to remember") }
    memo[place] = value
  }

  private mutating func get(_ place: Int) throws(JSONProblem) {
    guard let value = memo[place] else { throw problem("nothing remembered at \(place)") }
    stack.append(value)
  }

  /// ('storage', type, key, device, count).
  private mutating func storage() throws(JSONProblem) {
    guard case .tuple(let tuple) = try pop(1)[0], tuples[tuple].count == 5,
      tuples[tuple][0] == .text("storage"), case .global(let type) = tuples[tuple][1],
      type == .integers || type == .longs, case .text(let key) = tuples[tuple][2],
      case .text = tuples[tuple][3], case .integer(let count) = tuples[tuple][4], count >= 0
    else { throw problem("a storage of no known kind") }
    stack.append(.storage(storages.count))
    storages.append(Storage(key: key, size: type == .integers ? 4 : 8, count: count))
  }

  private mutating func reduce() throws(JSONProblem) {
    let values = try pop(2)
    guard case .global(let function) = values[0], case .tuple(let tuple) = values[1] else {
      throw problem("a call of no function")
    }
    let arguments = tuples[tuple]
    switch function {
    case .orderedDictionary where arguments.isEmpty: stack.append(.nothing)
    case .rebuildTensor:
      stack.append(.tensor(tensors.count))
      tensors.append(try tensor(arguments))
    default: throw problem("a call of \(function.rawValue) with \(arguments.count) arguments")
    }
  }

  /// (storage, offset, shape, strides, needs a gradient, hooks).
  private func tensor(_ arguments: [PickleValue]) throws(JSONProblem) -> Tensor {
    guard arguments.count == 6, case .storage(let index) = arguments[0],
      case .integer(let offset) = arguments[1], let shape = integers(arguments[2]),
      let strides = integers(arguments[3]), shape.count == strides.count, shape.count <= 8,
      offset >= 0, !shape.contains(where: { $0 < 0 }), !strides.contains(where: { $0 < 0 })
    else { throw problem("a tensor of no known kind") }
    let storage = storages[index]
    var (entries, last) = (1, offset)
    for (length, stride) in zip(shape, strides) {
      let (product, over) = entries.multipliedReportingOverflow(by: length)
      let (step, far) = max(length - 1, 0).multipliedReportingOverflow(by: stride)
      let (sum, beyond) = last.addingReportingOverflow(step)
      guard !over, !far, !beyond else { throw problem("a tensor of shape \(shape)") }
      (entries, last) = (product, sum)
    }
    // No more entries than numbers: a view that repeats its numbers could have any size.
    guard entries == 0 || (entries <= storage.count && last < storage.count) else {
      throw problem("a tensor of shape \(shape) in a storage of \(storage.count)")
    }
    return Tensor(storage: storage, offset: offset, shape: shape, strides: strides)
  }

  private func integers(_ value: PickleValue) -> [Int]? {
    guard case .tuple(let tuple) = value else { return nil }
    var integers = [Int]()
    for value in tuples[tuple] {
      guard case .integer(let integer) = value else { return nil }
      integers.append(integer)
    }
    return integers
  }

  private func problem(_ what: String) -> JSONProblem {
    JSONProblem(message: "its pickle, byte \(at): \(what)")
  }
}

extension PickleReader {
  /// The value of a dictionary's key; nil where it is absent, or the value no dictionary.
  func member(_ key: String, of value: PickleValue) -> PickleValue? {
    guard case .dictionary(let dictionary) = value else { return nil }
    return dictionaries[dictionary].last { $0.key == .text(key) }?.value
  }

  /// The elements of a list; nil where the value is none.
  func elements(of value: PickleValue?) -> [PickleValue]? {
    guard case .list(let list)? = value else { return nil }
    return lists[list]
  }

  /// The tensor that a value is.
  func tensor(_ value: PickleValue?) -> Tensor? {
    guard case .tensor(let tensor)? = value else { return nil }
    return tensors[tensor]
  }
}
