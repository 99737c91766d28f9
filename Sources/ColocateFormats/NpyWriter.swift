import ColocateModel

/// Writes `.npy` files, version 1.0, C order, little-endian; integers with the smallest unsigned
/// type that holds every entry, where no type is named.
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

  /// Writes numbers as they are in memory, as numpy's type `type` ("<f4", "<i4").
  package static func write<Element: BitwiseCopyable>(
    _ entries: [Element], type: String, shape: [Int], to path: String
  ) throws {
    precondition(entries.count == shape.reduce(1, *))
    try AtomicFile.write(to: path) { file in
      try file.put(header(type: type, shape: shape))
      var first = 0
      while first < entries.count {
        let end = min(first + 1 << 16, entries.count)
        try entries[first..<end].withUnsafeBytes { try file.put($0) }
        first = end
      }
    }
  }

  /// Writes entries that are not negative, in the smallest unsigned type that holds them.
  package static func write<Integer: FixedWidthInteger>(
    _ entries: [Integer], shape: [Int], to path: String
  ) throws {
    precondition(entries.count == shape.reduce(1, *))
    let largest = UInt64(entries.max() ?? 0)
    let size = largest <= 0xFF ? 1 : largest <= 0xFFFF ? 2 : largest <= 0xFFFF_FFFF ? 4 : 8
    try AtomicFile.write(to: path) { file in
      try file.put(header(type: IntegerElement(size: size, isSigned: false).name, shape: shape))
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

  /// Magic, version, length and text, padded with blanks so that the data start at a multiple of
  /// 64.
  static func header(type: String, shape: [Int]) -> [UInt8] {
    let text =
      "{'descr': '\(type)', 'fortran_order': False, 'shape': \(NpyHeader.text(of: shape)), }"
    let length = (10 + text.utf8.count + 1 + 63) / 64 * 64 - 10
    var bytes: [UInt8] = [0x93, 0x4E, 0x55, 0x4D, 0x50, 0x59, 1, 0]
    bytes += [UInt8(length & 0xFF), UInt8(length >> 8)]
    bytes += text.utf8
    bytes += [UInt8](repeating: 0x20, count: length - text.utf8.count - 1) + [0x0A]
    return bytes
  }
}
