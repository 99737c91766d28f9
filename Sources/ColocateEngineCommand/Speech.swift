import ColocateFormats
import Foundation

/// A line that people read, on standard error. That nobody reads it is no error.
func say(_ line: String) {
  try? FileHandle.standardError.write(contentsOf: Data((line + "\n").utf8))
}

/// A result, on standard output.
/// - Throws: `FormatError` where it cannot be written: a result is lost then.
func give(_ text: String) throws {
  let line = text.hasSuffix("\n") ? text : text + "\n"
  do {
    try FileHandle.standardOutput.write(contentsOf: Data(line.utf8))
  } catch {
    throw FormatError("standard output", String(cString: strerror(errno)).lowercased())
  }
}
