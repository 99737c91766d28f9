import ColocateModel

/// Flat memory for the hot loops of bounds and search: allocated once, addressed without checks,
/// freed with its last owner.
///
/// Only plain values (numbers, SIMD vectors) go in. Whoever writes from several threads writes to
/// parts that do not overlap.
package final class Block<Element: BitwiseCopyable>: @unchecked Sendable {
  package let base: UnsafeMutablePointer<Element>
  package let count: Int

  /// Memory for `count` elements, all of them `value`.
  package init(_ count: Int, _ value: Element) {
    base = .allocate(capacity: max(count, 1))
    base.initialize(repeating: value, count: max(count, 1))
    self.count = count
  }

  package convenience init(_ elements: [Element], filler: Element) {
    self.init(elements.count, filler)
    for (index, element) in elements.enumerated() { base[index] = element }
  }

  deinit { base.deallocate() }

  @inline(__always)
  package subscript(index: Int) -> Element {
    get { base[index] }
    set { base[index] = newValue }
  }
}

/// A list that grows, without the checks and the reference counting of `Array`. Not shared between
/// threads.
package struct GrowingList<Element: BitwiseCopyable> {
  package private(set) var base: UnsafeMutablePointer<Element>
  package private(set) var count = 0
  private var capacity: Int

  package init(capacity: Int = 64) {
    self.capacity = max(capacity, 16)
    base = .allocate(capacity: self.capacity)
  }

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

  package mutating func removeAll() { count = 0 }

  /// Whoever made the list frees it.
  package func deallocate() { base.deallocate() }
}
