import ColocateModel

/// Row potentials: the part of the dual that ADMM leaves to convergence, solved by coordinates.
///
/// Rows and columns of Y_l sum to c, and so do rows of Z_l (c - 1 beside the diagonal's 1). In the
/// bound these sums are known to the spectral part only. Add r to all entries of row i of a block
/// of U (and of its mirror image): QUQ stays the same, since Q takes constants from rows, and so do
/// the eigenvalues. (ΣU)/P grows by 2E·r/P = 2c·r, the row's coefficients C_ij each fall by 2r, and
/// the bound changes by
///
///     2c·r + Σ_j max(0, C_ij - 2r) - Σ_j max(0, C_ij).
///
/// As a function of 2r it is convex with slope c less the number of entries above 2r, so it is
/// least where 2r lies between the c-th and the (c+1)-th largest entry. In a block of Z the
/// diagonal entry grows by 2r, and tr U is subtracted from the bound, which leaves 2(c-1)·r: there
/// 2r lies between the (c-1)-th and the c-th largest of the E-1 entries beside the diagonal.
///
/// An entry that is fixed at 0 takes no part, one that is fixed at 1 counts C_ij - 2r whatever its
/// sign: as if its coefficient were -∞ or +∞.
///
/// Exact minimisation in one coordinate after the other cannot make the bound worse, up to
/// rounding, and any U proves a bound, so nothing depends on how far it is taken. Within a few
/// hundred iterations it is worth as much as several dozen of them; with 256 experts, where few are
/// affordable, it makes the bound useful from the start (with U = 0 it is the transportation bound
/// of each boundary, up to the coordinate steps).
package struct RowPotentials {
  private let experts: Int
  private let control: SearchControl
  /// The block of U, in units of 2^-q, `[E, E]`.
  package private(set) var dual: [Int]
  /// C, `[E, E]`.
  private var coefficients = [Double]()
  /// One row of C.
  private var line: [Double]

  /// - Parameters:
  ///   - dual: the block of U that takes the potentials.
  ///   - coefficient: C_ij with this U.
  package init(
    experts: Int, control: SearchControl, dual: [Int], coefficient: (Int, Int) -> Double
  ) {
    self.experts = experts
    self.control = control
    self.dual = dual
    line = [Double](repeating: 0, count: experts)
    coefficients.reserveCapacity(experts * experts)
    for i in 0..<experts {
      for j in 0..<experts { coefficients.append(coefficient(i, j)) }
    }
  }

  /// An entry that is fixed at 0 counts nothing, whatever its coefficient; one that is fixed at 1
  /// counts always, which makes it the largest of its row.
  package mutating func fix(_ i: Int, _ j: Int, at value: Int) {
    coefficients[i * experts + j] = value == 0 ? -.infinity : .infinity
  }

  /// Rows and columns in turn, for a block of Y.
  /// - Parameter sum: c.
  package mutating func tightenRowsAndColumns(sum: Int) {
    for pass in 0..<4 {
      let (outer, inner) = pass % 2 == 0 ? (experts, 1) : (1, experts)
      for i in 0..<experts {
        if control.shouldStop { return }
        for j in 0..<experts { line[j] = coefficients[i * outer + j * inner] }
        let shift = potential(sum)
        for j in 0..<experts {
          dual[i * outer + j * inner] += shift
          coefficients[i * outer + j * inner] -= 2 * Double(shift)
        }
      }
    }
  }

  /// Rows with their mirror images, for a block of Z.
  /// - Parameter sum: c.
  package mutating func tightenSymmetric(sum: Int) {
    guard sum > 1 else { return }
    for _ in 0..<2 {
      for i in 0..<experts {
        if control.shouldStop { return }
        for j in 0..<experts { line[j] = coefficients[i * experts + j] }
        line[i] = -.infinity
        let shift = potential(sum - 1)
        for j in 0..<experts {
          dual[i * experts + j] += shift
          dual[j * experts + i] += shift
          coefficients[i * experts + j] -= 2 * Double(shift)
          if j != i { coefficients[j * experts + i] -= 2 * Double(shift) }
        }
      }
    }
  }

  /// r: half of a number between the `count`-th and the next largest entry of `line`, which it
  /// reorders.
  private mutating func potential(_ count: Int) -> Int {
    let above = line.withUnsafeMutableBufferPointer { Self.moveLargest(count, toFrontOf: $0) }
    var below = -Double.infinity
    for j in count..<line.count { below = max(below, line[j]) }
    if count == line.count { below = above }
    guard above.isFinite else { return 0 }
    let middle = below.isFinite ? 0.5 * (above + below) : above
    return Magnitude.whole(0.5 * middle, limit: ColocationMultipliers.limit)
  }

  /// Moves the `count` largest numbers to the front, in no order (Hoare, Comm. ACM 4, 1961: what
  /// is split by a pivot goes on in the part where the `count`-th is).
  /// - Returns: the least of them.
  private static func moveLargest(
    _ count: Int, toFrontOf x: UnsafeMutableBufferPointer<Double>
  ) -> Double {
    let wanted = count - 1
    var (low, high) = (0, x.count - 1)
    while low < high {
      let pivot = x[(low + high) / 2]
      var (i, j) = (low, high)
      while i <= j {
        while x[i] > pivot { i += 1 }
        while x[j] < pivot { j -= 1 }
        if i <= j {
          x.swapAt(i, j)
          i += 1
          j -= 1
        }
      }
      if wanted <= j {
        high = j
      } else if wanted >= i {
        low = i
      } else {
        break
      }
    }
    return x[wanted]
  }
}
