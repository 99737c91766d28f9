import ColocateModel

/// A bound for layers whose groups cannot be listed: co-location with chord weights.
///
/// With `z_ij = 1` where experts `i` and `j` share a group, a set `t` is spread over
///
///     λ(t) = Σ_{i∈t} 1 / s_it,     s_it = 1 + Σ_{j∈t, j≠i} z_ij,
///
/// groups: each group's members share one. `1/s ≥ (2m + 1 − s) / (m (m + 1))` for whole `s, m ≥ 1`
/// (the chord of a convex function between m and m + 1), so for any whole numbers `m_it ≥ 1`
///
///     Σ_t w λ ≥ Σ_{t, i∈t} 2 w_t / (m_it + 1)  −  Σ_{i≠j} A_ij z_ij,
///     A_ij = Σ_{t∋i,j} w_t / (m_it (m_it + 1)).
///
/// Each expert shares its group with `c − 1` others, and `z` is symmetric: for any antisymmetric
/// `θ`, which cancels, `Σ A_ij z_ij ≤ Σ_i (the c − 1 largest over j of A_ij + θ_ij)`. That is the
/// bound. `θ` moves by subgradient steps; `m` follows the mean of the partners that were largest.
/// It holds for any `m` and `θ`, so it may stop at any time. A load cap is not used.
///
/// **Rounding.** A sum of `n` doubles is off by less than `n · 2⁻⁵²` times the sum of magnitudes;
/// `margin` allows twice that for the longest of the sums, of all magnitudes together.
struct DestinationRelaxation {
  private static let rounds = 20
  private static let stepsPerRound = 25

  private let layer: DestinationLayer
  private let control: SearchControl
  private let experts: Int
  /// `m`, beside `layer.members`.
  private let slope: SharedBuffer<UInt16>
  /// `A` and `θ`, `[E, E]`.
  private let weight: SharedBuffer<Double>
  private let shift: SharedBuffer<Double>
  /// How often `j` was among the partners of `i` in this round, `[E, E]`.
  private let chosen: SharedBuffer<Float>
  private var constant = 0.0
  private var magnitude = 0.0

  /// - Parameters:
  ///   - layer: without anchors and linear costs.
  ///   - groupOf: a good placement, where `m` starts.
  init(_ layer: DestinationLayer, groupOf: [Int], control: SearchControl) {
    self.layer = layer
    self.control = control
    experts = layer.experts
    slope = SharedBuffer(repeating: 1, count: layer.members.count)
    weight = SharedBuffer(repeating: 0, count: experts * experts)
    shift = SharedBuffer(repeating: 0, count: experts * experts)
    chosen = SharedBuffer(repeating: 0, count: experts * experts)
    for i in 0..<experts {
      for j in 0..<experts where j != i && groupOf[i] == groupOf[j] { chosen[i * experts + j] = 1 }
    }
    followPartners(rounds: 1)
  }

  /// The best bound found, in units of the layer; never below `layer.trivialBound`.
  ///
  /// Each step aims at what was best so far and something on top, `lift`: more after a success,
  /// less after steps without one.
  /// - Parameter goal: a bound of this much is enough.
  mutating func run(goal: Int) -> Int {
    var best = layer.trivialBound
    var top = -Double.infinity
    var lift = 0.0
    var failures = 0
    for round in 0..<Self.rounds {
      if round > 0 { followPartners(rounds: Self.stepsPerRound) }
      for index in 0..<chosen.count { chosen[index] = 0 }
      gather()
      for _ in 0..<Self.stepsPerRound {
        control.spend(experts * experts / 16 + 1)
        if control.isOver { return best }
        let bound = evaluate()
        best = max(best, min(goal, Int(bound.rounded(.up)) + layer.constant))
        if best >= goal { return best }
        if top == -.infinity { lift = 0.3 * (Double(goal - layer.constant) - bound) }
        if bound > top + 0.02 * lift {
          (top, failures) = (bound, 0)
          lift *= 1.2
        } else {
          failures += 1
          if failures == 6 { (failures, lift) = (0, lift * 0.6) }
        }
        moveShift(by: max(0, top - bound) + lift)
      }
    }
    return best
  }

