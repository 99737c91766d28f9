import Colocate
import ColocateFormats
import Foundation
import Testing

/// A file that somebody cuts off while it is read ends in an error, whichever pass is at it; a
/// mapped file would end the process.
@Suite struct ShrinkingFileTests {
  let scratch: Scratch
  init() throws { scratch = try Scratch() }

  private let tokens = 1_500_000
  private let layers = 2

  /// A trace of several blocks in either order.
  private func trace(fortran: Bool) throws -> String {
    var random = SeededGenerator(seed: 3)
    let data = (0..<(tokens * layers)).map { _ in UInt8(random.next(below: 8)) }
    return try scratch.write(
      npy("|u1", fortran: fortran, shape: "(\(tokens), \(layers))", data: data), "t.npy")
  }

  /// The error of reading a file that is cut to `bytes` once the share `done` has been read.
  private func message(fortran: Bool, at done: Double, to bytes: Int) throws -> String {
    let path = try trace(fortran: fortran)
    var isWhole = true
    do throws(FormatError) {
      _ = try TraceFile(path) { read, total in
        guard isWhole, Double(read) >= done * Double(total) else { return }
        isWhole = false
        #expect(truncate(path, off_t(bytes)) == 0)
      }
      return "read"
    } catch {
      #expect(error.description.hasPrefix(path + ": "))
      return error.message
    }
  }

  @Test(arguments: [false, true], [0.0, 0.34, 0.67]) func everyPass(
    fortran: Bool, done: Double
  ) throws {
    for bytes in [0, 700, 1_000_000, 2_999_000] {
      let message = try message(fortran: fortran, at: done, to: bytes)
      #expect(message.contains("the file became shorter while it was read"), "\(message)")
    }
  }

  @Test func afterItWasRead() throws {
    let path = try trace(fortran: false)
    let (file, array) = (try TraceFile(path), try IntegerArray(npy: path))
    #expect(truncate(path, 100_000) == 0)
    do throws(FormatError) {
      _ = try TraceFile.tokenSets(of: [file])
      Issue.record("read what is no longer there")
    } catch { #expect(error.message.contains("became shorter")) }
    do throws(FormatError) {
      _ = try array.integers()
      Issue.record("read what is no longer there")
    } catch { #expect(error.message.contains("became shorter")) }
    // What is still there can be read.
    #expect(try array.integers(rows: 0..<100).count == 200)
  }

  @Test func anotherFileOfTheSameNameIsNotReadInstead() throws {
    let path = try trace(fortran: false)
    let array = try IntegerArray(npy: path)
    let before = try array.integers(rows: 7..<9)
    #expect(unlink(path) == 0)
    _ = try scratch.write([UInt8](repeating: 7, count: 4_000_000), "t.npy")
    #expect(try array.integers(rows: 7..<9) == before)
  }
}
