/// What `config.json` says of a model that is to be renumbered.
struct RenumberedModel {
  let family: MoEFamily
  /// `E`, experts of each MoE layer.
  let experts: Int
  /// `d`, width of the hidden state.
  let hidden: Int
  /// `H`, layers of the model proper; what comes behind them predicts further tokens.
  let layers: Int
  /// Groups of neighbouring experts of which the router considers only some; 1 where it considers
  /// all. A renumbering has to keep a group's experts together then.
  let groups: Int

  /// - Throws: `FormatError` where the model is of no known family, or its sizes are missing or
  ///   contradict each other.
  init(folder: String) throws(FormatError) {
    let path = folder + "/config.json"
    let document = JSONNode(try JSONDocument.read(path))
    do throws(JSONProblem) {
      let type = try document.member("model_type").string()
      guard let family = MoEFamily(rawValue: type) else {
        throw JSONProblem(
          message: "model_type '\(type)': the names of its experts are not known, expected one of "
            + MoEFamily.allCases.map(\.rawValue).joined(separator: ", "))
      }
      self.family = family
      experts = try Self.experts(document)
      hidden = try Self.positive("hidden_size", document)
      layers = try Self.positive("num_hidden_layers", document)
      groups = try Self.groups(document, experts: experts)
      if let name = Self.expertName(document.value) {
        throw JSONProblem(
          message: "'\(name)' names an expert by its number, and files that are carried along "
            + "unchanged may not: expected settings that are the same for all experts")
      }
    } catch {
      throw FormatError(path, error.message)
    }
  }

  private static func positive(
    _ key: String, _ document: JSONNode
  ) throws(JSONProblem) -> Int {
    let number = try document.member(key).integer()
    guard (1...1 << 24).contains(number) else {
      throw JSONProblem(message: "'\(key)' is \(number), expected 1 or more")
    }
    return number
  }

  /// The families call it by three names; some files have two of them.
  private static func experts(_ document: JSONNode) throws(JSONProblem) -> Int {
    var found: (key: String, experts: Int)?
    for key in ["num_experts", "num_local_experts", "n_routed_experts"]
    where try document.optional(key) != nil {
      let experts = try positive(key, document)
      if let found, found.experts != experts {
        throw JSONProblem(message: "'\(found.key)' is \(found.experts), '\(key)' is \(experts)")
      }
      found = (key, experts)
    }
    guard let found else {
      throw JSONProblem(
        message: "no number of experts ('num_experts', 'num_local_experts', 'n_routed_experts')")
    }
    return found.experts
  }

  /// Groups count where the router considers only some of them, whatever way of choosing is named
  /// beside: engines differ in whether they read that.
  private static func groups(
    _ document: JSONNode, experts: Int
  ) throws(JSONProblem) -> Int {
    guard let groups = try document.optional("n_group")?.integer(), groups != 1 else { return 1 }
    guard groups > 1, experts % groups == 0 else {
      throw JSONProblem(
        message: "'n_group' is \(groups), expected a number that divides \(experts) experts")
    }
    return try document.optional("topk_group")?.integer() == groups ? 1 : groups
  }

  /// A text somewhere in the document that names a numbered expert, as lists of modules that are
  /// quantised differently do.
  private static func expertName(_ value: JSONText) -> String? {
    switch value {
    case .string(let text): return namesExpert(text) ? text : nil
    case .array(let values): return values.lazy.compactMap(expertName).first
    case .object(let members):
      return members.lazy.compactMap { namesExpert($0.key) ? $0.key : expertName($0.value) }.first
    default: return nil
    }
  }

  /// Whether "experts" is followed by a digit, across dots and what escapes them in a pattern.
  private static func namesExpert(_ text: String) -> Bool {
    let parts = text.split { !$0.isLetter && !$0.isNumber && $0 != "_" }
    return zip(parts, parts.dropFirst()).contains { name, next in
      name == "experts" && next.allSatisfy(\.isNumber)
    }
  }
}
