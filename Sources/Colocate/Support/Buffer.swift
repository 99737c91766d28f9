/// Flat memory for hot loops, in three forms of ownership.
///
/// `Array` checks every index and counts references on the way. The inner loops of bounds and
/// search address a few gigabytes a second; they take memory that is allocated once, addressed
/// without checks and freed by whoever owns it:
///
/// * `Buffer` has one owner, and the compiler knows it: it cannot be copied, and it frees its
///   memory where its scope ends. Scratch memory is of this kind.
/// * `GrowingBuffer` is the same for a list whose length is not known before.
/// * `SharedBuffer` is a reference to a buffer: for values that are kept in arrays (which hold
///   nothing noncopyable), copied with the struct around them, or read by several threads.
///
/// Only plain values (numbers, SIMD vectors) go in. `base` is for the loops that keep a pointer in
/// a register; a subscript is checked in debug builds alone.
package struct Buffer<Element: BitwiseCopyable>: ~Copyable {
  package let base: UnsafeMutablePointer<Element>
  package let count: Int

  /// Memory for `count` elements, all of them `value`.
  package init(repeating value: Element, count: Int) {
    // Never empty, so that `base` may be handed on whatever the count.
    base = .allocate(capacity: max(count, 1))
    base.initialize(repeating: value, count: max(count, 1))
    self.count = count
  }

  deinit { base.deallocate() }
}

/// A list that grows. See `Buffer`.
package struct GrowingBuffer<Element: BitwiseCopyable>: ~Copyable {
  /// Moves when the list grows.
  package private(set) var base: UnsafeMutablePointer<Element>
  package private(set) var count = 0
  private var capacity: Int

  package init(capacity: Int = 64) {
    self.capacity = max(capacity, 16)
    base = .allocate(capacity: self.capacity)
  }

  deinit { base.deallocate() }

  @inline(__always)
  package mutating func append(_ element: Element) {
    if count == capacity { grow() }
    (base + count).initialize(to: element)
    count += 1
  }

  @inline(never)
  private mutating func grow() {
    let larger = UnsafeMutablePointer<Element>.allocate(capacity: capacity * 2)
    larger.moveInitialize(from: base, count: count)
    base.deallocate()
    base = larger
    capacity *= 2
  }
}

/// A buffer behind a reference. See `Buffer`.
///
/// `@unchecked Sendable` holds because the memory neither moves nor changes its size while anybody
/// has the reference, and because every buffer of the package is filled in one of two ways: by one
/// thread before others see it, or by several that write to parts which do not overlap, with a join
/// (the end of `concurrentFor`) before anybody reads.
package final class SharedBuffer<Element: BitwiseCopyable>: @unchecked Sendable {
  private let buffer: Buffer<Element>

  /// Memory for `count` elements, all of them `value`.
  package init(repeating value: Element, count: Int) {
    buffer = Buffer(repeating: value, count: count)
  }

  /// - Parameter filler: any value; what the memory holds before the elements are in it.
  package convenience init(_ elements: [Element], filler: Element) {
    self.init(repeating: filler, count: elements.count)
    for (index, element) in elements.enumerated() { base[index] = element }
  }

  /// The elements of a list that has grown to its end, and `filler` up to `count` elements.
  package convenience init(
    _ list: borrowing GrowingBuffer<Element>, filler: Element, count: Int? = nil
  ) {
    self.init(repeating: filler, count: max(count ?? 0, list.count))
    base.update(from: list.base, count: list.count)
  }

  @inline(__always)
  package var base: UnsafeMutablePointer<Element> { buffer.base }

  @inline(__always)
  package var count: Int { buffer.count }

  @inline(__always)
  package subscript(index: Int) -> Element {
    get {
      assert(index >= 0 && index < count, "index \(index) of \(count)")
      return base[index]
    }
    set {
      assert(index >= 0 && index < count, "index \(index) of \(count)")
      base[index] = newValue
    }
  }
}
