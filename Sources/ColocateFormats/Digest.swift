import Foundation

/// SHA-256 of a file, so that a plan can say which trace it was made from.
public enum Digest {
  /// 64 lower-case hexadecimal digits.
  /// - Throws: `FormatError` where the file cannot be read.
  public static func sha256(ofFile path: String) throws(FormatError) -> String {
    sha256(try MappedFile(path).bytes)
  }

  /// - Parameter advance: gets the bytes that each step took.
  static func sha256(_ bytes: Data, advance: (Int) -> Void = { _ in }) -> String {
    var hash = SHA256()
    bytes.withUnsafeBytes { bytes in
      for start in stride(from: 0, to: bytes.count, by: 1 << 24) {
        let step = start..<min(start + (1 << 24), bytes.count)
        hash.update(UnsafeRawBufferPointer(rebasing: bytes[step]))
        advance(step.count)
      }
    }
    return hash.finish()
  }
}
