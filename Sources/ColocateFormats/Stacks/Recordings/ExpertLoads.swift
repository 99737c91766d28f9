import ColocateModel

/// How many tokens each expert served, and nothing else: SGLang's `stat` and `per_pass` recordings,
/// TensorRT-LLM's statistics, tables `[L, E]`.
///
/// Loads do not say which expert follows which, or which ones a token uses together. They are good
/// for balance; readers that need transitions refuse them, and nothing here makes any up.
public struct ExpertLoads: Hashable, Sendable {
  /// The files, for messages.
  public let name: String
  /// The model's layers with a load, ascending, `[L]`; layers without any are dense.
  public let layers: [Int]
  /// `E`.
  public let experts: Int
  /// Tokens, shape `[L, E]`, row-major.
  public let loads: [Int]

  /// What a reader says that needs more.
  public static let sayLittle =
    "holds loads only, which do not say which expert follows which: they are good for balance, "
    + "a placement by affinity needs routed ids"

  /// Tokens of each GPU in each layer, `[L, P]`.
  /// - Precondition: the placement is for as many layers and experts.
  public func gpuLoads(of placement: Placement) -> [Int] {
    precondition(placement.layers == layers.count && placement.experts == experts)
    let gpus = placement.topology.gpus
    var sums = [Int](repeating: 0, count: layers.count * gpus)
    for (index, load) in loads.enumerated() {
      let gpu = placement[layer: index / experts, expert: index % experts]
      sums[index / experts * gpus + gpu] += load
    }
    return sums
  }

  /// Adds loads up.
  struct Sums {
    private let name: String
    private let experts: Int
    private var sums: [Int: [Int]] = [:]

    /// - Parameters:
    ///   - layers: all of them, dense ones too, where they are known before.
    /// - Throws: `FormatError` for sizes that no model has, before any memory is taken.
    init(_ name: String, layers: Int = 0, experts: Int) throws(FormatError) {
      guard (0...StackPlacement.mostHiddenLayers).contains(layers),
        (1...TransitionAccumulator.mostExperts).contains(experts)
      else {
        throw FormatError(
          name,
          "loads of \(layers) layers × \(experts) experts, expected at most "
            + "\(StackPlacement.mostHiddenLayers) × \(TransitionAccumulator.mostExperts)")
      }
      self.name = name
      self.experts = experts
      for layer in 0..<layers { sums[layer] = [Int](repeating: 0, count: experts) }
    }

    /// - Throws: `FormatError` for a negative count, and where sums leave 2^55.
    mutating func add(_ count: Int, layer: Int, expert: Int) throws(FormatError) {
      let sum = sums[layer, default: [Int](repeating: 0, count: experts)][expert]
      guard count >= 0, count <= Magnitude.given - sum else {
        throw FormatError(
          name,
          "layer \(layer), expert \(expert): a load of \(count) added to \(sum), expected "
            + "0 or more and sums of at most 2^55")
      }
      sums[layer, default: [Int](repeating: 0, count: experts)][expert] = sum + count
    }

    /// The loads, without the layers that have none.
    func finish() throws(FormatError) -> ExpertLoads {
      let layers = sums.keys.sorted().filter { sums[$0]?.contains { $0 > 0 } == true }
      guard !layers.isEmpty else { throw FormatError(name, "no expert has a load in any layer") }
      return ExpertLoads(
        name: name, layers: layers, experts: experts, loads: layers.flatMap { sums[$0] ?? [] })
    }
  }

  /// The sums of several files of one model.
  /// - Throws: `FormatError` where their layers or experts differ.
  static func sum(_ parts: [ExpertLoads], name: String) throws(FormatError) -> ExpertLoads {
    guard let first = parts.first else { throw FormatError(name, "no loads") }
    var sums = try Sums(name, experts: first.experts)
    for part in parts {
      guard part.layers == first.layers, part.experts == first.experts else {
        throw FormatError(
          part.name,
          "\(part.experts) experts in layers \(Remark.list(part.layers)), expected "
            + "\(first.experts) in \(Remark.list(first.layers)) as in \(first.name)")
      }
      for (index, load) in part.loads.enumerated() {
        try sums.add(
          load, layer: part.layers[index / part.experts], expert: index % part.experts)
      }
    }
    return try sums.finish()
  }
}
