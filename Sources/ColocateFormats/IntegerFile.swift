/// All numbers of a `.npy` file of integers, of any type, byte order and axis order: token ids.
package struct IntegerFile: Sendable {
  /// Lengths of the axes, none of them 0.
  package let shape: [Int]
  /// Row-major.
  package let values: [Int]

  /// Reads the whole file.
  /// - Throws: `FormatError` where it is no `.npy` file (naming what it is instead), does not hold
  ///   integers, or holds none.
  package init(_ path: String) throws(FormatError) {
    let array = try IntegerArray(npy: path)
    guard !array.shape.isEmpty, !array.shape.contains(0) else {
      throw FormatError(
        path, "shape \(NpyHeader.text(of: array.shape)) holds nothing, expected numbers")
    }
    shape = array.shape
    values = try array.integers()
  }
}
