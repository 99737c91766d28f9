import ColocateModel

/// Fixing by reduced cost: pairs of experts that every better placement has together, or apart.
///
/// **The loss of a value.** At multipliers with bound B (`ColocationEvaluation`) a placement that
/// gives a variable x the value which C_x does not prefer keeps at most B - |C_x|, one that does so
/// for several variables at most B less the sum of their |C_x|. With `target` the least that a
/// better placement keeps, a value whose loss is above δ = B - target is in no better placement, so
/// x has the other one there (Dantzig, Fulkerson and Johnson, Operations Research 2, 1954, did the
/// same to tours). From then on B is about better placements only: what it proves of all placements
/// is the larger of B and the incumbent. And it is smaller, because a variable that is fixed counts
/// C_x·x instead of max(0, C_x), in every later evaluation.
///
/// **Classes.** Sharing a group is transitive, so fixed pairs join experts of all layers into
/// classes. Two classes are together or apart as a whole: the losses of all pairs between them add
/// up, and their sum is compared with δ. That decides pairs which no single |C_x| would.
///
/// * P > 2: experts of a class share a group. The alternatives are "together" (all pairs between
///   the two are 1) and "apart" (all are 0); a pair known to be apart rules out the first.
/// * P = 2: who is apart is on the other side, so pairs fixed at 0 join experts too. A class has
///   two sides, and the alternatives are "aligned" (first sides together) and "flipped".
///
/// **Room.** A group has c experts of a layer and at most `cap` of its load, so two classes are not
/// together where they would have more in some layer. For P > 2, of a layer's experts those that
/// are not apart from a class include the c of its group: if they are c, all are together with it.
///
/// **Order does not matter.** Each conclusion needs less the more is known: losses of classes grow
/// when they merge, B and δ fall. So repeating until nothing changes has one result, whatever the
/// order of the steps, and one that starts with more, or with a smaller δ, ends with at least as
/// much. A certificate therefore only names the multipliers; its checker draws the conclusions
/// anew.
///
/// If a pair can be neither together nor apart, or B is below the target, no better placement
/// exists.
package struct ColocationFixings: Sendable {
  /// What is known of a variable.
  package enum State: UInt8, Sendable {
    case free
    /// 0 in every better placement.
    case apart
    /// 1 in every better placement.
    case together
  }

  let problem: GroupingProblem
  let layout: ColocationLayout
  /// By place of the layout, which has no padding; places that are no variables stay free.
  private(set) var states: [State]
  /// Variables that are fixed.
  package private(set) var count = 0
  /// Whether no placement reaches the target.
  package private(set) var isExhausted = false
  /// Whether anything is fixed because of a target: bounds are about better placements then.
  package private(set) var dependsOnTarget = false

  /// What holds for all placements: pairs that the load cap keeps apart.
  package init(problem: GroupingProblem) {
    self.problem = problem
    layout = ColocationLayout(layers: problem.layers, experts: problem.experts)
    states = [State](repeating: .free, count: layout.count)
    for place in ColocationCut.Context(problem: problem).apart { fix(place, .apart) }
  }

  package subscript(place: Int) -> State { states[place] }

  /// Number of variables.
  package var variables: Int {
    let square = layout.experts * layout.experts
    return layout.boundaries * square + problem.layers * (square - layout.experts) / 2
  }

  /// Notes a conclusion.
  /// - Returns: whether it is new.
  @discardableResult
  mutating func fix(_ place: Int, _ state: State) -> Bool {
    if states[place] == state { return false }
    if states[place] != .free {
      isExhausted = true
      return false
    }
    states[place] = state
    count += 1
    return true
  }

  /// Notes that no placement reaches the target.
  mutating func exhaust() { isExhausted = true }

  /// Σ_x (the most that C_x·x can be), in the units of the coefficients.
  func most(_ coefficients: [Int]) -> Int128 {
    var sum = Int128(0)
    for place in coefficients.indices {
      let value = coefficients[place]
      switch states[place] {
      case .free: if value > 0 { sum += Int128(value) }
      case .apart: break
      case .together: sum += Int128(value)
      }
    }
    return sum
  }

  /// Fixes all that follows from multipliers for placements that keep at least `target`.
  /// - Parameter control: where it says stop, conclusions are missing.
  package mutating func tighten(
    _ evaluation: ColocationEvaluation, target: Int, control: SearchControl
  ) {
    var budget = evaluation.budget(self, target: target)
    // Without a class to begin with only single losses count.
    if count == 0, budget >= 0, problem.caps == nil, problem.groupSize > 1 || problem.groups == 2,
      !evaluation.coefficients.contains(where: { $0.magnitude > budget })
    {
      return
    }
    while true {
      if budget < 0 { exhaust() }
      if isExhausted || control.shouldStop { break }
      let before = count
      let round = FixingRound(self, coefficients: evaluation.coefficients, budget: budget)
      round.run(&self)
      if count == before { break }
      budget = evaluation.budget(self, target: target)
    }
    dependsOnTarget = true
  }
}
