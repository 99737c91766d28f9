import Foundation

/// Memory that lives as long as a run: every buffer of the engine comes from here, before the first
/// step.
///
/// Buffers are cut from large blocks for which the kernel is asked for 2 MiB pages, since weights
/// and the key-value cache do not fit the translation buffers in pages of 4 KiB.
final class Memory {
  private var blocks: [(start: UnsafeMutableRawPointer, size: Int)] = []
  /// What is left of the last block.
  private var next: UnsafeMutableRawPointer?
  private var left = 0
  /// Bytes handed out.
  private(set) var bytes = 0

  private static let page = 2 << 20

  deinit { for block in blocks { munmap(block.start, block.size) } }

  /// `count` zeros, aligned to a cache line.
  func floats(_ count: Int) throws(EngineError) -> Floats {
    try allocate(count, of: Float.self)
  }

  /// `count` zeros, aligned to a cache line.
  func integers(_ count: Int) throws(EngineError) -> UnsafeMutablePointer<Int32> {
    try allocate(count, of: Int32.self)
  }

  /// `count` elements whose bits are all 0, aligned to a cache line.
  /// - Throws: `EngineError` where the kernel does not give as much.
  func allocate<Element: BitwiseCopyable>(
    _ count: Int, of type: Element.Type
  ) throws(EngineError) -> UnsafeMutablePointer<Element> {
    let (wanted, overflow) = count.multipliedReportingOverflow(by: MemoryLayout<Element>.stride)
    guard count >= 0, !overflow, wanted <= Int.max / 4 else {
      throw EngineError("no memory for a buffer of \(count) elements")
    }
    let size = (max(wanted, 1) + 63) & ~63
    let place: UnsafeMutableRawPointer
    if let next, size <= left { place = next } else { place = try addBlock(size) }
    next = place + size
    left -= size
    // Written to now: no page is missing later, in the middle of a step.
    memset(place, 0, size)
    bytes += size
    return place.bindMemory(to: Element.self, capacity: max(count, 1))
  }

  /// Takes a new block from the kernel, the first bytes of which are to be handed out.
  private func addBlock(_ size: Int) throws(EngineError) -> UnsafeMutableRawPointer {
    let usable = (size + Self.page - 1) & ~(Self.page - 1)
    let total = usable + Self.page
    let start = mmap(nil, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    guard let start, start != MAP_FAILED else {
      throw EngineError("no memory for a buffer of \(size) bytes")
    }
    blocks.append((start, total))
    let aligned = start.alignedUp(toMultipleOf: Self.page)
    left = usable
    madvise(aligned, usable, Int32(MADV_HUGEPAGE))
    return aligned
  }
}
