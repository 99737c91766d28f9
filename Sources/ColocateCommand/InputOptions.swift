import ArgumentParser
import Colocate
import ColocateFormats

extension TraceFile.Kind: ExpressibleByArgument {}
extension TopKCounting: ExpressibleByArgument {}

/// How traces and counts are read; the same for all subcommands.
struct ReadingOptions: ParsableArguments {
  @Option(
    name: .customLong("as"),
    help: ArgumentHelp(
      "Read files as a trace or as counts. Without it three axes, the last two alike, are counts.",
      valueName: "trace|counts"))
  var kind: TraceFile.Kind?

  @Option(
    help: ArgumentHelp(
      "With several experts per token: count all pairs of a token's experts in neighbouring layers, or its first experts only.",
      valueName: "pairs|first"))
  var topK: TopKCounting = .pairs

  @Option(
    help: ArgumentHelp("Experts per layer. Without it a trace's largest id + 1.", valueName: "E"))
  var experts: Int?

  @Flag(
    help:
      "Also count which experts a token uses together in a layer, and reward keeping those on one GPU (top-k traces)."
  )
  var coactivation = false

  /// Reads the files and adds their counts up.
  func read(_ paths: [String]) throws -> TraceInput {
    var reading = TraceFile.Reading()
    reading.kind = kind
    reading.counting = topK
    reading.experts = experts
    reading.coactivation = coactivation
    var files = [TraceFile]()
    for path in paths { files.append(try TraceFile(path, reading)) }
    // Traces of one model may differ in the largest expert that they happen to use.
    let most = files.map(\.counts.experts).max()!
    for (index, file) in files.enumerated() where file.counts.experts < most && file.expertsInferred
    {
      reading.experts = most
      files[index] = try TraceFile(file.path, reading)
    }
    let counts = try CommandFailure.naming(paths) { () throws(ModelError) in
      try TransitionCounts.sum(files.map(\.counts))
    }
    return TraceInput(files: files, counts: counts)
  }
}

/// One or more files of one model, as one set of counts.
struct TraceInput {
  let files: [TraceFile]
  let counts: TransitionCounts
  var paths: [String] { files.map(\.path) }
  /// For the plan.
  var traces: [PlanFile.Trace] { files.map { .init(file: $0.path, sha256: $0.sha256) } }
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
    help:
      "Where a layer cannot meet --max-load (one busy expert can be enough), use the smallest cap that this layer can meet."
  )
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
  case flat, staged, joint
}

/// The weights of the joint objective.
struct JointOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Cost of a token that changes nodes, in the joint objective; a staged plan is compared with it.",
      valueName: "W"))
  var interNode: Int = 8

  @Option(
    help: ArgumentHelp(
      "Cost of a token that changes GPUs inside a node, likewise.", valueName: "W"))
  var intraNode: Int = 1

  func objective(_ name: ObjectiveName) -> Objective {
    switch name {
    case .flat: return .flat
    case .staged: return .staged
    case .joint: return .joint(interNode: interNode, intraNode: intraNode)
    }
  }
}

/// A plan to be read: own JSON, or ExFlow CSV.
enum PlanInput {
  /// - Parameters:
  ///   - counts: of the model that the plan must be for.
  ///   - gpus: for CSV, which does not name its machines; nil takes the largest GPU number + 1.
  static func read(
    _ path: String, for counts: TransitionCounts, gpus: Int?, nodes: Int
  ) throws -> PlanFile {
    let plan =
      path.lowercased().hasSuffix(".csv")
      ? PlanFile(
        placement: try ExFlowCSV.read(
          path, layers: counts.layers, experts: counts.experts, gpus: gpus, nodes: nodes))
      : try PlanFile.read(path)
    let placement = plan.placement
    guard placement.layers == counts.layers, placement.experts == counts.experts else {
      throw FormatError(
        path,
        "a plan for \(placement.layers) layers × \(placement.experts) experts, expected \(counts.layers) × \(counts.experts) as in the trace"
      )
    }
    return plan
  }
}
