import Colocate

extension SeededGenerator {
  /// Random co-activation, `[layers, experts, experts]`: symmetric with a zero diagonal.
  public mutating func symmetricTables(
    _ layers: Int, experts: Int, entry: (inout SeededGenerator) -> Int
  ) -> [Int] {
    var tables = [Int](repeating: 0, count: layers * experts * experts)
    for l in 0..<layers {
      for i in 0..<experts {
        for j in 0..<i {
          let value = entry(&self)
          tables[(l * experts + i) * experts + j] = value
          tables[(l * experts + j) * experts + i] = value
        }
      }
    }
    return tables
  }
}
