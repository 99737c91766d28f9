import ColocateModel
import Foundation

/// Recordings, archives and standard input as the reader of traces takes them: one file with the
/// bytes to digest, and, where it is no `.npy` or safetensors file itself, the array in it.
enum RecordedTrace {
  struct Opened {
    /// What is digested; of a folder the ids of all that is in it.
    let file: PositionedFile
    /// nil where the file is none of these.
    var content: TraceContent?
    /// Whether it is a stack's recording, which need not be asked whether it is a trace.
    var isRecording = false
  }

  /// Opens what is at `path`: a file, a folder, or standard input (`-`).
  /// - Throws: `FormatError` where it is damaged, holds loads alone, or is not what it is named.
  static func open(
    _ path: String, _ reading: TraceFile.Reading
  ) throws(FormatError) -> Opened {
    var status = stat()
    if path != "-", stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR {
      guard let recording = try RecordingReader.open(path, reading.recording) else {
        throw FormatError(path, "a folder without recordings")
      }
      return try content(recording, reading, file: nil)
    }
    let file = try path == "-" ? SpoolFile.standardInput() : PositionedFile(path)
    if reading.recording.format == .npz {
      guard let numpy = try NumpyArchive(try ZipArchive(file), file) else {
        throw FormatError(path, "an archive without arrays (.npy), expected a .npz")
      }
      return Opened(file: file, content: try numpy.content(reading))
    }
    let head = try file.head(64)
    if reading.recording.format == nil, ZipArchive.starts(head) {
      // What is no whole archive, or holds something else, is named by the reader of traces.
      guard let archive = try? ZipArchive(file) else { return Opened(file: file) }
      if let numpy = try NumpyArchive(archive, file) {
        return Opened(file: file, content: try numpy.content(reading))
      }
    }
    guard let recording = try RecordingReader.file(file, reading.recording) else {
      return Opened(file: file)
    }
    return try content(recording, reading, file: file)
  }

  private static func content(
    _ recording: Recording, _ reading: TraceFile.Reading, file: PositionedFile?
  ) throws(FormatError) -> Opened {
    switch recording {
    case .loads(let loads): throw FormatError(loads.name, ExpertLoads.sayLittle)
    case .routing(let source):
      guard reading.kind ?? .trace == .trace else {
        throw FormatError(source.name, "holds a recording's ids, read as counts")
      }
      guard reading.counting == .pairs || source.isBestFirst || source.choices == 1 else {
        throw FormatError(
          source.name,
          "--top-k first: this recording does not keep a token's best expert first, expected pairs")
      }
      let spool = try source.spooled()
      let remark = Remark.note(
        "a recording: \(source.layers) layers, \(source.choices) experts a token")
      return Opened(
        file: file ?? spool.file, content: TraceContent(.trace, spool.array, remarks: [remark]),
        isRecording: true)
    }
  }
}

/// A `.npz`, a zip archive of `.npy` arrays: `trace`, or `counts` with `loads` and `coactivation`
/// beside them; a single array may have any name.
private struct NumpyArchive {
  private let archive: ZipArchive
  private let file: PositionedFile
  private let members: [String: ZipArchive.Member]

  /// - Returns: nil where the archive has no `.npy` member.
  init?(_ archive: ZipArchive, _ file: PositionedFile) throws(FormatError) {
    var members = [String: ZipArchive.Member]()
    for member in archive.members where member.name.hasSuffix(".npy") {
      members[String(member.name.dropLast(4))] = member
    }
    guard !members.isEmpty else { return nil }
    (self.archive, self.file, self.members) = (archive, file, members)
  }

  func content(_ reading: TraceFile.Reading) throws(FormatError) -> TraceContent {
    let found = TraceFile.Kind.allCases.filter { members[$0.rawValue] != nil }
    if found.isEmpty, members.count == 1, let only = members.keys.first, let array = try array(only)
    {
      return try TraceContent.of(array, reading)
    }
    guard found.count == 1, let kind = found.first, let main = try array(kind.rawValue) else {
      let listed = members.keys.sorted().prefix(4).map { "'\($0)'" }.joined(separator: ", ")
      throw FormatError(
        file.path,
        "\(found.count) of the arrays 'trace' and 'counts', expected 1: it holds "
          + listed + (members.count > 4 ? ", …" : ""))
    }
    if let wanted = reading.kind, wanted != kind {
      throw FormatError(file.path, "holds '\(kind.rawValue)', read as \(wanted.rawValue)")
    }
    guard kind == .counts else { return TraceContent(.trace, main) }
    return TraceContent(
      .counts, main, loads: try array("loads"), coactivation: try array("coactivation"))
  }

  /// An array, taken out of the archive; nil where there is none of the name.
  private func array(_ name: String) throws(FormatError) -> IntegerArray? {
    guard let member = members[name] else { return nil }
    let spool = try SpoolFile(for: file.path)
    try archive.copy(member, to: spool)
    return try IntegerArray(npy: try spool.file())
  }
}
