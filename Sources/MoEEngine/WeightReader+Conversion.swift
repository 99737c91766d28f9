/// From the bytes of a file to float32 in the engine's layout.
extension WeightReader {
  /// Stored numbers to float32.
  static func convert(_ bytes: UnsafeRawPointer, _ type: ElementType, count: Int, into y: Floats) {
    switch type {
    case .float32:
      UnsafeMutableRawPointer(y).copyMemory(from: bytes, byteCount: count * 4)
    case .bfloat16:
      for i in 0..<count {
        y[i] = bfloat16(bytes.loadUnaligned(fromByteOffset: i &* 2, as: UInt16.self))
      }
    case .float16:
      for i in 0..<count {
        y[i] = float16(bytes.loadUnaligned(fromByteOffset: i &* 2, as: UInt16.self))
      }
    }
  }

  /// Stored `[rows, columns]` to float32 `[columns, rows]` with rows of `stride`, in tiles that
  /// stay in the first-level cache.
  static func transpose(
    _ bytes: UnsafeRawPointer, _ type: ElementType, rows: Int, columns: Int, into y: Floats,
    stride: Int
  ) {
    switch type {
    case .float32:
      transpose(rows, columns, y, stride) {
        Float(bitPattern: bytes.loadUnaligned(fromByteOffset: $0 &* 4, as: UInt32.self))
      }
    case .bfloat16:
      transpose(rows, columns, y, stride) {
        bfloat16(bytes.loadUnaligned(fromByteOffset: $0 &* 2, as: UInt16.self))
      }
    case .float16:
      transpose(rows, columns, y, stride) {
        float16(bytes.loadUnaligned(fromByteOffset: $0 &* 2, as: UInt16.self))
      }
    }
  }

  @inline(__always)
  private static func transpose(
    _ rows: Int, _ columns: Int, _ y: Floats, _ stride: Int, element: (Int) -> Float
  ) {
    let tile = 16
    for rowStart in Swift.stride(from: 0, to: rows, by: tile) {
      let rowEnd = min(rowStart + tile, rows)
      for columnStart in Swift.stride(from: 0, to: columns, by: tile) {
        for column in columnStart..<min(columnStart + tile, columns) {
          for row in rowStart..<rowEnd {
            y[column &* stride &+ row] = element(row &* columns &+ column)
          }
        }
      }
    }
  }

  @inline(__always)
  private static func bfloat16(_ bits: UInt16) -> Float { Float(bitPattern: UInt32(bits) &<< 16) }

  /// IEEE half by its bits, without relying on a conversion instruction.
  @inline(__always)
  private static func float16(_ bits: UInt16) -> Float {
    let magnitude = UInt32(bits & 0x7FFF)
    let sign = UInt32(bits & 0x8000) &<< 16
    // Exponent and mantissa moved into place; the multiplication by 2^112 corrects the bias,
    // subnormals included.
    var value = Float(bitPattern: magnitude &<< 13) * 0x1p112
    if magnitude >= 0x7C00 { value = Float(bitPattern: (magnitude &<< 13) | 0x7F80_0000) }
    return Float(bitPattern: value.bitPattern | sign)
  }
}
