import Colocate
import Foundation

/// How tokens meet their experts when these live on several ranks.
public enum Mode: String, CaseIterable, Sendable {
  /// Tokens go back to their sequence's rank after every layer.
  case home
  /// Every rank has the context of all sequences; a token stays where its strongest expert is.
  case coherent
}

/// One forward pass over new positions of some sequences of the batch, all of the same length.
///
/// A token row's id is its place in the step:
/// `g = (sequence − sequences.lowerBound) · positions.count + (position − positions.lowerBound)`.
public struct Step: Hashable, Sendable {
  public var sequences: Range<Int>
  public var positions: Range<Int>

  public init(sequences: Range<Int>, positions: Range<Int>) {
    self.sequences = sequences
    self.positions = positions
  }

  public var rows: Int { sequences.count * positions.count }

  @inline(__always)
  func sequence(_ row: Int32) -> Int { sequences.lowerBound &+ Int(row) / positions.count }
  @inline(__always)
  func position(_ row: Int32) -> Int { positions.lowerBound &+ Int(row) % positions.count }
}

/// Which logits a step computes.
public enum WantedLogits: Sendable {
  case none
  /// Of the last position of each sequence, and with them its next token.
  case last
  case all
}

/// A model on this rank. Read `forward` first: it is the model, one line per part, in the order of
/// execution.
public final class Engine {
  public let config: ModelConfig
  public let mode: Mode
  let communicator: Communicator
  let weights: Weights
  let work: Workspace
  /// Of this rank, since the last reset.
  public internal(set) var traffic: Traffic
  public internal(set) var timings: Timings
  /// Told of every choice of the router, and able to change it; nil where nobody wants to know.
  var routeObserver: (any RouteObserver)?
  /// Told of every point of a step; nil where nobody wants to know.
  var observer: (any StepObserver)?
  /// Home mode by way of relays; nil where every rank is sent to directly.
  let relay: NodeRelay?

  /// The step under way, and its local rows.
  var step = Step(sequences: 0..<0, positions: 0..<0)
  var localRows = 0
  /// Local rows of the next layer (coherent mode).
  var nextRows = 0
  /// Rows with an expert here, and rows received for that.
  var workRows = 0
  var receivedRows = 0
  /// Rows whose logits this rank computed in the last step.
  var logitRows = 0
  /// `[S]`: the token that follows each sequence; known to the sequence's home rank, and in
  /// coherent mode to every rank.
  public let nextToken: UnsafeMutablePointer<Int32>
  /// `[G]`: ids of a step's rows.
  let stepIds: UnsafeMutablePointer<Int32>
  private let memory = Memory()

  /// Whether tokens change rank with their experts.
  var moves: Bool { mode == .coherent && communicator.size > 1 }
  /// Where a sequence's tokens start, and in home mode stay.
  @inline(__always)
  func home(_ sequence: Int) -> Int { sequence % communicator.size }
  /// A sequence's place in this rank's cache.
  @inline(__always)
  func slot(_ sequence: Int) -> Int { moves ? sequence : sequence / communicator.size }

  /// - Parameter placement: on which rank each expert lives; its GPUs are the ranks.
  /// - Throws: `EngineError` on this rank alone: call inside `Communicator.together`.
  init(
    config: ModelConfig, checkpoint: Checkpoint, placement: Placement, mode: Mode,
    communicator: Communicator, capacity: Capacity, times: Bool, route: ExchangeRoute
  ) throws(EngineError) {
    try MatrixProduct.prepare()
    guard capacity.positions <= config.maxPositions else {
      throw EngineError(
        "\(capacity.positions) positions: the model was made for at most \(config.maxPositions) "
          + "(max_position_embeddings)"
      )
    }
    self.config = config
    self.mode = mode
    self.communicator = communicator
    weights = try Weights(
      checkpoint: checkpoint, config: config, placement: placement, rank: communicator.rank)
    work = try Workspace(
      config: config, capacity: capacity, mode: mode, ranks: communicator.size,
      expertsHere: weights.expertsHere)
    // On one node, or with one rank a node, there is nothing to relay.
    let topology = communicator.topology
    relay =
      route == .node && mode == .home && topology.nodes > 1 && topology.gpusPerNode > 1
      ? try NodeRelay(
        rows: work.capacity.rows, choices: config.expertsPerToken, nodes: topology.nodes,
        ranks: communicator.size, rowWords: work.dispatch.rowWords, width: config.hidden,
        memory: memory) : nil
    traffic = Traffic(layers: config.layers)
    timings = Timings(isOn: times)
    nextToken = try memory.integers(capacity.sequences)
    stepIds = try memory.integers(capacity.rows)
    fillRotation()
  }

