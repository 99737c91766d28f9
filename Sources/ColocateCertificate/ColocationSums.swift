import ColocateModel

/// C_x of all pairs: those between layers, and those inside a layer, which two boundaries share.
struct ColocationSums {
  let problem: CertifiedProblem
  /// `[L-1, E, E]`.
  var between: [Int128]
  /// `[L, E, E]`, of which i < j is used.
  var inside: [Int128]

  init(problem: CertifiedProblem) {
    self.problem = problem
    let square = problem.experts * problem.experts
    between = [Int128](repeating: 0, count: (problem.layers - 1) * square)
    inside = [Int128](repeating: 0, count: problem.layers * square)
  }

  /// The pair of vertices a ≠ b of boundary l.
  subscript(l: Int, a: Int, b: Int) -> Int128 {
    get {
      let place = place(l, a, b)
      return place.isInside ? inside[place.index] : between[place.index]
    }
    set {
      let place = place(l, a, b)
      if place.isInside { inside[place.index] = newValue } else { between[place.index] = newValue }
    }
  }

  private func place(_ l: Int, _ a: Int, _ b: Int) -> (isInside: Bool, index: Int) {
    let experts = problem.experts
    let (low, high) = (min(a, b), max(a, b))
    if high < experts { return (true, (l * experts + low) * experts + high) }
    if low >= experts {
      return (true, ((l + 1) * experts + low - experts) * experts + high - experts)
    }
    return (false, (l * experts + low) * experts + high - experts)
  }

  mutating func addCoactivation(bits: Int) {
    for index in problem.coactivation.indices {
      // Of a symmetric pair the one with i < j counts.
      if index / problem.experts % problem.experts < index % problem.experts {
        inside[index] += Int128(problem.coactivation[index]) << Int128(bits)
      }
    }
  }

  /// The most that Σ_x C_x·x can be.
  func most(_ pairs: CertificateFixedPairs) throws(CertificateError) -> Int128 {
    var sum = Int128(0)
    for (values, states) in [(between, pairs.between), (inside, pairs.inside)] {
      for (index, value) in values.enumerated() {
        switch states[index] {
        case .free: if value > 0 { sum = try Checked.sum(sum, value) }
        case .apart: break
        case .together: sum = try Checked.sum(sum, value)
        }
      }
    }
    return sum
  }
}
