extension UnsafeBufferPointer {
  /// The address of the first element, for loops that count their offsets themselves.
  @inlinable
  package var start: UnsafePointer<Element> {
    guard let baseAddress else { preconditionFailure("an empty buffer has no first element") }
    return baseAddress
  }
}

extension UnsafeMutableBufferPointer {
  /// The address of the first element, for loops that count their offsets themselves.
  @inlinable
  package var start: UnsafeMutablePointer<Element> {
    guard let baseAddress else { preconditionFailure("an empty buffer has no first element") }
    return baseAddress
  }
}
