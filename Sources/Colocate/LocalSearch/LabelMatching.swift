import ColocateModel

/// The best labels for given partitions: one assignment problem per boundary, exact.
///
/// Only which experts share a group matters inside a layer, and labels join neighbouring layers. So
/// for fixed partitions the labels of layer `l + 1` are a permutation that maximises the overlap
/// with layer `l`, `Σ_g C_l[g, σ(g)]`, and each boundary is on its own: what a permutation does to
/// the layers after it is undone by theirs. This settles every domain wall of annealing at once.
///
/// On two levels the permutations are those that keep nodes together: for each pair of nodes the
/// best match of their groups (`N²` problems of size `G`), then the best match of nodes.
package struct LabelMatching {
  private var outer: LinearAssignment
  private var inner: LinearAssignment
  private var block: [Int] = []
  private var innerColumns: [[Int]] = []
  private var nodeValue: [Int] = []
  private var nodeColumn: [Int] = []
  private var overlap: [Int] = []
  /// After `best`: for each group `g` of the first layer the group of the second that shall be
  /// called `g`.
  package private(set) var partner: [Int] = []

  /// - Parameter control: looked at inside large assignment problems; where it says stop, what
  ///   `best` answers is not the best.
  package init(control: SearchControl? = nil) {
    outer = LinearAssignment(control: control)
    inner = LinearAssignment(control: control)
  }

  /// `θ`: the largest `Σ_{g,h} C[g, h] · s(g, name(h))` over the namings that keep nodes together.
  /// - Parameter overlap: `[P, P]`, row-major.
  package mutating func best(
    groups: Int, saved: SavedWeights, overlap: UnsafePointer<Int>
  ) -> Int {
    if saved.node == 0, saved.groupsPerNode == groups {
      return saved.group * outer.maximise(size: groups, entries: overlap, columnOf: &partner)
    }
    let per = saved.groupsPerNode
    let nodes = groups / per
    if innerColumns.count != nodes * nodes {
      innerColumns = [[Int]](repeating: [], count: nodes * nodes)
    }
    if block.count != per * per { block = [Int](repeating: 0, count: per * per) }
    if nodeValue.count != nodes * nodes {
      nodeValue = [Int](repeating: 0, count: nodes * nodes)
    }
    if partner.count != groups { partner = [Int](repeating: 0, count: groups) }
    for n in 0..<nodes {
      for m in 0..<nodes {
        var all = 0
        for x in 0..<per {
          for y in 0..<per {
            let entry = overlap[(n * per + x) * groups + m * per + y]
            block[x * per + y] = entry
            all += entry
          }
        }
        let pair = n * nodes + m
        let matched = inner.maximise(size: per, entries: block, columnOf: &innerColumns[pair])
        nodeValue[pair] = saved.group * matched + saved.node * all
      }
    }
    let value = outer.maximise(size: nodes, entries: nodeValue, columnOf: &nodeColumn)
    for n in 0..<nodes {
      let m = nodeColumn[n]
      for x in 0..<per { partner[n * per + x] = m * per + innerColumns[n * nodes + m][x] }
    }
    return value
  }

  /// Gives `labels` (`[L, E]`) the best names from layer 0 on. The value never falls.
  package mutating func apply(
    _ problem: GroupingProblem, saved: SavedWeights, labels: inout [Int]
  ) {
    let (experts, groups) = (problem.experts, problem.groups)
    guard groups > 1 else { return }
    var name = [Int](repeating: 0, count: groups)
    for l in 0..<(problem.layers - 1) {
      if overlap.count != groups * groups {
        overlap = [Int](repeating: 0, count: groups * groups)
      }
      for index in overlap.indices { overlap[index] = 0 }
      for i in 0..<experts {
        let row = labels[l * experts + i] * groups
        for j in 0..<experts {
          overlap[row + labels[(l + 1) * experts + j]] +=
            problem.weights[(l * experts + i) * experts + j]
        }
      }
      let entries = overlap
      _ = entries.withUnsafeBufferPointer {
        best(groups: groups, saved: saved, overlap: $0.baseAddress!)
      }
      for g in 0..<groups { name[partner[g]] = g }
      for j in 0..<experts {
        labels[(l + 1) * experts + j] = name[labels[(l + 1) * experts + j]]
      }
    }
  }
}
