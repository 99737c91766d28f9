import ColocateModel
import Foundation

/// Looks whether an array that is read as a trace, `[T, L]` or `[T, L, k]`, is more likely
/// something else: a table of loads, or a trace with its axes in another order.
struct TraceShape {
  /// More MoE layers than any model has.
  private static let mostLayers = 128
  /// Fewer tokens, or layers, than this make no trace either way round that one could place from.
  private static let (fewTokens, fewLayers) = (4, 8)
  /// Ids up to so many times the visits of a layer are believed.
  private static let mostIDsPerVisit = 16

  private let array: IntegerArray
  private let tokens: Int
  private let layers: Int
  private let choices: Int

  init(_ array: IntegerArray) {
    self.array = array
    (tokens, layers) = (array.shape[0], array.shape[1])
    choices = array.shape.count == 3 ? array.shape[2] : 1
  }

  /// "2 tokens through 12 layers".
  private var reading: String {
    Remark.count(tokens, "token") + " through " + Remark.count(layers, "layer")
  }

  /// Refuses by the shape alone, before any id is read: first axis tiny, second huge.
  /// - Throws: `FormatError` with the remedy.
  func check() throws(FormatError) {
    guard tokens > 0 else { return }
    let isTable = array.shape.count == 2
    if layers > Self.mostLayers, tokens < layers {
      if isTable, try sumsAreEqual() { throw loads("\(reading), and all rows have the same sum") }
      let order = hintOfOrder()
      let remedy =
        order.isEmpty
        ? "; numpy.save('t.npy', numpy.load('\(array.file)').swapaxes(0, 1))" : order
      throw FormatError(
        array.file,
        "shape \(NpyHeader.text(of: array.shape)), \(reading): the axes look transposed"
          + (isTable ? " (or this is a table of loads, [layers, experts])" : "")
          + ", expected \(expected)\(remedy), or --as trace if it is so")
    }
    if choices > layers, choices > Self.mostLayers, choices > 256 || tokens < choices {
      throw FormatError(
        array.file,
        "shape \(NpyHeader.text(of: array.shape)), \(choices) experts a token and layer: the axes "
          + "look out of order, expected \(expected); numpy's transpose(2, 0, 1) or "
          + "transpose(2, 1, 0) puts the tokens first, or --as trace if it is so")
    }
  }

  private var expected: String {
    array.shape.count == 2 ? "[tokens, layers]" : "[tokens, layers, k]"
  }

  /// Refuses or warns by the ids.
  /// - Parameter largest: the largest id that is an expert's.
  /// - Throws: `FormatError` where the array is more likely a table of loads, and where it may as
  ///   well be a trace with its first two axes exchanged.
  func remarks(largest: Int) throws(FormatError) -> [Remark] {
    let (experts, visits) = (largest + 1, tokens * choices)
    let isLoads = experts > tokens ? try sumsAreEqual() : false
    if isLoads || (experts >= 64 && visits * Self.mostIDsPerVisit < experts) {
      throw loads(
        "\(reading) of \(experts) experts" + (isLoads ? ", and all rows have the same sum" : ""))
    }
    // The first axis could be a model's layers, the second a few tokens. Where the first is more
    // than eight times as long, it takes evidence to say so, not the lack of it: so long are the
    // tokens of tests and first trials.
    let isSmall = (Self.fewTokens...Self.mostLayers).contains(tokens) && layers >= Self.fewTokens
    let isLong = tokens > 8 * layers
    var evidence = isSmall ? try Orientation(array, largest: largest) : .asRead
    if isLong, evidence == .unknown { evidence = .asRead }
    if evidence != .asRead, layers >= Self.fewLayers, !isLong {
      throw transposed(evidence)
    }
    if experts >= 16, visits < experts || (evidence != .asRead && visits < 4 * experts) {
      return [
        .warning(
          "\(reading) of \(experts) experts: too few tokens for a placement, or no trace "
            + "(\(expected))")
      ]
    }
    if (evidence != .asRead && experts >= 8) || (tokens < Self.fewTokens && layers >= 16) {
      return [.warning("\(reading): few tokens; are the axes transposed? (\(expected))")]
    }
    return []
  }

