import Colocate

/// One run of the whole solver, small enough that its optimum can be found by listing everything:
/// the instance, the options, and what is done around the run.
///
/// A case is either drawn from a seed (`FuzzCase+Random.swift`) or read from the line that a
/// failure prints, so that every failure can be run again.
package struct FuzzCase: Hashable, Sendable {
  package var layers = 2
  package var experts = 2
  package var nodes = 1
  package var gpusPerNode = 2
  package var objective = Objective.flat
  /// `[L-1, E, E]`.
  package var weights: [Int] = []
  /// `[L, E, E]`, or empty.
  package var coactivation: [Int] = []
  /// `[L, E]`, or nil for what the weights say.
  package var loads: [Int]?
  package var cap: Cap?
  package var options = SolverOptions()
  /// Whether a known optimum is held against the run.
  package var plants = false
  /// Names the placement that the run starts from; nil for none.
  package var warmStart: UInt64?
  /// Whether the caller asks to stop at the first line of progress.
  package var cancels = false
  /// Whether the run is repeated and must give the same answer; with another number of threads.
  package var repeats = false
  package var repeatThreads = 1

  /// A load cap as it was written.
  package struct Cap: Hashable, Sendable {
    package var numerator: Int
    package var denominator: Int
    package var isRelaxed: Bool
  }

  package var gpus: Int { nodes * gpusPerNode }

  package func counts() throws(ModelError) -> TransitionCounts {
    try TransitionCounts(
      layers: layers, experts: experts, weights: weights, loads: loads, coactivation: coactivation)
  }

  /// - Throws: what the model throws; a cap that cannot be met among it.
  package func instance() throws(ModelError) -> Instance {
    var loadCap: LoadCap?
    if let cap {
      loadCap = try LoadCap(
        numerator: cap.numerator, denominator: cap.denominator, relaxedToFeasible: cap.isRelaxed)
    }
    return try Instance(
      counts: counts(), topology: Topology(gpus: gpus, nodes: nodes), objective: objective,
      loadCap: loadCap)
  }
}

// MARK: - The line that names a case

extension FuzzCase: CustomStringConvertible {
  /// Everything of the case in one line, options only where they are not the default.
  package var description: String {
    var fields = ["L=\(layers)", "E=\(experts)", "nodes=\(nodes)", "per-node=\(gpusPerNode)"]
    switch objective {
    case .flat: break
    case .staged: fields.append("objective=staged")
    case .joint(let weights):
      fields.append("objective=joint:\(weights.interNode):\(weights.intraNode)")
    }
    fields.append("W=" + Self.text(weights))
    if !coactivation.isEmpty { fields.append("V=" + Self.text(coactivation)) }
    if let loads { fields.append("loads=" + Self.text(loads)) }
    if let cap {
      fields.append("cap=\(cap.numerator):\(cap.denominator)\(cap.isRelaxed ? ":relaxed" : "")")
    }
    let standard = SolverOptions()
    for option in OptionDescription.table
    where option.text(in: options) != option.text(in: standard) {
      fields.append("\(option.name)=\(option.text(in: options))")
    }
    let weights = options.jointWeights
    if weights != standard.jointWeights {
      fields.append("joint-weights=\(weights.interNode):\(weights.intraNode)")
    }
    if options.keepsCertificate { fields.append("certificate=on") }
    if plants { fields.append("known=on") }
    if let warmStart { fields.append("warm-start=\(warmStart)") }
    if cancels { fields.append("cancel=on") }
    if repeats { fields.append("repeat=\(repeatThreads)") }
    return fields.joined(separator: " ")
  }

  private static func text(_ numbers: [Int]) -> String {
    numbers.map { "\($0)" }.joined(separator: ",")
  }

  /// The case that `description` names, or nil where the line is none.
  package init?(line: String) {
    self.init()
    for field in line.split(separator: " ") {
      let parts = field.split(separator: "=", maxSplits: 1)
      guard parts.count == 2, read(String(parts[0]), String(parts[1])) else { return nil }
    }
  }

  private mutating func read(_ name: String, _ text: String) -> Bool {
    let numbers = text.split { $0 == "," || $0 == ":" }.compactMap { Int($0) }
    switch name {
    case "L": layers = numbers.first ?? 0
    case "E": experts = numbers.first ?? 0
    case "nodes": nodes = numbers.first ?? 0
    case "per-node": gpusPerNode = numbers.first ?? 0
    case "objective":
      if text == "staged" {
        objective = .staged
      } else if numbers.count == 2 {
        objective = .joint(interNode: numbers[0], intraNode: numbers[1])
      } else {
        return false
      }
    case "W": weights = numbers
    case "V": coactivation = numbers
    case "loads": loads = numbers
    case "cap":
      guard numbers.count == 2 else { return false }
      cap = Cap(
        numerator: numbers[0], denominator: numbers[1], isRelaxed: text.hasSuffix(":relaxed"))
    case "joint-weights":
      guard numbers.count == 2 else { return false }
      options.jointWeights = JointWeights(interNode: numbers[0], intraNode: numbers[1])
    case "certificate": options.keepsCertificate = true
    case "known": plants = true
    case "warm-start": warmStart = UInt64(text)
    case "cancel": cancels = true
    case "repeat":
      repeats = true
      repeatThreads = numbers.first ?? 1
    default:
      guard let option = OptionDescription.named(name),
        (try? option.set(text, in: &options)) != nil
      else { return false }
    }
    return true
  }
}
