import Colocate

/// Small seeded layers of token sets with what the solver must get right: ties, experts without
/// tokens, repeated sets, caps, one to four experts a token.
struct DestinationTestLayer: CustomStringConvertible {
  let seed: UInt64
  let experts: Int
  let groups: Int
  let sets: TokenSets.Layer
  let cap: Int?
  var description: String {
    "seed \(seed): E=\(experts) P=\(groups) sets=\(sets.count) cap=\(cap.map(String.init) ?? "-")"
  }

  /// - Parameter groups: nil for any number that divides the experts.
  init(
    seed: UInt64, experts sizes: [Int] = [2, 4, 6, 8, 9], groups given: Int? = nil,
    caps: Bool = true
  ) throws {
    var random = SeededGenerator(seed: seed)
    let size = sizes[random.next(below: sizes.count)]
    let divisors = (1...size).filter { size % $0 == 0 }
    let choices = 1 + random.next(below: min(4, size))
    let tokens = [3, 20, 60][random.next(below: 3)]
    let busy = max(choices, size - random.next(below: 3))
    let largest = [1, 3, 100][random.next(below: 3)]
    var lists = [[Int]]()
    var multiplicities = [Int]()
    for _ in 0..<tokens {
      lists.append((0..<choices).map { _ in random.next(below: busy) })
      multiplicities.append(random.next(below: largest + 1))
    }
    self.seed = seed
    experts = size
    let drawn = divisors[random.next(below: divisors.count)]
    groups = given ?? drawn
    sets = try TokenSets.Layer(experts: size, sets: lists, multiplicities: multiplicities)
    let tokensServed = sets.loads.reduce(0, +)
    let fair = Double(tokensServed) / Double(groups)
    cap = caps && random.nextUnit() < 0.5 ? Int(fair * (1 + 0.6 * random.nextUnit())) : nil
  }

  /// Every labelling with equal groups within the cap, group 0 holding expert 0 first and so on.
  func forEachPlacement(_ body: ([Int]) -> Void) {
    var labels = [Int](repeating: 0, count: experts)
    var held = [Int](repeating: 0, count: groups)
    var load = held
    func assign(_ e: Int, _ used: Int) {
      guard e < experts else {
        body(labels)
        return
      }
      for g in 0..<min(groups, used + 1) where held[g] < experts / groups {
        if let cap, load[g] + sets.loads[e] > cap { continue }
        labels[e] = g
        held[g] += 1
        load[g] += sets.loads[e]
        assign(e + 1, max(used, g + 1))
        held[g] -= 1
        load[g] -= sets.loads[e]
      }
    }
    assign(0, 0)
  }

  /// The least value, by the definition alone, and a placement that has it; nil where the cap
  /// allows none.
  func bruteForce() -> (value: Int, labels: [Int])? {
    var best: (value: Int, labels: [Int])?
    forEachPlacement { labels in
      let value = Self.destinations(sets, labels)
      if value < best?.value ?? .max { best = (value, labels) }
    }
    return best
  }

  /// `Σ λ` spelled out: the oracle of the definition too.
  static func destinations(_ sets: TokenSets.Layer, _ labels: [Int]) -> Int {
    (0..<sets.count).reduce(0) { sum, t in
      sum + sets.multiplicities[t] * Set(sets[t].map { labels[Int($0)] }).count
    }
  }
}
