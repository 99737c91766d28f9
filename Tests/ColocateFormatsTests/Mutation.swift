import Colocate
import Foundation

/// Damage to a file, as transfers, editors and other programs do it.
enum Mutation {
  /// Files of each kind in the suite; `COLOCATE_FUZZ=10000` asks for more.
  static let count = Int(ProcessInfo.processInfo.environment["COLOCATE_FUZZ"] ?? "") ?? 2000

  /// One to four changes.
  /// - Parameter words: pieces that the format's texts are made of; one of them may be put
  ///   anywhere.
  static func damage(_ bytes: [UInt8], _ words: [String], _ random: inout SeededGenerator)
    -> [UInt8]
  {
    var file = bytes
    for _ in 0...random.next(below: 4) {
      guard !file.isEmpty else { return file }
      let at = random.next(below: file.count)
      let end = min(file.count, at + 1 + random.next(below: 9))
      switch random.next(below: 10) {
      case 0: file[at] = UInt8(random.next(below: 256))
      case 1: file[at] ^= 1 << UInt8(random.next(below: 8))
      case 2: file.removeSubrange(at..<end)
      case 3: file.insert(UInt8(random.next(below: 128)), at: at)
      case 4: file.insert(contentsOf: file[at..<end], at: random.next(below: file.count))
      case 5: file.removeSubrange(at...)
      case 6: file.append(contentsOf: file[at..<end])
      case 7: file.insert(contentsOf: words[random.next(below: words.count)].utf8, at: at)
      default: changeNumber(&file, &random)
      }
    }
    return file
  }

  /// Puts another number in the place of one that stands in the file as text.
  private static func changeNumber(_ file: inout [UInt8], _ random: inout SeededGenerator) {
    let digits = UInt8(ascii: "0")...UInt8(ascii: "9")
    let start = random.next(below: file.count)
    guard let first = file[start...].firstIndex(where: { digits.contains($0) }) else { return }
    let end = file[first...].firstIndex { !digits.contains($0) } ?? file.count
    let numbers = [
      "0", "1", "2", "3", "-1", "7", "255", "65536", "4294967296", "9223372036854775807",
      "9223372036854775808", "99999999999999999999", "0.5", "1e3", "03", "",
    ]
    file.replaceSubrange(first..<end, with: numbers[random.next(below: numbers.count)].utf8)
  }
}
