import ColocateModel

/// The classes that fixed pairs make of the experts of all layers (`ColocationFixings`), by merging
/// trees (union-find) that know on which side of their root an expert is.
struct ColocationClasses {
  /// Number of the class of expert e of layer l, by l·E + e; classes are numbered in the order of
  /// their first experts.
  private(set) var number: [Int]
  /// Its side of the class: 0, or for two groups 0 or 1.
  private(set) var side: [Int]
  /// Experts l·E + e, class by class, ascending in each.
  private(set) var members: [[Int]] = []
  /// Whether fixed pairs contradict each other.
  private(set) var isContradiction = false

  init(_ fixings: ColocationFixings) {
    let (problem, layout) = (fixings.problem, fixings.layout)
    let experts = problem.experts
    number = Array(0..<(problem.layers * experts))
    side = [Int](repeating: 0, count: number.count)
    for l in 0..<problem.layers {
      for i in 0..<experts {
        for j in (i + 1)..<max(experts, i + 1) {
          join(l * experts + i, l * experts + j, fixings[layout.inside(l, i, j)], problem.groups)
        }
        guard l < layout.boundaries else { continue }
        for j in 0..<experts {
          join(
            l * experts + i, (l + 1) * experts + j, fixings[layout.between(l, i, j)],
            problem.groups)
        }
      }
    }
    collect()
  }

  /// Until `collect`, `number` holds parents and `side` the sides relative to them.
  private mutating func root(_ expert: Int) -> (root: Int, side: Int) {
    var (at, flips) = (expert, 0)
    while number[at] != at {
      let parent = number[at]
      // Halve the way.
      side[at] ^= side[parent]
      number[at] = number[parent]
      flips ^= side[at]
      at = number[at]
    }
    return (at, flips)
  }

  private mutating func join(
    _ a: Int, _ b: Int, _ state: ColocationFixings.State, _ groups: Int
  ) {
    guard state == .together || (state == .apart && groups == 2) else { return }
    let flip = state == .apart ? 1 : 0
    let (one, other) = (root(a), root(b))
    let relative = one.side ^ other.side ^ flip
    if one.root == other.root {
      if relative != 0 { isContradiction = true }
      return
    }
    // The smaller number is the root, so that it is its class' first expert.
    let (low, high) = (min(one.root, other.root), max(one.root, other.root))
    number[high] = low
    side[high] = relative
  }

  private mutating func collect() {
    let found = number.indices.map { root($0) }
    var place = [Int](repeating: -1, count: number.count)
    for expert in number.indices {
      let root = found[expert].root
      if place[root] < 0 {
        place[root] = members.count
        members.append([])
      }
      members[place[root]].append(expert)
      number[expert] = place[root]
      side[expert] = found[expert].side
    }
  }
}
