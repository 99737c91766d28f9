/// Kruskal's order on transitions: pairs of neighbouring experts from the heaviest down, put on one GPU where that is still possible.
///
/// Experts joined by chosen pairs form clusters that will share a GPU; a cluster has at most `c` experts of each layer. When no pair is left the clusters
/// are packed into `P` GPUs: largest first, to the GPU that gains most weight among those with room in each of the cluster's layers. A cluster that fits
/// nowhere whole is dropped and its experts are placed one by one, layer by layer, where they gain most.
enum HeaviestPair {
  static func labels(_ problem: GroupingProblem) -> [Int] {
    let (layers, experts, groups, size) = (
      problem.layers, problem.experts, problem.groups, problem.groupSize
    )
    let count = layers * experts
    // Clusters: representative, members, members per layer.
    var cluster = Array(0..<count)
    var members = (0..<count).map { [$0] }
    var perLayer = (0..<count).map { node in
      var layer = [Int](repeating: 0, count: layers)
      layer[node / experts] = 1
      return layer
    }
    let pairs = problem.weights.indices.filter { problem.weights[$0] > 0 }
      .sorted { (problem.weights[$0], $1) > (problem.weights[$1], $0) }
    for pair in pairs {
      let l = pair / (experts * experts)
      var a = cluster[l * experts + pair / experts % experts]
      var b = cluster[(l + 1) * experts + pair % experts]
      guard a != b, (0..<layers).allSatisfy({ perLayer[a][$0] + perLayer[b][$0] <= size }) else {
        continue
      }
      if members[a].count < members[b].count { swap(&a, &b) }
      for node in members[b] { cluster[node] = a }
      members[a] += members[b]
      members[b] = []
      for l in 0..<layers { perLayer[a][l] += perLayer[b][l] }
    }
    var labels = [Int](repeating: -1, count: count)
    var room = [Int](repeating: size, count: groups * layers)
    func gain(_ node: Int, _ group: Int) -> Int {
      let (l, e) = (node / experts, node % experts)
      var sum = 0
      for i in 0..<experts {
        if l > 0, labels[node - e - experts + i] == group {
          sum += problem.weights[((l - 1) * experts + i) * experts + e]
        }
        if l < layers - 1, labels[node - e + experts + i] == group {
          sum += problem.weights[(l * experts + e) * experts + i]
        }
      }
      return sum
    }
    func put(_ nodes: [Int]) -> Bool {
      var needed = [Int](repeating: 0, count: layers)
      for node in nodes { needed[node / experts] += 1 }
      var best = (gain: -1, group: -1)
      for g in 0..<groups where (0..<layers).allSatisfy({ room[g * layers + $0] >= needed[$0] }) {
        let sum = nodes.reduce(0) { $0 + gain($1, g) }
        if sum > best.gain { best = (sum, g) }
      }
      guard best.group >= 0 else { return false }
      for node in nodes {
        labels[node] = best.group
        room[best.group * layers + node / experts] -= 1
      }
      return true
    }
    var loose = [Int]()
    let order = (0..<count).filter { !members[$0].isEmpty }
      .sorted { (members[$0].count, $1) > (members[$1].count, $0) }
    for representative in order where !put(members[representative]) {
      loose += members[representative]
    }
    for node in loose.sorted() { _ = put([node]) }
    return labels
  }
}
