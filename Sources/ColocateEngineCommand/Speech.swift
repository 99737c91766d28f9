import ColocateFormats
import Foundation

/// A line that people read, on standard error. That nobody reads it is no error.
func say(_ line: String) { _ = Descriptor.write(line + "\n", to: STDERR_FILENO) }

/// A result, on standard output.
/// - Throws: `FormatError` where it cannot be written whole: a result is lost then.
func give(_ text: String) throws(FormatError) {
  let line = text.hasSuffix("\n") ? text : text + "\n"
  let failure = Descriptor.write(line, to: STDOUT_FILENO)
  guard failure == 0 else { throw FormatError("standard output", Descriptor.reason(failure)) }
}
