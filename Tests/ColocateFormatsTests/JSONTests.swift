import Colocate
import ColocateFormats
import Foundation
import Testing

/// The JSON reader and writer: what is written is read, what is no JSON is refused with its place.
@Suite struct JSONTests {
  /// A random document of all kinds of values, with characters that must be escaped.
  private func document(_ random: inout SeededGenerator, depth: Int = 0) -> JSONText {
    let pieces = ["a", "\"", "\\", "\n", "\u{1}", "é", "😀", "/", " "]
    func text(_ random: inout SeededGenerator) -> String {
      (0..<random.next(below: 5)).map { _ in pieces[random.next(below: pieces.count)] }.joined()
    }
    switch random.next(below: depth < 4 ? 8 : 6) {
    case 0: return nil
    case 1: return .bool(random.next(below: 2) == 0)
    case 2: return .integer(Int(truncatingIfNeeded: random.next()))
    case 3: return .number(Double(random.next(below: 1_000_000)) / 64 - 5_000)
    case 4: return .number(Double(random.next(below: 1000) + 1) * 1e-300)
    case 5: return .string(text(&random))
    case 6:
      return .array(
        (0..<random.next(below: 4)).map { _ in document(&random, depth: depth + 1) })
    default:
      return .object(
        (0..<random.next(below: 4)).map {
          ("\($0)" + text(&random), document(&random, depth: depth + 1))
        })
    }
  }

  @Test func whatIsWrittenIsRead() throws {
    var last: JSONText = nil
    for seed in 0..<2_000 {
      var random = SeededGenerator(seed: UInt64(seed))
      let written = document(&random)
      let read = try JSONReader.read(Array(written.text.utf8)).value
      #expect(read == written && read.hashValue == written.hashValue, "seed \(seed)")
      // Equal by their values means equal in their text, and the other way round.
      #expect((read == last) == (read.text == last.text), "seed \(seed)")
      last = read
    }
  }

  /// As Foundation reads it, for documents that people write otherwise than we do.
  @Test func isReadAsFoundationReadsIt() throws {
    for text in [
      "[1,-0, 12 ,\t3\r\n]", "[1.5, -2e3, 1E+2, 0.25e-1]", "[\"\\u0041\\ud83d\\ude00\\/\\b\"]",
      "{\"a\":{\"b\":[true,false,null]},\"\":0}",
    ] {
      let ours = try JSONReader.read(Array(text.utf8)).value.text
      func tree(_ text: String) throws -> NSObject? {
        try JSONSerialization.jsonObject(with: Data(text.utf8)) as? NSObject
      }
      #expect(try tree(text) == tree(ours), "\(text) as \(ours)")
    }
  }

  @Test func whatIsNoJSONIsRefusedWithItsPlace() throws {
    for (text, message) in [
      ("", "line 1, column 1: found the end, expected a value"), ("[1,]", "expected a value"),
      ("[1 2]", "line 1, column 4: found '2]', expected ']'"), ("{\"a\" 1}", "expected ':'"),
      ("{\"a\": 1, \"a\": 2}", "expected each key of an object once"),
      ("[\n 01]", "line 2, column 2: found '01]', expected a number without leading zeros"),
      ("[9223372036854775808]", "expected an integer of at most 64 bits"),
      ("[1e999]", "expected a number that a double can hold"), ("[NaN]", "expected a value"),
      ("[\"\\ud800\"]", "expected a pair of surrogates"), ("[\"\\x\"]", "expected an escape"),
      ("[\"a", "expected a closing quote"), ("1 1", "expected the end of the document"),
      (String(repeating: "[", count: 65), "expected at most 64 levels"),
    ] {
      do throws(JSONProblem) {
        _ = try JSONReader.read(Array(text.utf8))
        Issue.record("read: \(text)")
      } catch { #expect(error.message.contains(message), "\(error.message)") }
    }
    #expect(throws: JSONProblem.self) { try JSONReader.read([0x22, 0xFF, 0x22]) }
  }
}
