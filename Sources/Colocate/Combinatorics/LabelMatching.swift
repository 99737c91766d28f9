import ColocateModel

/// The best labels for given partitions: one assignment problem per boundary, exact.
///
/// Only which experts share a group matters inside a layer; labels say which group of one layer
/// continues which group of the layer before. So for fixed partitions the labels of layer `l + 1`
/// are a permutation σ that maximises the overlap with layer `l`, `Σ_g C_l[g, σ(g)]`, where
/// `C_l[g, h]` is the weight that goes from group `g` to group `h`. Each boundary can be settled on
/// its own, because whatever a permutation does to the layers after it their own permutations undo.
/// This removes every domain wall of annealing (a suffix of layers whose labels are exchanged
/// against the prefix) at once.
///
/// On two levels the permutations are those that keep nodes together: for each pair of nodes the
/// best match of their groups (`N²` problems of size `G`), then the best match of nodes. The two
/// steps together are exact, since what a pair of nodes is worth does not depend on the others.
///
/// One match costs O(P³) on one level and O(N² · G³ + N³) on two. The answer depends on the entries
/// alone.
package struct LabelMatching {
  private let assignment: LinearAssignment
  private var block: [Int] = []
  private var innerColumns: [[Int]] = []
  private var nodeValue: [Int] = []
  private var nodeColumn: [Int] = []
  /// After `match`: for each group `g` of the first layer the group of the second that shall be
  /// called `g`, `[P]`.
  package private(set) var partner: [Int] = []

  /// - Parameter control: looked at inside large assignment problems; where it says stop, what
  ///   `match` answers is not the best. nil for never.
  package init(control: SearchControl? = nil) {
    assignment = LinearAssignment(control: control)
  }

  /// Finds the naming of the second layer's groups that keeps nodes together and saves most.
  /// - Parameter overlap: `C`, `[P, P]`, row-major.
  /// - Returns: `θ`, the largest `Σ_{g,h} C[g, h] · s(g, name(h))`.
  package mutating func match(groups: Int, saved: SavedWeights, overlap: [Int]) -> Int {
    if saved.node == 0, saved.groupsPerNode == groups {
      return saved.group
        * assignment.maximise(size: groups, entries: overlap, columnOf: &partner)
    }
    let per = saved.groupsPerNode
    let nodes = groups / per
    makeRoom(nodes: nodes, per: per)
    for n in 0..<nodes {
      for m in 0..<nodes {
        let all = cut(overlap, groups: groups, n, m, per: per)
        let pair = n * nodes + m
        let matched = assignment.maximise(
          size: per, entries: block, columnOf: &innerColumns[pair])
        nodeValue[pair] = saved.group * matched + saved.node * all
      }
    }
    let value = assignment.maximise(size: nodes, entries: nodeValue, columnOf: &nodeColumn)
    for n in 0..<nodes {
      let m = nodeColumn[n]
      for x in 0..<per { partner[n * per + x] = m * per + innerColumns[n * nodes + m][x] }
    }
    return value
  }

  private mutating func makeRoom(nodes: Int, per: Int) {
    guard innerColumns.count != nodes * nodes || block.count != per * per else { return }
    innerColumns = [[Int]](repeating: [], count: nodes * nodes)
    nodeValue = [Int](repeating: 0, count: nodes * nodes)
    block = [Int](repeating: 0, count: per * per)
    partner = [Int](repeating: 0, count: nodes * per)
  }

  /// Copies the overlaps of the groups of nodes `n` and `m` to `block`.
  /// - Returns: their sum.
  private mutating func cut(
    _ overlap: [Int], groups: Int, _ n: Int, _ m: Int, per: Int
  ) -> Int {
    var all = 0
    for x in 0..<per {
      for y in 0..<per {
        let entry = overlap[(n * per + x) * groups + m * per + y]
        block[x * per + y] = entry
        all += entry
      }
    }
    return all
  }
}
