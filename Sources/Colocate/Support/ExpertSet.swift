/// A set of up to 64 experts (or groups) of one layer, one bit each.
///
/// Iteration is ascending. `bits` is what hot loops work on.
package struct ExpertSet: Hashable, Sendable, Sequence {
  package var bits: UInt64

  @inline(__always)
  package init(bits: UInt64 = 0) { self.bits = bits }

  /// The experts `0 ..< count`.
  @inline(__always)
  package static func all(_ count: Int) -> ExpertSet {
    ExpertSet(bits: count == 0 ? 0 : .max >> UInt64(64 - count))
  }

  @inline(__always)
  package var count: Int { bits.nonzeroBitCount }

  @inline(__always)
  package var isEmpty: Bool { bits == 0 }

  /// The least member; 64 where there is none.
  @inline(__always)
  package var first: Int { bits.trailingZeroBitCount }

  @inline(__always)
  package func contains(_ expert: Int) -> Bool { (bits >> UInt64(expert)) & 1 == 1 }

  @inline(__always)
  package mutating func insert(_ expert: Int) { bits |= 1 << UInt64(expert) }

  @inline(__always)
  package mutating func remove(_ expert: Int) { bits &= ~(1 << UInt64(expert)) }

  @inline(__always)
  package func union(_ other: ExpertSet) -> ExpertSet { ExpertSet(bits: bits | other.bits) }

  @inline(__always)
  package func subtracting(_ other: ExpertSet) -> ExpertSet { ExpertSet(bits: bits & ~other.bits) }

  package struct Iterator: IteratorProtocol {
    var rest: UInt64

    @inline(__always)
    package mutating func next() -> Int? {
      guard rest != 0 else { return nil }
      defer { rest &= rest - 1 }
      return rest.trailingZeroBitCount
    }
  }

  @inline(__always)
  package func makeIterator() -> Iterator { Iterator(rest: bits) }
}
