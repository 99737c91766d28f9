import Crypto
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
    bytes.withUnsafeBytes { buffer in
      var start = 0
      while start < buffer.count {
        let end = min(start + 1 << 20, buffer.count)
        hash.update(bufferPointer: UnsafeRawBufferPointer(rebasing: buffer[start..<end]))
        start = end
      }
    }
    return hash.finalize().map { byte in
      String(byte >> 4, radix: 16) + String(byte & 15, radix: 16)
    }.joined()
  }
}
