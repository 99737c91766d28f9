import Foundation

/// A `.npy` file of whole numbers, of any integer type, byte order and axis order: token ids.
package struct IntegerFile: Sendable {
  package let shape: [Int]
  /// Row-major.
  package let values: [Int]

  /// Reads the whole file.
  /// - Throws: `FormatError` where it is no `.npy` file, or does not hold integers.
  package init(_ path: String) throws(FormatError) {
    let file = try PositionedFile(path)
    let bytes = Data(try file.bytes(0..<file.size))
    let header: NpyHeader
    do {
      header = try bytes.withUnsafeBytes { bytes in try NpyHeader(bytes, file: path) }
    } catch let error as FormatError {
      throw error
    } catch {
      throw FormatError(path, "\(error)")
    }
    guard !header.shape.isEmpty, !header.shape.contains(0) else {
      throw FormatError(path, "shape \(header.shapeText) holds nothing, expected numbers")
    }
    shape = header.shape
    values = try IntegerArray(
      file: path, bytes: bytes, offset: header.dataOffset, element: header.element,
      shape: header.shape, isFortranOrder: header.isFortranOrder
    ).integers()
  }
}
