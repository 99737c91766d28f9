import Foundation

/// What a file that is not what was expected seems to be, and the way out: people hold archives,
/// tables and compressed files where a plain array is needed.
struct Container {
  /// What it is, with the usual ending of its name.
  let name: String
  /// What to do.
  let remedy: String
  /// Whether it is one JSON document.
  let isJSON: Bool
  /// Whether it is JSON, or lines of it, and none of this tool's own files.
  let mayBeResponses: Bool

  /// The first bytes tell.
  /// - Parameters:
  ///   - head: the first bytes of the file (`PositionedFile.head`).
  ///   - path: the file as it was named, for the remedy.
  /// - Returns: nil where they are nothing that is known here.
  init?(_ head: [UInt8], file path: String) {
    if head.isEmpty {
      self.init("an empty file", "was it written to the end?")
      return
    }
    if let archive = Self.zip(head, path) {
      self = archive
      return
    }
    for (magic, name, remedy) in Self.magics where head.starts(with: magic) {
      self.init(name, remedy.replacingOccurrences(of: "FILE", with: path))
      return
    }
    if head.count > 262, head[257..<262].elementsEqual("ustar".utf8) {
      self.init("a tar archive (.tar)", "tar -xf \(path) takes the files out")
      return
    }
    guard let text = Self.text(head, path) else { return nil }
    self = text
  }

  private init(
    _ name: String, _ remedy: String, isJSON: Bool = false, mayBeResponses: Bool = false
  ) {
    self.name = name
    self.remedy = remedy
    self.isJSON = isJSON
    self.mayBeResponses = mayBeResponses
  }

  /// The error of a file that is this instead of what was expected.
  func error(_ file: String, expected: String) -> FormatError {
    FormatError(file, "\(name), expected \(expected): \(remedy)")
  }

  private static let decompress = "decompress it first, "
  private static let save = "numpy.save('t.npy', numpy.asarray("

  /// Leading bytes, what they mean, the way out.
  private static let magics: [([UInt8], String, String)] = [
    (
      [0x93, 0x4E, 0x55, 0x4D, 0x50, 0x59], "a numpy array (.npy)",
      "give it where a trace is asked for"
    ),
    ([0x1F, 0x8B], "compressed by gzip (.gz)", decompress + "gzip -dk FILE"),
    ([0x28, 0xB5, 0x2F, 0xFD], "compressed by zstd (.zst)", decompress + "zstd -dk FILE"),
    ([0xFD, 0x37, 0x7A, 0x58, 0x5A], "compressed by xz (.xz)", decompress + "xz -dk FILE"),
    ([0x42, 0x5A, 0x68], "compressed by bzip2 (.bz2)", decompress + "bzip2 -dk FILE"),
    ([0x04, 0x22, 0x4D, 0x18], "compressed by lz4 (.lz4)", decompress + "lz4 -d FILE"),
    (
      [0x37, 0x7A, 0xBC, 0xAF], "a 7-Zip archive (.7z)", "7z x FILE takes the files out"
    ),
    (
      [0x89, 0x48, 0x44, 0x46], "an HDF5 file (.h5)",
      "in Python, \(save)h5py.File('FILE')[DATASET]))"
    ),
    (
      Array("PAR1".utf8), "a Parquet table (.parquet)",
      "in Python, \(save)pandas.read_parquet('FILE')[COLUMNS])), one row a token"
    ),
    (
      Array("ARROW1".utf8), "an Arrow table (.arrow, .feather)",
      "in Python, \(save)pandas.read_feather('FILE')[COLUMNS])), one row a token"
    ),
    (Array("GGUF".utf8), "a GGUF model (.gguf)", "a trace of its routing is needed, not the model"),
    (
      Array("version https://git-lfs".utf8), "a Git LFS pointer, not the file itself",
      "git lfs pull fetches it"
    ),
    ([0x80, 0x02], pickle, unpickle), ([0x80, 0x03], pickle, unpickle),
    ([0x80, 0x04], pickle, unpickle), ([0x80, 0x05], pickle, unpickle),
  ]
  private static let pickle = "a Python pickle (.pkl, or an old .pt)"
  private static let unpickle =
    "in Python, \(save)pickle.load(open('FILE', 'rb')))), or torch.load for a .pt"

