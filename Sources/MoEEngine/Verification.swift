import Colocate

/// `verify`: the same tokens under home × contiguous, coherent × contiguous, coherent × greedy and coherent × the plan, measured and
/// compared with what the solver's objective and the formulas predict for the routes that the run took.
///
/// The first run decodes greedily and is the baseline; the others are fed its tokens, so that their logits can be compared position by
/// position, and must choose the same next tokens themselves. Collecting logits and routes happens between the steps and is neither
/// timed nor counted.
public struct Verification: Encodable, Sendable {
  public struct Run: Encodable, Sendable {
    public let mode: String
    public let placement: String
    /// Tokens that changed GPU (node) at each boundary of the layers, `[L-1]`: counted where they were sent, and by the solver's
    /// objective. In home mode tokens do not move: what crosses is under dispatch and combine.
    public var crossedGPUs: [Int] = []
    public var crossedGPUsPredicted: [Int] = []
    public var crossedNodes: [Int] = []
    public var crossedNodesPredicted: [Int] = []
    /// Tokens that left their sequence's rank for layer 0's expert: no boundary of the objective.
    public var startedElsewhere = 0
    public var startedElsewherePredicted = 0
    /// Dispatch and combine, per layer: rows to other GPUs, and to other nodes among them.
    public var dispatched: [Rows] = []
    public var combined: [Rows] = []
    public var bytes = Bytes()
    public var collectivesPerDecodeStep = Collectives()
    public var prefillTokensPerSecond = 0.0
    public var decodeTokensPerSecond = 0.0
    /// From the baseline's.
    public var largestLogitDifference: Float = 0
    public var routesThatDiffer = 0
    /// Sequences in which rounding tipped a choice between nearly equal gates; what follows in them is not compared.
    public var sequencesSetApart = 0
    public var nextTokensThatDiffer = 0
    /// What did not agree, a line each.
    public var disagreements: [String] = []

    public var agrees: Bool { disagreements.isEmpty }
    public var name: String { "\(mode) × \(placement)" }
    /// What crossed a GPU (node) boundary in all: a token's moves in coherent mode, its ways there and back in home mode.
    public var crossings: (gpus: Int, gpusPredicted: Int, nodes: Int, nodesPredicted: Int) {
      if mode == Mode.home.rawValue {
        let ways = dispatched + combined
        return (
          ways.reduce(0) { $0 + $1.toOtherGPUs }, ways.reduce(0) { $0 + $1.toOtherGPUsPredicted },
          ways.reduce(0) { $0 + $1.toOtherNodes }, ways.reduce(0) { $0 + $1.toOtherNodesPredicted }
        )
      }
      return (
        crossedGPUs.reduce(0, +), crossedGPUsPredicted.reduce(0, +), crossedNodes.reduce(0, +),
        crossedNodesPredicted.reduce(0, +)
      )
    }
  }

  public struct Rows: Encodable, Sendable {
    public let toOtherGPUs: Int
    public let toOtherGPUsPredicted: Int
    public let toOtherNodes: Int
    public let toOtherNodesPredicted: Int
  }

  /// Bytes that left their rank.
  public struct Bytes: Encodable, Sendable {
    public var dispatch = 0
    public var combine = 0
    public var context = 0
    /// Ids, gate weights and counts that go with them.
    public var headers = 0
    public var toOtherNodes = 0
    public var total: Int { dispatch + combine + context + headers }
  }

  public struct Collectives: Encodable, Sendable {
    public var dispatch = 0.0
    public var combine = 0.0
    public var context = 0.0
    public var counts = 0.0
    public var withoutCounts: Double { dispatch + combine + context }
  }

  public let ranks: Int
  public let nodes: Int
  public let layers: Int
  public let experts: Int
  public let expertsPerToken: Int
  public let sequences: Int
  public let prompt: Int
  public let decodeSteps: Int
  /// The largest absolute logit of the baseline.
  public var logitScale: Float = 0
  public var runs: [Run] = []

