import Colocate

extension FuzzCase {
  /// A smaller case for which `fails` still answers true: fewer layers, experts, GPUs, smaller
  /// counts, and the default of one option after the other.
  /// - Parameters:
  ///   - runs: how often `fails` may be asked.
  package func shrunk(runs: Int = 400, while fails: (FuzzCase) -> Bool) -> FuzzCase {
    var smallest = self
    var left = runs
    var changed = true
    while changed {
      changed = false
      var step = 0
      // Every success makes a new list of what can be tried; the place in it stays.
      while true {
        let candidates = smallest.reductions()
        guard step < candidates.count, left > 0 else { break }
        let candidate = candidates[step]
        left -= 1
        if candidate != smallest, fails(candidate) {
          smallest = candidate
          changed = true
        } else {
          step += 1
        }
      }
    }
    return smallest
  }

  /// The experts with the least weight, in all layers together: a fault seldom needs them.
  private func lightest(_ count: Int) -> [Int] {
    var weight = [Int](repeating: 0, count: experts)
    for (index, value) in weights.enumerated() {
      weight[index / experts % experts] += value
      weight[index % experts] += value
    }
    return Array((0..<experts).sorted { (weight[$0], $0) < (weight[$1], $1) }.prefix(count))
  }

  /// Cases that are a little smaller, the largest steps first.
  private func reductions() -> [FuzzCase] {
    var smaller = [FuzzCase]()
    func add(_ change: (inout FuzzCase) -> Void) {
      var changed = self
      change(&changed)
      if changed != self { smaller.append(changed) }
    }
    for l in 0..<layers where layers > 2 { smaller.append(withoutLayer(l)) }
    let size = experts / gpus
    if nodes == 1, gpus > 1 {
      add {
        $0 = withoutExperts(lightest(size))
        $0.gpusPerNode -= 1
      }
    }
    if size > 1 { smaller.append(withoutExperts(lightest(gpus))) }
    if nodes > 1, objective == .flat { add { ($0.nodes, $0.gpusPerNode) = (1, gpus) } }
    add {
      $0.objective = .flat
      ($0.nodes, $0.gpusPerNode) = (1, gpus)
    }
    add { $0.cap = nil }
    add { $0.coactivation = [] }
    add { $0.loads = nil }
    add { $0.plants = false }
    add { $0.warmStart = nil }
    add { $0.cancels = false }
    add { $0.repeats = false }
    add { $0.options.keepsCertificate = false }
    add { $0.options.jointWeights = JointWeights() }
    for option in OptionDescription.table where option.name != "work-limit" {
      add { option.reset(&$0.options) }
    }
    for divisor in [1 << 20, 1000, 10, 2] {
      add { $0.weights = weights.map { ($0 + divisor - 1) / divisor } }
      add { $0.coactivation = coactivation.map { $0 / divisor } }
      add { $0.loads = loads?.map { $0 / divisor } }
    }
    for index in weights.indices where weights[index] > 0 {
      add { $0.weights[index] = 0 }
      add { $0.weights[index] /= 2 }
    }
    for l in 0..<layers where !coactivation.isEmpty {
      for i in 0..<experts {
        for j in 0..<i {
          add {
            $0.coactivation[(l * experts + i) * experts + j] = 0
            $0.coactivation[(l * experts + j) * experts + i] = 0
          }
        }
      }
    }
    for index in (loads ?? []).indices { add { $0.loads?[index] = 0 } }
    return smaller
  }

  /// Without layer `l`: its boundary goes, or the two beside it become the earlier one.
  private func withoutLayer(_ l: Int) -> FuzzCase {
    var smaller = self
    let square = experts * experts
    func cut(_ list: inout [Int], at place: Int, _ size: Int) {
      guard !list.isEmpty else { return }
      list.removeSubrange((place * size)..<((place + 1) * size))
    }
    cut(&smaller.weights, at: min(l, layers - 2), square)
    cut(&smaller.coactivation, at: l, square)
    if var loads {
      cut(&loads, at: l, experts)
      smaller.loads = loads
    }
    smaller.layers -= 1
    return smaller
  }

  private func withoutExperts(_ gone: [Int]) -> FuzzCase {
    var smaller = self
    let kept = (0..<experts).filter { !gone.contains($0) }
    func squares(_ list: [Int]) -> [Int] {
      (0..<(list.count / (experts * experts))).flatMap { l in
        kept.flatMap { i in kept.map { list[(l * experts + i) * experts + $0] } }
      }
    }
    smaller.weights = squares(weights)
    smaller.coactivation = squares(coactivation)
    smaller.loads = loads.map { loads in
      (0..<layers).flatMap { l in kept.map { loads[l * experts + $0] } }
    }
    smaller.experts = kept.count
    return smaller
  }
}
