import Foundation

/// A folder of its own for each test, removed at the end.
final class Scratch {
  let path: String

  init() throws {
    let url = FileManager.default.temporaryDirectory.appendingPathComponent(
      "colocate-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    path = url.path
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func file(_ name: String) -> String { path + "/" + name }

  /// Writes bytes and returns the file's path.
  func write(_ bytes: [UInt8], _ name: String) throws -> String {
    try Data(bytes).write(to: URL(fileURLWithPath: file(name)))
    return file(name)
  }

  var contents: [String] { (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? [] }
}

/// A `.npy` file made by hand, so that the reader is not tested against its own writer.
func npy(
  _ descr: String, fortran: Bool = false, shape: String, data: [UInt8], version: UInt8 = 1
) -> [UInt8] {
  var text =
    "{'descr': '\(descr)', 'fortran_order': \(fortran ? "True" : "False"), 'shape': \(shape), }"
  let fixed = version == 1 ? 10 : 12
  while (fixed + text.utf8.count + 1) % 64 != 0 { text += " " }
  text += "\n"
  let length = text.utf8.count
  var bytes: [UInt8] = [0x93, 0x4E, 0x55, 0x4D, 0x50, 0x59, version, 0]
  bytes += [UInt8(length & 0xFF), UInt8(length >> 8 & 0xFF)]
  if version > 1 { bytes += [UInt8(length >> 16 & 0xFF), UInt8(length >> 24 & 0xFF)] }
  return bytes + text.utf8 + data
}

/// Integers as bytes of the numpy type `descr`.
func bytes(_ values: [Int], _ descr: String) -> [UInt8] {
  let size = descr.last?.wholeNumberValue ?? 0
  return values.flatMap { value -> [UInt8] in
    let little = (0..<size).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    return descr.hasPrefix(">") ? little.reversed() : little
  }
}

/// A `safetensors` file of 64-bit integers made by hand.
func safetensors(_ tensors: [(name: String, shape: [Int], values: [Int])]) -> [UInt8] {
  var (entries, data) = ([String](), [UInt8]())
  for (name, shape, values) in tensors {
    let end = data.count + 8 * values.count
    entries.append(
      "\"\(name)\":{\"dtype\":\"I64\",\"shape\":\(shape),\"data_offsets\":[\(data.count),\(end)]}")
    data += bytes(values, "<i8")
  }
  let header = "{" + entries.joined(separator: ",") + "}"
  return (0..<8).map { UInt8(header.utf8.count >> (8 * $0) & 0xFF) } + header.utf8 + data
}