  public var tokens: Int { sequences * (prompt + decodeSteps) }
  public var agrees: Bool { runs.allSatisfy(\.agrees) }
  /// Largest logit difference that counts as equal, as a share of the logits' scale.
  public static let tolerance: Float = 1e-4
  /// A gate's lead, in probability, below which rounding may choose another expert.
  public static let nearlyEqual: Float = 1e-4
}

extension Model {
  /// - Parameters:
  ///   - new: tokens to decode after each prompt, at least 2.
  ///   - plan: `[L, E]` and its name.
  /// - Returns: on rank 0 the report; on the others only whether everything agrees is meaningful.
  public func verify(
    _ prompts: Tokens, new: Int, plan: (name: String, assignment: [Int])?
  ) throws(EngineError) -> Verification {
    guard config.layers >= 2 else {
      throw EngineError(
        "a model with 1 layer: at least 2 are needed, there is no boundary to cross",
        isShared: true)
    }
    let nodes = Set(communicator.nodeOf).count
    guard communicator.nodeOf == (0..<communicator.size).map({ $0 * nodes / communicator.size })
    else {
      throw EngineError(
        "the ranks' nodes are \(communicator.nodeOf): expected nodes of one size whose ranks follow each other"
      )
    }
    var report = Verification(
      ranks: communicator.size, nodes: nodes, layers: config.layers, experts: config.experts,
      expertsPerToken: config.expertsPerToken, sequences: prompts.sequences,
      prompt: prompts.positions,
      decodeSteps: new - 1)
    let baseline = try communicator.together { () throws(EngineError) in
      try BaselineRun(model: self, prompts: prompts, new: new)
    }

    let (first, counts) = try run(.home, "contiguous", contiguous, prompts, new: new, baseline)
    report.runs.append(first)
    baseline.complete()
    communicator.broadcast(baseline.tokens, count: prompts.sequences * baseline.length)
    report.logitScale = baseline.scale
    report.runs.append(try run(.coherent, "contiguous", contiguous, prompts, new: new, baseline).0)

    // Rank 0 has the routes: it makes the greedy plan.
    var greedy = try communicator.together { () throws(EngineError) in
      guard let counts else { return contiguous }
      do {
        let topology = try Topology(gpus: communicator.size)
        let instance = try Instance(counts: counts, topology: topology)
        return try Baseline.greedyForwards.placement(for: instance).assignment
      } catch {
        throw EngineError("\(error)")
      }
    }
    communicator.broadcast(&greedy)
    report.runs.append(try run(.coherent, "greedy", greedy, prompts, new: new, baseline).0)
    if let plan {
      report.runs.append(
        try run(.coherent, plan.name, plan.assignment, prompts, new: new, baseline).0)
    }
    return report
  }

