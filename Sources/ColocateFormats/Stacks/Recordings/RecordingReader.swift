import ColocateModel
import Foundation

/// What a stack recorded: which experts each token used, or only how many tokens each expert had.
public enum Recording: Sendable {
  case routing(any TraceSource)
  case loads(ExpertLoads)
}

/// How a recording is to be understood, where it does not say.
public struct RecordingReading: Hashable, Sendable {
  /// What the files are; nil recognises them by their content.
  public var format: TraceFormat?
  /// All layers of the model, `H`; needed where neither the recording nor its ids tell how many of
  /// a token's ids are one layer's.
  public var hiddenLayers: Int?
  /// Experts per token and layer, `k`, likewise.
  public var choices: Int?

  public init() {}
}

/// Recognises and opens recordings of serving stacks by their content, or takes them for what the
/// user says that they are: SGLang's and vLLM's responses, SGLang's recorder, TensorRT-LLM's
/// statistics; files, several files, folders.
public enum RecordingReader {
  /// The recording in a file or a folder; nil where it is something else (a `.npy`, counts, a
  /// plan).
  /// - Throws: `FormatError` where it is a recording, but damaged, or not of the format named.
  public static func open(
    _ path: String, _ reading: RecordingReading = .init()
  ) throws(FormatError) -> Recording? {
    var status = stat()
    if stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR {
      return try folder(path, reading)
    }
    return try file(try PositionedFile(path), reading)
  }

  /// The loads in a file or a folder that has loads alone; nil where it is anything else, damaged
  /// or not: then its own reader says so.
  public static func loads(
    _ path: String, _ reading: RecordingReading = .init()
  ) -> ExpertLoads? {
    var status = stat()
    guard stat(path, &status) == 0 else { return nil }
    if status.st_mode & S_IFMT != S_IFDIR {
      // Of files only PyTorch's have loads alone.
      guard status.st_mode & S_IFMT == S_IFREG, let file = try? PositionedFile(path),
        let head = try? file.bytes(0..<min(4, file.size)), ZipArchive.starts(head)
      else { return nil }
    }
    guard case .loads(let loads)? = try? open(path, reading) else { return nil }
    return loads
  }

  /// Several recordings of one model as one, in their order.
  /// - Throws: `FormatError` where they differ in their layers, in k, or in what they hold.
  public static func joined(
    _ parts: [Recording], name: String
  ) throws(FormatError) -> Recording? {
    guard parts.count > 1 else { return parts.first }
    var (sources, loads) = ([any TraceSource](), [ExpertLoads]())
    for part in parts {
      switch part {
      case .routing(let source): sources.append(source)
      case .loads(let part): loads.append(part)
      }
    }
    guard sources.isEmpty || loads.isEmpty else {
      throw FormatError(
        loads[0].name,
        "\(ExpertLoads.sayLittle); others beside it, as \(sources[0].name), hold "
          + "ids: expected one kind")
    }
    if sources.isEmpty { return .loads(try ExpertLoads.sum(loads, name: name)) }
    return .routing(try JoinedSources(sources, name: name))
  }

  static func file(
    _ file: PositionedFile, _ reading: RecordingReading
  ) throws(FormatError) -> Recording? {
    switch reading.format {
    case nil: return try recognised(file, reading)
    case .npy, .npz, .safetensors: return nil
    case .vllm: return .routing(try responses(file, reading, of: .vLLM))
    case .sglang: return .routing(try responses(file, reading, of: .sglang))
    case .sglangRecorder:
      guard let torch = try TorchFile(file, try ZipArchive(file)) else {
        throw FormatError(file.path, "an archive without data.pkl: no PyTorch file")
      }
      return try recorder(torch)
    case .tensorRTLLM:
      throw FormatError(file.path, "a file, expected a folder of TensorRT-LLM's statistics")
    }
  }

  /// What the first bytes say.
  private static func recognised(
    _ file: PositionedFile, _ reading: RecordingReading
  ) throws(FormatError) -> Recording? {
    let head = try file.bytes(0..<min(64, file.size))
    if ZipArchive.starts(head) {
      return try TorchFile(file, try ZipArchive(file)).map { torch throws(FormatError) in
        try recorder(torch)
      }
    }
    let first = head.first { $0 > 0x20 }
    guard first == UInt8(ascii: "{") || first == UInt8(ascii: "["), RoutedResponses.starts(file)
    else { return nil }
    return .routing(try responses(file, reading, of: nil))
  }

  private static func recorder(_ torch: TorchFile) throws(FormatError) -> Recording {
    if let recording = try SGLangRecording.read(torch) { return recording }
    throw FormatError(
      torch.path, "a PyTorch file without 'records' or 'logical_count': no recording of SGLang's")
  }

  private static func responses(
    _ file: PositionedFile, _ reading: RecordingReading, of engine: RoutedResponses.Engine?
  ) throws(FormatError) -> RoutedResponses {
    try RoutedResponses(
      file, of: engine, hiddenLayers: reading.hiddenLayers, choices: reading.choices)
  }

  /// The endings of files that are looked at in folders where no format is named.
  private static let endings = [".pt", ".json", ".jsonl"]

  private static func folder(
    _ path: String, _ reading: RecordingReading
  ) throws(FormatError) -> Recording? {
    guard let names = try? FileManager.default.contentsOfDirectory(atPath: path).sorted() else {
      throw FormatError(path, "the folder cannot be read")
    }
    let format = reading.format
    if format == .tensorRTLLM || format == nil && TensorRTStatistics.isNamed(by: names) {
      return try TensorRTStatistics.read(path, names)
    }
    let endings = format?.endings ?? endings
    if let format, endings.isEmpty {
      throw FormatError(path, "a folder, expected a file (--from \(format.rawValue))")
    }
    let files = names.filter { name in
      !name.hasPrefix(".") && endings.contains { name.hasSuffix($0) }
    }
    guard !files.isEmpty else {
      throw FormatError(
        path,
        "a folder without recordings, expected files that end in "
          + endings.joined(separator: ", ")
          + (format == nil ? ", or \(names.isEmpty ? "any" : "TensorRT-LLM's")" : ""))
    }
    var parts = [Recording]()
    for name in files {
      let place = path + "/" + name
      guard let part = try file(try PositionedFile(place), reading) else {
        throw FormatError(place, "no recording, expected only such in a folder")
      }
      parts.append(part)
    }
    return try joined(parts, name: path)
  }
}

/// Recordings of one model, one after the other.
struct JoinedSources: TraceSource {
  let name: String
  let layers: Int
  let choices: Int
  let isBestFirst: Bool
  private let parts: [any TraceSource]

  init(_ parts: [any TraceSource], name: String) throws(FormatError) {
    self.name = name
    self.parts = parts
    layers = parts.first?.layers ?? 0
    choices = parts.first?.choices ?? 0
    isBestFirst = parts.allSatisfy(\.isBestFirst)
    for part in parts where part.layers != layers || part.choices != choices {
      throw FormatError(
        part.name,
        "\(part.layers) layers of \(part.choices) experts, expected \(layers) of "
          + "\(choices) as in \(parts[0].name)")
    }
  }

  func stream(
    _ body: (UnsafeBufferPointer<Int32>) throws(FormatError) -> Void
  ) throws(FormatError) {
    for part in parts { try part.stream(body) }
  }
}
