import ColocateModel

/// What is known of pairs of experts, and what follows (`CertificateFixing`).
struct CertificateFixedPairs {
  enum State: UInt8 {
    case free
    case apart
    case together
  }

  let problem: CertifiedProblem
  /// Of layers l and l+1, `[L-1, E, E]`.
  private(set) var between: [State]
  /// Of one layer, `[L, E, E]`, of which i < j is used.
  private(set) var inside: [State]
  /// Whether no placement reaches the target.
  private(set) var isExhausted = false
  private var isNew = false

  /// What the cap says.
  init(_ problem: CertifiedProblem) {
    self.problem = problem
    let square = problem.experts * problem.experts
    between = [State](repeating: .free, count: (problem.layers - 1) * square)
    inside = [State](repeating: .free, count: problem.layers * square)
    for place in ColocationLoads(problem).pairsApart() { inside[place] = .apart }
  }

  /// The pair of two experts l·E + e of one layer or of neighbouring ones.
  subscript(a: Int, b: Int) -> State {
    get {
      let place = place(a, b)
      return place.isInside ? inside[place.index] : between[place.index]
    }
    set {
      let old = self[a, b]
      if old == newValue { return }
      if old != .free { isExhausted = true }
      isNew = true
      let place = place(a, b)
      if place.isInside { inside[place.index] = newValue } else { between[place.index] = newValue }
    }
  }

  private func place(_ a: Int, _ b: Int) -> (isInside: Bool, index: Int) {
    let experts = problem.experts
    let (low, high) = (min(a, b), max(a, b))
    return (low / experts == high / experts, low * experts + high % experts)
  }

  /// The experts that share a pair with one, in order.
  private func neighbours(_ a: Int) -> Range<Int> {
    let experts = problem.experts
    let l = a / experts
    return (max(0, l - 1) * experts)..<(min(problem.layers, l + 2) * experts)
  }

  /// Draws all conclusions from multipliers for placements that keep at least `target`.
  /// - Parameter slack: what is added to δ.
  mutating func tighten(
    _ parts: CertificateColocation.Parts, slack: Int128, target: Int, effort: CertificateEffort
  ) throws(CertificateError) {
    repeat {
      try effort.proceed()
      let bound = try Checked.sum(parts.bound(self).units, slack)
      let delta = try Checked.difference(bound, Int128(target) << Int128(parts.bits))
      if delta < 0 { isExhausted = true }
      if isExhausted { return }
      isNew = false
      try round(parts, delta: delta)
    } while isNew
  }

  private mutating func round(
    _ parts: CertificateColocation.Parts, delta: Int128
  ) throws(CertificateError) {
    guard let classes = CertificateClasses(self) else {
      isExhausted = true
      return
    }
    for a in classes.members.indices {
      var relations = try losses(of: a, classes, parts, delta: delta)
      for b in relations.keys where b != a {
        guard var relation = relations[b] else { continue }
        if relation.together > delta || !classes.haveRoom(a, b, crossed: false) {
          relation.mayBeTogether = false
        }
        if relation.apart > delta
          || (problem.groups == 2 && !classes.haveRoom(a, b, crossed: true))
        {
          relation.mayBeApart = false
        }
        relations[b] = relation
      }
      if problem.groups > 2 { countCompany(of: a, classes, &relations) }
      fix(a, classes, relations)
      if isExhausted { return }
    }
  }

  /// Two classes.
  private struct Relation {
    /// Σ|C_x| of what is lost in either case; once above δ it is not added to.
    var together: Int128 = 0
    var apart: Int128 = 0
    var mayBeTogether = true
    var mayBeApart = true
  }

  private mutating func losses(
    of a: Int, _ classes: CertificateClasses, _ parts: CertificateColocation.Parts, delta: Int128
  ) throws(CertificateError) -> [Int: Relation] {
    let experts = problem.experts
    var relations = [Int: Relation]()
    for v in classes.members[a] {
      for w in neighbours(v) where w != v {
        let (b, isSame) = (classes.number[w], classes.side[v] == classes.side[w])
        if b == a {
          self[v, w] = isSame ? .together : .apart
          continue
        }
        var relation = relations[b] ?? Relation()
        switch self[v, w] {
        case .free:
          // The first layer of the two names the boundary; inside the last layer it is the last.
          let l = min(min(v, w) / experts, problem.layers - 2)
          let value = parts.sums[l, v - l * experts, w - l * experts]
          let loss = try Checked.product(
            value < 0 ? Checked.difference(0, value) : value,
            1 << Int128(CertificateColocation.finer))
          if (value < 0) == isSame {
            if relation.together <= delta {
              relation.together = try Checked.sum(relation.together, loss)
            }
          } else if relation.apart <= delta {
            relation.apart = try Checked.sum(relation.apart, loss)
          }
        case let state:
          if (state == .together) == isSame {
            relation.mayBeApart = false
          } else {
            relation.mayBeTogether = false
          }
        }
        relations[b] = relation
      }
    }
    return relations
  }

