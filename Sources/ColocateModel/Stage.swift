/// One of the single-level problems that an answer is made of, or the joint objective as a whole.
public enum Stage: Hashable, Sendable, CustomStringConvertible {
  /// Groups are all GPUs.
  case gpus
  /// Groups are the nodes.
  case nodes
  /// Groups are the GPUs of this node; experts are those that the answer puts on it.
  case node(Int)
  /// Both levels at once, by the joint objective.
  case joint
  /// All GPUs again, for the bound of a staged answer's joint cost.
  case gpusForJoint
  /// A router's groups as wholes, on blocks of GPUs; no certificate has it.
  case groups
  /// Groups are the GPUs of this block, experts those of its router groups; likewise.
  case block(Int)

  /// The name in plans, certificates, logs and messages: "gpus", "nodes", "node 0", "joint",
  /// "gpus (joint)", "groups", "block 0".
  public var description: String {
    switch self {
    case .gpus: "gpus"
    case .nodes: "nodes"
    case .node(let node): "node \(node)"
    case .joint: "joint"
    case .gpusForJoint: "gpus (joint)"
    case .groups: "groups"
    case .block(let block): "block \(block)"
    }
  }

  /// The stage of that name; nil where there is none.
  public init?(name: String) {
    switch name {
    case "gpus": self = .gpus
    case "nodes": self = .nodes
    case "joint": self = .joint
    case "gpus (joint)": self = .gpusForJoint
    default:
      guard name.hasPrefix("node "), let node = Int(name.dropFirst(5)), node >= 0,
        name == "node \(node)"
      else { return nil }
      self = .node(node)
    }
  }
}
