import ColocateModel

/// A trace's ids in blocks of whole tokens, in one form whatever the file's: `Int32`, row-major
/// `[tokens, L, k]`, -1 where a token has no expert.
///
/// The first pass over a file sees every layer and nothing replaced; what it finds (`TraceSurvey`)
/// decides which ids stand for padding and which layers are left out in the second.
struct TraceBlocks {
  let array: IntegerArray
  /// Layers in the file.
  let layers: Int
  /// `k`.
  let choices: Int
  /// `E` as given, for messages.
  let experts: Int?

  /// An id below 4096 that stands for -1: 255 where -1 was stored in a byte without a sign.
  var padding: Int32?
  /// The first id of shared experts, which have no place to be found.
  var firstShared: Int32?
  /// Whether a row that repeats one id is a row without experts.
  var dropsRepeats = false
  /// The layers that are kept, ascending; nil keeps all.
  var kept: [Int]?

  init(_ array: IntegerArray, experts: Int?) {
    self.array = array
    layers = array.shape[1]
    choices = array.shape.count == 3 ? array.shape[2] : 1
    self.experts = experts
  }

  var tokens: Int { array.shape[0] }
  /// Layers in the blocks.
  var layersKept: Int { kept?.count ?? layers }

  /// -1 in 16, 32 and 64 bits without a sign. No expert has such an id.
  static func isMinusOneWithoutSign(_ id: some FixedWidthInteger) -> Bool {
    id == 0xFFFF || id == 0xFFFF_FFFF || id == UInt64.max
  }

  /// Passes the trace on in blocks of about a million ids.
  /// - Parameters:
  ///   - advance: gets the bytes of the file that a block took.
  ///   - body: gets the block, its first token, and how many of its ids are -1 without a sign.
  /// - Throws: `ModelError.counts` for an id that no expert has, with its place; what `body`
  ///   throws.
  func stream(
    _ advance: (Int) -> Void = { _ in },
    _ body: (UnsafeBufferPointer<Int32>, Int, Int) throws(ModelError) -> Void
  ) throws(ModelError) {
    let perToken = layers * choices
    let size = max(1, min(tokens, (1 << 20) / perToken))
    let block = UnsafeMutableBufferPointer<Int32>.allocate(capacity: size * perToken)
    defer { block.deallocate() }
    for first in stride(from: 0, to: tokens, by: size) {
      let rows = first..<min(first + size, tokens)
      let wide = try load(rows, to: block.baseAddress!)
      normalise(block.baseAddress!, tokens: rows.count)
      let count = rows.count * layersKept * choices
      try body(UnsafeBufferPointer(start: block.baseAddress!, count: count), first, wide)
      advance(rows.count * perToken * array.element.size)
    }
  }

  /// Ids of the tokens `rows`, all layers. Returns how many are -1 without a sign.
  private func load(
    _ rows: Range<Int>, to block: UnsafeMutablePointer<Int32>
  ) throws(ModelError) -> Int {
    func convert<Integer: FixedWidthInteger>(_: Integer.Type) throws(ModelError) -> Int {
      let count = rows.count * layers * choices
      let raw = UnsafeMutablePointer<Integer>.allocate(capacity: count)
      defer { raw.deallocate() }
      array.copyRows(rows, to: raw)
      var (wide, bad) = (0, -1)
      for index in 0..<count {
        let id = raw[index]
        if id >= 0, id < TransitionAccumulator.mostExperts {
          block[index] = Int32(truncatingIfNeeded: id)
        } else if Integer.isSigned, id == ~0 {
          block[index] = -1
        } else if Self.isMinusOneWithoutSign(id) {
          block[index] = -1
          wide += 1
        } else {
          bad = index
          break
        }
      }
      guard bad < 0 else {
        throw TransitionAccumulator.outOfRange(
          raw[bad], token: rows.lowerBound + bad / (layers * choices),
          layer: bad / choices % layers, choice: choices > 1 ? bad % choices : nil,
          experts: experts, hint: TraceShape(array).hintOfLoads)
      }
      return wide
    }
    switch (array.element.size, array.element.isSigned) {
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

  /// Applies what the survey found, in place: every row goes to where it is or to an earlier place.
  private func normalise(_ block: UnsafeMutablePointer<Int32>, tokens: Int) {
    guard padding != nil || firstShared != nil || dropsRepeats || kept != nil else { return }
    let kept = kept ?? Array(0..<layers)
    let (none, limit) = (padding ?? -1, firstShared ?? Int32.max)
    var to = block
    for token in 0..<tokens {
      for layer in kept {
        let row = block + (token * layers + layer) * choices
        var isRepeat = dropsRepeats && choices > 1
        for choice in 1..<max(2, choices) where isRepeat {
          isRepeat = row[choice] == row[0]
        }
        for choice in 0..<choices {
          let id = row[choice]
          to[choice] = isRepeat || id == none || id >= limit ? -1 : id
        }
        to += choices
      }
    }
  }
}