  /// Sets `m_it` to `⌊s_it⌋` under the mean of the chosen partners.
  private func followPartners(rounds: Int) {
    let scale = 1 / Float(2 * rounds)
    for t in 0..<layer.count {
      let range = Int(layer.starts[t])..<Int(layer.starts[t + 1])
      let most = max(1, min(range.count, layer.size) - 1)
      for a in range {
        let i = Int(layer.members[a])
        var sum: Float = 1.001
        for b in range where b != a {
          let j = Int(layer.members[b])
          sum += (chosen[i * experts + j] + chosen[j * experts + i]) * scale
        }
        slope[a] = UInt16(min(most, max(1, Int(sum))))
      }
    }
    control.spend(layer.members.count * max(1, layer.largestSet) / 16)
  }

  /// `A` and the constant for the slopes that stand.
  private mutating func gather() {
    for index in 0..<weight.count { weight[index] = 0 }
    constant = 0
    for t in 0..<layer.count {
      let w = Double(layer.weights[t])
      let range = Int(layer.starts[t])..<Int(layer.starts[t + 1])
      for a in range {
        let m = Double(slope[a])
        constant += 2 * w / (m + 1)
        let share = w / (m * (m + 1))
        let row = weight.base + Int(layer.members[a]) * experts
        for b in range where b != a { row[Int(layer.members[b])] += share }
      }
    }
    magnitude = constant
    for index in 0..<weight.count { magnitude += weight[index] }
    control.spend(layer.members.count * max(1, layer.largestSet) / 16)
  }

  /// `c − 1` partners of each expert, as a list, `[E, c − 1]`, and their sum.
  private var partnerList: [Int32] = []
  private var partnerSum = 0.0

  /// The bound under `θ`, the margin taken off, without the layer's constant.
  private mutating func evaluate() -> Double {
    let wanted = layer.size - 1
    partnerList.removeAll(keepingCapacity: true)
    partnerSum = 0
    var moved = 0.0
    withUnsafeTemporaryAllocation(of: (Double, Int32).self, capacity: wanted + 1) { top in
      for i in 0..<experts {
        let (row, added) = (weight.base + i * experts, shift.base + i * experts)
        var held = 0
        for j in 0..<experts where j != i {
          let entry = row[j] + added[j]
          if held == wanted && (wanted == 0 || entry <= top[held - 1].0) { continue }
          var position = held < wanted ? held : held - 1
          while position > 0 && top[position - 1].0 < entry {
            top[position] = top[position - 1]
            position -= 1
          }
          top[position] = (entry, Int32(j))
          if held < wanted { held += 1 }
        }
        for index in 0..<held {
          partnerSum += top[index].0
          moved += abs(top[index].0)
          partnerList.append(top[index].1)
          chosen[i * experts + Int(top[index].1)] += 1
        }
      }
    }
    let longest = Double(layer.members.count + experts * experts)
    let margin = (magnitude + moved + shiftMagnitude) * longest * 0x1p-51
    return constant - partnerSum - margin
  }

  /// `Σ |θ|`.
  private var shiftMagnitude = 0.0

  /// One subgradient step: `θ_ij` falls where `i` counts `j` and `j` does not count `i`.
  private mutating func moveShift(by rise: Double) {
    let wanted = layer.size - 1
    guard wanted > 0 else { return }
    var mutual = Set<Int>()
    var all = [Int]()
    all.reserveCapacity(partnerList.count)
    for (index, j) in partnerList.enumerated() { all.append(index / wanted * experts + Int(j)) }
    let pairs = Set(all)
    for pair in all where pairs.contains(pair % experts * experts + pair / experts) {
      mutual.insert(pair)
    }
    let norm = all.count - mutual.count
    guard norm > 0 else { return }
    let length = rise / Double(norm)
    for pair in all where !mutual.contains(pair) {
      let (i, j) = (pair / experts, pair % experts)
      let back = j * experts + i
      shiftMagnitude -= 2 * abs(shift[pair])
      shift[pair] -= length
      shift[back] = -shift[pair]
      shiftMagnitude += 2 * abs(shift[pair])
    }
  }
}
