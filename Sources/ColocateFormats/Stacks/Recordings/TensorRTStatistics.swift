import ColocateModel

/// A folder of TensorRT-LLM's expert statistics: `meta_info.json` with `num_experts` and
/// `num_experts_per_token`, and for every rank r
///
/// | file | entries | good for |
/// |---|---|---|
/// | `rank{r}.safetensors` | `{iteration}_{layer}` → tokens of each expert, `[E]` | balance |
/// | `token_selected_experts_rank{r}.safetensors` | the same keys → ids `[tokens, k]` | all |
///
/// Layers are the model's own numbers; dense ones have no entries. Files of co-occurrences, which a
/// variant of the generator writes beside them, are left alone: they are sums of the ids.
struct TensorRTStatistics {
  private static let metaName = "meta_info.json"
  private static let idsPrefix = "token_selected_experts_rank"
  private static let loadsPrefix = "rank"

  /// Whether a folder with these files is such a one.
  static func isNamed(by files: [String]) -> Bool {
    files.contains(metaName)
      && files.contains {
        rank(of: $0, loadsPrefix) != nil
          || rank(of: $0, idsPrefix) != nil
      }
  }

  /// "rank12.safetensors" is rank 12.
  private static func rank(of file: String, _ prefix: String) -> Int? {
    guard file.hasPrefix(prefix), file.hasSuffix(".safetensors") else { return nil }
    return Int(file.dropFirst(prefix.count).dropLast(".safetensors".count))
  }

  /// - Parameter files: names in the folder.
  static func read(_ folder: String, _ files: [String]) throws(FormatError) -> Recording {
    let meta = folder + "/" + metaName
    let experts: Int
    let choices: Int
    do throws(JSONProblem) {
      let document = JSONNode(try Self.document(meta))
      experts = try document.member("num_experts").integer()
      choices = try document.member("num_experts_per_token").integer()
      guard (1...TransitionAccumulator.mostExperts).contains(experts), (1...256).contains(choices)
      else {
        throw JSONProblem(message: "\(experts) experts, \(choices) a token")
      }
    } catch {
      throw FormatError(meta, error.message)
    }
    func ranks(_ prefix: String) -> [String] {
      files.compactMap { file in rank(of: file, prefix).map { (rank: $0, file: file) } }
        .sorted { $0.rank < $1.rank }.map { folder + "/" + $0.file }
    }
    let ids = ranks(idsPrefix)
    if !ids.isEmpty {
      return .routing(try TensorRTTokens(folder, ids, experts: experts, choices: choices))
    }
    var sums = try ExpertLoads.Sums(folder, experts: experts)
    for path in ranks(loadsPrefix) {
      let tensors = try IntegerTensors(path)
      for entry in try entries(of: tensors, path) {
        let array = try tensors.array(entry.key)
        guard array.shape == [experts] else {
          throw FormatError(
            path,
            "'\(entry.key)' of shape \(NpyHeader.text(of: array.shape)), expected "
              + "[\(experts)]")
        }
        for (expert, load) in array.values.enumerated() {
          try sums.add(load, layer: entry.layer, expert: expert)
        }
      }
    }
    return .loads(try sums.finish())
  }

  private static func document(_ path: String) throws(JSONProblem) -> JSONText {
    do throws(FormatError) { return try JSONDocument.read(path) } catch {
      throw JSONProblem(message: error.message)
    }
  }

