/// A partition of a layer: the group of each of at most 64 experts in four bits, groups numbered in
/// the order of their first experts.
struct PartitionKey: Hashable, Sendable {
  private var words = SIMD4<UInt64>.zero

  /// - Parameter labels: any names of at most 16 groups, `[E]`.
  init(_ labels: UnsafePointer<UInt8>, experts: Int) {
    // The number of each name, in four bits, and 15 - the names not met yet in front of them.
    var number = SIMD16<UInt8>(repeating: 255)
    var met: UInt8 = 0
    for e in 0..<experts {
      let name = Int(labels[e])
      if number[name] == 255 {
        number[name] = met
        met += 1
      }
      words[e >> 4] |= UInt64(number[name]) << UInt64(4 * (e & 15))
    }
  }

  @inline(__always)
  subscript(e: Int) -> Int { Int(words[e >> 4] >> UInt64(4 * (e & 15)) & 15) }

  func hash(into hasher: inout Hasher) {
    // One word to be hashed; multiplied by odd numbers so that no two words cancel each other.
    let first = words[0] &* 0x9E37_79B9_7F4A_7C15 ^ words[1] &* 0xC2B2_AE3D_27D4_EB4F
    let second = words[2] &* 0x1656_67B1_9E37_79F9 ^ words[3] &* 0x2545_F491_4F6C_DD1D
    hasher.combine(first ^ (second << 1 | second >> 63))
  }
}

/// The states of one layer with the least loss on the way to each.
struct LossStates: Sendable {
  private(set) var keys = [PartitionKey]()
  private(set) var least = [Int32]()
  private var number = [PartitionKey: Int32]()

  /// Takes a state, or a better way to it.
  /// - Returns: its number.
  mutating func add(_ key: PartitionKey, least loss: Int32) -> Int32 {
    if let known = number[key] {
      least[Int(known)] = min(least[Int(known)], loss)
      return known
    }
    let new = Int32(keys.count)
    number[key] = new
    keys.append(key)
    least.append(loss)
    return new
  }

  /// The same states, each with what it loses more; those that lose more than the budget are never
  /// extended.
  func raised(by more: [Int32], budget: Int32) -> LossStates {
    var states = self
    for index in least.indices {
      states.least[index] = more[index] > budget ? budget + 1 : least[index] + more[index]
    }
    return states
  }
}

/// A state of the next layer from one of this.
struct LossArc: Sendable {
  let from: Int32
  let to: Int32
  let loss: Int32
}

/// States and arcs from a layer to one of the ends.
struct LossSweep: Sendable {
  /// By distance from the start.
  private(set) var states: [LossStates]
  /// From those at a distance to the next.
  private(set) var arcs: [[LossArc]] = []
  /// What a state loses at least on the way to the end; `Int32.max` where it does not get there
  /// within the budget.
  private(set) var completions: [[Int32]] = []

  init(_ first: LossStates) { states = [first] }

  mutating func append(_ next: LossStates, _ more: [LossArc]) {
    states.append(next)
    arcs.append(more)
  }

  /// Finds completions, and drops arcs that are in no sequence within the budget.
  mutating func complete(budget: Int32) {
    completions = states.map { [Int32](repeating: .max, count: $0.keys.count) }
    let last = states.count - 1
    for index in completions[last].indices { completions[last][index] = 0 }
    for t in stride(from: last - 1, through: 0, by: -1) {
      var kept = [LossArc]()
      for arc in arcs[t] {
        let after = completions[t + 1][Int(arc.to)]
        guard after != .max,
          Int(states[t].least[Int(arc.from)]) + Int(arc.loss) + Int(after) <= Int(budget)
        else { continue }
        completions[t][Int(arc.from)] = min(completions[t][Int(arc.from)], arc.loss + after)
        kept.append(arc)
      }
      arcs[t] = kept
    }
  }

  /// Whether a state of the start is within the budget with the way to the end.
  func isAlive(_ index: Int, budget: Int32) -> Bool {
    completions[0][index] != .max
      && Int(states[0].least[index]) + Int(completions[0][index]) <= Int(budget)
  }

  func isAlive(budget: Int32) -> Bool {
    completions[0].indices.contains { isAlive($0, budget: budget) }
  }
}
