/// The machines: `nodes × gpusPerNode` GPUs, numbered node by node.
public struct Topology: Hashable, Sendable {
  /// Number of nodes, `N ≥ 1`.
  public let nodes: Int
  /// GPUs in each node, `G ≥ 1`.
  public let gpusPerNode: Int
  /// All GPUs, `P = N · G`.
  public var gpus: Int { nodes * gpusPerNode }

  /// More than any placement can use.
  static let mostGPUs = 1_000_000

  /// `gpus` GPUs spread evenly over `nodes` nodes.
  /// - Throws: `ModelError.sizes` where a size is not positive or `gpus` is not a multiple of
  ///   `nodes`.
  public init(gpus: Int, nodes: Int = 1) throws(ModelError) {
    guard gpus >= 1 else { throw .sizes("\(gpus) GPUs: at least 1 is needed") }
    guard gpus <= Self.mostGPUs else {
      throw .sizes("\(gpus) GPUs: expected at most \(Self.mostGPUs)")
    }
    guard nodes >= 1 else { throw .sizes("\(nodes) nodes: at least 1 is needed") }
    guard gpus % nodes == 0 else {
      throw .sizes(
        "\(gpus) GPUs do not spread evenly over \(nodes) nodes: the number of nodes must be one of "
          + Self.list(Self.divisors(of: gpus)))
    }
    self.nodes = nodes
    self.gpusPerNode = gpus / nodes
  }

  /// The node that GPU `gpu` belongs to.
  public func node(of gpu: Int) -> Int { gpu / gpusPerNode }

  /// `c = E / P`, the number of experts of one layer on each GPU.
  /// - Throws: `ModelError.sizes` where `experts` is not a multiple of `gpus`, with the numbers of
  ///   GPUs that would work.
  public func expertsPerGPU(experts: Int) throws(ModelError) -> Int {
    guard experts % gpus == 0, experts >= gpus else {
      throw .sizes(
        "\(experts) experts do not spread evenly over \(gpus) GPUs: the number of GPUs must be one "
          + "of "
          + Self.list(Self.divisors(of: experts)))
    }
    return experts / gpus
  }

  static func divisors(of n: Int) -> [Int] { n < 1 ? [] : (1...n).filter { n % $0 == 0 } }

  static func list(_ numbers: [Int]) -> String {
    numbers.map(String.init).joined(separator: ", ")
  }
}
