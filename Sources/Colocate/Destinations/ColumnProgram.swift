import ColocateModel

/// A small simplex for set partitioning over listed groups:
///
///     minimise Σ_S cost_S x_S    Σ_{S ∋ e} x_S = 1 for every expert e,   x ≥ 0,
///                                Σ_{|S ∩ T| ≥ 2} x_S ≤ 1 for chosen triples T of experts.
///
/// Of three experts a placement puts two together at most once, and linear programming does not
/// know it: those are the cuts. Rows are few (`E ≤ 64` and some dozens of cuts), so the inverse of
/// the basis is kept as a dense matrix. New columns are taken in by the primal simplex, new cuts by
/// the dual one. Each expert has an artificial column, so that there is always a solution. Its cost
/// is what the fullest expert serves, and rises where that is not enough to keep it out: a high one
/// from the start gives prices as high wherever a tiny part of it is in the basis. The right-hand
/// side is moved by different tiny amounts, which keeps the primal simplex from turning in circles,
/// and so are the costs, for the dual one; the prices are used as they come, since a bound holds
/// for any prices and is evaluated in whole numbers elsewhere.
package final class ColumnProgram {
  package typealias Column = DestinationPricing.Column

  private let experts: Int
  /// Of an artificial column, and at most.
  private var highCost: Double
  private let mostCost: Double
  private(set) var columns: [Column] = []
  /// Costs, moved by less than this.
  private var costs: [Double] = []
  private static let costMove = 0x1p-10
  package private(set) var cuts: [UInt64] = []
  /// What stands in each row: a column, or `-1 - row` for the row's own unit column.
  private var basis: [Int]
  private var isBasic: [Bool] = []
  /// `B⁻¹`, `[m, m]`.
  private var inverse: [Double]
  private var right: [Double]
  /// Values of the basic variables, `[m]`.
  private var level: [Double]
  /// Prices of the rows, `[m]`: of experts, then of cuts (those at most 0).
  package private(set) var prices: [Double] = []
  private var pivotsSinceRefresh = 0
  private var random = SeededGenerator(seed: 1)
  private let control: SearchControl

  private var rows: Int { experts + cuts.count }

  package init(_ layer: DestinationLayer, control: SearchControl) {
    experts = layer.experts
    mostCost = Double(2 * layer.total + 2)
    highCost = min(mostCost, Double((layer.loads.max() ?? 0) / layer.unit + 1))
    self.control = control
    basis = (0..<experts).map { -1 - $0 }
    inverse = [Double](repeating: 0, count: experts * experts)
    for e in 0..<experts { inverse[e * experts + e] = 1 }
    right = []
    for _ in 0..<experts { right.append(1 + 1e-6 * (0.5 + random.nextUnit())) }
    level = right
  }

  package func add(_ column: Column) {
    columns.append(column)
    costs.append(Double(column.cost) + Self.costMove * random.nextUnit())
    isBasic.append(false)
  }

  /// Adds the cut of a triple; its slack enters the basis.
  package func add(cut: UInt64) {
    let (old, m) = (rows, rows + 1)
    var larger = [Double](repeating: 0, count: m * m)
    for r in 0..<old {
      for k in 0..<old { larger[r * m + k] = inverse[r * old + k] }
    }
    for r in 0..<old where basis[r] >= 0 && Self.isCut(cut, columns[basis[r]].mask) {
      for k in 0..<old { larger[old * m + k] -= inverse[r * old + k] }
    }
    larger[old * m + old] = 1
    inverse = larger
    cuts.append(cut)
    basis.append(-1 - old)
    right.append(1 + 1e-6 * (0.5 + random.nextUnit()))
    refreshLevels()
  }

  @inline(__always)
  static func isCut(_ triple: UInt64, _ mask: UInt64) -> Bool {
    (triple & mask).nonzeroBitCount >= 2
  }

  /// The least value, of the artificial columns too.
  package var value: Double {
    var sum = 0.0
    for r in 0..<rows { sum += level[r] * cost(basis[r]) }
    return sum
  }

  /// Columns in the solution with their values.
  package var solution: [(column: Column, value: Double)] {
    (0..<rows).compactMap { r in
      basis[r] >= 0 && level[r] > 1e-5 ? (columns[basis[r]], level[r]) : nil
    }
  }

  /// Optimises.
  /// - Returns: false where it was cut short or lost its accuracy; prices are usable all the same.
  @discardableResult
  package func solve() -> Bool {
    refresh()
    let dualLimit = 50 * rows + 200
    for _ in 0..<dualLimit {
      guard let row = mostNegative() else { break }
      guard dualPivot(row) else { break }
      if control.isOver { return false }
    }
    while primal() {
      guard highCost < mostCost, artificialLevel > 1e-3 else { return true }
      highCost = min(mostCost, 4 * highCost)
    }
    return false
  }

  /// How much of artificial columns is in use.
  private var artificialLevel: Double {
    var sum = 0.0
    for r in 0..<rows where basis[r] < 0 && -1 - basis[r] < experts { sum += max(0, level[r]) }
    return sum
  }

  /// - Returns: whether the optimum was reached.
  private func primal() -> Bool {
    for _ in 0..<(200 * rows + 2000) {
      computePrices()
      guard let (entering, _) = bestEntering() else { return true }
      guard pivot(entering: entering) else { return false }
      if control.isOver { return false }
    }
    return false
  }

  private func cost(_ variable: Int) -> Double {
    if variable >= 0 { return costs[variable] }
    return -1 - variable < experts ? highCost : 0
  }

  private func computePrices() {
    let m = rows
    var y = [Double](repeating: 0, count: m)
    inverse.withUnsafeBufferPointer { inverse in
      for r in 0..<m {
        let c = cost(basis[r])
        guard c != 0 else { continue }
        for k in 0..<m { y[k] += c * inverse[r * m + k] }
      }
    }
    prices = y
  }

  /// `cost − Σ prices` of a column.
  @inline(__always)
  private func reduced(_ index: Int, _ y: UnsafePointer<Double>, _ active: [Int]) -> Double {
    let mask = columns[index].mask
    var (sum, rest) = (costs[index], mask)
    while rest != 0 {
      sum -= y[rest.trailingZeroBitCount]
      rest &= rest - 1
    }
    for k in active where Self.isCut(cuts[k], mask) { sum -= y[experts + k] }
    return sum
  }

  private func bestEntering() -> (Int, Double)? {
    let active = cuts.indices.filter { abs(prices[experts + $0]) > 1e-9 }
    var best = (index: Int.min, value: -1e-7 * max(1, highCost * 1e-6))
    prices.withUnsafeBufferPointer { y in
      guard let y = y.baseAddress else { return }
      for index in columns.indices where !isBasic[index] {
        let value = reduced(index, y, active)
        if value < best.value { best = (index, value) }
      }
      for r in 0..<rows {
        // A unit column that is not basic; one that is has reduced cost 0.
        let value = cost(-1 - r) - y[r]
        if value < best.value { best = (-1 - r, value) }
      }
    }
    return best.index == .min ? nil : (best.index, best.value)
  }

  /// `B⁻¹ a` of a variable.
  private func direction(_ variable: Int) -> [Double] {
    let m = rows
    var d = [Double](repeating: 0, count: m)
    inverse.withUnsafeBufferPointer { inverse in
      func addColumn(_ k: Int) { for r in 0..<m { d[r] += inverse[r * m + k] } }
      if variable < 0 {
        addColumn(-1 - variable)
      } else {
        let mask = columns[variable].mask
        for e in ExpertSet(bits: mask) { addColumn(e) }
        for k in cuts.indices where Self.isCut(cuts[k], mask) { addColumn(experts + k) }
      }
    }
    return d
  }

  private func pivot(entering: Int) -> Bool {
    let d = direction(entering)
    var (row, ratio) = (-1, Double.infinity)
    for r in 0..<rows where d[r] > 1e-9 {
      let q = max(0, level[r]) / d[r]
      if q < ratio || (q == ratio && d[r] > d[row]) { (row, ratio) = (r, q) }
    }
    guard row >= 0 else { return false }
    exchange(row, entering, d)
    return true
  }

  private func mostNegative() -> Int? {
    var (row, least) = (-1, -1e-7)
    for r in 0..<rows where level[r] < least { (row, least) = (r, level[r]) }
    return row < 0 ? nil : row
  }

  /// One step of the dual simplex out of `row`.
  private func dualPivot(_ row: Int) -> Bool {
    computePrices()
    let m = rows
    let active = cuts.indices.filter { abs(prices[experts + $0]) > 1e-9 }
    let line = Array(inverse[(row * m)..<((row + 1) * m)])
    let lineActive = cuts.indices.filter { abs(line[experts + $0]) > 1e-12 }
    var best = (index: Int.min, ratio: Double.infinity, slope: 0.0)
    prices.withUnsafeBufferPointer { y in
      guard let y = y.baseAddress else { return }
      for (index, column) in columns.enumerated() where !isBasic[index] {
        var alpha = 0.0
        for e in ExpertSet(bits: column.mask) { alpha += line[e] }
        for k in lineActive where Self.isCut(cuts[k], column.mask) { alpha += line[experts + k] }
        guard alpha < -1e-9 else { continue }
        let ratio = max(0, reduced(index, y, active)) / -alpha
        if ratio < best.ratio || (ratio == best.ratio && -alpha > best.slope) {
          best = (index, ratio, -alpha)
        }
      }
      for r in 0..<m where line[r] < -1e-9 && !basis.contains(-1 - r) {
        let ratio = max(0, cost(-1 - r) - y[r]) / -line[r]
        if ratio < best.ratio || (ratio == best.ratio && -line[r] > best.slope) {
          best = (-1 - r, ratio, -line[r])
        }
      }
    }
    guard best.index != .min else { return false }
    exchange(row, best.index, direction(best.index))
    return true
  }

  private func exchange(_ row: Int, _ entering: Int, _ d: [Double]) {
    let m = rows
    if basis[row] >= 0 { isBasic[basis[row]] = false }
    if entering >= 0 { isBasic[entering] = true }
    basis[row] = entering
    let scale = 1 / d[row]
    inverse.withUnsafeMutableBufferPointer { inverse in
      for k in 0..<m { inverse[row * m + k] *= scale }
      for r in 0..<m where r != row && d[r] != 0 {
        let factor = d[r]
        for k in 0..<m { inverse[r * m + k] -= factor * inverse[row * m + k] }
      }
    }
    level[row] *= scale
    for r in 0..<m where r != row { level[r] -= d[r] * level[row] }
    pivotsSinceRefresh += 1
    control.spend(m)
    if pivotsSinceRefresh >= 100 { refresh() }
  }

  private func refreshLevels() {
    let m = rows
    level = (0..<m).map { r in
      var sum = 0.0
      for k in 0..<m { sum += inverse[r * m + k] * right[k] }
      return sum
    }
  }

  /// Inverts the basis anew, by elimination with pivots from the largest entry of each column.
  private func refresh() {
    pivotsSinceRefresh = 0
    let m = rows
    var matrix = [Double](repeating: 0, count: m * m)
    for c in 0..<m {
      if basis[c] < 0 {
        matrix[(-1 - basis[c]) * m + c] = 1
      } else {
        let mask = columns[basis[c]].mask
        for e in ExpertSet(bits: mask) { matrix[e * m + c] = 1 }
        for k in cuts.indices where Self.isCut(cuts[k], mask) { matrix[(experts + k) * m + c] = 1 }
      }
    }
    if let inverted = Self.inverse(of: matrix, size: m) { inverse = inverted }
    refreshLevels()
  }

  /// - Returns: nil for a matrix that is singular as far as doubles can tell.
  private static func inverse(of matrix: [Double], size m: Int) -> [Double]? {
    var a = matrix
    var b = [Double](repeating: 0, count: m * m)
    for r in 0..<m { b[r * m + r] = 1 }
    for c in 0..<m {
      var row = c
      for r in c..<m where abs(a[r * m + c]) > abs(a[row * m + c]) { row = r }
      guard abs(a[row * m + c]) > 1e-10 else { return nil }
      if row != c {
        for k in 0..<m {
          a.swapAt(row * m + k, c * m + k)
          b.swapAt(row * m + k, c * m + k)
        }
      }
      let scale = 1 / a[c * m + c]
      for k in 0..<m {
        a[c * m + k] *= scale
        b[c * m + k] *= scale
      }
      for r in 0..<m where r != c && a[r * m + c] != 0 {
        let factor = a[r * m + c]
        for k in 0..<m {
          a[r * m + k] -= factor * a[c * m + k]
          b[r * m + k] -= factor * b[c * m + k]
        }
      }
    }
    return b
  }
}
