import ColocateModel

/// Row potentials: the part of the dual that ADMM leaves to convergence, solved by coordinates.
///
/// Rows of Z_l and rows and columns of Y_l sum to c. In the bound these sums are known to the
/// spectral part only, so adding r_i to row i of a block of U (and of its mirror) leaves the
/// eigenvalues alone and moves the bound by c·r_i minus what the box loses:
///
///     min over r_i of  c·r_i + Σ_j max(0, C_ij - r_i)
///
/// which is attained between the c-th and the (c+1)-th largest entry of the row. Exact minimisation
/// of one coordinate after the other cannot make the bound worse. Within a few hundred iterations
/// it is worth as much as several dozen of them; on E = 256, where few are affordable, it makes the
/// bound useful from the start (with U = 0 it is the transportation bound of each boundary, up to
/// the coordinate steps).
extension ColocationRelaxation {
  /// - Parameter dual: U rounded to units of 2^-q, `[L-1, 3, E, E]`; changed in place.
  func tighten(_ dual: inout [Int]) {
    let unit = Double(1 << fractionBits) * rho
    let (experts, size) = (experts, problem.groupSize)
    let square = experts * experts
    dual.withUnsafeMutableBufferPointer { buffer in
      nonisolated(unsafe) let u = buffer.baseAddress!
      concurrentFor(2 * problem.layers - 1, threads: control.threads) { _, row in
        var c = [Double](repeating: 0, count: square)
        let place = row * block
        func objective(_ i: Int, _ j: Int) -> Double {
          (linear[place + i * width + j] - sums[place + i * width + j]) * unit
        }
        var line = [Double](repeating: 0, count: experts)
        if row < boundaries {
          let y = u + (3 * row + 1) * square
          for i in 0..<experts {
            for j in 0..<experts {
              c[i * experts + j] = objective(i, j) - 2 * Double(y[i * experts + j])
            }
          }
          for pass in 0..<4 {
            let (outer, inner) = pass % 2 == 0 ? (experts, 1) : (1, experts)
            for i in 0..<experts {
              // Any U proves a bound: what is not tightened is only worse.
              if control.shouldStop { return }
              for j in 0..<experts { line[j] = c[i * outer + j * inner] }
              let shift = Self.price(&line, size)
              for j in 0..<experts {
                y[i * outer + j * inner] += shift
                c[i * outer + j * inner] -= 2 * Double(shift)
              }
            }
          }
        } else {
          let l = row - boundaries
          // All shifts go to one of the two blocks that hold Z_l.
          let z = u + (l < boundaries ? 3 * l : 3 * (l - 1) + 2) * square
          let other = l > 0 && l < boundaries ? u + (3 * (l - 1) + 2) * square : nil
          for i in 0..<experts {
            for j in i..<experts {
              var value = objective(i, j) - 2 * Double(z[i * experts + j])
              if let other { value -= 2 * Double(other[i * experts + j]) }
              c[i * experts + j] = value
              c[j * experts + i] = value
            }
          }
          for p in context.apart where p / block == row {
            let (i, j) = ((p - place) / width, (p - place) % width)
            c[i * experts + j] = -.infinity
            c[j * experts + i] = -.infinity
          }
          guard size > 1 else { return }
          for _ in 0..<2 {
            for i in 0..<experts {
              if control.shouldStop { return }
              for j in 0..<experts { line[j] = c[i * experts + j] }
              line[i] = -.infinity
              let shift = Self.price(&line, size - 1)
              for j in 0..<experts {
                z[i * experts + j] += shift
                z[j * experts + i] += shift
                c[i * experts + j] -= 2 * Double(shift)
                if j != i { c[j * experts + i] -= 2 * Double(shift) }
              }
            }
          }
        }
      }
    }
  }

  /// Half of a price between the `count`-th and the next largest entry.
  private static func price(_ line: inout [Double], _ count: Int) -> Int {
    line.sort(by: >)
    let above = line[count - 1]
    let below = count < line.count ? line[count] : above
    guard above.isFinite else { return 0 }
    let middle = below.isFinite ? 0.5 * (above + below) : above
    return Magnitude.whole(0.5 * middle, limit: ColocationMultipliers.limit)
  }
}
