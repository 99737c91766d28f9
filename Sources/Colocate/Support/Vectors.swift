/// Loads and stores of two and four doubles in rows that are aligned to 16 bytes.

/// The two doubles from an even offset of a row.
@inline(__always)
func load2(_ row: UnsafeMutablePointer<Double>, _ offset: Int) -> SIMD2<Double> {
  UnsafeMutableRawPointer(row + offset).load(as: SIMD2<Double>.self)
}

/// Two doubles to an even offset of a row.
@inline(__always)
func store2(_ row: UnsafeMutablePointer<Double>, _ offset: Int, _ value: SIMD2<Double>) {
  UnsafeMutableRawPointer(row + offset).storeBytes(of: value, as: SIMD2<Double>.self)
}

/// The four doubles from an even offset of a row.
@inline(__always)
func load4(_ row: UnsafeMutablePointer<Double>, _ offset: Int) -> SIMD4<Double> {
  SIMD4(lowHalf: load2(row, offset), highHalf: load2(row, offset + 2))
}

/// Four doubles to an even offset of a row.
@inline(__always)
func store4(_ row: UnsafeMutablePointer<Double>, _ offset: Int, _ value: SIMD4<Double>) {
  store2(row, offset, value.lowHalf)
  store2(row, offset + 2, value.highHalf)
}