  /// One run over all tokens. The baseline's fills `baseline`, the others are compared with it.
  /// - Returns: on rank 0 the measured, predicted and compared figures and the counts of the routes taken.
  private func run(
    _ mode: Mode, _ name: String, _ assignment: [Int], _ prompts: Tokens, new: Int,
    _ baseline: BaselineRun
  ) throws(EngineError) -> (Verification.Run, TransitionCounts?) {
    let (sequences, prompt, length) = (prompts.sequences, prompts.positions, baseline.length)
    let isFirst = communicator.isFirst
    let placement = try self.placement(assignment)
    let capacity = Capacity(
      sequences: sequences, positions: length,
      rows: min(512 * communicator.size, sequences * prompt))
    let engine = try engine(
      assignment: assignment, mode: mode, capacity: capacity, recordsRoutes: true)
    var run = Verification.Run(mode: mode.rawValue, placement: name)
    var prediction = Prediction(
      mode: mode, placement: placement, expertsPerToken: config.expertsPerToken,
      nodeOf: communicator.nodeOf)
    var expectedContexts = 0
    baseline.restart()

    /// Between two steps: routes and logits to rank 0.
    func afterStep() {
      let (routes, margins) = engine.collectRoutes()
      let step = engine.step
      let prefilled = step.positions.count > 1
      let lastOfPrompt = step.positions.upperBound >= prompt
      expectedContexts += (prefilled ? config.layers : 0) + (!prefilled || lastOfPrompt ? 1 : 0)
      if isFirst {
        let width = config.layers * config.expertsPerToken
        for row in 0..<step.rows {
          let sequence = step.sequence(Int32(row))
          prediction.add(route: routes + row * width, home: engine.home(sequence))
          baseline.compare(
            routes: routes + row * width, margins: margins + row * config.layers,
            sequence: sequence,
            position: step.position(Int32(row)), &run)
        }
      }
      engine.collectLogits(baseline.buffer) { sequence, position, logits in
        baseline.compare(logits: logits, sequence: sequence, position: position, &run)
      }
      communicator.barrier()
    }

    communicator.barrier()
    try engine.prefill(
      sequences: 0..<sequences, positions: prompt, tokens: baseline.tokens, stride: length,
      logits: .last, afterEachStep: afterStep)
    let prefillSeconds = communicator.max(engine.timings.total)
    let beforeDecoding = engine.traffic
    for position in prompt..<(length - 1) {
      if baseline.isComplete {
        for sequence in 0..<sequences {
          engine.stepIds[sequence] = baseline.tokens[sequence * length + position]
        }
      } else {
        engine.takeNext(into: engine.stepIds, stride: 1, sequences: sequences)
      }
      engine.forward(
        Step(sequences: 0..<sequences, positions: position..<(position + 1)), ids: engine.stepIds,
        logits: .last)
      afterStep()
    }
    let decodeSeconds = communicator.max(engine.timings.total) - prefillSeconds
    let traffic = engine.traffic.overAllRanks(communicator)

    run.prefillTokensPerSecond = Double(sequences * prompt) / prefillSeconds
    let steps = length - 1 - prompt
    run.decodeTokensPerSecond = Double(sequences * steps) / decodeSeconds
    func perStep(_ collective: Collective) -> Double {
      Double(traffic.calls(collective) - beforeDecoding.calls(collective)) / Double(steps)
    }
    run.collectivesPerDecodeStep = Verification.Collectives(
      dispatch: perStep(.dispatch), combine: perStep(.combine), context: perStep(.context),
      counts: perStep(.counts))
    guard isFirst else { return (run, nil) }
    let counts: TransitionCounts
    do {
      counts = try prediction.counts()
      run.compare(
        traffic, prediction, try counts.crossings(of: placement), config: config,
        contexts: communicator.size > 1 && mode == .coherent ? expectedContexts : 0)
    } catch {
      throw EngineError(error.description)
    }
    if run.nextTokensThatDiffer > 0 {
      run.disagreements.append("\(run.nextTokensThatDiffer) next tokens differ from the baseline's")
    }
    if !(run.largestLogitDifference <= Verification.tolerance * baseline.scale) {
      run.disagreements.append(
        "logits differ from the baseline's by up to \(run.largestLogitDifference), scale \(baseline.scale)"
      )
    }
    return (run, counts)
  }

  /// - Parameter assignment: `[L, E]`
  func placement(_ assignment: [Int]) throws(EngineError) -> Placement {
    do {
      let nodes = Set(communicator.nodeOf).count
      let topology = try Topology(
        gpus: communicator.size, nodes: communicator.size % nodes == 0 ? nodes : 1)
      return try Placement(
        topology: topology, layers: config.layers, experts: config.experts, assignment: assignment)
    } catch {
      throw EngineError(error.description)
    }
  }
}

