import ColocateModel

/// Writes `.npy` files, version 1.0, C order, little-endian; integers with the smallest unsigned
/// type that holds every entry, where no type is named.
public enum NpyWriter {
  /// Writes `[tokens, layers]` (`choices == 1`) or `[tokens, layers, choices]` expert ids.
  /// - Throws: `FormatError` where the ids are no whole tokens or the file cannot be written.
  public static func write(
    trace ids: [UInt16], layers: Int, choices: Int, to path: String
  ) throws {
    let tokens = ids.count / max(1, layers * choices)
    let shape = choices == 1 ? [tokens, layers] : [tokens, layers, choices]
    try write(ids, shape: shape, to: path)
  }

  /// Writes `W` as `[L-1, E, E]`. Loads and co-activation have no place in the format.
  /// - Throws: `FormatError` where the file cannot be written.
  public static func write(_ counts: TransitionCounts, to path: String) throws {
    try write(
      counts.weights, shape: [counts.boundaries, counts.experts, counts.experts], to: path)
  }

  private static func check(_ count: Int, _ shape: [Int], _ path: String) throws(FormatError) {
    let expected = shape.reduce(1, *)
    guard count == expected else {
      throw FormatError(
        path,
        "\(count) entries to write, expected \(expected) for shape \(NpyHeader.text(of: shape))")
    }
  }

  /// Writes numbers as they are in memory, as numpy's type `type` ("<f4", "<i4").
  /// - Throws: `FormatError` where there are not as many as the shape says, or the file cannot be
  ///   written.
  package static func write<Element: BitwiseCopyable>(
    _ entries: [Element], type: String, shape: [Int], to path: String
  ) throws {
    try check(entries.count, shape, path)
    try AtomicFile.write(to: path) { file in
      try file.put(header(type: type, shape: shape))
      for first in stride(from: 0, to: entries.count, by: 1 << 16) {
        let block = entries[first..<min(first + (1 << 16), entries.count)]
        try block.withUnsafeBytes { try file.put($0) }
      }
    }
  }

  /// Writes entries that are not negative, in the smallest unsigned type that holds them.
  /// - Throws: `FormatError` where there are not as many as the shape says, or the file cannot be
  ///   written.
  package static func write<Integer: FixedWidthInteger>(
    _ entries: [Integer], shape: [Int], to path: String
  ) throws {
    try check(entries.count, shape, path)
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
