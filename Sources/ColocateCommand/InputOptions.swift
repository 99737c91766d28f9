import ArgumentParser
import Colocate
import ColocateFormats
import Dispatch

extension TraceFile.Kind: ExpressibleByArgument {}
extension TopKCounting: ExpressibleByArgument {}
extension TraceFormat: ExpressibleByArgument {}

/// How traces and counts are read; the same for all subcommands.
struct ReadingOptions: ParsableArguments {
  @Option(
    name: .customLong("as"),
    help: ArgumentHelp(
      "Read files as a trace or as counts. Without it the entries decide where three axes, the "
        + "last two alike, can be either.",
      valueName: "trace|counts"))
  var kind: TraceFile.Kind?

  @Option(
    help: ArgumentHelp(
      "The format of all traces of the command, where their content does not tell.",
      valueName: "FORMAT"))
  var from: TraceFormat?

  @Option(
    help: ArgumentHelp(
      "With several experts per token: count all pairs of a token's experts in neighbouring "
        + "layers, or its first experts only.",
      valueName: "pairs|first"))
  var topK: TopKCounting?

  @Option(
    help: ArgumentHelp("Experts per layer. Without it a trace's largest id + 1.", valueName: "E"))
  var experts: Int?

  @Option(
    help: ArgumentHelp(
      "The trace's layers that are MoE layers, e.g. 1,3,5-7; the others are left out. Without it "
        + "all layers where a token has an expert.",
      valueName: "LIST"))
  var moeLayers: LayerList?

  @Option(
    help: ArgumentHelp(
      "All layers of the model, where a recording's ids do not tell (SGLang's responses).",
      valueName: "H"))
  var hiddenLayers: Int?

  @Flag(
    inversion: .prefixedNo,
    help: ArgumentHelp(
      "Also count which experts a token uses together in a layer, and reward keeping those on one "
        + "GPU (top-k traces)."))
  var coactivation: Bool?

  @Option(
    help: ArgumentHelp(
      "Which sequence each token belongs to: an array [tokens] for each trace, in their order "
        + "(.npy). A .safetensors trace may hold its own as 'sequences'.",
      valueName: "FILE"))
  var sequences: [String] = []

  /// How several experts per token are counted: all pairs, where nothing else is said.
  var counting: TopKCounting { topK ?? .pairs }

  /// The options as the reader takes them.
  var understanding: TraceFile.Reading {
    var reading = TraceFile.Reading()
    reading.kind = kind
    reading.counting = counting
    reading.experts = experts
    reading.coactivation = coactivation ?? false
    reading.moeLayers = moeLayers?.layers
    reading.recording.hiddenLayers = hiddenLayers
    reading.recording.format = from
    return reading
  }

  /// Reads the files and adds their counts up. What is odd about a file goes to standard error.
  /// - Parameters:
  ///   - printing: nil for subcommands that have no such options.
  ///   - sets: whether the experts that tokens use together are read too, where the files say.
  ///   - isNamed: whether `sequences` are those of these files.
  func read(
    _ paths: [String], _ printing: OutputOptions? = nil, sets: TokenSetWish = .none,
    isNamed: Bool = true
  ) throws -> TraceInput {
    if isNamed, !sequences.isEmpty, sequences.count != paths.count {
      throw CommandFailure(
        "--sequences given \(sequences.count) times, expected once for each of the "
          + "\(paths.count) traces")
    }
    var reading = understanding
    let log = ReadingLog(printing)
    let names = isNamed ? sequences : []
    func file(_ index: Int) throws -> TraceFile {
      let path = paths[index]
      var reading = reading
      reading.sequences = index < names.count ? names[index] : nil
      return try TraceFile(path, reading) { done, total in log.show(path, done, of: total) }
    }
    var files = [TraceFile]()
    for index in paths.indices {
      let read = try file(index)
      files.append(read)
      if printing?.quiet != true { Self.say(read) }
    }
    // Traces of one model may differ in the largest expert that they happen to use.
    let most = files.map(\.counts.experts).max() ?? 0
    for index in files.indices
    where files[index].counts.experts < most && files[index].expertsInferred {
      reading.experts = most
      files[index] = try file(index)
    }
    let layers = Set(files.compactMap(\.moeLayers))
    guard layers.count <= 1 else {
      throw CommandFailure(
        "\(paths.joined(separator: " + ")): different layers have experts, expected the same in "
          + "all traces (--moe-layers names them)")
    }
    guard Set(files.compactMap(\.topK)).count <= 1 else {
      throw CommandFailure(
        "\(paths.joined(separator: " + ")): some are counted with --top-k pairs, some with first, "
          + "expected one of them")
    }
    let counts = try CommandFailure.naming(paths) { () throws(ModelError) in
      try TransitionCounts.sum(files.map(\.counts))
    }
    let found =
      // With one expert a token there is nothing together.
      try sets == .none || files.contains { $0.choices == 1 }
      ? nil : TraceFile.tokenSets(of: files, keepsFollowers: sets == .followers)
    return TraceInput(files: files, counts: counts, sets: found)
  }

  static func say(_ file: TraceFile) {
    for remark in file.remarks {
      let text = FormatError(file.path, remark.text).description
      Terminal.note("colocate: \(remark.isWarning ? "warning" : "note"): \(text)")
    }
  }
}

/// What is wanted of the experts that tokens use together.
enum TokenSetWish {
  case none
  /// The sets.
  case sets
  /// And the strongest expert of the layer before, for traces whose first column it is.
  case followers
}

/// "0,2,5-7": numbers of layers.
struct LayerList: ExpressibleByArgument {
  /// Ascending, each once.
  let layers: [Int]

