import Colocate
import TestSupport
import Testing

@Suite struct GainTableTests {
  /// Flat, or two levels where the groups allow it.
  static func weights(_ problem: GroupingProblem, _ random: inout SeededGenerator) -> SavedWeights {
    let nodes = (1...problem.groups).filter { problem.groups % $0 == 0 }
    let node = nodes[random.next(below: nodes.count)]
    if node == 1 { return .flat(groups: problem.groups) }
    return SavedWeights(
      groupsPerNode: problem.groups / node, group: random.next(below: 3),
      node: random.next(below: 4))
  }

  @Test(arguments: 0..<200) func everyGainEqualsTheValueRecomputed(seed: Int) {
    let instance = RandomProblem(seed: UInt64(seed))
    let problem = instance.problem
    var random = SeededGenerator(seed: UInt64(seed) + 1000)
    let saved = Self.weights(problem, &random)
    let model = SearchModel<Int32>(problem: problem, saved: saved)
    var labels = [Int]()
    for _ in 0..<problem.layers {
      labels += (0..<problem.experts).map { $0 % problem.groups }.shuffled(using: &random)
    }
    let table = GainTable(model: model, labels: labels)
    #expect(table.value == saved.value(problem, labels), "\(instance)")
    guard problem.groups > 1 else { return }
    for step in 0..<60 {
      let l = random.next(below: problem.layers)
      let before = table.value
      switch step % 4 {
      case 0, 1:
        let a = random.next(below: problem.experts)
        let b = random.next(below: problem.experts)
        let (g, h) = (labels[l * problem.experts + a], labels[l * problem.experts + b])
        guard g != h else { continue }
        let gain = table.swapGain(l, a, b)
        labels.swapAt(l * problem.experts + a, l * problem.experts + b)
        #expect(before + Int(gain) == saved.value(problem, labels), "\(instance) step \(step)")
        if let caps = problem.caps {
          var load = [Int](repeating: 0, count: problem.groups)
          for e in 0..<problem.experts {
            load[labels[l * problem.experts + e]] += problem.loads[l * problem.experts + e]
          }
          #expect(table.swapFits(l, a, b) == (load[g] <= caps[l] && load[h] <= caps[l]))
        }
        table.swap(l, a, b, gain: gain)
      case 2:
        let per = saved.groupsPerNode
        guard per > 1 else { continue }
        let node = random.next(below: problem.groups / per) * per
        let p = node + random.next(below: per)
        let q = node + (p - node + 1 + random.next(below: per - 1)) % per
        let last = l + random.next(below: problem.layers - l)
        let gain = table.relabelGain(l..<(last + 1), p, q)
        for index in (l * problem.experts)..<((last + 1) * problem.experts) {
          if labels[index] == p {
            labels[index] = q
          } else if labels[index] == q {
            labels[index] = p
          }
        }
        table.relabel(l..<(last + 1), p, q, gain: gain)
      default:
        let layer = (0..<problem.experts).map { $0 % problem.groups }.shuffled(using: &random)
        for e in 0..<problem.experts { labels[l * problem.experts + e] = layer[e] }
        table.assign(layer: l, groupOf: layer)
      }
      #expect(table.placement == labels, "\(instance) step \(step)")
      #expect(table.value == saved.value(problem, labels), "\(instance) step \(step)")
      // Every cached attraction, against a table made from scratch.
      let fresh = GainTable(model: model, labels: labels)
      for l in 0..<problem.layers {
        for g in 0..<problem.groups {
          for e in 0..<problem.experts {
            #expect(
              table.attraction(l, g, e) == fresh.attraction(l, g, e), "\(instance) step \(step)")
          }
        }
      }
    }
  }

  @Test(arguments: 0..<60) func valueIsTheObjective(seed: Int) throws {
    let instance = RandomProblem(seed: UInt64(seed), caps: false)
    let problem = instance.problem
    var random = SeededGenerator(seed: UInt64(seed) + 2000)
    let nodes = (1...problem.groups).filter { problem.groups % $0 == 0 }
    let topology = try Topology(
      gpus: problem.groups, nodes: nodes[random.next(below: nodes.count)])
    let counts = try TransitionCounts(
      layers: problem.layers, experts: problem.experts, weights: problem.weights,
      coactivation: problem.coactivation)
    let labels = (0..<problem.layers).flatMap { _ in
      (0..<problem.experts).map { $0 % problem.groups }.shuffled(using: &random)
    }
    let placement = try Placement(
      topology: topology, layers: problem.layers, experts: problem.experts, assignment: labels)
    let crossings = try counts.crossings(of: placement)
    let (inter, intra) = (5, 2)
    let saved = SavedWeights(
      groupsPerNode: topology.gpusPerNode, group: intra, node: inter - intra)
    #expect(
      inter * problem.total - saved.value(problem, labels)
        == Objective.joint(interNode: inter, intraNode: intra).value(of: crossings), "\(instance)")
    #expect(
      SavedWeights.flat(groups: problem.groups).value(problem, labels) == problem.kept(labels))
  }
}
