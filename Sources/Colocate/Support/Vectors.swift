/// Rows of doubles that are computed with two and four at a time: their memory, and how it is read
/// and written.
///
/// A loop over a row takes `load4` and `store4` (or `load2` and `store2` where four do not fit) and
/// the arithmetic of `SIMD2` and `SIMD4`. Each lane is an operation of its own, so the result is
/// that of the loop over single numbers; only a sum over lanes has an order of its own. Rows are
/// padded to a multiple of 2, 4 or 8 doubles, so that the loops need no remainder.

/// Rows of one length in one piece of memory, zero at first, freed with its owner.
///
/// The first row starts on a boundary of 64 bytes, a cache line. With an even `stride` every row
/// and every even offset is aligned for `load2`, which traps otherwise.
///
/// There is one owner, and only it frees the memory. Several threads may write at the same time
/// where they write different parts; whoever lets them answers for that.
package struct AlignedRows: ~Copyable {
  /// `[rows, stride]`. Valid as long as the owner is.
  package let base: UnsafeMutablePointer<Double>
  package let rows: Int
  /// Doubles from one row to the next.
  package let stride: Int

  /// - Parameters:
  ///   - rows: how many there are; 1 for a vector.
  ///   - stride: doubles from one row to the next, padding included.
  package init(rows: Int = 1, stride: Int) {
    self.rows = rows
    self.stride = stride
    let count = max(rows * stride, 1)
    let memory = UnsafeMutableRawPointer.allocate(
      byteCount: count * MemoryLayout<Double>.stride, alignment: 64)
    base = memory.bindMemory(to: Double.self, capacity: count)
    base.initialize(repeating: 0, count: count)
  }

  deinit { UnsafeMutableRawPointer(base).deallocate() }

  /// Doubles in all rows.
  package var count: Int { rows * stride }

  /// The start of row `i`.
  @inline(__always)
  package func row(_ i: Int) -> UnsafeMutablePointer<Double> { base + i * stride }

  /// Number `j` of row `i`. Not checked.
  @inline(__always)
  package subscript(_ i: Int, _ j: Int) -> Double {
    get { base[i * stride + j] }
    nonmutating set { base[i * stride + j] = newValue }
  }

  /// Number `j`, counted from the start of the first row. Not checked.
  @inline(__always)
  package subscript(_ j: Int) -> Double {
    get { base[j] }
    nonmutating set { base[j] = newValue }
  }
}

/// The two doubles from an even offset of a row.
@inline(__always)
func load2(_ row: UnsafePointer<Double>, _ offset: Int) -> SIMD2<Double> {
  UnsafeRawPointer(row + offset).load(as: SIMD2<Double>.self)
}

/// Two doubles to an even offset of a row.
@inline(__always)
func store2(_ row: UnsafeMutablePointer<Double>, _ offset: Int, _ value: SIMD2<Double>) {
  UnsafeMutableRawPointer(row + offset).storeBytes(of: value, as: SIMD2<Double>.self)
}

/// The four doubles from an even offset of a row.
@inline(__always)
func load4(_ row: UnsafePointer<Double>, _ offset: Int) -> SIMD4<Double> {
  SIMD4(lowHalf: load2(row, offset), highHalf: load2(row, offset + 2))
}

/// Four doubles to an even offset of a row.
@inline(__always)
func store4(_ row: UnsafeMutablePointer<Double>, _ offset: Int, _ value: SIMD4<Double>) {
  store2(row, offset, value.lowHalf)
  store2(row, offset + 2, value.highHalf)
}

/// The nearest number in [0, 1].
@inline(__always)
func clippedToUnit(_ x: Double) -> Double { min(max(x, 0), 1) }

/// The nearest number in [0, 1], lane by lane.
@inline(__always)
func clippedToUnit(_ x: SIMD4<Double>) -> SIMD4<Double> {
  pointwiseMin(pointwiseMax(x, .zero), SIMD4(repeating: 1))
}