  init?(argument: String) {
    var layers = Set<Int>()
    for part in argument.split(separator: ",", omittingEmptySubsequences: false) {
      let ends = part.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
      guard ends.count <= 2, let first = ends.first ?? nil, let last = ends.last ?? nil,
        0 <= first, first <= last, last < 100_000
      else { return nil }
      layers.formUnion(first...last)
    }
    self.layers = layers.sorted()
  }
}

/// A line a second on standard error while a long file is read, where progress is shown at all.
final class ReadingLog {
  private let isOn: Bool
  private var last = DispatchTime.now().uptimeNanoseconds

  init(_ printing: OutputOptions?) {
    switch printing?.log ?? .auto {
    case .on: isOn = printing?.quiet != true
    case .auto: isOn = Terminal.isInteractive && printing?.quiet != true
    case .timeless, .off: isOn = false
    }
  }

  func show(_ path: String, _ done: Int, of total: Int) {
    guard isOn else { return }
    let now = DispatchTime.now().uptimeNanoseconds
    guard now - last >= 1_000_000_000 else { return }
    last = now
    let share = ProgressLog.fixed(100 * Double(done) / Double(max(1, total)), 0)
    Terminal.note("reading \(FormatError(path, "").file): \(share) %")
  }
}

/// One or more files of one model, as one set of counts.
struct TraceInput {
  let files: [TraceFile]
  let counts: TransitionCounts
  /// Which experts tokens use together; nil where that was not asked for or the files do not say.
  let sets: TokenSets?
  var paths: [String] { files.map(\.path) }
  /// How several experts a token were counted; nil where there is one, or nobody knows.
  var topK: TopKCounting? { files.lazy.compactMap(\.topK).first }
  /// For the plan.
  var traces: [PlanFile.Trace] { files.map { .init(file: $0.path, sha256: $0.sha256) } }
  /// The traces' layers that were counted, where these are not all.
  var moeLayers: [Int]? { files.lazy.compactMap(\.moeLayers).first }

  /// Names the files of a `ModelError`, and says where sizes that do not fit come from.
  func naming<Result>(
    for gpus: Int, _ body: () throws(ModelError) -> Result
  ) throws(CommandFailure) -> Result {
    try CommandFailure.naming(paths) { () throws(ModelError) in
      do throws(ModelError) {
        return try body()
      } catch {
        guard case .sizes(let text) = error else { throw error }
        throw .sizes(text + hint(gpus))
      }
    }
  }

  /// The number of experts of a trace is a guess, and its last experts may be shared ones.
  private func hint(_ gpus: Int) -> String {
    let experts = counts.experts
    guard gpus > 0, experts % gpus != 0, files.allSatisfy(\.expertsInferred) else { return "" }
    if let shared = files.lazy.compactMap(\.firstShared).first, shared % gpus == 0 {
      return " (ids from \(shared) on are in every token's row: --experts \(shared) leaves these "
        + "shared experts out)"
    }
    let next = (experts / gpus + 1) * gpus
    return " (\(experts) is the largest id seen + 1: if the model has more experts, --experts "
      + "\(next) or what it has)"
  }
}

/// The machines.
struct MachineOptions: ParsableArguments {
  @Option(help: ArgumentHelp("GPUs in all; must divide the number of experts.", valueName: "P"))
  var gpus: Int

  @Option(help: ArgumentHelp("Nodes that the GPUs are spread over.", valueName: "N"))
  var nodes: Int = 1

  func topology() throws -> Topology { try Topology(gpus: gpus, nodes: nodes) }
}

/// The load cap.
struct LoadOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "The most tokens a GPU may get in any layer, as a multiple of its even share, e.g. 1.2.",
      valueName: "RATIO"))
  var maxLoad: Double?

  @Flag(
    help: ArgumentHelp(
      "Where a layer cannot meet --max-load (one busy expert can be enough), use the smallest cap "
        + "that this layer can meet."))
  var relaxMaxLoad = false

  func loadCap() throws -> LoadCap? {
    guard let maxLoad else {
      guard !relaxMaxLoad else {
        throw CommandFailure("--relax-max-load without --max-load: expected both")
      }
      return nil
    }
    return try LoadCap(maxLoad, relaxedToFeasible: relaxMaxLoad)
  }
}

/// What to minimise.
enum ObjectiveName: String, ExpressibleByArgument, CaseIterable {
  case flat, staged, joint, nodes, rows
}

/// What an engine sends, which is what is counted.
enum ModeName: String, ExpressibleByArgument, CaseIterable {
  /// Every token to the GPUs of its experts and back, layer by layer: destinations.
  case home
  /// A token from expert to expert: crossings.
  case coherent
}

/// The weights of the joint objective.
struct JointOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Cost of a token that changes nodes, in the joint objective; a staged plan is compared with "
        + "it.",
      valueName: "W"))
  var interNode: Int = 8

  @Option(
    help: ArgumentHelp(
      "Cost of a token that changes GPUs inside a node, likewise.", valueName: "W"))
  var intraNode: Int = 1

  /// - Parameter name: one that counts crossings.
  func objective(_ name: ObjectiveName) -> Objective {
    switch name {
    case .flat, .nodes, .rows: return .flat
    case .staged: return .staged
    case .joint: return .joint(interNode: interNode, intraNode: intraNode)
    }
  }

  /// What home mode minimises under that name.
  func destinations(_ name: ObjectiveName) -> DestinationObjective {
    switch name {
    case .flat, .rows: return .gpus
    case .nodes: return .nodes
    case .staged: return .staged
    case .joint: return .joint(interNode: interNode, intraNode: intraNode)
    }
  }
}
