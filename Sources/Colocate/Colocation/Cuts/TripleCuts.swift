import ColocateModel

/// The cuts of one boundary that join three vertices, with their multipliers.
///
///     m_ik + m_jk - m_ij ≤ 1                    triangles: `ColocationCut+Partition`
///     m_ij + m_ik + m_jk ≥ 1   for P = 2        triples:   `ColocationCut+Crowd`
///
/// They are by far the most numerous cuts, tens of thousands at a time, and all have three
/// coefficients ±1: so they have flat storage and an ascent (`CutAscent`) of their own. Finding
/// them is in `TripleCuts+Separation`.
package final class TripleCuts {
  /// Places of the three variables, and 0 for a triangle (the third variable has coefficient -1) or
  /// 1 for a triple.
  private(set) var places = [SIMD4<Int32>]()
  /// Vertices (k, i, j) as in the formulas above, and the same mark. A boundary has far fewer than
  /// 2^15 vertices.
  package private(set) var vertices = [SIMD4<Int16>]()
  private(set) var multipliers = [Double]()
  /// Calls of `purge` in a row at which the multiplier was 0.
  private var idle = [UInt8]()
  private var known = Set<UInt64>()
  let boundary: Int

  package init(boundary: Int) { self.boundary = boundary }

  var count: Int { places.count }

  /// A number for each cut.
  static func key(_ v: SIMD4<Int16>) -> UInt64 {
    UInt64(UInt16(bitPattern: v[0])) | (UInt64(UInt16(bitPattern: v[1])) << 16)
      | (UInt64(UInt16(bitPattern: v[2])) << 32) | (UInt64(UInt16(bitPattern: v[3])) << 48)
  }

  /// Takes a cut with multiplier 0; false where it is here already.
  func add(_ cut: SIMD4<Int16>, _ layout: ColocationLayout) -> Bool {
    guard known.insert(Self.key(cut)).inserted else { return false }
    let (k, i, j) = (Int(cut[0]), Int(cut[1]), Int(cut[2]))
    places.append(
      SIMD4(
        Int32(layout.pair(boundary, k, i)), Int32(layout.pair(boundary, k, j)),
        Int32(layout.pair(boundary, i, j)), Int32(cut[3])))
    vertices.append(cut)
    multipliers.append(0)
    idle.append(0)
    return true
  }

  /// Takes the cuts of another boundary with their multipliers.
  func adopt(_ other: TripleCuts, _ layout: ColocationLayout, factor: Double = 1) {
    for (cut, multiplier) in zip(other.vertices, other.multipliers) where multiplier > 0 {
      adopt(cut, factor * multiplier, layout)
    }
  }

  /// Takes cuts that were kept.
  func adopt(_ kept: Kept, _ layout: ColocationLayout) {
    for (cut, multiplier) in zip(kept.vertices, kept.multipliers) {
      adopt(cut, Double(multiplier), layout)
    }
  }

  private func adopt(_ cut: SIMD4<Int16>, _ multiplier: Double, _ layout: ColocationLayout) {
    if add(cut, layout) { multipliers[multipliers.count - 1] = multiplier }
  }

  /// Adds Aᵀλ by place.
  func addSums(to sums: UnsafeMutablePointer<Double>) {
    for index in 0..<count {
      let (place, lambda) = (places[index], multipliers[index])
      let signed = place[3] == 0 ? lambda : -lambda
      sums[Int(place[0])] += signed
      sums[Int(place[1])] += signed
      sums[Int(place[2])] -= lambda
    }
  }

  /// One pass of dual ascent.
  func ascend(_ state: CutAscent) {
    let (values, sums, inverse) = (state.values, state.sums, state.inverse)
    multipliers.withUnsafeMutableBufferPointer { lambda in
      places.withUnsafeBufferPointer { places in
        for index in 0..<places.count {
          let place = places[index]
          let (p, q, r) = (Int(place[0]), Int(place[1]), Int(place[2]))
          let (x, y, z) = (values[p], values[q], values[r])
          let sign: Double = place[3] == 0 ? 1 : -1
          // Triangle: x + y - z ≤ 1.  Triple: -x - y - z ≤ -1.
          let excess = sign * (clippedToUnit(x) + clippedToUnit(y) - 1) - clippedToUnit(z)
          let old = lambda[index]
          if excess <= 0 && old == 0 { continue }
          let (hp, hq, hr) = (inverse[p], inverse[q], inverse[r])
          let new = max(0, old + excess / (hp + hq + hr))
          let change = new - old
          lambda[index] = new
          let signed = sign * change
          values[p] = x - signed * hp
          values[q] = y - signed * hq
          values[r] = z + change * hr
          sums[p] += signed
          sums[q] += signed
          sums[r] -= change
        }
      }
    }
  }

  /// Drops cuts whose multiplier has been 0 for a while.
  func purge() {
    var kept = 0
    for index in 0..<places.count {
      idle[index] = multipliers[index] > 0 ? 0 : idle[index] + 1
      if idle[index] >= CutAscent.patience {
        known.remove(Self.key(vertices[index]))
        continue
      }
      (places[kept], vertices[kept]) = (places[index], vertices[index])
      (multipliers[kept], idle[kept]) = (multipliers[index], idle[index])
      kept += 1
    }
    places.removeLast(places.count - kept)
    vertices.removeLast(vertices.count - kept)
    multipliers.removeLast(multipliers.count - kept)
    idle.removeLast(idle.count - kept)
  }

  /// The cuts with a positive multiplier, in units of `unit`.
  func export(unit: Double) -> [ColocationCut] {
    vertices.indices.compactMap { index in
      let multiplier = Magnitude.whole(multipliers[index] * unit, limit: Magnitude.given)
      guard multiplier > 0 else { return nil }
      let cut = vertices[index]
      let (k, i, j) = (Int(cut[0]), Int(cut[1]), Int(cut[2]))
      return ColocationCut(
        boundary: boundary, shape: cut[3] == 0 ? .partition([k], [i, j]) : .crowd([k, i, j]),
        multiplier: multiplier)
    }
  }
}
