import Foundation
import Testing

/// The built program, run as its users run it.
final class CommandRunner {
  /// What a run left behind.
  struct Result {
    let code: Int32
    let output: String
    let errors: String
    /// `output` as a JSON object.
    func json() throws -> [String: Any] {
      try #require(
        try JSONSerialization.jsonObject(with: Data(output.utf8)) as? [String: Any])
    }
  }

  /// A folder of its own, removed at the end.
  let folder: String
  /// The repository's instances.
  static let instances = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("instances")
    .path

  init() throws {
    let url = FileManager.default.temporaryDirectory.appendingPathComponent(
      "colocate-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    folder = url.path
  }

  deinit { try? FileManager.default.removeItem(atPath: folder) }

  func file(_ name: String) -> String { folder + "/" + name }
  func instance(_ name: String) -> String { Self.instances + "/" + name }
  func write(_ bytes: [UInt8], _ name: String) throws -> String {
    try Data(bytes).write(to: URL(fileURLWithPath: file(name)))
    return file(name)
  }

  /// A `.npy` file of bytes.
  func npy(_ shape: String, _ data: [UInt8], type: String = "|u1", name: String = "t.npy") throws
    -> String
  {
    var text = "{'descr': '\(type)', 'fortran_order': False, 'shape': \(shape), }"
    while (10 + text.utf8.count + 1) % 64 != 0 { text += " " }
    text += "\n"
    let length = [UInt8(text.utf8.count & 0xFF), UInt8(text.utf8.count >> 8)]
    return try write(
      [0x93] + Array("NUMPY".utf8) + [1, 0] + length + Array(text.utf8) + data, name)
  }

  /// Beside the test bundle.
  static let program: URL = {
    let bundle = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
    for folder in [bundle.deletingLastPathComponent(), Bundle.main.bundleURL] {
      let candidate = folder.appendingPathComponent("colocate")
      if FileManager.default.isExecutableFile(atPath: candidate.path) { return candidate }
    }
    return Bundle.main.bundleURL.appendingPathComponent("colocate")
  }()

  /// - Parameters:
  ///   - environment: variables beside those of the tests.
  ///   - interrupt: seconds after which a signal is sent, and which.
  func run(
    _ arguments: [String], environment: [String: String] = [:], interrupt: Double? = nil,
    signal: Int32 = SIGINT
  ) throws -> Result {
    let process = Process()
    process.executableURL = Self.program
    process.arguments = arguments
    process.currentDirectoryURL = URL(fileURLWithPath: folder)
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    return try run(process, interrupt: interrupt, signal: signal)
  }

  private func run(
    _ process: Process, interrupt: Double? = nil, signal: Int32 = SIGINT
  ) throws -> Result {
    let names = [UUID().uuidString, UUID().uuidString].map { NSTemporaryDirectory() + "/" + $0 }
    defer { for name in names { try? FileManager.default.removeItem(atPath: name) } }
    for name in names { try Data().write(to: URL(fileURLWithPath: name)) }
    let handles = try names.map { try FileHandle(forWritingTo: URL(fileURLWithPath: $0)) }
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = handles[0]
    process.standardError = handles[1]
    try process.run()
    if let interrupt {
      Thread.sleep(forTimeInterval: interrupt)
      kill(process.processIdentifier, signal)
    }
    process.waitUntilExit()
    let texts = try names.map { try String(contentsOfFile: $0, encoding: .utf8) }
    return Result(
      code: process.terminationReason == .exit
        ? process.terminationStatus : -process.terminationStatus,
      output: texts[0], errors: texts[1])
  }

  /// A line of shell, in which `colocate` is the built program: for what `Process` cannot do to
  /// standard output and error, and for signals.
  func shell(_ script: String) throws -> Result {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/bin/sh")
    process.arguments = ["-c", "colocate() { '\(Self.program.path)' \"$@\"; }\n" + script]
    process.currentDirectoryURL = URL(fileURLWithPath: folder)
    return try run(process)
  }

  /// Hidden files in the folder.
  var leftovers: [String] {
    get throws {
      try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.hasPrefix(".") }
    }
  }

  /// Runs, and checks that it fails with exit code 2 and one line that says `reason`.
  func refuses(
    _ arguments: [String], _ reason: String, code: Int32 = 2,
    at location: SourceLocation = #_sourceLocation
  ) throws {
    let result = try run(arguments)
    #expect(result.code == code, "\(arguments): \(result.errors)", sourceLocation: location)
    let lines = result.errors.split(separator: "\n", omittingEmptySubsequences: false)
    #expect(
      lines.count == 2 && lines[0].hasPrefix("colocate: error: ") && lines[1].isEmpty,
      "\(arguments): \(result.errors)", sourceLocation: location)
    #expect(result.errors.contains(reason), "\(result.errors)", sourceLocation: location)
    #expect(result.output.isEmpty, sourceLocation: location)
  }
}
