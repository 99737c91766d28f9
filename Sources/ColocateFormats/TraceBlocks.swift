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
  /// The first so many blocks alone; nil for all.
  var limit: Int?

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
  ///   - digest: takes the file's bytes along, where they stand there as they are in memory.
  ///   - hint: words for the end of an error about ids.
  ///   - body: gets the block, its first token, and how many of its ids are -1 without a sign.
  /// - Throws: `FormatError` for an id that no expert has, with its place; for what `body` throws;
  ///   and where the file cannot be read or has become shorter.
  func stream(
    _ advance: (Int) -> Void = { _ in }, digest: SequentialDigest? = nil,
    hint: () -> String = { "" },
    _ body: (UnsafeBufferPointer<Int32>, Int, Int) throws(ModelError) -> Void
  ) throws(FormatError) {
    let perToken = layers * choices
    let all = array.blocks()
    let blocks = all.prefix(limit ?? all.count)
    let block = UnsafeMutablePointer<Int32>.allocate(
      capacity: (blocks.first?.count ?? 0) * perToken)
    defer { block.deallocate() }
    for rows in blocks {
      let wide = try array.element.perform(
        Loading(blocks: self, rows: rows, block: block, digest: digest))
      let ids = normalised(block, tokens: rows.count)
      try FormatError.naming(array.file, hint: hint()) { () throws(ModelError) in
        try body(ids, rows.lowerBound, wide)
      }
      advance(rows.count * perToken * array.element.size)
    }
  }

  /// Reads the ids of the tokens `rows`, all layers, into `block`. Answers how many are -1 without
  /// a sign.
  private struct Loading: IntegerWork {
    let blocks: TraceBlocks
    let rows: Range<Int>
    let block: UnsafeMutablePointer<Int32>
    let digest: SequentialDigest?

    func callAsFunction<Integer: FixedWidthInteger & BitwiseCopyable>(
      _: Integer.Type
    ) throws(FormatError) -> Int {
      let perToken = blocks.layers * blocks.choices
      let count = rows.count * perToken
      let raw = UnsafeMutablePointer<Integer>.allocate(capacity: count)
      defer { raw.deallocate() }
      try blocks.array.copyRows(rows, to: raw)
      if let digest, let place = blocks.array.plainBytes(ofRows: rows) {
        try digest.take(
          UnsafeRawBufferPointer(start: raw, count: place.count), at: place.lowerBound)
      }
      var wide = 0
      for index in 0..<count {
        let id = raw[index]
        if id >= 0, id < TransitionAccumulator.mostExperts {
          block[index] = Int32(truncatingIfNeeded: id)
        } else if Integer.isSigned, id == ~0 {
          block[index] = -1
        } else if TraceBlocks.isMinusOneWithoutSign(id) {
          block[index] = -1
          wide += 1
        } else {
          throw blocks.outOfRange(id, at: rows.lowerBound * perToken + index)
        }
      }
      return wide
    }
  }

  /// The error for an id that no expert has.
  /// - Parameter index: its row-major place in the file.
  private func outOfRange(_ id: some FixedWidthInteger, at index: Int) -> FormatError {
    let error = TransitionAccumulator.outOfRange(
      id, token: index / (layers * choices), layer: index / choices % layers,
      choice: choices > 1 ? index % choices : nil, experts: experts,
      hint: TraceShape(array).hintOfLoads)
    return FormatError(array.file, error.description)
  }

  /// Whether another reading of the trace replaces and leaves out the same.
  func reads(as other: TraceBlocks) -> Bool {
    (padding, firstShared, dropsRepeats) == (other.padding, other.firstShared, other.dropsRepeats)
      && kept == other.kept
  }

  /// Applies what the survey found, in place: every row goes to where it is or to an earlier place.
  /// - Returns: the tokens as they are to be counted, `[tokens, layersKept, k]`.
  func normalised(
    _ block: UnsafeMutablePointer<Int32>, tokens: Int
  ) -> UnsafeBufferPointer<Int32> {
    normalise(block, tokens: tokens)
    return UnsafeBufferPointer(start: block, count: tokens * layersKept * choices)
  }

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
