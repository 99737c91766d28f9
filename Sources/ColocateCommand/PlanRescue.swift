import ColocateFormats
import Foundation
import Synchronization

/// The newest incumbent as a finished plan, ready to be written at any moment: by a second Ctrl-C,
/// or by the handler of a crash.
///
/// A signal handler may not allocate, so all is prepared by `hold`: the bytes, and the names of the
/// files. What writes them calls `open`, `write`, `fsync`, `rename` and nothing else.
enum PlanRescue {
  /// Why a plan is written that the search has not finished.
  enum Reason: Int, CaseIterable {
    case cancelled
    case internalError
  }

  /// Where a plan goes that is written in an emergency.
  private struct Target {
    /// The file itself; nil for standard output.
    var file: UnsafeMutablePointer<CChar>?
    /// The hidden name that it has while it is written; nil where the file is a device or a pipe.
    var hidden: UnsafeMutablePointer<CChar>?
  }

  /// The bytes of one incumbent's plans, by `Reason`.
  private typealias Documents = UnsafeMutablePointer<UnsafeMutableRawBufferPointer>

  /// The pointer is not `Sendable`; what it points to is not changed once it stands here.
  nonisolated(unsafe) private static let newest = Atomic<Documents?>(nil)
  private static let isClaimed = Atomic<Bool>(false)
  private static let isDelivered = Atomic<Bool>(false)
  nonisolated(unsafe) private static var target = Target()
  /// What `newest` was before; freed one incumbent later, so that nobody is reading it.
  nonisolated(unsafe) private static var previous: Documents?

  /// Says where the plan goes. Called once, before the search.
  /// - Parameter output: nil for standard output.
  static func prepare(for output: OutputPath?) {
    target = Target()
    if let output {
      target.file = strdup(output.target)
      if output.isReplaced { target.hidden = strdup(output.hiddenName()) }
    }
    _ = isClaimed.load(ordering: .relaxed)
    _ = isDelivered.load(ordering: .relaxed)
    _ = newest.load(ordering: .relaxed)
  }

  /// Takes the plan of a new incumbent in place of the one before. Only one thread may call it.
  /// - Parameter texts: the plan's text for each reason, in the order of `Reason.allCases`.
  static func hold(_ texts: [String]) {
    guard !isClaimed.load(ordering: .acquiring) else { return }
    let documents = Documents.allocate(capacity: texts.count)
    for (index, text) in texts.enumerated() {
      let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: text.utf8.count, alignment: 1)
      bytes.copyBytes(from: text.utf8)
      (documents + index).initialize(to: bytes)
    }
    let replaced = newest.exchange(documents, ordering: .acquiringAndReleasing)
    if let previous {
      for index in Reason.allCases.indices { previous[index].deallocate() }
      previous.deallocate()
    }
    previous = replaced
  }

  /// The plan has been written as it should be.
  static func deliver() { isDelivered.store(true, ordering: .releasing) }

  /// Whether the plan has been written as it should be.
  static var hasDelivered: Bool { isDelivered.load(ordering: .acquiring) }

  /// Whether the caller is the one who may write: the first who asks.
  static func claim() -> Bool { !isClaimed.exchange(true, ordering: .acquiringAndReleasing) }

  /// Writes the newest incumbent's plan, if there is one and nobody has written it. Safe in a
  /// signal handler; for whoever has claimed.
  /// - Returns: whether it is written.
  static func write(_ reason: Reason) -> Bool {
    guard !hasDelivered, let documents = newest.load(ordering: .acquiring) else { return false }
    let bytes = UnsafeRawBufferPointer(documents[reason.rawValue])
    guard let file = target.file else { return Descriptor.write(bytes, to: STDOUT_FILENO) == 0 }
    guard let hidden = target.hidden else {
      let descriptor = open(file, O_WRONLY)
      return descriptor >= 0 && Descriptor.write(bytes, to: descriptor) == 0
    }
    let descriptor = open(hidden, O_WRONLY | O_CREAT | O_EXCL, 0o666)
    if descriptor >= 0, Descriptor.write(bytes, to: descriptor) == 0, fsync(descriptor) == 0,
      rename(hidden, file) == 0
    {
      return true
    }
    unlink(hidden)
    // The disk is full, or the folder has gone: what can still be had is standard output.
    return Descriptor.write(bytes, to: STDOUT_FILENO) == 0
  }
}
