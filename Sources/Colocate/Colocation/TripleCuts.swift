import ColocateModel

/// Triangle inequalities of one boundary's 2E nodes, with their multipliers: separation, dual
/// ascent, removal.
///
///     m_ik + m_jk - m_ij ≤ 1                    (Grötschel and Wakabayashi, 1990)
///     m_ij + m_ik + m_jk ≥ 1   for P = 2        (of three nodes two share a group)
///
/// The relaxation's step in X minimises ½ Σ h_x (x - target_x)² over the box and the cuts. Its dual
/// in λ is concave, and one cut's exact ascent step is its violation at the clipped point over Σ
/// 1/h; cuts are visited one after the other, each seeing the others' changes (Hildreth 1957;
/// within ADMM for graph partitioning: de Meijer, Sotirov, Wiegele, Zhao, 2023). A gradient step on
/// all cuts at once needs a step twenty times shorter, because many cuts share an entry.
final class TripleCuts {
  /// Places of the three variables in the layout; the third has coefficient -1 in a triangle.
  private(set) var places = [SIMD4<Int32>]()
  /// Nodes: (k, i, j) of a triangle m_ik + m_jk - m_ij ≤ 1, or a triple of three nodes with
  /// `isTriangle` false.
  private(set) var nodes = [SIMD4<Int16>]()
  private(set) var multipliers = [Double]()
  private var idle = [UInt8]()
  private var known = Set<UInt64>()
  let boundary: Int

  init(boundary: Int) { self.boundary = boundary }

  var count: Int { places.count }

  private static func key(_ n: SIMD4<Int16>) -> UInt64 {
    UInt64(UInt16(bitPattern: n[0])) | UInt64(UInt16(bitPattern: n[1])) << 16
      | UInt64(UInt16(bitPattern: n[2])) << 32 | UInt64(UInt16(bitPattern: n[3])) << 48
  }

  /// One pass of dual ascent. `values` are unclipped, `sums` hold Aᵀλ, both in the layout;
  /// `inverse` gives 1/h by place.
  func ascend(
    values: UnsafeMutablePointer<Double>, sums: UnsafeMutablePointer<Double>,
    inverse: UnsafePointer<Double>, over relaxation: Double
  ) {
    multipliers.withUnsafeMutableBufferPointer { lambda in
      places.withUnsafeBufferPointer { places in
        for index in 0..<places.count {
          let place = places[index]
          let (p, q, r) = (Int(place[0]), Int(place[1]), Int(place[2]))
          let (x, y, z) = (values[p], values[q], values[r])
          let sign: Double = place[3] == 0 ? 1 : -1
          // Triangle: x + y - z ≤ 1.  Triple: -x - y - z ≤ -1.
          let excess = sign * (clip(x) + clip(y) - 1) - clip(z)
          let old = lambda[index]
          if excess <= 0 && old == 0 { continue }
          let (hp, hq, hr) = (inverse[p], inverse[q], inverse[r])
          let new = max(0, old + relaxation * excess / (hp + hq + hr))
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

  @inline(__always)
  private func clip(_ x: Double) -> Double { min(max(x, 0), 1) }

  /// Drops cuts whose multiplier has been 0 at three calls in a row.
  func purge() {
    var kept = 0
    for index in 0..<places.count {
      idle[index] = multipliers[index] > 0 ? 0 : idle[index] + 1
      if idle[index] >= 3 {
        known.remove(Self.key(nodes[index]))
        continue
      }
      (places[kept], nodes[kept]) = (places[index], nodes[index])
      (multipliers[kept], idle[kept]) = (multipliers[index], idle[index])
      kept += 1
    }
    places.removeLast(places.count - kept)
    nodes.removeLast(nodes.count - kept)
    multipliers.removeLast(multipliers.count - kept)
    idle.removeLast(idle.count - kept)
  }

  func scale(by factor: Double) {
    for index in multipliers.indices { multipliers[index] *= factor }
  }

  /// Adds the most violated cuts of `dense`, `[2E, stride]` with zero padding.
  /// - Parameters:
  ///   - second: whether this boundary also takes the triples inside layer l+1 (the last boundary
  ///     does).
  ///   - limit: how many to add at most.
  /// - Returns: how many were added.
  func separate(
    dense: UnsafeMutablePointer<Double>, stride: Int, layout: ColocationLayout, pairs: Bool,
    second: Bool, threshold: Double, limit: Int
  ) -> Int {
    let experts = layout.experts
    let size = 2 * experts
    var found = [(violation: Float, nodes: SIMD4<Int16>)]()
    for j in 1..<size {
      let rowJ = dense + j * stride
      for i in 0..<j {
        // Inside layer l+1 the next boundary's cuts see the same variables.
        let inner = i >= experts && !second
        let end = size
        let start = 0
        let rowI = dense + i * stride
        let middle = rowJ[i]
        let bar = 1 + middle + threshold
        if bar < 2 {
          var k = start
          let wide = SIMD4(repeating: bar)
          while k < end {
            let sum = load4(rowI, k) + load4(rowJ, k)
            if any(sum .> wide) {
              for lane in 0..<4 where sum[lane] > bar {
                let node = k + lane
                if node == i || node == j || node >= size || (inner && node >= experts) { continue }
                found.append(
                  (Float(sum[lane] - bar), SIMD4(Int16(node), Int16(i), Int16(j), 0)))
              }
            }
            k += 4
          }
        }
        let floor = 1 - middle - threshold
        if pairs && floor > 0 {
          for k in 0..<i where rowI[k] + rowJ[k] < floor {
            if inner && k >= experts { continue }
            found.append(
              (Float(floor - rowI[k] - rowJ[k]), SIMD4(Int16(k), Int16(i), Int16(j), 1)))
          }
        }
      }
    }
    if found.count > limit {
      found.sort {
        $0.violation != $1.violation
          ? $0.violation > $1.violation : Self.key($0.nodes) < Self.key($1.nodes)
      }
    }
    var added = 0
    for (_, node) in found {
      if added == limit { break }
      guard known.insert(Self.key(node)).inserted else { continue }
      let (a, b, c) = (Int(node[0]), Int(node[1]), Int(node[2]))
      places.append(
        SIMD4(
          Int32(layout.pair(boundary, a, b)), Int32(layout.pair(boundary, a, c)),
          Int32(layout.pair(boundary, b, c)), Int32(node[3])))
      nodes.append(node)
      multipliers.append(0)
      idle.append(0)
      added += 1
    }
    return added
  }

  /// The cuts with a positive multiplier, in units of `unit`.
  func export(unit: Double) -> [ColocationCut] {
    var cuts = [ColocationCut]()
    for index in 0..<nodes.count {
      let value = Magnitude.whole(multipliers[index] * unit, limit: Magnitude.given)
      guard value > 0 else { continue }
      let node = nodes[index]
      let (a, b, c) = (Int(node[0]), Int(node[1]), Int(node[2]))
      cuts.append(
        ColocationCut(
          boundary: boundary, shape: node[3] == 0 ? .partition([a], [b, c]) : .crowd([a, b, c]),
          multiplier: value))
    }
    return cuts
  }
}
