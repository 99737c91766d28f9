import Colocate

/// Writes `.npy` files, version 1.0, C order, little-endian, with the smallest unsigned type that holds every entry.
public enum NpyWriter {
  /// Writes `[tokens, layers]` (`choices == 1`) or `[tokens, layers, choices]` expert ids.
  /// - Throws: `FormatError` where the file cannot be written.
  public static func write(
    trace ids: [UInt16], layers: Int, choices: Int, to path: String
  ) throws {
    let tokens = ids.count / (layers * choices)
    let shape = choices == 1 ? [tokens, layers] : [tokens, layers, choices]
    try write(ids, shape: shape, to: path)
  }

  /// Writes `W` as `[L-1, E, E]`. Loads and co-activation have no place in the format.
  /// - Throws: `FormatError` where the file cannot be written.
  public static func write(_ counts: TransitionCounts, to path: String) throws {
    try write(
      counts.weights, shape: [counts.boundaries, counts.experts, counts.experts], to: path)
  }

  static func write<Integer: FixedWidthInteger>(
    _ entries: [Integer], shape: [Int], to path: String
  ) throws {
    precondition(entries.count == shape.reduce(1, *))
    let largest = UInt64(entries.max() ?? 0)
    let size = largest <= 0xFF ? 1 : largest <= 0xFFFF ? 2 : largest <= 0xFFFF_FFFF ? 4 : 8
    try AtomicFile.write(to: path) { file in
      try file.put(header(IntegerElement(size: size, isSigned: false), shape: shape))
      var block = [UInt8]()
      block.reserveCapacity(1 << 17)
      for entry in entries {
        var rest = UInt64(entry)
        for _ in 0..<size {
          block.append(UInt8(truncatingIfNeeded: rest))
          rest >>= 8
        }
        if block.count >= 1 << 16 {
          try file.put(block)
          block.removeAll(keepingCapacity: true)
        }
      }
      try file.put(block)
    }
  }

  /// Magic, version, length and text, padded with blanks so that the data start at a multiple of 64.
  static func header(_ element: IntegerElement, shape: [Int]) -> [UInt8] {
    let text =
      "{'descr': '\(element.name)', 'fortran_order': False, 'shape': \(NpyHeader.text(of: shape)), }"
    let length = (10 + text.utf8.count + 1 + 63) / 64 * 64 - 10
    var bytes: [UInt8] = [0x93, 0x4E, 0x55, 0x4D, 0x50, 0x59, 1, 0]
    bytes += [UInt8(length & 0xFF), UInt8(length >> 8)]
    bytes += text.utf8
    bytes += [UInt8](repeating: 0x20, count: length - text.utf8.count - 1) + [0x0A]
    return bytes
  }
}
