import ColocateModel

/// Responses of a serving engine that carry their routed experts, JSON or JSON lines:
///
/// | engine | where | what |
/// |---|---|---|
/// | vLLM 0.32 on | `choices[i].routed_experts` | base64 of `.npy`, `[tokens − 1, H, k]` |
/// | vLLM before | the same, and `prompt_routed_experts` beside it | lists `[tokens, L, k]` |
/// | SGLang 0.5.23 | `meta_info.routed_experts` | base64 of integers `[tokens − 1, H, k]` |
///
/// Ids are logical. Dense layers are zeros. The order of a row's ids means nothing. Where one
/// prompt has several answers, its own rows are taken once.
struct RoutedResponses: TraceSource {
  /// Whose responses they are, where that is known: other engines' entries are left alone.
  enum Engine {
    case vLLM
    case sglang
  }

  let name: String
  let layers: Int
  let choices: Int
  let isBestFirst = false
  private let file: PositionedFile
  private let engine: Engine?

  /// Ids that are looked at to find `k`.
  private static let mostSurveyed = 1 << 24

  /// Whether the text is such responses, by the first one.
  static func starts(_ file: PositionedFile) -> Bool {
    var found = false
    _ = try? ResponseLines(file).forEach { document, _ throws(JSONProblem) in
      found = try hasRows(document)
      throw JSONProblem(message: "")
    }
    return found
  }

  private static func hasRows(_ document: JSONNode) throws(JSONProblem) -> Bool {
    if case .array = document.value {
      guard let first = try document.elements().first, case .object = first.value else {
        return false
      }
      return try hasRows(first)
    }
    if try document.optional("prompt_routed_experts") != nil { return true }
    if let meta = try document.optional("meta_info") {
      return try meta.keys().contains("routed_experts")
    }
    guard let choice = try document.optional("choices")?.elements().first else { return false }
    return try choice.keys().contains("routed_experts")
  }

  /// - Parameters:
  ///   - engine: nil takes each response as what its entries say.
  ///   - hiddenLayers: `H`, where it is known; checked where the responses say it.
  ///   - choices: `k`, likewise.
  init(
    _ file: PositionedFile, of engine: Engine? = nil, hiddenLayers: Int? = nil,
    choices: Int? = nil
  ) throws(FormatError) {
    name = file.path
    self.file = file
    self.engine = engine
    var (layers, found) = (hiddenLayers, choices)
    var (width, tokens, surveyed) = (Int?.none, 0, 0)
    var guess: ChoiceGuess?
    do throws(JSONProblem) {
      try Self.rows(of: file, engine) { rows throws(JSONProblem) in
        guard !rows.ids.isEmpty else { return true }
        tokens += 1
        if let given = rows.choices, let hidden = rows.layers {
          (layers, found) = (layers ?? hidden, found ?? given)
          return false
        }
        if let layers, let found {
          width = layers * found
          return false
        }
        guard let ids = rows.width, ids == width ?? ids else {
          throw JSONProblem(
            message: "\(rows.ids.count) routed experts, and neither the response nor the others "
              + "say of how many tokens")
        }
        width = ids
        if guess == nil { guess = ChoiceGuess(width: ids) }
        guess?.add(rows.ids)
        surveyed += rows.ids.count
        return surveyed < Self.mostSurveyed
      }
    } catch {
      throw FormatError(name, error.message)
    }
    guard tokens > 0 else {
      throw FormatError(
        name,
        "no response has routed experts (vLLM: --enable-return-routed-experts, SGLang: "
          + "return_routed_experts)")
    }
    if let width, layers == nil || found == nil {
      let derived = found ?? layers.flatMap { width % $0 == 0 ? width / $0 : nil } ?? guess?.choices
      guard let derived, derived >= 1, width % derived == 0 else {
        throw FormatError(
          name,
          "\(width) ids a token: too few tokens to tell how many are one layer's, expected "
            + "the number of hidden layers")
      }
      (layers, found) = (width / derived, derived)
    }
    guard let layers, let found, layers >= 1, found >= 1, found <= 256, layers <= 4096 else {
      throw FormatError(name, "routed experts of no known shape")
    }
    self.layers = layers
    self.choices = found
  }

