import Foundation

/// What memory a run may take, asked before it is taken: the kernel hands out more than it has and
/// then ends a process without a word.
extension Memory {
  /// Refuses work that cannot fit.
  /// - Parameters:
  ///   - bytes: at least needed by each of `processes` processes that share this machine.
  ///   - purpose: what for.
  /// - Throws: `EngineError` with the need, what there is and what sets the limit.
  static func check(
    _ bytes: Double, processes: Int = 1, for purpose: String
  ) throws(EngineError) {
    for (limit, share, name) in limits(processes: processes) where bytes * share > limit {
      throw EngineError(
        "no memory for \(purpose): needs at least \(text(bytes * share))"
          + (share > 1 ? " for the \(processes) ranks here" : "")
          + ", \(text(limit)) are left (\(name))")
    }
  }

  /// Bytes that are left under each limit, and how many processes it counts.
  private static func limits(processes: Int) -> [(Double, Double, String)] {
    var limits: [(Double, Double, String)] = []
    var space = rlimit()
    if getrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &space) == 0, space.rlim_cur != rlim_t.max
    {
      let used = number(in: "/proc/self/statm", after: nil) ?? 0
      let left = Double(space.rlim_cur) - used * Double(sysconf(Int32(_SC_PAGESIZE)))
      limits.append((left, 1, "ulimit -v"))
    }
    if let free = number(in: "/proc/meminfo", after: "MemAvailable:") {
      let swap = number(in: "/proc/meminfo", after: "SwapFree:") ?? 0
      limits.append(((free + swap) * 1024, Double(processes), "this machine"))
    }
    if let most = number(in: "/sys/fs/cgroup/memory.max", after: nil) {
      let used = number(in: "/sys/fs/cgroup/memory.stat", after: "anon") ?? 0
      limits.append((most - used, Double(processes), "the container's limit"))
    }
    return limits
  }

  /// The first number of a file of the kernel's, or the one that follows a name at a line's start.
  private static func number(in path: String, after name: String?) -> Double? {
    guard let text = try? String(contentsOfFile: path, encoding: .utf8) else { return nil }
    for line in text.split(separator: "\n") {
      let words = line.split(separator: " ")
      guard let name else { return words.first.flatMap { Double($0) } }
      if words.count > 1, words[0] == name { return Double(words[1]) }
    }
    return nil
  }

  private static func text(_ bytes: Double) -> String {
    let gibibytes = max(bytes, 0) / Double(1 << 30)
    return gibibytes >= 1
      ? String(format: "%.1f GiB", gibibytes) : String(format: "%.0f MiB", gibibytes * 1024)
  }
}
