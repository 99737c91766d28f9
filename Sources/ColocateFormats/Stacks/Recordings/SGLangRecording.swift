import ColocateModel

/// A file of SGLang's expert distribution recorder (0.5.23), `expert_distribution_recorder_*.pt`.
///
/// | mode | holds | good for |
/// |---|---|---|
/// | `per_token` | `records[i].topk_ids_of_layer`, `[H, tokens, 8]`, ids of physical slots | all |
/// | `per_pass` | `records[i].global_physical_count`, `[H, S]` | balance |
/// | `stat` | `logical_count`, `[steps, H, E]` | balance |
///
/// Rows are padded with -1; dense layers are -1 throughout. Physical slots become logical experts
/// by `last_physical_to_logical_map`, `[H, S]`: the map at the end, so a recording during which
/// experts moved is not to be trusted; SGLang does not say whether they did.
enum SGLangRecording {
  private static let map = "last_physical_to_logical_map"
  private static let ids = "topk_ids_of_layer"

  /// The recording in a PyTorch file; nil where it is none.
  static func read(_ torch: TorchFile) throws(FormatError) -> Recording? {
    let pickle = torch.pickle
    if let tensor = pickle.tensor(pickle.member("logical_count", of: pickle.root)) {
      return .loads(try stat(torch, tensor))
    }
    guard let records = pickle.elements(of: pickle.member("records", of: pickle.root)) else {
      return nil
    }
    guard let first = records.first else {
      throw FormatError(torch.path, "no forward pass was recorded")
    }
    if pickle.member(ids, of: first) != nil {
      return .routing(try SGLangTokens(torch, records))
    }
    return .loads(try passes(torch, records))
  }

  /// `[H][S]`, every entry a logical expert.
  fileprivate static func slots(_ torch: TorchFile) throws(FormatError) -> [[Int]] {
    let pickle = torch.pickle
    guard let tensor = pickle.tensor(pickle.member(map, of: pickle.root)),
      tensor.shape.count == 2, tensor.shape[0] >= 1, tensor.shape[1] >= 1
    else { throw FormatError(torch.path, "no '\(map)' [layers, slots], which its ids refer to") }
    guard tensor.shape[0] <= StackPlacement.mostHiddenLayers else {
      throw FormatError(
        torch.path,
        "'\(map)' of \(tensor.shape[0]) layers, expected at most "
          + "\(StackPlacement.mostHiddenLayers)")
    }
    let flat = try torch.integers(of: tensor)
    if let bad = flat.first(where: { !(0..<TransitionAccumulator.mostExperts).contains($0) }) {
      throw FormatError(
        torch.path,
        "'\(map)': expert \(bad), expected 0 to \(TransitionAccumulator.mostExperts - 1)")
    }
    let width = tensor.shape[1]
    return (0..<tensor.shape[0]).map { Array(flat[($0 * width)..<(($0 + 1) * width)]) }
  }

  private static func stat(
    _ torch: TorchFile, _ tensor: PickleReader.Tensor
  ) throws(FormatError) -> ExpertLoads {
    guard tensor.shape.count == 3 || tensor.shape.count == 2 else {
      throw FormatError(
        torch.path, "'logical_count' of shape \(tensor.shape), expected [steps, layers, experts]")
    }
    let (layers, experts) = (tensor.shape[tensor.shape.count - 2], tensor.shape.last ?? 0)
    let counts = try torch.integers(of: tensor)
    var loads = try ExpertLoads.Sums(torch.path, layers: layers, experts: experts)
    for (index, count) in counts.enumerated() {
      try loads.add(count, layer: index / experts % layers, expert: index % experts)
    }
    return try loads.finish()
  }

  private static func passes(
    _ torch: TorchFile, _ records: [PickleValue]
  ) throws(FormatError) -> ExpertLoads {
    let slots = try slots(torch)
    let experts = (slots.joined().max() ?? 0) + 1
    var loads = try ExpertLoads.Sums(torch.path, layers: slots.count, experts: experts)
    var tensors = [PickleReader.Tensor]()
    for (number, record) in records.enumerated() {
      guard
        let tensor = torch.pickle.tensor(torch.pickle.member("global_physical_count", of: record)),
        tensor.shape == [slots.count, slots[0].count]
      else {
        throw FormatError(
          torch.path,
          "pass \(number): no '\(ids)' and no 'global_physical_count' "
            + "[\(slots.count), \(slots[0].count)]")
      }
      tensors.append(tensor)
    }
    try torch.checkSharing(tensors)
    for tensor in tensors {
      for (index, count) in try torch.integers(of: tensor).enumerated() {
        let (layer, slot) = (index / slots[0].count, index % slots[0].count)
        try loads.add(count, layer: layer, expert: slots[layer][slot])
      }
    }
    return try loads.finish()
  }
}

/// The tokens of a `per_token` recording.
struct SGLangTokens: TraceSource {
  let name: String
  let layers: Int
  let choices: Int
  /// Grouped routers choose without sorting.
  let isBestFirst = false

  private let torch: TorchFile
  private let slots: [[Int]]
  private let passes: [PickleReader.Tensor]

  init(_ torch: TorchFile, _ records: [PickleValue]) throws(FormatError) {
    name = torch.path
    self.torch = torch
    slots = try SGLangRecording.slots(torch)
    layers = slots.count
    var passes = [PickleReader.Tensor]()
    for (number, record) in records.enumerated() {
      guard let tensor = torch.pickle.tensor(torch.pickle.member("topk_ids_of_layer", of: record)),
        tensor.shape.count == 3, tensor.shape[0] == slots.count,
        (1...256).contains(tensor.shape[2]),
        tensor.shape[2] == passes.first?.shape[2]
          ?? tensor.shape[2]
      else {
        throw FormatError(
          torch.path,
          "pass \(number): no ids [\(slots.count) layers, tokens, choices] as in the "
            + "first")
      }
      passes.append(tensor)
    }
    try torch.checkSharing(passes)
    self.passes = passes
    // The recorder pads every row to one width; k is what some row uses of it.
    var used = 0
    for pass in passes {
      let width = pass.shape[2]
      for (index, id) in try torch.integers(of: pass).enumerated() where id >= 0 {
        used = max(used, index % width + 1)
      }
    }
    guard used > 0 else {
      throw FormatError(torch.path, "no token has an expert in any of \(passes.count) passes")
    }
    choices = used
  }

  func stream(
    _ body: (UnsafeBufferPointer<Int32>) throws(FormatError) -> Void
  ) throws(FormatError) {
    for (number, pass) in passes.enumerated() {
      let (tokens, width) = (pass.shape[1], pass.shape[2])
      let physical = try torch.integers(of: pass)
      var block = [Int32](repeating: -1, count: tokens * layers * choices)
      for layer in 0..<layers {
        for token in 0..<tokens {
          for choice in 0..<choices {
            let id = physical[(layer * tokens + token) * width + choice]
            if id == -1 { continue }
            guard slots[layer].indices.contains(id) else {
              throw FormatError(
                name,
                "pass \(number), token \(token), layer \(layer): slot \(id), expected 0 to "
                  + "\(slots[layer].count - 1)")
            }
            block[(token * layers + layer) * choices + choice] = Int32(slots[layer][id])
          }
        }
      }
      try block.withIDs(body)
    }
  }
}
