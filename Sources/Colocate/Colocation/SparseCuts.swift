import ColocateModel

/// Cuts of one boundary with any number of terms: 2-partition inequalities beyond triangles,
/// company cuts, load caps.
///
/// On gpt-oss-20b's counts (P = 8), where all triangles hold, 2-partition inequalities with one
/// node against three to five are violated by up to 0.49 and company cuts by up to 0.77 per
/// boundary. Separation is greedy: for a node s and a first t, T grows by the node that gains most,
/// m_sj - Σ_{t∈T} m_tj; a company cut takes the smallest of its three terms for each j. Dual ascent
/// as in `TripleCuts`.
final class SparseCuts {
  private(set) var shapes = [ColocationCut.Shape]()
  private(set) var multipliers = [Double]()
  /// Terms of cut n: `start[n] ..< start[n+1]`.
  private var start = [0]
  private var places = [Int32]()
  private var coefficients = [Double]()
  private var limits = [Double]()
  /// Σ a²/h.
  private var curvatures = [Double]()
  private var idle = [UInt8]()
  private var known = Set<ColocationCut.Shape>()
  let boundary: Int
  /// The first `fixed` cuts stay.
  private var fixed = 0

  init(boundary: Int) { self.boundary = boundary }

  var count: Int { shapes.count }

  func add(_ shape: ColocationCut.Shape, _ context: ColocationCut.Context, fixed: Bool = false) {
    let cut = ColocationCut(boundary: boundary, shape: shape, multiplier: 0)
    guard let row = cut.expanded(context), !row.terms.isEmpty,
      known.insert(shape).inserted
    else { return }
    shapes.append(shape)
    multipliers.append(0)
    idle.append(0)
    limits.append(Double(row.limit))
    var curvature = 0.0
    for (index, coefficient) in row.terms {
      places.append(Int32(index))
      coefficients.append(Double(coefficient))
      // A guide for the step and nothing else: the square of a load need not be exact, and would
      // not fit an integer.
      curvature += Double(coefficient) * Double(coefficient) / Double(context.layout.copies(index))
    }
    curvatures.append(curvature)
    start.append(places.count)
    if fixed { self.fixed = shapes.count }
  }

  /// One pass of dual ascent; see `TripleCuts.ascend`.
  func ascend(
    values: UnsafeMutablePointer<Double>, sums: UnsafeMutablePointer<Double>,
    inverse: UnsafePointer<Double>
  ) {
    for index in 0..<multipliers.count {
      let old = multipliers[index]
      let range = start[index]..<start[index + 1]
      let change = places.withUnsafeBufferPointer { place in
        coefficients.withUnsafeBufferPointer { coefficient in
          var left = -limits[index]
          for term in range {
            left += coefficient[term] * min(max(values[Int(place[term])], 0), 1)
          }
          if left <= 0 && old == 0 { return 0.0 }
          let change = max(0, old + left / curvatures[index]) - old
          for term in range {
            let at = Int(place[term])
            let amount = change * coefficient[term]
            values[at] -= amount * inverse[at]
            sums[at] += amount
          }
          return change
        }
      }
      if change != 0 { multipliers[index] = max(0, old + change) }
    }
  }

  /// Drops cuts whose multiplier has been 0 at three calls in a row.
  func purge() {
    var kept = 0
    var term = 0
    for index in 0..<shapes.count {
      idle[index] = multipliers[index] > 0 ? 0 : idle[index] + 1
      let range = start[index]..<start[index + 1]
      if index >= fixed, idle[index] >= 3 {
        known.remove(shapes[index])
        continue
      }
      idle[index] = min(idle[index], 3)
      shapes[kept] = shapes[index]
      (multipliers[kept], idle[kept]) = (multipliers[index], idle[index])
      (limits[kept], curvatures[kept]) = (limits[index], curvatures[index])
      start[kept] = term
      for old in range {
        (places[term], coefficients[term]) = (places[old], coefficients[old])
        term += 1
      }
      kept += 1
    }
    let drop = shapes.count - kept
    start[kept] = term
    start.removeLast(drop)
    shapes.removeLast(drop)
    multipliers.removeLast(drop)
    idle.removeLast(drop)
    limits.removeLast(drop)
    curvatures.removeLast(drop)
    places.removeLast(places.count - term)
    coefficients.removeLast(coefficients.count - term)
  }

