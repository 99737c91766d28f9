import ColocateFormats
import Foundation
import Testing

/// Recordings for the tests: the fixtures, and what is made by hand.
enum RecordingSupport {
  static func fixture(_ name: String) -> String {
    URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("Fixtures/" + name).path
  }

  static func bytes(_ name: String) throws -> [UInt8] {
    [UInt8](try Data(contentsOf: URL(fileURLWithPath: fixture(name))))
  }

  /// All of a recording's ids, `[tokens, layers, k]`.
  static func ids(_ source: any TraceSource) throws(FormatError) -> [Int] {
    var all = [Int]()
    try source.stream { ids in all += ids.map { Int($0) } }
    return all
  }

  /// The source of a recording of ids.
  static func source(
    _ path: String, _ reading: RecordingReading = .init()
  ) throws -> any TraceSource {
    guard case .routing(let source) = try RecordingReader.open(path, reading) else {
      throw FormatError(path, "no ids")
    }
    return source
  }

  /// The loads of a recording of loads.
  static func loads(_ path: String) throws -> ExpertLoads {
    guard case .loads(let loads) = try RecordingReader.open(path) else {
      throw FormatError(path, "no loads")
    }
    return loads
  }

  /// The rows of some layers of `[tokens, layers, k]`.
  static func layers(_ kept: [Int], of ids: [Int], layers: Int, choices: Int) -> [Int] {
    stride(from: 0, to: ids.count, by: layers * choices).flatMap { token in
      kept.flatMap { ids[(token + $0 * choices)..<(token + ($0 + 1) * choices)] }
    }
  }

  /// A zip archive of stored members, made by hand.
  static func zip(_ members: [(name: String, bytes: [UInt8])]) -> [UInt8] {
    func little(_ value: Int, _ size: Int) -> [UInt8] {
      (0..<size).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }
    func checksum(_ bytes: [UInt8]) -> Int {
      var sum: UInt32 = 0xFFFF_FFFF
      for byte in bytes {
        sum ^= UInt32(byte)
        for _ in 0..<8 { sum = sum & 1 == 1 ? (sum >> 1) ^ 0xEDB8_8320 : sum >> 1 }
      }
      return Int(~sum)
    }
    var (file, directory) = ([UInt8](), [UInt8]())
    for (name, bytes) in members {
      let sizes =
        little(checksum(bytes), 4) + little(bytes.count, 4) + little(bytes.count, 4)
        + little(name.utf8.count, 2) + little(0, 2)
      let start = file.count
      file += little(0x0403_4B50, 4) + little(20, 2) + little(0, 8) + sizes + name.utf8 + bytes
      directory +=
        little(0x0201_4B50, 4) + little(20, 2) + little(20, 2) + little(0, 8) + sizes
        + little(0, 10) + little(start, 4) + name.utf8
    }
    let end =
      little(0x0605_4B50, 4) + little(0, 4) + little(members.count, 2) + little(members.count, 2)
      + little(directory.count, 4) + little(file.count, 4) + little(0, 2)
    return file + directory + end
  }
}
