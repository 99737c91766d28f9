import ColocateFormats
import Foundation

/// Numpy's `.npy`: what the engine reads (whole numbers) and writes (token ids, routes, logits).
/// Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html.
package enum Npy {
  /// An array of whole numbers.
  package struct Integers: Sendable {
    package var shape: [Int]
    package var values: [Int]
  }

  package static func readIntegers(_ path: String) throws(EngineError) -> Integers {
    guard let data = FileManager.default.contents(atPath: path) else {
      throw EngineError("\(path): cannot be read")
    }
    let (kind, shape, start) = try header(data, path)
    guard
      let bytes = ["|u1": 1, "|i1": 1, "<u2": 2, "<i2": 2, "<u4": 4, "<i4": 4, "<i8": 8, "<u8": 8][
        kind]
    else {
      throw EngineError("\(path): numbers of type \(kind); expected whole numbers")
    }
    let count = shape.reduce(1, *)
    guard data.count - start == count * bytes else {
      throw EngineError(
        "\(path): \(data.count - start) bytes of data; expected \(count * bytes) for shape \(shape)"
      )
    }
    let values = data.withUnsafeBytes { raw in
      (0..<count).map { i -> Int in
        let at = start + i * bytes
        switch kind {
        case "|u1": return Int(raw[at])
        case "|i1": return Int(Int8(bitPattern: raw[at]))
        case "<u2": return Int(raw.loadUnaligned(fromByteOffset: at, as: UInt16.self))
        case "<i2": return Int(raw.loadUnaligned(fromByteOffset: at, as: Int16.self))
        case "<u4": return Int(raw.loadUnaligned(fromByteOffset: at, as: UInt32.self))
        case "<i4": return Int(raw.loadUnaligned(fromByteOffset: at, as: Int32.self))
        case "<i8": return Int(raw.loadUnaligned(fromByteOffset: at, as: Int64.self))
        default: return Int(clamping: raw.loadUnaligned(fromByteOffset: at, as: UInt64.self))
        }
      }
    }
    return Integers(shape: shape, values: values)
  }

  /// - Returns: the dtype, the shape and where the data starts.
  private static func header(_ data: Data, _ path: String) throws(EngineError) -> (
    String, [Int], Int
  ) {
    let damaged = EngineError("\(path): not a .npy file of format 1, 2 or 3")
    guard data.count >= 12, data.prefix(6).elementsEqual([0x93] + Array("NUMPY".utf8)),
      (1...3).contains(data[6])
    else { throw damaged }
    let wide = data[6] > 1
    let length =
      wide
      ? data.withUnsafeBytes { Int($0.loadUnaligned(fromByteOffset: 8, as: UInt32.self)) }
      : data.withUnsafeBytes { Int($0.loadUnaligned(fromByteOffset: 8, as: UInt16.self)) }
    let start = (wide ? 12 : 10) + length
    guard start <= data.count else { throw damaged }
    let text = String(decoding: data[(wide ? 12 : 10)..<start], as: UTF8.self)
    guard let kind = text.firstMatch(of: /'descr':\s*'([^']*)'/)?.1,
      text.contains(/'fortran_order':\s*False/),
      let shapeText = text.firstMatch(of: /'shape':\s*\(([0-9, ]*)\)/)?.1
    else { throw damaged }
    var shape: [Int] = []
    var count = 1
    for part in shapeText.split(separator: ",") {
      guard let extent = Int(part.filter { $0 != " " }),
        !count.multipliedReportingOverflow(by: extent).overflow
      else { throw damaged }
      count *= extent
      shape.append(extent)
    }
    return (String(kind), shape, start)
  }

  /// The bytes before the data.
  package static func header(type: String, shape: [Int]) -> [UInt8] {
    var text = "{'descr': '\(type)', 'fortran_order': False, 'shape': ("
    text += shape.map { "\($0)," }.joined(separator: " ") + "), }"
    text += String(repeating: " ", count: 63 - (10 + text.utf8.count) % 64) + "\n"
    return [0x93] + Array("NUMPY".utf8) + [
      1, 0, UInt8(text.utf8.count & 255), UInt8(text.utf8.count >> 8),
    ] + Array(text.utf8)
  }

  /// Writes a whole file, or nothing: a neighbour is renamed over the target at the end.
  package static func write<Element: BitwiseCopyable>(
    _ path: String, type: String, shape: [Int], data: [Element]
  ) throws(EngineError) {
    do {
      try AtomicFile.write(to: path) { file in
        try file.put(header(type: type, shape: shape))
        // In pieces: logits can be large.
        var first = 0
        while first < data.count {
          let end = min(first + 1 << 16, data.count)
          try data[first..<end].withUnsafeBytes { try file.put($0) }
          first = end
        }
      }
    } catch {
      throw EngineError("\(error)")
    }
  }
}