  private func transposed(_ evidence: Orientation) -> FormatError {
    let why =
      evidence == .transposed
      ? "the ids of a line of the first axis are alike, as those of a layer are"
      : "few tokens, and nothing in the ids says which axis is which"
    return FormatError(
      array.file,
      "shape \(NpyHeader.text(of: array.shape)), \(reading): \(why)"
        + (array.shape.count == 2 ? " (or this is a table of loads, [layers, experts])" : "")
        + ", expected \(expected); if the axes are transposed, numpy.save('t.npy', "
        + "numpy.load('\(array.file)').swapaxes(0, 1)), or --as trace if it is so")
  }

  private func loads(_ why: String) -> FormatError {
    FormatError(
      array.file,
      "read as a trace, \(why): looks like a table of loads, [layers, experts], which does not say "
        + "which expert follows which"
        + (array.shape == [tokens, tokens] ? " (counts of two layers are (1, E, E))" : "")
        + "; expected \(expected), or --as trace if it is so")
  }

  /// Whether the entries of each row of the last axis have one sum, while the rows differ: loads of
  /// layers that the same tokens pass do, ids of tokens do not. Looks no further than the first
  /// difference.
  private func sumsAreEqual() throws(FormatError) -> Bool {
    let inner = Array(array.shape.dropFirst())
    guard let width = inner.last, width > 2 else { return false }
    let rows = inner.dropLast().reduce(1, *)
    var (compared, differ) = (0, false)
    var before: (sum: Int, row: [Int])?
    for block in array.blocks(entries: 1 << 14) {
      let entries = try array.integers(rows: block, wrapping: true)
      for row in 0..<(block.count * rows) {
        // Of three axes, [steps, layers, experts], each step has a sum of its own.
        if inner.count > 1, row % rows == 0 { before = nil }
        let slice = entries[(row * width)..<((row + 1) * width)]
        let sum = slice.reduce(0, &+)
        let sorted = slice.sorted()
        if let before {
          guard before.sum == sum else { return false }
          compared += 1
          differ = differ || before.row != sorted
        }
        before = (sum, sorted)
      }
    }
    // Large sums are not shared by chance.
    return differ && compared >= ((before?.sum ?? 0) >= 64 * width ? 1 : 3)
  }

  /// Words for an error about an id that no expert has.
  var hintOfLoads: String {
    tokens <= 512 ? Self.loadsSayLittle : ""
  }
  private static let loadsSayLittle =
    "; a table of loads, [layers, experts], does not say which expert follows which"

  /// Words for an error about an id that a row repeats: the axis along which nothing repeats.
  func hintOfOrder() -> String {
    guard array.shape.count == 3, !isDistinct(along: 2) else { return "" }
    if isDistinct(along: 1) {
      return "; along the second axis no id repeats: [tokens, k, layers]? numpy's "
        + "transpose(0, 2, 1) puts that right"
    }
    if isDistinct(along: 0) {
      return "; along the first axis no id repeats: [k, tokens, layers]? numpy's "
        + "transpose(1, 2, 0) puts that right"
    }
    if tokens == layers { return "; counts are [layers - 1, experts, experts]" }
    return (try? sumsAreEqual()) == true ? Self.loadsSayLittle : ""
  }

  /// Whether no line along the axis has an id twice, in the first thousand entries of the first
  /// axis.
  private func isDistinct(along axis: Int) -> Bool {
    let rows = axis == 0 ? tokens : min(tokens, 1000)
    guard array.shape[axis] > 1, array.shape[axis] <= 256,
      rows * layers * choices <= 1 << 24,
      let entries = try? array.integers(rows: 0..<rows, wrapping: true)
    else { return false }
    let lengths = [rows, layers, choices]
    let strides = [layers * choices, choices, 1]
    let others = [0, 1, 2].filter { $0 != axis }
    for a in 0..<lengths[others[0]] {
      for b in 0..<lengths[others[1]] {
        let start = a * strides[others[0]] + b * strides[others[1]]
        var line = Set<Int>()
        for c in 0..<lengths[axis] {
          let id = entries[start + c * strides[axis]]
          if id >= 0, !line.insert(id).inserted { return false }
        }
      }
    }
    return true
  }
}