extension Verification.Run {
  /// Measured against predicted, per layer; every difference becomes a line.
  fileprivate mutating func compare(
    _ traffic: Traffic, _ prediction: Prediction, _ objective: Crossings, config: ModelConfig,
    contexts: Int
  ) {
    var lines: [String] = []
    func check(_ what: String, _ measured: Int, _ predicted: Int) {
      if measured != predicted {
        lines.append("\(what): measured \(measured), predicted \(predicted)")
      }
    }
    let coherent = mode == Mode.coherent.rawValue
    let d = config.hidden
    for l in 0..<config.layers {
      for (collective, name) in [(Collective.dispatch, "dispatch"), (.combine, "combine")] {
        let rows = Verification.Rows(
          toOtherGPUs: traffic.tokens(collective, layer: l, .sameNode)
            + traffic.tokens(collective, layer: l, .otherNode),
          toOtherGPUsPredicted: prediction.count(collective, layer: l, .sameNode)
            + prediction.count(collective, layer: l, .otherNode),
          toOtherNodes: traffic.tokens(collective, layer: l, .otherNode),
          toOtherNodesPredicted: prediction.count(collective, layer: l, .otherNode))
        check("layer \(l), \(name) to other GPUs", rows.toOtherGPUs, rows.toOtherGPUsPredicted)
        check("layer \(l), \(name) to other nodes", rows.toOtherNodes, rows.toOtherNodesPredicted)
        for distance in [Distance.sameNode, .otherNode] {
          check(
            "layer \(l), bytes of \(name)", traffic.payload(collective, layer: l, distance),
            4 * d * prediction.count(collective, layer: l, distance))
        }
        if collective == .dispatch { dispatched.append(rows) } else { combined.append(rows) }
      }
      guard coherent && l > 0 else { continue }
      let toGPUs = traffic.moves(layer: l, .sameNode) + traffic.moves(layer: l, .otherNode)
      let toNodes = traffic.moves(layer: l, .otherNode)
      crossedGPUs.append(toGPUs)
      crossedNodes.append(toNodes)
      crossedGPUsPredicted.append(objective.gpuPerBoundary[l - 1])
      crossedNodesPredicted.append(objective.nodePerBoundary[l - 1])
      check("boundary \(l - 1)–\(l), GPUs", toGPUs, objective.gpuPerBoundary[l - 1])
      check("boundary \(l - 1)–\(l), nodes", toNodes, objective.nodePerBoundary[l - 1])
    }
    if coherent {
      startedElsewhere = traffic.moves(layer: 0, .sameNode) + traffic.moves(layer: 0, .otherNode)
      startedElsewherePredicted = prediction.start[1] + prediction.start[2]
      check("layer 0, moves", startedElsewhere, startedElsewherePredicted)
    }
    for distance in [Distance.sameNode, .otherNode] {
      check(
        "bytes of context", traffic.payload(.context, distance),
        4 * 2 * config.keyValueWidth * prediction.count(.context, distance))
    }
    check("context gathers", traffic.calls(.context), contexts)
    for (collective, keyPath) in [
      (Collective.dispatch, \Verification.Bytes.dispatch), (.combine, \.combine),
      (.context, \.context),
    ] as [(Collective, WritableKeyPath<Verification.Bytes, Int>)] {
      bytes[keyPath: keyPath] =
        traffic.payload(collective, .sameNode) + traffic.payload(collective, .otherNode)
    }
    for collective in Collective.allCases {
      bytes.headers +=
        traffic.header(collective, .sameNode) + traffic.header(collective, .otherNode)
      bytes.toOtherNodes +=
        traffic.payload(collective, .otherNode) + traffic.header(collective, .otherNode)
    }
    disagreements += lines
  }
}

