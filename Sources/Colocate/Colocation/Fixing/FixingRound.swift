import ColocateModel

/// One round of conclusions over all pairs of classes (`ColocationFixings`): O(L·E²).
///
/// For two groups "together" stands for aligned and "apart" for flipped.
final class FixingRound {
  private let problem: GroupingProblem
  private let layout: ColocationLayout
  private let coefficients: [Int]
  /// δ in the coefficients' units.
  private let budget: Int
  private let classes: ColocationClasses
  /// Experts and load of a class' side in a layer, `[classes, L, 2]`.
  private var sizes: [Int]
  private var loads: [Int]

  /// What is known of another class beside the one that is looked at.
  private struct Relation {
    /// Σ of the losses of the pairs between them. Not added up beyond the budget.
    var lossTogether = 0
    var lossApart = 0
    var mayBeTogether = true
    var mayBeApart = true
    var isTouched = false
  }

  /// By class.
  private var relations: [Relation]
  private var touched = [Int]()

  init(_ fixings: ColocationFixings, coefficients: [Int], budget: Int) {
    problem = fixings.problem
    layout = fixings.layout
    self.coefficients = coefficients
    self.budget = budget
    classes = ColocationClasses(fixings)
    let count = classes.members.count
    relations = [Relation](repeating: Relation(), count: count)
    sizes = [Int](repeating: 0, count: count * problem.layers * 2)
    loads = sizes
    for (number, members) in classes.members.enumerated() {
      for v in members {
        let (l, e) = v.quotientAndRemainder(dividingBy: problem.experts)
        let place = (number * problem.layers + l) * 2 + classes.side[v]
        sizes[place] += 1
        loads[place] += problem.load(l, e)
      }
    }
  }

  func run(_ fixings: inout ColocationFixings) {
    if classes.isContradiction { return fixings.exhaust() }
    for a in classes.members.indices {
      compare(a, &fixings)
      for b in touched { restrict(a, b) }
      if problem.groups > 2 { countCandidates(a, &fixings) }
      apply(a, &fixings)
      for b in touched { relations[b] = Relation() }
      touched.removeAll(keepingCapacity: true)
      if fixings.isExhausted { return }
    }
  }

  /// Calls `body` with every expert that expert v shares a variable with, and its place.
  private func neighbours(_ v: Int, _ body: (_ w: Int, _ place: Int) -> Void) {
    let experts = problem.experts
    let (l, e) = v.quotientAndRemainder(dividingBy: experts)
    for j in 0..<experts {
      if j != e { body(l * experts + j, layout.inside(l, e, j)) }
      if l > 0 { body((l - 1) * experts + j, layout.between(l - 1, j, e)) }
      if l < layout.boundaries { body((l + 1) * experts + j, layout.between(l, e, j)) }
    }
  }

  /// Whether the variable of two experts is 1 where their classes are together.
  private func isSame(_ v: Int, _ w: Int) -> Bool { classes.side[v] == classes.side[w] }

  /// Adds up losses of class a against the others, and completes the class itself.
  private func compare(_ a: Int, _ fixings: inout ColocationFixings) {
    for v in classes.members[a] {
      neighbours(v) { w, place in
        let b = classes.number[w]
        let isSame = isSame(v, w)
        if b == a {
          fixings.fix(place, isSame ? .together : .apart)
          return
        }
        if !relations[b].isTouched {
          relations[b].isTouched = true
          touched.append(b)
        }
        add(&relations[b], coefficients[place], isSame: isSame, fixings[place])
      }
    }
  }

  private func add(
    _ relation: inout Relation, _ coefficient: Int, isSame: Bool, _ state: ColocationFixings.State
  ) {
    switch state {
    case .free:
      // What 1 loses where C < 0, and 0 where C > 0; no more than can matter.
      let loss = min(Int(clamping: coefficient.magnitude), budget + 1)
      if (coefficient < 0) == isSame {
        if relation.lossTogether <= budget { relation.lossTogether += loss }
      } else {
        if relation.lossApart <= budget { relation.lossApart += loss }
      }
    case .together, .apart:
      if (state == .together) == isSame {
        relation.mayBeApart = false
      } else {
        relation.mayBeTogether = false
      }
    }
  }

  /// What losses and room allow of two classes.
  private func restrict(_ a: Int, _ b: Int) {
    if relations[b].lossTogether > budget { relations[b].mayBeTogether = false }
    if relations[b].lossApart > budget { relations[b].mayBeApart = false }
    if relations[b].mayBeTogether, !haveRoom(a, b, flipped: false) {
      relations[b].mayBeTogether = false
    }
    if problem.groups == 2, relations[b].mayBeApart, !haveRoom(a, b, flipped: true) {
      relations[b].mayBeApart = false
    }
  }

  private func haveRoom(_ a: Int, _ b: Int, flipped: Bool) -> Bool {
    for l in 0..<problem.layers {
      for side in 0..<2 {
        let one = (a * problem.layers + l) * 2 + side
        let other = (b * problem.layers + l) * 2 + (flipped ? 1 - side : side)
        if sizes[one] == 0 || sizes[other] == 0 { continue }
        if sizes[one] + sizes[other] > problem.groupSize { return false }
        if let caps = problem.caps, loads[one] + loads[other] > caps[l] { return false }
      }
    }
    return true
  }

  /// Of each layer that class a has variables with: where those which may be together with it are
  /// just c, they are.
  private func countCandidates(_ a: Int, _ fixings: inout ColocationFixings) {
    let experts = problem.experts
    var isNear = [Bool](repeating: false, count: problem.layers)
    for v in classes.members[a] {
      let l = v / experts
      for near in max(0, l - 1)...min(problem.layers - 1, l + 1) { isNear[near] = true }
    }
    for l in 0..<problem.layers where isNear[l] {
      let candidates = ((l * experts)..<((l + 1) * experts)).map { classes.number[$0] }.filter {
        $0 == a || relations[$0].mayBeTogether
      }
      if candidates.count < problem.groupSize { fixings.exhaust() }
      guard candidates.count == problem.groupSize else { continue }
      for b in candidates where b != a { relations[b].mayBeApart = false }
    }
  }

  /// Fixes the pairs between class a and the classes whose relation is settled.
  private func apply(_ a: Int, _ fixings: inout ColocationFixings) {
    var isAny = false
    for b in touched {
      let relation = relations[b]
      if !relation.mayBeTogether, !relation.mayBeApart { return fixings.exhaust() }
      if relation.mayBeTogether != relation.mayBeApart { isAny = true }
    }
    guard isAny else { return }
    for v in classes.members[a] {
      neighbours(v) { w, place in
        let b = classes.number[w]
        guard b != a, relations[b].mayBeTogether != relations[b].mayBeApart else { return }
        fixings.fix(
          place, relations[b].mayBeTogether == isSame(v, w) ? .together : .apart)
      }
    }
  }
}
