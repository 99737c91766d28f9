import Foundation

/// The figures of a command as JSON: keys in snake_case and in order.
enum JSONReport {
  static func text(_ report: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
    encoder.keyEncodingStrategy = .custom { path in
      Key(stringValue: snakeCase(path.last?.stringValue ?? ""))
    }
    return String(decoding: try encoder.encode(report), as: UTF8.self)
  }

  /// "crossedGPUsPredicted" is "crossed_gpus_predicted".
  static func snakeCase(_ name: String) -> String {
    var result = ""
    for character in name.replacing("GPUs", with: "Gpus") {
      if character.isUppercase { result += "_" }
      result += character.lowercased()
    }
    return result
  }

  private struct Key: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }
}
