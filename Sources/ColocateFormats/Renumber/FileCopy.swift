import Foundation

/// A new file that is put together from ranges of another.
///
/// Bytes take the cheapest way that the file systems offer: a *clone* (`FICLONERANGE`: both files
/// share the blocks until one is written to; XFS, Btrfs, some network file systems), a copy within
/// the kernel or the file server (`copy_file_range`), or reading and writing through one buffer.
/// Memory is that buffer, whatever the size.
final class FileCopy {
  /// Bytes of the buffer, and the most that is permuted in memory.
  static let bufferBytes = 4 << 20
  /// Bytes that are copied between two looks at whether to go on.
  private static let stepBytes = 64 << 20
  /// Bytes after which what was written is sent to the disk: so that the memory for it stays
  /// small, and the end of the file is not a long wait.
  private static let syncBytes = 512 << 20

  private let source: PositionedFile
  /// The source as the kernel copies from it.
  private let sourceDescriptor: Int32
  private let path: String
  private let descriptor: Int32
  private let advance: (Int) throws -> Void
  private var unsynced = 0
  private let buffer: UnsafeMutableRawPointer

  /// - Parameter advance: gets the bytes that each step wrote; what it throws ends the copy.
  /// - Throws: `FormatError` where the file cannot be made.
  init(
    of source: PositionedFile, to path: String, advance: @escaping (Int) throws -> Void
  ) throws(FormatError) {
    let descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else { throw FormatError(path, Descriptor.reason(errno)) }
    self.source = source
    self.path = path
    self.advance = advance
    self.descriptor = descriptor
    // Where it cannot be opened again, the kernel's calls fail and reading does the work.
    sourceDescriptor = open(source.path, O_RDONLY | O_CLOEXEC)
    buffer = .allocate(byteCount: Self.bufferBytes, alignment: 16)
  }

  deinit {
    close(descriptor)
    if sourceDescriptor >= 0 { close(sourceDescriptor) }
    buffer.deallocate()
  }

  /// Makes sure that everything is on the disk.
  func finish() throws(FormatError) {
    guard fsync(descriptor) == 0 else { throw failure(errno) }
  }

  private func failure(_ code: Int32) -> FormatError {
    FormatError(path, Descriptor.reason(code))
  }

  /// Shares the blocks of the source from `start` to its end, to be found from `target` on, where
  /// the file system can: both places must be equally far behind a block's start. A few bytes
  /// before `target` are overwritten with what stands before `start`.
  /// - Returns: whether they are shared; where not, nothing has changed.
  func clone(from start: Int, to target: Int) -> Bool {
    #if os(Linux)
      let block = 4096
      guard start % block == target % block, start < source.size else { return false }
      // struct file_clone_range: descriptor, offset, length (0: to the end), offset there.
      var range: [UInt64] = [
        UInt64(UInt32(bitPattern: sourceDescriptor)), UInt64(start - start % block), 0,
        UInt64(target - target % block),
      ]
      // _IOW(0x94, 13, struct file_clone_range)
      return range.withUnsafeMutableBytes {
        guard let address = $0.baseAddress else { return false }
        return ioctl(descriptor, UInt(0x4020_940D), address) == 0
      }
    #else
      return false
    #endif
  }

  /// Copies the bytes `range` of the source to `target` of the new file.
  func copy(_ range: Range<Int>, to target: Int) throws {
    var done = 0
    while done < range.count {
      let step = min(Self.stepBytes, range.count - done)
      let rest = (range.lowerBound + done)..<(range.lowerBound + done + step)
      let copied = try copyInKernel(rest, to: target + done)
      try copyThroughBuffer(rest.dropFirst(copied), to: target + done + copied)
      done += step
      try wrote(step)
    }
  }

  /// Writes `bytes` to `target` of the new file.
  func write(_ bytes: [UInt8], to target: Int) throws(FormatError) {
    let code = bytes.withUnsafeBytes { write($0, to: target) }
    guard code == 0 else { throw failure(code) }
  }

  /// - Returns: 0, or the error's number.
  private func write(_ bytes: UnsafeRawBufferPointer, to target: Int) -> Int32 {
    guard let start = bytes.baseAddress else { return 0 }
    var done = 0
    while done < bytes.count {
      let count = pwrite(descriptor, start + done, bytes.count - done, off_t(target + done))
      if count < 0 {
        if errno == EINTR { continue }
        return errno
      }
      done += count
    }
    return 0
  }

  /// Notes bytes that have been written, and sends them to the disk from time to time.
  func wrote(_ bytes: Int) throws {
    unsynced += bytes
    if unsynced >= Self.syncBytes {
      guard fsync(descriptor) == 0 else { throw failure(errno) }
      unsynced = 0
    }
    try advance(bytes)
  }

  private func copyThroughBuffer(_ range: Range<Int>, to target: Int) throws(FormatError) {
    for begin in stride(from: range.lowerBound, to: range.upperBound, by: Self.bufferBytes) {
      let part = begin..<min(begin + Self.bufferBytes, range.upperBound)
      try source.read(part, into: buffer)
      let code = write(
        UnsafeRawBufferPointer(start: buffer, count: part.count),
        to: target + begin - range.lowerBound)
      guard code == 0 else { throw failure(code) }
    }
  }

  #if os(Linux)
    /// `ssize_t copy_file_range(int, off_t *, int, off_t *, size_t, unsigned)`, which the importer
    /// does not know; nil where the C library has none.
    private typealias CopyFileRange =
      @convention(c) (
        Int32, UnsafeMutablePointer<off_t>?, Int32, UnsafeMutablePointer<off_t>?, Int, UInt32
      ) -> Int
    private static let copyFileRange = dlsym(nil, "copy_file_range").map {
      unsafeBitCast($0, to: CopyFileRange.self)
    }
  #endif

  /// - Returns: how many bytes the kernel copied; it may be any number up to all.
  private func copyInKernel(_ range: Range<Int>, to target: Int) throws(FormatError) -> Int {
    #if os(Linux)
      guard let copyFileRange = Self.copyFileRange else { return 0 }
      var done = 0
      while done < range.count {
        var (from, to) = (off_t(range.lowerBound + done), off_t(target + done))
        let count = copyFileRange(
          sourceDescriptor, &from, descriptor, &to, range.count - done, 0)
        if count > 0 {
          done += count
          continue
        }
        switch count < 0 ? errno : 0 {
        case EINTR: continue
        case ENOSPC, EFBIG, EDQUOT: throw failure(errno)
        // Not between these file systems, or the source has ended: reading will tell.
        default: return done
        }
      }
      return done
    #else
      return 0
    #endif
  }
}
