import ColocateModel

/// The best new names for groups, where names are worth something by themselves: one assignment
/// problem, or two levels of them where groups of one node must stay together.
///
/// Group `h` that gets the name `g` is worth `entry[g, h]`, and where it makes node `m` be called
/// `n` besides `nodeEntry[n, m]`. On two levels the groups of nodes `n` and `m` are matched first,
/// for every pair; then the nodes, each pair being worth its groups' best match and its own entry.
/// That is exact, since what a pair of nodes is worth does not depend on the others.
///
/// O(P³) on one level, O(N² · G³ + N³) on two.
struct NodeNaming {
  let groups: Int
  /// Groups of a node that stay together; `groups` on one level.
  let perNode: Int
  private let assignment = LinearAssignment()

  init(groups: Int, perNode: Int) {
    precondition(groups >= 1 && groups % perNode == 0)
    (self.groups, self.perNode) = (groups, perNode)
  }

  var nodes: Int { groups / perNode }

  /// The name of each group, `[P]`.
  /// - Parameters:
  ///   - entry: `[P, P]`, name × group.
  ///   - nodeEntry: `[N, N]`, likewise of nodes.
  func names(entry: [Int], nodeEntry: [Int]) -> [Int] {
    var inner = [[Int]](repeating: [], count: nodes * nodes)
    var value = nodeEntry
    var block = [Int](repeating: 0, count: perNode * perNode)
    for n in 0..<nodes {
      for m in 0..<nodes {
        for x in 0..<perNode {
          for y in 0..<perNode {
            block[x * perNode + y] = entry[(n * perNode + x) * groups + m * perNode + y]
          }
        }
        let pair = n * nodes + m
        value[pair] += assignment.maximise(size: perNode, entries: block, columnOf: &inner[pair])
      }
    }
    var nodeOf = [Int]()
    assignment.maximise(size: nodes, entries: value, columnOf: &nodeOf)
    var names = [Int](repeating: 0, count: groups)
    for n in 0..<nodes {
      for x in 0..<perNode {
        names[nodeOf[n] * perNode + inner[n * nodes + nodeOf[n]][x]] = n * perNode + x
      }
    }
    return names
  }

  /// What these names are worth.
  func value(_ names: [Int], entry: [Int], nodeEntry: [Int]) -> Int {
    var sum = 0
    for h in 0..<groups { sum += entry[names[h] * groups + h] }
    for m in 0..<nodes { sum += nodeEntry[names[m * perNode] / perNode * nodes + m] }
    return sum
  }
}