  /// Of each layer next to a member: where only c experts may be with the class, they are.
  private mutating func countCompany(
    of a: Int, _ classes: CertificateClasses, _ relations: inout [Int: Relation]
  ) {
    let experts = problem.experts
    var layers = Set<Int>()
    for v in classes.members[a] {
      let around = neighbours(v)
      layers.formUnion((around.lowerBound / experts)..<(around.upperBound / experts))
    }
    for l in layers {
      let company = ((l * experts)..<((l + 1) * experts)).map { classes.number[$0] }.filter {
        $0 == a || relations[$0]?.mayBeTogether ?? true
      }
      if company.count < problem.groupSize { isExhausted = true }
      if company.count == problem.groupSize {
        for b in company where b != a { relations[b]?.mayBeApart = false }
      }
    }
  }

  private mutating func fix(
    _ a: Int, _ classes: CertificateClasses, _ relations: [Int: Relation]
  ) {
    if relations.values.contains(where: { !$0.mayBeTogether && !$0.mayBeApart }) {
      isExhausted = true
      return
    }
    guard relations.values.contains(where: { $0.mayBeTogether != $0.mayBeApart }) else { return }
    for v in classes.members[a] {
      for w in neighbours(v) {
        guard let relation = relations[classes.number[w]],
          relation.mayBeTogether != relation.mayBeApart
        else { continue }
        let isSame = classes.side[v] == classes.side[w]
        self[v, w] = relation.mayBeTogether == isSame ? .together : .apart
      }
    }
  }
}

/// Classes of experts l·E + e that known pairs make.
struct CertificateClasses {
  let problem: CertifiedProblem
  private(set) var number: [Int]
  /// 0 or 1; always 0 for more than two groups.
  private(set) var side: [Int]
  private(set) var members: [[Int]] = []
  /// Experts and load by class, layer and side, `[classes, L, 2]`.
  private var sizes: [Int] = []
  private var loads: [Int] = []

  /// Along known pairs from each expert that has no class yet. nil where they contradict each
  /// other.
  init?(_ pairs: CertificateFixedPairs) {
    problem = pairs.problem
    let (experts, layers) = (problem.experts, problem.layers)
    number = [Int](repeating: -1, count: layers * experts)
    side = [Int](repeating: 0, count: number.count)
    for first in number.indices where number[first] < 0 {
      var list = [first]
      number[first] = members.count
      var next = 0
      while next < list.count {
        let v = list[next]
        next += 1
        let l = v / experts
        for w in (max(0, l - 1) * experts)..<(min(layers, l + 2) * experts) where w != v {
          let state = pairs[v, w]
          guard state == .together || (state == .apart && problem.groups == 2) else { continue }
          let other = side[v] ^ (state == .apart ? 1 : 0)
          if number[w] < 0 {
            number[w] = members.count
            side[w] = other
            list.append(w)
          } else if side[w] != other {
            return nil
          }
        }
      }
      members.append(list)
    }
    sizes = [Int](repeating: 0, count: members.count * layers * 2)
    loads = sizes
    for v in number.indices {
      let place = (number[v] * layers + v / experts) * 2 + side[v]
      sizes[place] += 1
      // Loads add up to at most 2^55.
      loads[place] += problem.loads[v]
    }
  }

  /// Whether two classes fit together: first sides in one group, or, crossed, first with second.
  func haveRoom(_ a: Int, _ b: Int, crossed: Bool) -> Bool {
    for l in 0..<problem.layers {
      for side in 0..<2 {
        let one = (a * problem.layers + l) * 2 + side
        let other = (b * problem.layers + l) * 2 + (crossed ? 1 - side : side)
        if sizes[one] == 0 || sizes[other] == 0 { continue }
        if sizes[one] + sizes[other] > problem.groupSize { return false }
        if let caps = problem.caps, loads[one] + loads[other] > caps[l] { return false }
      }
    }
    return true
  }
}