  /// The keys of a file in the order of iterations and layers.
  fileprivate static func entries(
    of tensors: IntegerTensors, _ path: String
  ) throws(FormatError) -> [(key: String, iteration: Int, layer: Int)] {
    var entries = [(key: String, iteration: Int, layer: Int)]()
    for key in tensors.names {
      let parts = key.split(separator: "_", omittingEmptySubsequences: false).map { Int($0) }
      guard parts.count == 2, let iteration = parts[0], let layer = parts[1], iteration >= 0,
        (0..<StackPlacement.mostHiddenLayers).contains(layer)
      else { throw FormatError(path, "'\(key)', expected names ITERATION_LAYER") }
      entries.append((key, iteration, layer))
    }
    let sorted = entries.sorted {
      ($0.iteration, $0.layer, $0.key) < ($1.iteration, $1.layer, $1.key)
    }
    // "9_1" and "09_1" are one layer of one iteration.
    for (one, next) in zip(sorted, sorted.dropFirst())
    where one.iteration == next.iteration && one.layer == next.layer {
      throw FormatError(path, "'\(one.key)' and '\(next.key)' are the same, expected one of them")
    }
    return sorted
  }
}

/// The chosen ids of TensorRT-LLM's ranks. Rows are the model's layers up to the last MoE layer;
/// the ones without entries are -1.
struct TensorRTTokens: TraceSource {
  let name: String
  let layers: Int
  let choices: Int
  let isBestFirst = false
  private let paths: [String]
  private let experts: Int

  init(
    _ folder: String, _ paths: [String], experts: Int, choices: Int
  ) throws(FormatError) {
    name = folder
    self.paths = paths
    self.experts = experts
    self.choices = choices
    var last = -1
    for path in paths {
      let tensors = try IntegerTensors(path)
      last = max(last, try TensorRTStatistics.entries(of: tensors, path).map(\.layer).max() ?? -1)
    }
    guard last >= 0 else { throw FormatError(folder, "no tokens were recorded") }
    layers = last + 1
  }

  func stream(
    _ body: (UnsafeBufferPointer<Int32>) throws(FormatError) -> Void
  ) throws(FormatError) {
    for path in paths {
      let tensors = try IntegerTensors(path)
      let entries = try TensorRTStatistics.entries(of: tensors, path)
      var index = 0
      while index < entries.count {
        let iteration = entries[index].iteration
        var (block, tokens) = ([Int32](), -1)
        while index < entries.count, entries[index].iteration == iteration {
          let entry = entries[index]
          let array = try tensors.array(entry.key)
          guard array.shape.count == 2, array.shape[1] == choices,
            tokens < 0 || array.shape[0] == tokens
          else {
            throw FormatError(
              path,
              "'\(entry.key)' of shape \(NpyHeader.text(of: array.shape)), expected "
                + "[\(tokens < 0 ? "tokens" : "\(tokens)"), \(choices)]")
          }
          if tokens < 0 {
            tokens = array.shape[0]
            block = [Int32](repeating: -1, count: tokens * layers * choices)
          }
          for (place, id) in array.values.enumerated() {
            guard (-1..<experts).contains(id) else {
              throw FormatError(
                path,
                "'\(entry.key)', token \(place / choices): expert \(id), expected 0 to "
                  + "\(experts - 1)")
            }
            let token = place / choices
            block[(token * layers + entry.layer) * choices + place % choices] = Int32(id)
          }
          index += 1
        }
        try block.withIDs(body)
      }
    }
  }
}

/// The integer tensors of a safetensors file, one at a time.
private struct IntegerTensors {
  private let file: PositionedFile
  private let header: SafetensorsHeader

  var names: [String] { Array(header.tensors.keys) }

  init(_ path: String) throws(FormatError) {
    file = try PositionedFile(path)
    header = try SafetensorsHeader(file)
  }

  /// Shape and numbers, row-major.
  func array(_ name: String) throws(FormatError) -> (shape: [Int], values: [Int]) {
    guard let tensor = header.tensors[name], let size = SafetensorsHeader.elementBytes[tensor.type],
      ["I", "U"].contains(tensor.type.prefix(1))
    else { throw FormatError(file.path, "'\(name)' holds no integers") }
    let element = IntegerElement(size: size, isSigned: tensor.type.hasPrefix("I"))
    let bytes = try file.bytes(tensor.range)
    return (
      tensor.shape,
      stride(from: 0, to: bytes.count, by: size).map { element.integer(bytes, at: $0) }
    )
  }
}
