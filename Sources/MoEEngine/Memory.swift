import Foundation

/// Memory that lives as long as a run: every buffer of the engine comes from here, before the first step.
final class Memory {
  private var blocks: [UnsafeMutableRawPointer] = []
  /// Bytes handed out.
  private(set) var bytes = 0

  deinit { for block in blocks { free(block) } }

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
    let (size, overflow) = max(count, 1).multipliedReportingOverflow(
      by: MemoryLayout<Element>.stride)
    var block: UnsafeMutableRawPointer?
    guard !overflow, posix_memalign(&block, 64, size) == 0, let block else {
      throw EngineError("no memory for a buffer of \(count) elements")
    }
    memset(block, 0, size)
    blocks.append(block)
    bytes += size
    return block.bindMemory(to: Element.self, capacity: max(count, 1))
  }
}
