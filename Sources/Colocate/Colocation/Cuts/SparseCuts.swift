import ColocateModel

/// The cuts of one boundary with any number of terms, with their multipliers: 2-partition cuts
/// beyond triangles, company cuts, load caps.
///
/// Rows are held as in a sparse matrix, one after the other. Dual ascent is that of `CutAscent`;
/// finding violated cuts is in `SparseCuts+Separation` and `SparseCuts+LoadSeparation`.
package final class SparseCuts {
  package private(set) var shapes = [ColocationCut.Shape]()
  private(set) var multipliers = [Double]()
  /// Terms of cut n: `start[n] ..< start[n+1]`.
  private var start = [0]
  private var places = [Int32]()
  private var coefficients = [Double]()
  private var limits = [Double]()
  /// Σ a²/h.
  private var curvatures = [Double]()
  /// Calls of `purge` in a row at which the multiplier was 0.
  private var idle = [UInt8]()
  private var known = Set<ColocationCut.Shape>()
  let boundary: Int
  /// Of the search for hypermetric cuts.
  var random: SeededGenerator
  /// The first `fixed` cuts stay.
  private var fixed = 0

  package init(boundary: Int) {
    self.boundary = boundary
    random = SeededGenerator.stream(seed: 1, index: boundary)
  }

  var count: Int { shapes.count }

  /// Takes a cut with multiplier 0, unless it is here already, malformed or without terms.
  /// - Parameter fixed: whether it is never dropped; such cuts come first.
  func add(_ shape: ColocationCut.Shape, _ context: ColocationCut.Context, fixed: Bool = false) {
    let cut = ColocationCut(boundary: boundary, shape: shape, multiplier: 0)
    guard let row = cut.row(in: context), !row.terms.isEmpty, known.insert(shape).inserted
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
      curvature +=
        Double(coefficient) * Double(coefficient) / Double(context.layout.entries(of: index))
    }
    curvatures.append(curvature)
    start.append(places.count)
    if fixed { self.fixed = shapes.count }
  }

  /// Takes the cuts of another boundary with their multipliers.
  func adopt(_ other: SparseCuts, _ context: ColocationCut.Context, factor: Double = 1) {
    let multipliers = other.multipliers.lazy.map { factor * $0 }
    adopt(zip(other.shapes, multipliers).filter { $0.1 > 0 }, context)
  }

  /// Takes cuts that were kept.
  func adopt(_ kept: Kept, _ context: ColocationCut.Context) {
    adopt(Array(zip(kept.shapes, kept.multipliers.lazy.map { Double($0) })), context)
  }

  private func adopt(
    _ cuts: [(shape: ColocationCut.Shape, multiplier: Double)], _ context: ColocationCut.Context
  ) {
    var number = [ColocationCut.Shape: Int]()
    for (index, shape) in shapes.enumerated() { number[shape] = index }
    for (shape, multiplier) in cuts {
      if let own = number[shape] {
        multipliers[own] = multiplier
      } else {
        let before = count
        add(shape, context)
        if count > before { multipliers[before] = multiplier }
      }
    }
  }

  /// Σ a²/h anew, after variables were fixed or cuts joined.
  /// - Parameter inverse: 1/h by place.
  func weigh(_ inverse: UnsafePointer<Double>) {
    for index in 0..<count {
      curvatures[index] = (start[index]..<start[index + 1]).reduce(0) {
        $0 + coefficients[$1] * coefficients[$1] * inverse[Int(places[$1])]
      }
    }
  }

  /// Adds Aᵀλ by place.
  func addSums(to sums: UnsafeMutablePointer<Double>) {
    for index in 0..<count where multipliers[index] != 0 {
      for term in start[index]..<start[index + 1] {
        sums[Int(places[term])] += multipliers[index] * coefficients[term]
      }
    }
  }

  /// One pass of dual ascent.
  func ascend(_ state: CutAscent) {
    let (values, sums, inverse) = (state.values, state.sums, state.inverse)
    for index in 0..<multipliers.count {
      let old = multipliers[index]
      let range = start[index]..<start[index + 1]
      let change = places.withUnsafeBufferPointer { place in
        coefficients.withUnsafeBufferPointer { coefficient in
          var excess = -limits[index]
          for term in range {
            excess += coefficient[term] * clippedToUnit(values[Int(place[term])])
          }
          if excess <= 0 && old == 0 { return 0.0 }
          let change = max(0, old + excess / curvatures[index]) - old
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

  /// Drops cuts whose multiplier has been 0 for a while.
  func purge() {
    var keeps = [Int]()
    for (index, multiplier) in multipliers.enumerated() {
      let rounds = multiplier > 0 ? 0 : min(idle[index] + 1, CutAscent.patience)
      idle[index] = rounds
      if index < fixed || rounds < CutAscent.patience {
        keeps.append(index)
      } else {
        known.remove(shapes[index])
      }
    }
    guard keeps.count < count else { return }
    let ranges = keeps.map { start[$0]..<start[$0 + 1] }
    (shapes, multipliers, idle) = (
      keeps.map { shapes[$0] }, keeps.map { multipliers[$0] }, keeps.map { idle[$0] }
    )
    (limits, curvatures) = (keeps.map { limits[$0] }, keeps.map { curvatures[$0] })
    (places, coefficients) = (ranges.flatMap { places[$0] }, ranges.flatMap { coefficients[$0] })
    start = ranges.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1.count) }
  }

  /// The cuts with a positive multiplier, in units of `unit`.
  func export(unit: Double) -> [ColocationCut] {
    shapes.indices.compactMap { index in
      let multiplier = Magnitude.whole(multipliers[index] * unit, limit: Magnitude.given)
      return multiplier > 0
        ? ColocationCut(boundary: boundary, shape: shapes[index], multiplier: multiplier) : nil
    }
  }
}
