/// Something about a file that its user should know: one line, without the file's name.
public struct Remark: Hashable, Sendable {
  /// Whether the file may mean something else than what was read.
  public let isWarning: Bool
  public let text: String

  static func note(_ text: String) -> Remark { Remark(isWarning: false, text: text) }
  static func warning(_ text: String) -> Remark { Remark(isWarning: true, text: text) }

  /// "0, 2-5, 7": ascending numbers, runs of three or more joined, at most `most` parts.
  public static func list(_ numbers: [Int], most: Int = 10) -> String {
    var parts = [String]()
    var index = 0
    while index < numbers.count {
      var end = index
      while end + 1 < numbers.count, numbers[end + 1] == numbers[end] + 1 { end += 1 }
      if end < index + 2 { end = index }
      parts.append(end == index ? "\(numbers[index])" : "\(numbers[index])-\(numbers[end])")
      index = end + 1
    }
    return parts.count <= most
      ? parts.joined(separator: ", ") : parts.prefix(most).joined(separator: ", ") + ", …"
  }

  /// "1 token", "3 tokens".
  static func count(_ number: Int, _ noun: String) -> String {
    "\(number) \(noun)\(number == 1 ? "" : "s")"
  }
}