  /// Runs `step` on its tokens, `ids[rows]`. In home mode only the ids of the rank's own sequences
  /// matter.
  ///
  /// - Throws: `EngineError` on this rank alone where a message arrived damaged; the job has to
  ///   end.
  public func forward(
    _ step: Step, ids: UnsafePointer<Int32>, logits wanted: WantedLogits
  ) throws(EngineError) {
    let (begin, computing) = (Timings.now(), Timings.computing())
    self.step = step
    startRows(ids)
    for layer in 0..<config.layers {
      try attend(layer)  // x ← x + Attention(RMSNorm(x))
      route(layer)  // which experts, how strongly
      tell(.routed, layer)
      try dispatch(layer)  // tokens to the ranks of their experts
      tell(.dispatched, layer)
      applyExperts(layer)  // partial sums of what is here
      tell(.applied, layer)
      combine(layer)  // x ← x + Σ partial sums
      tell(.combined, layer)
    }
    project(wanted)  // logits and next tokens
    try shareContext(wanted)  // coherent mode: keys, values and next tokens to every rank
    timings.step(seconds: Timings.now() - begin, computing: Timings.computing() - computing)
  }

  @inline(__always)
  private func tell(_ point: StepPoint, _ layer: Int) {
    observer?.reached(point, layer: layer, of: self)
  }

  /// Runs a part of a step and, where timings are on, adds its time to a phase.
  @inline(__always)
  func measure<Result, Failure: Error>(
    _ phase: Timings.Phase, _ body: () throws(Failure) -> Result
  ) throws(Failure) -> Result {
    let start = timings.start()
    defer { timings.stop(phase, since: start) }
    return try body()
  }

  /// Local rows at the start of a step: the new tokens of this rank's sequences. x = embedding.
  private func startRows(_ ids: UnsafePointer<Int32>) {
    let n = step.positions.count
    var row = 0
    for sequence in step.sequences where home(sequence) == communicator.rank {
      for i in 0..<n {
        let g = (sequence - step.sequences.lowerBound) * n + i
        work.rowIds[row] = Int32(g)
        weights.embed(Int(ids[g]), into: work.x + row * config.hidden)
        row += 1
      }
    }
    localRows = row
    work.context.entries = 0
  }

  /// `normed` ← RMSNorm(x), for all local rows.
  @inline(__always)
  func normLocalRows(_ norm: Floats) {
    let d = config.hidden
    for row in 0..<localRows {
      VectorMath.rmsNorm(
        work.x + row * d, norm, work.normed + row * d, width: d, epsilon: config.normEpsilon)
    }
  }

  /// y = RMSNorm(x) · W, `[rows, outputs]`, for all local rows; `normed` keeps RMSNorm(x).
  func multiplyNormed(_ norm: Floats, _ w: Floats, outputs: Int, into y: Floats) {
    let d = config.hidden
    measure(.vectors) { normLocalRows(norm) }
    measure(.products) {
      MatrixProduct.multiply(
        work.normed, xStride: d, rows: localRows, w, inputs: d, outputs: outputs, into: y,
        yStride: outputs)
    }
  }

  /// logits = RMSNorm(x) · head, for the rows wanted; next token = argmax.
  private func project(_ wanted: WantedLogits) {
    logitRows = 0
    guard wanted != .none else { return }
    let d = config.hidden
    let n = step.positions.count
    measure(.vectors) {
      for row in 0..<localRows where wanted == .all || Int(work.rowIds[row]) % n == n - 1 {
        VectorMath.rmsNorm(
          work.x + row * d, weights.finalNorm, work.normed + logitRows * d, width: d,
          epsilon: config.normEpsilon)
        work.logitIds[logitRows] = work.rowIds[row]
        logitRows += 1
      }
    }
    measure(.products) {
      MatrixProduct.multiply(
        work.normed, xStride: d, rows: logitRows, weights.head, inputs: d,
        outputs: config.vocabulary, into: work.logits, yStride: config.vocabulary)
    }
    measure(.vectors) {
      for row in 0..<logitRows where Int(work.logitIds[row]) % n == n - 1 {
        nextToken[step.sequence(work.logitIds[row])] = Int32(
          VectorMath.argmax(work.logits + row * config.vocabulary, count: config.vocabulary))
      }
    }
  }

  /// cos and sin of θ = position / theta^(2 i / hd), computed in float32 as Hugging Face does.
  private func fillRotation() {
    let half = config.headWidth / 2
    for i in 0..<half {
      let frequency = 1 / Float(pow(config.ropeTheta, Double(2 * i) / Double(config.headWidth)))
      for position in 0..<work.capacity.positions {
        let angle = Double(Float(position) * frequency)
        work.rotation[position * config.headWidth + i] = Float(cos(angle))
        work.rotation[position * config.headWidth + half + i] = Float(sin(angle))
      }
    }
  }
}
