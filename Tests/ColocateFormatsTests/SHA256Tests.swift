import ColocateFormats
import Testing

/// The examples that NIST publishes with FIPS 180-4, and messages of every length around a block.
struct SHA256Tests {
  private func digest(_ bytes: [UInt8]) -> String {
    var hash = SHA256()
    bytes.withUnsafeBytes { hash.update($0) }
    return hash.finish()
  }

  @Test(arguments: [
    ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    (
      "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
    ),
  ])
  func publishedExamples(message: String, expected: String) {
    #expect(digest(Array(message.utf8)) == expected)
  }

  @Test func aMillionTimesA() {
    #expect(
      digest([UInt8](repeating: 0x61, count: 1_000_000))
        == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0")
  }

  /// However a message is cut, the digest is the same; lengths 0 to 200 pass every padding case.
  @Test func piecesDoNotMatter() {
    for length in 0...200 {
      let bytes = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ length) }
      let whole = digest(bytes)
      for piece in [1, 3, 63, 64, 65] {
        var hash = SHA256()
        bytes.withUnsafeBytes { buffer in
          var start = 0
          while start < length {
            let end = min(start + piece, length)
            hash.update(UnsafeRawBufferPointer(rebasing: buffer[start..<end]))
            start = end
          }
        }
        #expect(hash.finish() == whole, "length \(length), pieces of \(piece)")
      }
    }
  }
}
