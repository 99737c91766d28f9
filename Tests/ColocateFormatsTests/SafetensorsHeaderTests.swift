import Colocate
import ColocateFormats
import Foundation
import Testing

/// A header is refused or true, however it was damaged.
struct SafetensorsHeaderTests {
  static let header =
    #"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"#
    + #""b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]},"#
    + #""c":{"dtype":"U8","shape":[],"data_offsets":[32,33]}}   "#
  static let file =
    (0..<8).map { UInt8(truncatingIfNeeded: header.utf8.count >> (8 * $0)) } + Array(header.utf8)
    + [UInt8](repeating: 7, count: 33)

  static func read(_ bytes: [UInt8]) throws(FormatError) -> SafetensorsHeader {
    try SafetensorsHeader(file: "f.safetensors", size: bytes.count) { Array(bytes[$0]) }
  }

  @Test func readsWhatIsThere() throws {
    let tensors = try Self.read(Self.file).tensors
    let start = 8 + Self.header.utf8.count
    #expect(tensors.count == 3)
    #expect(tensors["a"]?.shape == [2, 3] && tensors["a"]?.range == start..<(start + 24))
    #expect(tensors["b"]?.type == "BF16" && tensors["b"]?.range.count == 8)
    #expect(tensors["c"]?.shape == [] && tensors["c"]?.range.upperBound == Self.file.count)
  }

  /// 10,000 files with up to five bytes changed, removed or added: where one is accepted, its
  /// tensors fill the data, each with as many bytes as its shape and type say.
  @Test func damagedHeadersAreRefusedOrTrue() throws {
    var accepted = 0
    for seed in 0..<10_000 {
      var random = SeededGenerator(seed: UInt64(seed))
      var file = Self.file
      for _ in 0...random.next(below: 5) {
        // Digits and quotes more often than the rest: they make files that still parse.
        let byte =
          random.next(below: 2) == 0
          ? UInt8(random.next(below: 256))
          : Array("0123456789-\",:[]{}e.".utf8).randomElement(using: &random)!
        let place = random.next(below: file.count)
        switch random.next(below: 3) {
        case 0: file[place] = byte
        case 1: file.remove(at: place)
        default: file.insert(byte, at: place)
        }
      }
      guard let tensors = try? Self.read(file).tensors else { continue }
      accepted += 1
      var end: Int?
      for tensor in tensors.values.sorted(by: {
        ($0.range.lowerBound, $0.range.upperBound) < ($1.range.lowerBound, $1.range.upperBound)
      }) {
        let bytes = tensor.shape.reduce(SafetensorsHeader.elementBytes[tensor.type] ?? -1, *)
        #expect(tensor.range.count == bytes, "seed \(seed)")
        if let end { #expect(tensor.range.lowerBound == end, "seed \(seed)") }
        end = tensor.range.upperBound
      }
      if let end { #expect(end == file.count, "seed \(seed)") }
    }
    // Changes of names, blanks and data leave a header true.
    #expect(accepted > 30, "\(accepted)")
  }
}
