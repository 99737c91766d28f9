/// What a tensor of a checkpoint is to a renumbering, told by its name alone.
enum TensorRole: Equatable {
  /// A row or an entry of the router for each expert.
  case router(layer: Int)
  /// All experts of a layer along the first axis.
  case fused(layer: Int, part: Part)
  /// One expert's own.
  case expert(layer: Int, Expert)
  /// Not an expert's: stays as it is.
  case other

  /// Which matrices a fused tensor holds.
  enum Part { case gateUp, down }

  /// An expert's tensor: `prefix`, the expert's number, `.matrix.kind`.
  struct Expert: Equatable {
    /// "model.layers.3.mlp.experts."
    let prefix: String
    let number: Int
    let matrix: String
    let kind: String

    /// The name under another number.
    func name(number: Int) -> String { "\(prefix)\(number).\(matrix).\(kind)" }
    /// What all experts of the layer share.
    var stem: String { "\(prefix)*.\(matrix).\(kind)" }
  }

  /// - Throws: where the name is none that the family is known to have. The message is for after
  ///   "tensor NAME".
  init(_ name: String, family: MoEFamily) throws(JSONProblem) {
    let parts = name.split(separator: ".", omittingEmptySubsequences: false)
    let names = family.names
    guard parts.count >= 5, parts[0] == "model", parts[1] == "layers",
      let layer = Self.number(parts[2]), names.blocks.contains(String(parts[3]))
    else {
      let telling = ["experts", "router", "block_sparse_moe", "e_score_correction_bias"]
      guard !parts.contains(where: { telling.contains(String($0)) }) else {
        throw Self.unknown(family)
      }
      self = .other
      return
    }
    let tail = parts[4...].joined(separator: ".")
    if names.router.contains(tail) {
      self = .router(layer: layer)
    } else if names.fused.gateUp.contains(tail) {
      self = .fused(layer: layer, part: .gateUp)
    } else if names.fused.down.contains(tail) {
      self = .fused(layer: layer, part: .down)
    } else if let expert = Self.expert(parts, names), family.hasSeparateExperts {
      self = .expert(layer: layer, expert)
    } else if names.beside.contains(String(parts[4])) {
      self = .other
    } else {
      throw Self.unknown(family)
    }
  }

  /// `…experts.E.MATRIX.KIND`
  private static func expert(_ parts: [Substring], _ names: MoEFamily.Names) -> Expert? {
    guard parts.count == 8, parts[4] == "experts", let number = number(parts[5]),
      names.matrices.all.contains(String(parts[6])), MoEFamily.kinds.contains(String(parts[7]))
    else { return nil }
    return Expert(
      prefix: parts[..<5].joined(separator: ".") + ".", number: number, matrix: String(parts[6]),
      kind: String(parts[7]))
  }

  /// A number as names have it: no sign, no leading zero.
  private static func number(_ text: Substring) -> Int? {
    guard let number = Int(text), number >= 0, text == String(number) else { return nil }
    return number
  }

  private static func unknown(_ family: MoEFamily) -> JSONProblem {
    JSONProblem(
      message: "is not known of model_type '\(family.rawValue)': what it would need is not guessed")
  }
}
