import ColocateModel
import Foundation

/// The routed ids of one response, `[tokens, layers, k]`, as far as the response says what shape
/// they have.
struct RoutedRows {
  var ids: [Int32]
  /// Tokens, layers and choices; nil where the response does not say.
  var tokens: Int?
  var layers: Int?
  var choices: Int?

  /// Entries of a token.
  var width: Int? {
    if let layers, let choices { return layers * choices }
    guard let tokens, tokens > 0, ids.count % tokens == 0 else { return nil }
    return ids.count / tokens
  }

  /// An id as the blocks have it. What no model has is refused by the reader of traces, which knows
  /// the place; here it only has to fit.
  static func id(_ value: Int) throws(JSONProblem) -> Int32 {
    guard (-1...0xFFFF).contains(value) else {
      throw JSONProblem(message: "expert id \(value), expected 0 to 65535 (or -1 for padding)")
    }
    return Int32(value)
  }
}

extension RoutedRows {
  /// Nested lists `[tokens][layers][k]`, or a text: base64 of a `.npy`.
  init(vLLM node: JSONNode) throws(JSONProblem) {
    if case .string(let text) = node.value {
      self = try Self(npy: Self.decoded(text))
      return
    }
    var (ids, layers, choices) = ([Int32](), Int?.none, Int?.none)
    let tokens = try node.elements()
    for token in tokens {
      let rows = try token.table()
      let width = rows.first?.count ?? 0
      guard width > 0, rows.count == layers ?? rows.count,
        rows.allSatisfy({ $0.count == choices ?? width })
      else {
        throw JSONProblem(
          message: "'\(token.path)' is not \(layers ?? rows.count) layers of "
            + "\(choices ?? width) experts")
      }
      (layers, choices) = (rows.count, width)
      for row in rows { for id in row { ids.append(try Self.id(id)) } }
    }
    self.init(ids: ids, tokens: tokens.count, layers: layers, choices: choices)
  }

  /// base64 of little-endian 32-bit integers, whose shape the response does not say.
  init(sglang text: String, tokens: Int?) throws(JSONProblem) {
    let bytes = try Self.decoded(text)
    guard bytes.count % 4 == 0 else {
      throw JSONProblem(message: "routed experts of \(bytes.count) bytes, expected 32-bit integers")
    }
    var ids = [Int32]()
    ids.reserveCapacity(bytes.count / 4)
    for place in stride(from: 0, to: bytes.count, by: 4) {
      let word = (0..<4).reversed().reduce(UInt32(0)) { ($0 << 8) | UInt32(bytes[place + $1]) }
      ids.append(try Self.id(Int(Int32(bitPattern: word))))
    }
    if let tokens, tokens < 1 || ids.count % tokens != 0 {
      throw JSONProblem(
        message: "\(ids.count) routed experts of \(tokens) tokens, expected as many for each")
    }
    self.init(ids: ids, tokens: tokens)
  }

  /// An array `[tokens, layers, k]`, or `[tokens, layers]`.
  private init(npy bytes: [UInt8]) throws(JSONProblem) {
    let array: NpyBytes
    do throws(FormatError) { array = try NpyBytes(bytes, file: "") } catch {
      throw JSONProblem(message: "routed experts: \(error.message)")
    }
    let shape = array.shape
    guard shape.count == 3 || shape.count == 2 else {
      throw JSONProblem(
        message: "routed experts of shape \(NpyHeader.text(of: shape)), expected [tokens, layers, "
          + "experts per token]")
    }
    var ids = [Int32]()
    ids.reserveCapacity(array.values.count)
    for number in array.values { ids.append(try Self.id(number)) }
    self.init(
      ids: ids, tokens: shape[0], layers: shape[1], choices: shape.count == 3 ? shape[2] : 1)
  }

  private static func decoded(_ text: String) throws(JSONProblem) -> [UInt8] {
    guard let bytes = Data(base64Encoded: text).map({ [UInt8]($0) }) else {
      throw JSONProblem(message: "routed experts '\(text.prefix(12))…', expected base64")
    }
    return bytes
  }

  /// The rows behind the first `count` tokens.
  func dropping(_ count: Int) -> RoutedRows {
    guard count > 0, let tokens, let width, tokens >= count else { return self }
    var rest = self
    rest.ids.removeFirst(count * width)
    rest.tokens = tokens - count
    return rest
  }
}

/// How many of a token's ids are one layer's, where a recording only says how many there are.
///
/// In each layer a router chooses different experts, and a dense layer is all zeros. So a number of
/// choices is impossible as soon as a row of so many ids repeats an id and is not all zeros; the
/// true `k` never is, nor are its divisors. The largest that is possible is taken, if chance would
/// not have left it. Rows without a zero are the evidence, as no dense layer is in them: were the
/// true number a divisor `q` of the `k` taken, such a row, its ids drawn from the `n` that are no
/// zero, would be free of repeats with probability `p(k) / p(q)^(k/q)`, `p(m) = Π_{i<m} (1 − i/n)`.
struct ChoiceGuess {
  /// Below this probability it is no chance.
  private static let leastChance = log(1e-6)

  /// Numbers of choices that nothing contradicts, descending.
  private var possible: [Int]
  /// Rows without a zero, of each possible number.
  private var evidence: [Int: Int] = [:]
  private var largest: Int32 = 0

  /// - Parameter width: ids of a token, `H · k`; a model has at least 2 layers.
  init(width: Int) {
    possible = (1...max(1, min(width / 2, 256))).reversed().filter { width % $0 == 0 }
  }

  /// Looks at the ids of whole tokens.
  mutating func add(_ ids: [Int32]) {
    largest = max(largest, ids.max() ?? 0)
    possible.removeAll { choices in
      guard choices > 1 else { return false }
      for start in stride(from: 0, through: ids.count - choices, by: choices) {
        let row = ids[start..<(start + choices)]
        let isDense = row.allSatisfy { $0 == 0 }
        if !isDense, Set(row).count < choices { return true }
        if !row.contains(0) { evidence[choices, default: 0] += 1 }
      }
      return false
    }
  }

  /// `k`; nil while chance may have left a larger number.
  var choices: Int? {
    guard let best = possible.first else { return nil }
    if best == 1 { return 1 }
    // A row of so many different ids, none of them zero, has been seen: n ≥ k.
    guard let rows = evidence[best] else { return nil }
    func logChance(_ number: Int) -> Double {
      (0..<number).reduce(0.0) { $0 + log(1 - Double($1) / Double(largest)) }
    }
    let chances = (1..<best).filter { best % $0 == 0 }.map { divisor in
      logChance(best) - Double(best / divisor) * logChance(divisor)
    }
    return (chances.max() ?? 0) * Double(rows) < Self.leastChance ? best : nil
  }
}
