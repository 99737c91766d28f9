/// The JSON documents of a file: one in each line, or one that spans all lines. Read in pieces, so
/// that a file of any length takes the memory of its longest document.
struct ResponseLines {
  private let file: PositionedFile
  /// Bytes of one document.
  private static let mostBytes = 1 << 28
  /// Bytes that are read at once.
  private static let piece = 1 << 20

  init(_ file: PositionedFile) { self.file = file }

  /// Passes on each document and the number of its line, until `body` says no.
  /// - Throws: `JSONProblem` with the line of what cannot be read; what `body` throws, with its
  ///   line.
  func forEach(
    _ body: (JSONNode, Int) throws(JSONProblem) -> Bool
  ) throws(JSONProblem) {
    // `buffer` holds the file from some place up to `at`; `start` is where the next line starts.
    var (at, number, start) = (0, 0, 0)
    var buffer = [UInt8]()
    while at < file.size || start < buffer.count {
      var searched = start
      var end = buffer[searched...].firstIndex(of: 0x0A)
      while end == nil, at < file.size {
        guard buffer.count - start <= Self.mostBytes else {
          throw JSONProblem(message: "line \(number + 1) is longer than 256 MiB")
        }
        buffer.removeSubrange(..<start)
        start = 0
        searched = buffer.count
        let next = min(file.size, at + Self.piece)
        buffer += try read(at..<next)
        at = next
        end = buffer[searched...].firstIndex(of: 0x0A)
      }
      number += 1
      let line = buffer[start..<(end ?? buffer.count)]
      if line.contains(where: { $0 > 0x20 }) {
        guard try pass(line, number, isLast: end == nil, body) else { return }
      }
      start = end.map { $0 + 1 } ?? buffer.count
    }
  }

  /// Passes one line on. A first line that is no document may be the start of one.
  private func pass(
    _ line: ArraySlice<UInt8>, _ number: Int, isLast: Bool,
    _ body: (JSONNode, Int) throws(JSONProblem) -> Bool
  ) throws(JSONProblem) -> Bool {
    let document: JSONNode
    do throws(JSONProblem) {
      document = try JSONReader.read(line)
    } catch {
      guard number == 1, !isLast, file.size <= Self.mostBytes else {
        throw JSONProblem(message: "in line \(number): \(error.message)")
      }
      _ = try body(try JSONReader.read(try read(0..<file.size)), 1)
      return false
    }
    do throws(JSONProblem) { return try body(document, number) } catch {
      throw JSONProblem(message: "line \(number): \(error.message)")
    }
  }

  private func read(_ range: Range<Int>) throws(JSONProblem) -> [UInt8] {
    do throws(FormatError) { return try file.bytes(range) } catch {
      throw JSONProblem(message: error.message)
    }
  }
}