  /// Adds the most violated cuts of `dense`, `[2E, stride]`, zero diagonal.
  func separate(
    dense: UnsafeMutablePointer<Double>, stride: Int, context: ColocationCut.Context,
    second: Bool, threshold: Double, limit: Int
  ) {
    let experts = context.layout.experts
    let size = 2 * experts
    var found = [(violation: Double, shape: ColocationCut.Shape)]()
    // One node against several.
    var gain = [Double](repeating: 0, count: size)
    for s in 0..<size {
      let row = dense + s * stride
      for first in 0..<size where first != s && row[first] > 0.05 {
        var value = row[first]
        let firstRow = dense + first * stride
        for j in 0..<size { gain[j] = row[j] - firstRow[j] }
        gain[s] = -1
        gain[first] = -1
        var members = [first]
        while members.count < 16 {
          var best = 0
          for j in 1..<size where gain[j] > gain[best] { best = j }
          guard gain[best] > 1e-4 else { break }
          value += gain[best]
          let bestRow = dense + best * stride
          for j in 0..<size { gain[j] -= bestRow[j] }
          gain[best] = -1
          members.append(best)
        }
        // Triangles are somebody else's; inside layer l+1 the next boundary sees the same
        // variables.
        guard members.count >= 3, value > 1 + threshold else { continue }
        if !second && s >= experts && members.allSatisfy({ $0 >= experts }) { continue }
        let terms = Double(members.count * (members.count + 1) / 2)
        found.append(((value - 1) / terms.squareRoot(), .partition([s], members.sorted())))
      }
    }
    // Company.
    let size2 = Double(context.problem.groupSize)
    for i in 0..<size {
      for k in 0..<i {
        let together = dense[i * stride + k]
        guard together > 0.05 else { continue }
        for half in 0..<2 {
          if half == 1 && !second && k >= experts { continue }
          var sum = 0.0
          for j in (half * experts)..<((half + 1) * experts) {
            sum +=
              j == i || j == k
              ? together : min(together, min(dense[i * stride + j], dense[k * stride + j]))
          }
          let violation = size2 * together - sum
          guard violation > threshold else { continue }
          var (one, two) = ([Int](), [Int]())
          for j in (half * experts)..<((half + 1) * experts) where j != i && j != k {
            let (a, b) = (dense[i * stride + j], dense[k * stride + j])
            if min(a, b) < together {
              if a <= b { one.append(j) } else { two.append(j) }
            }
          }
          let lead = size2 - Double(experts - one.count - two.count)
          let norm = (lead * lead + Double(one.count + two.count)).squareRoot()
          found.append(
            (violation / norm, .company(i, k, half: half, first: one, second: two)))
        }
      }
    }
    if context.problem.caps != nil {
      separateLoadPairs(dense: dense, stride: stride, context: context, second: second) {
        violation, shape in if violation > threshold { found.append((violation, shape)) }
      }
    }
    found.sort { $0.violation > $1.violation }
    var added = 0
    for (_, shape) in found {
      if added == limit { break }
      let before = count
      add(shape, context)
      added += count - before
    }
  }

  /// Violations of `loadPair`, over the norm of the row.
  private func separateLoadPairs(
    dense: UnsafeMutablePointer<Double>, stride: Int, context: ColocationCut.Context,
    second: Bool, _ report: (Double, ColocationCut.Shape) -> Void
  ) {
    let problem = context.problem
    let experts = problem.experts
    for half in 0..<2 {
      guard let (low, high) = context.range(boundary + half) else { continue }
      let load = (0..<experts).map {
        Double(problem.loads[(boundary + half) * experts + $0])
      }
      let norm = 2 * load.reduce(0) { $0 + $1 * $1 }
      let sums = (0..<(2 * experts)).map { node in
        (0..<experts).reduce(0.0) {
          let other = half * experts + $1
          return $0 + load[$1] * (other == node ? 1 : dense[node * stride + other])
        }
      }
      let total = Double(context.loads[boundary + half])
      let (least, most) = (Double(low), Double(high))
      let rest = Double(problem.groups - 2)
      for i in 0..<(2 * experts) {
        for k in 0..<(2 * experts) where k != i {
          if half == 1 && !second && i >= experts && k >= experts { continue }
          let m = dense[i * stride + k]
          func add(_ violation: Double, _ pair: Double, _ relation: ColocationCut.PairRelation) {
            guard violation > 0 else { return }
            report(
              violation / (norm + pair * pair).squareRoot(),
              .loadPair(i, k, half: half, relation: relation))
          }
          add(
            sums[i] - sums[k] - (most - least) * (1 - m), most - least, .difference)
          guard k < i else { continue }
          let upper = min(2 * most, total - rest * least)
          add(
            sums[i] + sums[k] - 2 * most * m - upper * (1 - m), upper - 2 * most, .most)
          let lower = max(2 * least, total - rest * most)
          add(
            2 * least * m + lower * (1 - m) - sums[i] - sums[k], lower - 2 * least, .least)
        }
      }
    }
  }

  func scale(by factor: Double) {
    for index in multipliers.indices { multipliers[index] *= factor }
  }

  /// The cuts with a positive multiplier, in units of `unit`.
  func export(unit: Double) -> [ColocationCut] {
    shapes.indices.compactMap { index in
      let value = Magnitude.whole(multipliers[index] * unit, limit: Magnitude.given)
      return value > 0
        ? ColocationCut(boundary: boundary, shape: shapes[index], multiplier: value) : nil
    }
  }
}
