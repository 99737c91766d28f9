import ColocateModel

/// What a file of counts says of how it came about: text entries of its safetensors header.
///
/// | entry | value |
/// |---|---|
/// | `format`, `version` | `colocate-counts`, `1` |
/// | `choices` | experts per token and layer, `k` |
/// | `top_k` | `pairs` or `first`, where `k > 1` |
/// | `experts` | `given`, or `inferred` from the largest id |
/// | `moe_layers` | layers of the trace that were counted, `1,2,4`; absent where all were |
/// | `counts_sha256` | of L, E, W, loads and co-activation, as in certificates |
/// | `source_0`, … | SHA-256, tokens and name of each trace, in the order they were added |
public struct CountsRecord: Hashable, Sendable {
  /// A trace that was counted.
  public struct Source: Hashable, Sendable {
    public var file: String
    public var sha256: String
    public var tokens: Int
    public init(file: String, sha256: String, tokens: Int) {
      (self.file, self.sha256, self.tokens) = (file, sha256, tokens)
    }
  }

  /// `k`.
  public var choices: Int
  /// How `k > 1` was counted; nil where `k` is 1.
  public var counting: TopKCounting?
  /// Whether `E` is the largest id + 1 of the traces, which another trace may exceed.
  public var expertsInferred: Bool
  /// The traces' layers that were counted, `[L]`; nil where these are all of them.
  public var moeLayers: [Int]?
  /// The traces, in the order in which they were added.
  public var sources: [Source]
  /// Of the counts beside a record that was read; nil otherwise.
  private(set) var digest: String?

  static let format = "colocate-counts"
  private static let version = "1"

  /// Tokens of all traces.
  public var tokens: Int { sources.reduce(0) { $0 + $1.tokens } }

  public init(
    choices: Int, counting: TopKCounting?, expertsInferred: Bool, moeLayers: [Int]?,
    sources: [Source]
  ) {
    self.choices = choices
    self.counting = counting
    self.expertsInferred = expertsInferred
    self.moeLayers = moeLayers
    self.sources = sources
  }

  /// The header's entries, in the order in which they are written.
  func entries(digest: String) -> [(key: String, value: String)] {
    var entries = [
      ("format", Self.format), ("version", Self.version), ("choices", "\(choices)"),
      ("experts", expertsInferred ? "inferred" : "given"), ("counts_sha256", digest),
    ]
    if let counting { entries.append(("top_k", counting.rawValue)) }
    if let moeLayers {
      entries.append(("moe_layers", moeLayers.map(String.init).joined(separator: ",")))
    }
    for (index, source) in sources.enumerated() {
      entries.append(("source_\(index)", "\(source.sha256) \(source.tokens) \(source.file)"))
    }
    return entries
  }

  /// The record in a header's entries; nil where they are of another program.
  /// - Throws: `FormatError` where an entry is missing or says what cannot be.
  init?(_ entries: [String: String], layers: Int, file: String) throws(FormatError) {
    guard entries["format"] == Self.format else { return nil }
    func problem(_ key: String, _ expected: String) -> FormatError {
      let found = entries[key].map { "'\($0.prefix(40))'" } ?? "nothing"
      return FormatError(file, "header entry '\(key)': found \(found), expected \(expected)")
    }
    guard entries["version"] == Self.version else { throw problem("version", Self.version) }
    guard let choices = entries["choices"].flatMap({ Int($0) }), (1...256).contains(choices) else {
      throw problem("choices", "1 to 256")
    }
    self.choices = choices
    counting = entries["top_k"].flatMap { TopKCounting(rawValue: $0) }
    guard (counting == nil) == (entries["top_k"] == nil), (counting == nil) == (choices == 1) else {
      throw problem("top_k", choices == 1 ? "none, with 1 choice" : "pairs or first")
    }
    guard let experts = entries["experts"], ["given", "inferred"].contains(experts) else {
      throw problem("experts", "given or inferred")
    }
    expertsInferred = experts == "inferred"
    if let text = entries["moe_layers"] {
      let numbers = text.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) }
      let layerNumbers = numbers.compactMap { $0 }
      guard layerNumbers.count == layers, numbers.count == layers, layerNumbers[0] >= 0,
        zip(layerNumbers, layerNumbers.dropFirst()).allSatisfy(<)
      else { throw problem("moe_layers", "\(layers) ascending numbers") }
      moeLayers = layerNumbers
    }
    guard let digest = entries["counts_sha256"] else { throw problem("counts_sha256", "a digest") }
    self.digest = digest
    sources = []
    while let text = entries["source_\(sources.count)"] {
      let parts = text.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false)
      guard parts.count == 3, parts[0].utf8.count == 64, let tokens = Int(parts[1]), tokens > 0,
        tokens <= Magnitude.given - sources.reduce(0, { $0 + $1.tokens })
      else { throw problem("source_\(sources.count)", "SHA-256, tokens and a name") }
      sources.append(Source(file: String(parts[2]), sha256: String(parts[0]), tokens: tokens))
    }
    let named = entries.keys.filter { $0.hasPrefix("source_") }.count
    guard !sources.isEmpty, named == sources.count else {
      throw problem("source_\(sources.count)", "the traces numbered from 0 on")
    }
  }

  /// The record of what both count, this one's traces first.
  /// - Throws: `FormatError` naming `file` where the two are not counted alike.
  func adding(_ other: CountsRecord, file: String) throws(FormatError) -> CountsRecord {
    func text(_ record: CountsRecord) -> String {
      "\(record.choices) experts a token"
        + (record.counting.map { " (--top-k \($0.rawValue))" } ?? "")
    }
    guard other.choices == choices, other.counting == counting else {
      throw FormatError(file, "counted with \(text(other)), expected \(text(self)) as before")
    }
    guard other.moeLayers == moeLayers else {
      throw FormatError(
        file,
        "counted in layers \(other.moeLayers.map { Remark.list($0) } ?? "0, …"), expected "
          + "\(moeLayers.map { Remark.list($0) } ?? "all") as before (--moe-layers names them)")
    }
    var sum = self
    sum.digest = nil
    sum.expertsInferred = expertsInferred && other.expertsInferred
    sum.sources += other.sources
    return sum
  }
}
