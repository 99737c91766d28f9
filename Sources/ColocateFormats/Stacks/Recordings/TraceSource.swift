import ColocateModel

/// Which experts each token used, as a stack recorded it, block by block.
///
/// Rows are all layers that the recording has, dense ones among them, in its own order of choices:
/// what is dense, padded or shared is for the reader of traces to find (`TraceRules`).
public protocol TraceSource: Sendable {
  /// The files, for messages.
  var name: String { get }
  /// Layers in each token's row, `H` or `L`.
  var layers: Int { get }
  /// Experts per token and layer, `k`.
  var choices: Int { get }
  /// Whether the recording vouches that a row's first expert is the router's best.
  var isBestFirst: Bool { get }

  /// Delivers blocks of whole tokens, `[tokens, layers, k]`, row-major, -1 for no expert. May be
  /// called again.
  /// - Throws: `FormatError` with the place of what is wrong; what `body` throws.
  func stream(
    _ body: (UnsafeBufferPointer<Int32>) throws(FormatError) -> Void
  ) throws(FormatError)
}

extension TraceSource {
  /// Counts the recording's transitions, one pass, in the memory of the counts and a block.
  /// - Parameters:
  ///   - accumulator: of as many layers and choices as are counted.
  ///   - moeLayers: the layers of a row to count, ascending; nil for all.
  /// - Throws: `FormatError` with the place of an id that no expert has.
  public func count(
    into accumulator: inout TransitionAccumulator, moeLayers: [Int]? = nil
  ) throws(FormatError) {
    let kept = moeLayers ?? Array(0..<layers)
    guard kept.count == accumulator.layers, choices == accumulator.choices,
      (kept.last ?? 0) < layers
    else {
      throw FormatError(
        name,
        "\(layers) layers × \(choices) experts, expected \(accumulator.layers) × "
          + "\(accumulator.choices)")
    }
    accumulator.layerNumbers = kept
    try stream { ids throws(FormatError) in
      do throws(ModelError) {
        if kept.count == layers {
          try accumulator.add(ids)
        } else {
          var block = [Int32]()
          block.reserveCapacity(ids.count / layers * kept.count)
          for token in stride(from: 0, to: ids.count, by: layers * choices) {
            for layer in kept {
              let row = token + layer * choices
              block.append(contentsOf: ids[row..<(row + choices)])
            }
          }
          let chunk = block
          try chunk.withIDs { chunk throws(ModelError) in try accumulator.add(chunk) }
        }
      } catch {
        throw FormatError(name, error.description)
      }
    }
  }
}

extension [Int32] {
  /// The buffer, for functions that throw errors of one type.
  func withIDs<Failure: Error>(
    _ body: (UnsafeBufferPointer<Int32>) throws(Failure) -> Void
  ) throws(Failure) {
    let result = withUnsafeBufferPointer { buffer -> Result<Void, Failure> in
      do throws(Failure) { return .success(try body(buffer)) } catch { return .failure(error) }
    }
    try result.get()
  }
}
