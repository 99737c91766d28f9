/// Some of the vertices of a path relaxation: one bit for each.
struct VertexSelection: Sendable {
  /// `[L]`, 64 numbers in each word.
  private var words: [[UInt64]]

  /// None of these.
  init(noneOf layers: [PathSubsets]) {
    words = layers.map { [UInt64](repeating: 0, count: ($0.count + 63) / 64) }
  }

  mutating func insert(_ s: Int, layer l: Int) { words[l][s >> 6] |= 1 << UInt64(s & 63) }

  func contains(_ s: Int, layer l: Int) -> Bool {
    (words[l][s >> 6] >> UInt64(s & 63)) & 1 == 1
  }

  /// The numbers of a layer that has `count` vertices, ascending.
  func numbers(layer l: Int, of count: Int) -> [Int] {
    (0..<count).filter { contains($0, layer: l) }
  }
}