/// The first run's tokens, routes and logits, which the others are compared with. Routes and logits are on rank 0 only.
private final class BaselineRun {
  let sequences: Int
  let prompt: Int
  /// Prompt and new tokens.
  let length: Int
  private let config: ModelConfig
  /// `[sequences, length]`
  let tokens: UnsafeMutablePointer<Int32>
  let buffer: LogitBuffer?
  /// `[sequences, new, V]`: logits that chose each new token.
  private let logits: Floats
  /// `[sequences, length − 1, L, k]`
  private let routes: UnsafeMutablePointer<Int32>
  /// `[sequences, length − 1, L]`: bits of floats.
  private let margins: UnsafeMutablePointer<Int32>
  private(set) var scale: Float = 0
  private(set) var isComplete = false
  /// `[sequences]`: whether the run under way has taken another expert in the sequence.
  private var isApart: [Bool]
  private let memory = Memory()

  init(model: Model, prompts: Tokens, new: Int) throws(EngineError) {
    (sequences, prompt) = (prompts.sequences, prompts.positions)
    length = prompt + new
    config = model.config
    let isFirst = model.communicator.isFirst
    tokens = try memory.integers(sequences * length)
    for sequence in 0..<sequences {
      for i in 0..<prompt {
        tokens[sequence * length + i] = prompts.ids[sequence * prompt + i]
      }
    }
    let vocabulary = config.vocabulary
    buffer = isFirst ? try LogitBuffer(rows: sequences, vocabulary: vocabulary) : nil
    logits = try memory.floats(isFirst ? sequences * new * vocabulary : 0)
    routes = try memory.integers(
      isFirst ? sequences * (length - 1) * config.layers * config.expertsPerToken : 0)
    margins = try memory.integers(isFirst ? sequences * (length - 1) * config.layers : 0)
    isApart = [Bool](repeating: false, count: sequences)
  }

  /// What comes is compared from now on.
  func complete() { isComplete = true }

  /// Another run begins.
  func restart() {
    for sequence in isApart.indices { isApart[sequence] = false }
  }

  /// A token's routes. Where a sequence takes its first other expert, the baseline's gates must have been nearly equal there.
  func compare(
    routes other: UnsafePointer<Int32>, margins otherMargins: UnsafePointer<Int32>, sequence: Int,
    position: Int, _ run: inout Verification.Run
  ) {
    let (layers, k) = (config.layers, config.expertsPerToken)
    let token = sequence * (length - 1) + position
    let (mine, myMargins) = (routes + token * layers * k, margins + token * layers)
    guard isComplete else {
      mine.update(from: other, count: layers * k)
      myMargins.update(from: otherMargins, count: layers)
      return
    }
    for l in 0..<layers {
      let differing = (l * k..<(l + 1) * k).count { mine[$0] != other[$0] }
      guard differing > 0 else { continue }
      run.routesThatDiffer += differing
      guard !isApart[sequence] else { continue }
      isApart[sequence] = true
      run.sequencesSetApart += 1
      let margin = Float(bitPattern: UInt32(bitPattern: myMargins[l]))
      if !(margin < Verification.nearlyEqual) {
        run.disagreements.append(
          "sequence \(sequence), position \(position), layer \(l): another expert, though the gates differ by \(margin)"
        )
      }
    }
  }

  /// The logits after a token, and the token that they choose.
  func compare(
    logits other: UnsafePointer<Float>, sequence: Int, position: Int, _ run: inout Verification.Run
  ) {
    let vocabulary = config.vocabulary
    let mine = logits + (sequence * (length - prompt) + position + 1 - prompt) * vocabulary
    let next = Int32(VectorMath.argmax(other, count: vocabulary))
    let token = tokens + sequence * length + position + 1
    guard isComplete else {
      mine.update(from: other, count: vocabulary)
      for i in 0..<vocabulary { scale = max(scale, abs(other[i])) }
      token.pointee = next
      return
    }
    guard !isApart[sequence] else { return }
    for i in 0..<vocabulary {
      let difference = abs(mine[i] - other[i])
      if !(difference <= run.largestLogitDifference) { run.largestLogitDifference = difference }
    }
    if next != token.pointee { run.nextTokensThatDiffer += 1 }
  }
}
