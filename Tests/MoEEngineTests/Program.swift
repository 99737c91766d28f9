import Colocate
import Foundation
import MoEEngine
import Testing

/// `colocate-engine` as a process.
enum Program {
  struct Result {
    let code: Int32
    let output: String
    let errors: String
  }

  /// The program is built next to the tests.
  static let path: String = {
    let tests = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
    var folder = URL(fileURLWithPath: tests).deletingLastPathComponent()
    // The tests' own executable, or a helper of the toolchain that has loaded them.
    if !FileManager.default.fileExists(
      atPath: folder.appendingPathComponent("colocate-engine").path)
    {
      let argument =
        CommandLine.arguments.first { $0.hasSuffix(".xctest") } ?? CommandLine.arguments[0]
      folder = URL(fileURLWithPath: argument).deletingLastPathComponent()
    }
    return folder.appendingPathComponent("colocate-engine").path
  }()

  /// - Parameter exports: environment variables of the ranks alone, not of `mpirun`.
  static func run(
    _ ranks: Int, _ arguments: [String], exports: [String: String] = [:]
  ) throws -> Result {
    try start(ranks, arguments, exports: exports).finish()
  }

  /// A line of shell; `$0`, `$1`, … are the arguments.
  static func shell(_ line: String, _ arguments: String...) throws -> Result {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/bin/bash")
    process.arguments = ["-c", line] + arguments
    return try Job(process).finish()
  }

  static func start(
    _ ranks: Int, _ arguments: [String], exports: [String: String] = [:]
  ) throws -> Job {
    let process = Process()
    if ranks == 1 {
      process.executableURL = URL(fileURLWithPath: path)
      process.arguments = arguments
    } else {
      process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
      process.arguments =
        ["mpirun", "--oversubscribe", "-n", "\(ranks)"]
        + exports.sorted { $0.key < $1.key }.flatMap { ["-x", "\($0.key)=\($0.value)"] }
        + [path] + arguments
    }
    var environment = ProcessInfo.processInfo.environment
    // Open MPI refuses to start jobs for root (containers) without these.
    environment["OMPI_ALLOW_RUN_AS_ROOT"] = "1"
    environment["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"
    process.environment = environment
    return try Job(process)
  }

  /// A running job; its output goes to files, so that no pipe fills up.
  final class Job {
    private let process: Process
    private let scratch: Scratch

    fileprivate init(_ process: Process) throws {
      self.process = process
      scratch = try Scratch()
      for name in ["out", "err"] {
        try Data().write(to: URL(fileURLWithPath: scratch.path(name)))
      }
      process.standardOutput = FileHandle(forWritingAtPath: scratch.path("out"))
      process.standardError = FileHandle(forWritingAtPath: scratch.path("err"))
      process.standardInput = FileHandle.nullDevice
      try process.run()
    }

    func finish() -> Result {
      process.waitUntilExit()
      func text(_ name: String) -> String {
        String(
          decoding: FileManager.default.contents(atPath: scratch.path(name)) ?? Data(),
          as: UTF8.self)
      }
      return Result(code: process.terminationStatus, output: text("out"), errors: text("err"))
    }

    /// The process id of a rank of this job that has been computing for a moment.
    func waitForRank() -> pid_t? {
      for _ in 0..<600 {
        let all = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        for id in all.compactMap({ pid_t($0) }) where id != process.processIdentifier {
          guard let status = try? String(contentsOfFile: "/proc/\(id)/stat", encoding: .utf8),
            let fields = status.split(separator: ")").last?.split(separator: " "),
            fields.count > 12,
            pid_t(fields[1]) == process.processIdentifier, let ticks = Int(fields[11]), ticks >= 30
          else { continue }
          return id
        }
        usleep(50_000)
      }
      return nil
    }
  }
}

/// A folder that goes away with the object.
final class Scratch {
  let folder: URL

  init() throws {
    folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(at: folder) }

  func path(_ name: String) -> String { folder.appendingPathComponent(name).path }

  /// Writes a plan that shuffles each layer's experts.
  func randomPlan(_ name: String, ranks: Int, seed: UInt64) throws -> String {
    let config = try ModelConfig(folder: Fixture.checkpoint(name))
    var generator = SeededGenerator(seed: seed)
    let each = config.experts / ranks
    let layers = (0..<config.layers).map { _ in
      (0..<config.experts).map { $0 / each }.shuffled(using: &generator)
    }
    let plan: [String: Any] = [
      "format": "colocate-plan", "version": 1, "layers": config.layers, "experts": config.experts,
      "topology": ["nodes": 1, "gpus_per_node": ranks], "assignment": layers,
    ]
    let path = path("\(name).\(ranks).json")
    try JSONSerialization.data(withJSONObject: plan).write(to: URL(fileURLWithPath: path))
    return path
  }
}
