import Foundation

/// A second, plain reading of the formats, which shares no code with the readers: slow, no errors,
/// nil where it can make nothing of a file.
struct PlainReading {
  var shape: [Int]
  var values: [Int]

  /// An integer of `size` bytes at `offset`.
  private static func integer(
    _ bytes: [UInt8], _ offset: Int, size: Int, isSigned: Bool, isBig: Bool
  ) -> Int {
    var word: UInt64 = 0
    for place in 0..<size {
      word = word << 8 | UInt64(bytes[offset + (isBig ? place : size - 1 - place)])
    }
    if isSigned, size < 8, word >> (8 * size - 1) == 1 { word |= ~0 << (8 * UInt64(size)) }
    return Int(truncatingIfNeeded: word)
  }

  static func npy(_ file: [UInt8]) -> PlainReading? {
    guard file.count > 12 else { return nil }
    let start = file[6] == 1 ? 10 : 12
    var length = Int(file[8]) + 256 * Int(file[9])
    if start == 12 { length += 65536 * Int(file[10]) + 16_777_216 * Int(file[11]) }
    guard start + length <= file.count else { return nil }
    let header = String(decoding: file[start..<(start + length)], as: UTF8.self)
    guard
      let type = header.firstMatch(
        of: #/["']descr["']\s*:\s*["']([<>=|]?)([iu])\+?0*([1248])["']/#),
      let order = header.firstMatch(of: #/["']fortran_order["']\s*:\s*(True|False)/#),
      let lengths = header.firstMatch(of: #/["']shape["']\s*:\s*\(([^)]*)\)/#)
    else { return nil }
    let shape = lengths.1.split(separator: ",").compactMap { text -> Int? in
      let digits = text.filter { !$0.isWhitespace }
      return Int(digits.hasSuffix("L") ? String(digits.dropLast()) : digits)
    }
    guard let size = Int(type.3) else { return nil }
    let count = shape.reduce(1, *)
    guard start + length + count * size == file.count else { return nil }
    var values = [Int]()
    for index in 0..<count {
      var place = index
      if order.1 == "True" {
        // The row-major index in its parts, the first axis fastest in the file.
        var (rest, parts) = (index, [Int]())
        for length in shape.reversed() {
          parts.insert(rest % length, at: 0)
          rest /= length
        }
        place = 0
        for (part, length) in zip(parts, shape).reversed() { place = place * length + part }
      }
      values.append(
        integer(
          file, start + length + place * size, size: size, isSigned: type.2 == "i",
          isBig: type.1 == ">"))
    }
    return PlainReading(shape: shape, values: values)
  }

  static func tensor(_ name: String, _ file: [UInt8]) -> PlainReading? {
    guard file.count > 8 else { return nil }
    let length = integer(file, 0, size: 8, isSigned: false, isBig: false)
    let header = Data(file[8..<(8 + length)])
    guard let tensors = try? JSONSerialization.jsonObject(with: header) as? [String: Any],
      let entry = tensors[name] as? [String: Any], let shape = entry["shape"] as? [Int],
      let offsets = entry["data_offsets"] as? [Int], let type = entry["dtype"] as? String,
      let bits = Int(type.dropFirst())
    else { return nil }
    let values = (0..<shape.reduce(1, *)).map {
      integer(
        file, 8 + length + offsets[0] + $0 * bits / 8, size: bits / 8,
        isSigned: type.hasPrefix("I"), isBig: false)
    }
    return PlainReading(shape: shape, values: values)
  }

  static func plan(
    _ file: [UInt8]
  ) -> (layers: Int, nodes: Int, gpus: Int, assignment: [Int])? {
    guard let plan = try? JSONSerialization.jsonObject(with: Data(file)) as? [String: Any],
      let machines = plan["topology"] as? [String: Int], let nodes = machines["nodes"],
      let perNode = machines["gpus_per_node"], let layers = plan["layers"] as? Int,
      let rows = plan["assignment"] as? [[Int]]
    else { return nil }
    return (layers, nodes, nodes * perNode, rows.flatMap { $0 })
  }

  /// ExFlow's table.
  static func table(_ file: [UInt8], entries: Int) -> [Int]? {
    let lines = String(decoding: file, as: UTF8.self).split(whereSeparator: \.isNewline)
    var table = [Int](repeating: -1, count: entries)
    for line in lines.dropFirst() where !line.allSatisfy(\.isWhitespace) {
      let fields = line.split(separator: ",").map { Int($0.filter { !$0.isWhitespace }) }
      guard fields.count == 2, let expert = fields[0], let gpu = fields[1],
        table.indices.contains(expert)
      else { return nil }
      table[expert] = gpu
    }
    return table.contains(-1) ? nil : table
  }
}
