import Dispatch
import Foundation

/// Whether the process may make further threads: a container's limit on processes or RLIMIT_NPROC
/// can forbid it, and Dispatch, asked for a thread that it cannot have, waits for ever.
enum ThreadProbe {
  /// Dispatch's own: the search beside the caller's thread, one that waits for signals and one that
  /// serves them.
  static let reserve = 3

  /// `wanted`, or 1 (the calling thread, and no other) where so many cannot be had.
  static func threads(_ wanted: Int) -> Int {
    wanted == 1 || canMake(wanted + reserve) ? wanted : 1
  }

  /// Whether `count` threads can be made at the same time: by making them, and ending them again.
  static func canMake(_ count: Int) -> Bool {
    let gate = DispatchSemaphore(value: 0)
    var made: [pthread_t] = []
    while made.count < count, let thread = waiting(at: gate) { made.append(thread) }
    for _ in made { gate.signal() }
    for thread in made { pthread_join(thread, nil) }
    return made.count == count
  }

  /// A thread that waits at the gate and ends; nil where there is none to be had.
  private static func waiting(at gate: DispatchSemaphore) -> pthread_t? {
    #if canImport(Darwin)
      var thread: pthread_t?
    #else
      var thread = pthread_t()
    #endif
    let held = Unmanaged.passRetained(gate)
    let code = pthread_create(
      &thread, nil,
      { raw in
        #if canImport(Darwin)
          let held = Unmanaged<DispatchSemaphore>.fromOpaque(raw)
        #else
          guard let raw else { return nil }
          let held = Unmanaged<DispatchSemaphore>.fromOpaque(raw)
        #endif
        held.takeRetainedValue().wait()
        return nil
      }, held.toOpaque())
    guard code == 0 else {
      held.release()
      return nil
    }
    return thread
  }
}
