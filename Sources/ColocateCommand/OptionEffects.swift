import Colocate
import ColocateFormats

/// What options did, for those that can do nothing: what has no effect is said, and is not
/// recorded.
extension ReadingOptions {
  /// One line for each option that is given and changes nothing.
  func warnings(for input: TraceInput) -> [String] {
    var lines = [String]()
    let single = input.files.filter { $0.kind == .counts || $0.choices == 1 }
    func line(_ option: String, _ files: [TraceFile]) -> String {
      let reason = files[0].kind == .counts ? "holds counts" : "has one expert a token"
      let others = files.count > 1 ? " (and \(files.count - 1) more)" : ""
      let file = FormatError(files[0].path, "the file \(reason)\(others)").description
      return "colocate: warning: \(option) has no effect: \(file)"
    }
    if topK != nil, !single.isEmpty { lines.append(line("--top-k", single)) }
    guard coactivation == true else { return lines }
    // Counts may bring their own.
    let without = single.filter { $0.counts.coactivation.isEmpty }
    if !without.isEmpty {
      lines.append(line("--coactivation", without))
    } else if input.counts.coactivation.isEmpty {
      lines.append("colocate: warning: --coactivation has no effect with --top-k first")
    }
    return lines
  }

  /// How the transitions of these files were counted, for a plan's record.
  func record(of input: TraceInput) -> [(key: String, value: JSONText)] {
    [
      ("top_k", input.topK.map { .string($0.rawValue) } ?? nil),
      ("coactivation", .bool(!input.counts.coactivation.isEmpty)),
    ]
  }
}

extension MachineOptions {
  /// One line where several nodes are given and the objective does not look at them.
  func note(_ objective: ObjectiveName?) -> String? {
    guard nodes > 1, objective == nil else { return nil }
    return
      "colocate: note: flat, the default, ignores --nodes \(nodes); staged and joint do not"
  }
}

extension JointOptions {
  /// One line where weights are given that the objective does not use.
  func warning(_ objective: ObjectiveName, nodes: Int) -> String? {
    let standard = JointWeights()
    guard interNode != standard.interNode || intraNode != standard.intraNode else { return nil }
    guard objective == .flat || nodes == 1 else { return nil }
    let reason = nodes == 1 ? "there is one node" : "the objective is flat"
    return "colocate: warning: --inter-node and --intra-node have no effect: \(reason)"
  }
}

extension SolverArguments {
  /// One line for each option that a run without proofs does not look at.
  var warnings: [String] {
    guard noProof else { return [] }
    let idle = [("--gap", gap > 0), ("--tree-nodes", treeNodeLimit != nil)].filter(\.1)
    return idle.map { "colocate: warning: \($0.0) has no effect with --no-proof" }
  }
}