  /// A zip archive: numpy's, PyTorch's, or another. The name of the first member tells.
  private static func zip(_ head: [UInt8], _ path: String) -> Container? {
    guard
      head.starts(with: [0x50, 0x4B, 0x03, 0x04]) || head.starts(with: [0x50, 0x4B, 0x05, 0x06])
    else { return nil }
    let length = head.count > 30 ? Int(head[26]) | (Int(head[27]) << 8) : 0
    let member = String(decoding: head.dropFirst(30).prefix(length), as: UTF8.self)
    if member.hasSuffix(".npy") {
      return Container(
        "a zip of numpy arrays (.npz)",
        "in Python, numpy.save('t.npy', numpy.load('\(path)')['\(member.dropLast(4))'])")
    }
    if member.hasSuffix("data.pkl") || member.contains("/byteorder") || member.contains(".format") {
      return Container(
        "a PyTorch file (.pt)",
        "in Python, x = torch.load('\(path)'), then numpy.save('t.npy', THE TENSOR.numpy())")
    }
    return Container("a zip archive (.zip)", "unzip \(path) takes the files out")
  }

  /// Text: JSON, its lines, a table, a page.
  private static func text(_ head: [UInt8], _ path: String) -> Container? {
    guard !head.contains(where: { $0 < 0x09 || (0x0E..<0x20).contains($0) }) else { return nil }
    // The last character may be cut.
    let whole = (0..<4).lazy.compactMap { String(validating: head.dropLast($0), as: UTF8.self) }
    guard let text = whole.first, head.count >= 4 else { return nil }
    let start = text.drop { $0.isWhitespace || $0 == "\u{FEFF}" }
    if start.hasPrefix("<") {
      return Container("a page of HTML or XML", "was the download refused?")
    }
    if start.hasPrefix("{") || start.hasPrefix("[") {
      return json(start, path)
    }
    let lines = start.split(separator: "\n", maxSplits: 2, omittingEmptySubsequences: true)
    guard let first = lines.first else { return nil }
    for (separator, name) in [(",", "a CSV table (.csv)"), ("\t", "a TSV table (.tsv)")]
    where first.contains(separator) {
      let title = String(first.prefix(40)).trimmingCharacters(in: .whitespaces)
      if first.hasPrefix(ExFlowCSV.header) {
        return Container(
          "a plan (.csv, ExFlow's table)",
          "give it where a plan is asked for, by a name that ends in .csv")
      }
      return Container(
        "\(name), first line '\(title)'",
        "a trace is [tokens, layers] ids, one row a token: in Python, numpy.save('t.npy', "
          + "numpy.loadtxt('\(path)', int, delimiter='\(separator == "\t" ? "\\t" : separator)', "
          + "skiprows=1)); counts by layer and expert alone do not say which expert follows which")
    }
    return Container(
      "text", "in Python, numpy.save('t.npy', numpy.loadtxt('\(path)', int)), one row a token")
  }

  private static func json(_ start: Substring, _ path: String) -> Container {
    for (format, name) in [
      (PlanFile.formatName, "a plan (.json)"),
      (CertificateFile.formatName, "a certificate (.json)"),
    ] where start.prefix(200).contains("\"\(format)\"") {
      return Container(
        name, "give it where \(name.prefix { $0 != "(" })is asked for", isJSON: true)
    }
    let first = start.prefix { $0 != "\n" }
    let rest = start.dropFirst(first.count).drop { $0.isWhitespace }
    let isLines = first.hasPrefix("{") && rest.hasPrefix("{")
    return Container(
      isLines ? "JSON lines (.jsonl)" : "a JSON text (.json)",
      "in Python, numpy.save('t.npy', numpy.asarray(IDS, 'int32')) with the ids taken from "
        + (isLines
          ? "[json.loads(line) for line in open('\(path)')]"
          : "json.load(open('\(path)'))"),
      isJSON: !isLines, mayBeResponses: true)
  }
}
