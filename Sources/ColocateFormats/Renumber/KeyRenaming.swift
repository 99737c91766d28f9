/// New names for the keys of one object of a JSON document, and not one other byte changed.
///
/// Tensors are renamed where they are named: in the header of a safetensors file and in the
/// `weight_map` of an index. Writing such a document anew would change spacing, order and numbers
/// that nobody asked to be changed, and renaming back would not give the same bytes; so the text
/// is copied, keys exchanged on the way. The document must have been read by `JSONReader` before:
/// the scan relies on it being JSON.
package enum KeyRenaming {
  /// - Parameters:
  ///   - document: JSON whose outermost value is an object.
  ///   - path: keys of the objects to enter, from the outermost; empty for the outermost itself.
  ///   - rename: the new name of each key of that object.
  /// - Throws: `JSONProblem` where a key of the object is written with escapes.
  package static func rename(
    _ document: [UInt8], in path: [String] = [],
    _ rename: (String) throws(JSONProblem) -> String
  ) throws(JSONProblem) -> [UInt8] {
    var result = [UInt8]()
    result.reserveCapacity(document.count + document.count / 16)
    let (quote, escape) = (UInt8(ascii: "\""), UInt8(ascii: "\\"))
    // How many of `path` the scan is inside of, and the depth of nesting. Invariant: the keys that
    // are looked at are those of the objects where `entered == depth - 1`.
    var (entered, depth) = (0, 0)
    var lastKey = ""
    var copied = 0
    var at = 0
    while at < document.count {
      switch document[at] {
      case UInt8(ascii: "{"), UInt8(ascii: "["):
        if depth > 0, entered == depth - 1, entered < path.count, lastKey == path[entered] {
          entered += 1
        }
        depth += 1
        lastKey = ""
        at += 1
      case UInt8(ascii: "}"), UInt8(ascii: "]"):
        if entered == depth - 1, entered > 0 { entered -= 1 }
        depth -= 1
        at += 1
      case quote:
        let start = at + 1
        at = start
        while document[at] != quote { at += document[at] == escape ? 2 : 1 }
        let text = document[start..<at]
        at += 1
        guard entered == depth - 1, isKey(document, at) else { continue }
        lastKey = String(decoding: text, as: UTF8.self)
        guard entered == path.count else { continue }
        guard !text.contains(escape) else {
          throw JSONProblem(message: "the name \"\(lastKey)\" is written with escapes")
        }
        result += document[copied..<start]
        result += try rename(lastKey).utf8
        copied = at - 1
      default: at += 1
      }
    }
    return result + document[copied...]
  }

  /// Whether the text that ends before `at` is a key: a colon follows.
  private static func isKey(_ document: [UInt8], _ at: Int) -> Bool {
    let blanks: Set<UInt8> = [0x20, 0x09, 0x0A, 0x0D]
    return document[at...].first { !blanks.contains($0) } == UInt8(ascii: ":")
  }
}
