/// Makes an engine take another run's routes, and compares those that it would have taken itself.
///
/// The expert ids and probabilities of the table take the place of the router's own, so that both
/// runs compute the same sums and their logits must agree at every position, whatever is nearly
/// equal. What the router would have chosen is compared on the spot: the probabilities of the
/// table's experts, and where the choice is another one, by how much either run preferred its own.
///
/// If no probability of the two runs differs by more than δ, an expert that one run prefers to
/// another leads by at most 2δ in it where the other run has them the other way round. So 2δ is the
/// largest margin at a differing choice that δ explains.
final class RouteReplay: RouteObserver {
  private let table: RouteTable
  private(set) var comparison = RouteComparison()

  init(_ table: RouteTable) { self.table = table }

  func willChoose(scores: UnsafePointer<Float>, count: Int) {}

  func chose(_ choice: RouterChoice) {
    let k = table.expertsPerToken
    let at = table.index(
      sequence: choice.sequence, position: choice.position, layer: choice.layer)
    let given = table.experts(at)
    comparison.compared += 1
    var differs = false
    for j in 0..<k {
      let own = probability(of: given[j], choice, k)
      comparison.add(difference: abs(own - table.probability(at, j)), at)
      if choice.experts[j] != given[j] {
        differs = true
        comparison.add(lead: max(choice.probabilities[j] - own, table.margin(at)), at)
      }
    }
    if differs { comparison.differing += 1 }
    for j in 0..<k {
      choice.experts[j] = given[j]
      choice.probabilities[j] = table.probability(at, j)
    }
  }

  /// What this run's router gives to an expert.
  private func probability(of expert: Int32, _ choice: RouterChoice, _ k: Int) -> Float {
    for j in 0..<k where choice.experts[j] == expert { return choice.probabilities[j] }
    return choice.others[Int(expert)]
  }
}

/// How the routes that a run would have taken differ from those it was given.
struct RouteComparison: Equatable {
  /// Choices (of a token in a layer), and those of them with another expert, or another order.
  var compared = 0
  var differing = 0
  /// Probabilities that are not finite numbers.
  private(set) var notFinite = 0
  /// The largest difference of a probability, and the largest lead at a differing choice.
  private(set) var largestDifference: Float = 0
  private(set) var largestLead: Float = 0
  /// Numbers of the choices: the first that is not finite, those of the largest figures; −1 for
  /// none.
  private(set) var notFiniteAt = -1
  private(set) var differenceAt = -1
  private(set) var leadAt = -1

  mutating func add(difference: Float, _ choice: Int) {
    guard difference.isFinite else {
      addNotFinite(1, choice)
      return
    }
    if difference > largestDifference || differenceAt < 0 {
      (largestDifference, differenceAt) = (difference, choice)
    }
  }

  mutating func add(lead: Float, _ choice: Int) {
    guard lead.isFinite else {
      addNotFinite(1, choice)
      return
    }
    if lead > largestLead || leadAt < 0 { (largestLead, leadAt) = (lead, choice) }
  }

  private mutating func addNotFinite(_ count: Int, _ choice: Int) {
    notFinite += count
    if notFiniteAt < 0 || (choice >= 0 && choice < notFiniteAt) { notFiniteAt = choice }
  }

  /// All ranks' comparisons as one.
  func overAllRanks(_ communicator: Communicator) -> RouteComparison {
    let mine = [
      compared, differing, notFinite, notFiniteAt, Int(largestDifference.bitPattern), differenceAt,
      Int(largestLead.bitPattern), leadAt,
    ]
    var all = RouteComparison()
    for other in communicator.gatherEverywhere(mine) {
      all.compared += other[0]
      all.differing += other[1]
      if other[2] > 0 { all.addNotFinite(other[2], other[3]) }
      if other[5] >= 0 {
        all.add(difference: Float(bitPattern: UInt32(truncatingIfNeeded: other[4])), other[5])
      }
      if other[7] >= 0 {
        all.add(lead: Float(bitPattern: UInt32(truncatingIfNeeded: other[6])), other[7])
      }
    }
    return all
  }
}