  func stream(
    _ body: (UnsafeBufferPointer<Int32>) throws(FormatError) -> Void
  ) throws(FormatError) {
    // An error of `body` is not one of the text, and passes unchanged.
    var failure: FormatError?
    do throws(JSONProblem) {
      try Self.rows(of: file, engine) { rows throws(JSONProblem) in
        guard rows.layers ?? layers == layers, rows.choices ?? choices == choices,
          rows.width ?? layers * choices == layers * choices,
          rows.ids.count % (layers * choices) == 0
        else {
          throw JSONProblem(
            message: "\(rows.layers ?? layers) layers of \(rows.choices ?? choices) experts "
              + "(\(rows.ids.count) ids), expected \(layers) of \(choices)")
        }
        do throws(FormatError) { try rows.ids.withIDs(body) } catch {
          failure = error
          return false
        }
        return true
      }
    } catch {
      throw FormatError(name, error.message)
    }
    if let failure { throw failure }
  }

  /// Passes on the rows of every response, until `body` says no.
  private static func rows(
    of file: PositionedFile, _ engine: Engine?, _ body: (RoutedRows) throws(JSONProblem) -> Bool
  ) throws(JSONProblem) {
    try ResponseLines(file).forEach { document, _ throws(JSONProblem) in
      if case .array = document.value {
        for response in try document.elements() where try !pieces(response, engine, body) {
          return false
        }
        return true
      }
      return try pieces(document, engine, body)
    }
  }

  private static func pieces(
    _ response: JSONNode, _ engine: Engine?, _ body: (RoutedRows) throws(JSONProblem) -> Bool
  ) throws(JSONProblem) -> Bool {
    if engine != .sglang, let prompt = try response.optional("prompt_routed_experts") {
      guard try body(RoutedRows(vLLM: prompt)) else { return false }
    }
    if engine != .vLLM, let meta = try response.optional("meta_info"),
      let rows = try meta.optional("routed_experts")
    {
      let start = try meta.optional("routed_experts_start_len")?.integer() ?? 0
      var tokens: Int?
      if let prompt = try meta.optional("prompt_tokens")?.integer(),
        let generated = try meta.optional("completion_tokens")?.integer(),
        (0...1_000_000_000).contains(prompt), (0...1_000_000_000).contains(generated),
        (0...1_000_000_000).contains(start)
      {
        tokens = prompt + generated - 1 - start
      }
      return try body(RoutedRows(sglang: rows.string(), tokens: tokens))
    }
    guard engine != .sglang, let choices = try response.optional("choices")?.elements() else {
      return true
    }
    for (index, choice) in choices.enumerated() {
      guard let node = try choice.optional("routed_experts") else { continue }
      var rows = try RoutedRows(vLLM: node)
      if index > 0, try response.optional("prompt_routed_experts") == nil {
        rows = rows.dropping(try promptRows(choice, response))
      }
      guard try body(rows) else { return false }
    }
    return true
  }

  /// Rows of a choice that are the prompt's, which the first choice has had.
  private static func promptRows(
    _ choice: JSONNode, _ response: JSONNode
  ) throws(JSONProblem) -> Int {
    let key = "routed_experts_prompt_start"
    let (own, common) = (try choice.optional(key), try response.optional(key))
    let start = try (own ?? common)?.integer() ?? 0
    let (ids, all) = (
      try choice.optional("prompt_token_ids"), try response.optional("prompt_token_ids")
    )
    let usage = try response.optional("usage")?.optional("prompt_tokens")?.integer()
    let prompt = try (ids ?? all)?.elements().count ?? usage ?? 0
    guard (0...1_000_000_000).contains(prompt), (0...1_000_000_000).contains(start) else {
      return 0
    }
    return max(0, prompt - start)
  }
}
