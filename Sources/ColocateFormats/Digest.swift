import Foundation

/// SHA-256 of a file, so that a plan can say which trace it was made from.
public enum Digest {
  /// 64 lower-case hexadecimal digits.
  /// - Throws: `FormatError` where the file cannot be read.
  public static func sha256(ofFile path: String) throws(FormatError) -> String {
    sha256(try MappedFile(path).bytes)
  }

  static func sha256(_ bytes: Data) -> String {
    var hash = SHA256()
    bytes.withUnsafeBytes { hash.update($0) }
    return hash.finish()
  }
}
