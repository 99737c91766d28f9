/// The logits of a run beside the baseline's, on rank 0: of every position whose token they choose,
/// and of every earlier position of the prompt.
///
/// A run computes the logits that choose a token, and those are taken as they are. Of the prompt's
/// earlier positions it computes none; their final hidden states are collected, and rank 0
/// multiplies both runs' with the output head. In the baseline's own run everything is kept, and
/// must be finite.
struct LogitComparison {
  private let baseline: VerificationBaseline
  private let vocabulary: Int
  private let hidden: Int
  private let head: Floats
  private(set) var compared = 0
  private(set) var largest: Float = 0
  private var largestAt = (sequence: 0, position: 0)
  private var notFinite = 0
  private var firstNotFinite = (sequence: 0, position: 0)

  /// Rows whose logits are computed together: `[block, d]` of this run and of the baseline,
  /// `[block, V]` of each, and where they belong.
  private static let block = 64
  private let mine: Floats
  private let theirs: Floats
  private let myLogits: Floats
  private let theirLogits: Floats
  private var places: [(sequence: Int, position: Int)] = []
  private let memory = Memory()

  init(_ baseline: VerificationBaseline, _ engine: Engine) throws(EngineError) {
    self.baseline = baseline
    vocabulary = engine.config.vocabulary
    hidden = engine.config.hidden
    head = engine.weights.head
    let rows = engine.communicator.isFirst ? Self.block : 0
    mine = try memory.floats(rows * hidden)
    theirs = try memory.floats(rows * hidden)
    myLogits = try memory.floats(rows * vocabulary)
    theirLogits = try memory.floats(rows * vocabulary)
  }

  /// Logits that choose the token after `position`.
  mutating func compare(_ row: UnsafePointer<Float>, sequence: Int, position: Int) {
    let at = sequence * baseline.new + position + 1 - baseline.prompt
    let stored = baseline.logits + at * vocabulary
    guard baseline.isComplete else {
      stored.update(from: row, count: vocabulary)
      keep(row, sequence, position)
      baseline.tokens[sequence * baseline.length + position + 1] = Int32(
        VectorMath.argmax(row, count: vocabulary))
      return
    }
    compare(row, stored, sequence, position)
  }

  /// The final hidden state of an earlier position of the prompt.
  mutating func compare(hidden row: UnsafePointer<Float>, sequence: Int, position: Int) {
    let stored = baseline.hidden + (sequence * baseline.prompt + position) * hidden
    if !baseline.isComplete { stored.update(from: row, count: hidden) }
    (mine + places.count * hidden).update(from: row, count: hidden)
    (theirs + places.count * hidden).update(from: stored, count: hidden)
    places.append((sequence, position))
    if places.count == Self.block { finishBlock() }
  }

  /// Compares the rows whose logits have not been computed yet.
  mutating func finishBlock() {
    guard !places.isEmpty else { return }
    project(mine, into: myLogits)
    if baseline.isComplete { project(theirs, into: theirLogits) }
    for (i, place) in places.enumerated() {
      let row = myLogits + i * vocabulary
      if baseline.isComplete {
        compare(row, theirLogits + i * vocabulary, place.sequence, place.position)
      } else {
        keep(row, place.sequence, place.position)
      }
    }
    places.removeAll(keepingCapacity: true)
  }

  private func project(_ states: Floats, into logits: Floats) {
    MatrixProduct.multiply(
      states, xStride: hidden, rows: places.count, head, inputs: hidden, outputs: vocabulary,
      into: logits, yStride: vocabulary)
  }

  /// A row of the baseline itself.
  private mutating func keep(_ row: UnsafePointer<Float>, _ sequence: Int, _ position: Int) {
    compared += 1
    for i in 0..<vocabulary {
      guard row[i].isFinite else {
        noteNotFinite(sequence, position)
        return
      }
      baseline.logitScale = max(baseline.logitScale, abs(row[i]))
    }
  }

  private mutating func compare(
    _ row: UnsafePointer<Float>, _ stored: UnsafePointer<Float>, _ sequence: Int, _ position: Int
  ) {
    compared += 1
    var difference: Float = 0
    for i in 0..<vocabulary {
      let delta = abs(row[i] - stored[i])
      guard delta.isFinite else {
        noteNotFinite(sequence, position)
        return
      }
      difference = max(difference, delta)
    }
    if difference > largest { (largest, largestAt) = (difference, (sequence, position)) }
  }

  private mutating func noteNotFinite(_ sequence: Int, _ position: Int) {
    if notFinite == 0 { firstNotFinite = (sequence, position) }
    notFinite += 1
  }

  /// Enters what was found.
  func enter(_ run: inout Verification.Run) {
    run.positions = baseline.sequences * (baseline.length - 1)
    run.positionsCompared = compared
    if !run.isBaseline, compared > 0 { run.largestLogitDifference = largest }
    if compared != run.positions {
      run.disagreements.append("logits of \(compared) of \(run.positions) positions were compared")
    }
    if notFinite > 0 {
      run.disagreements.append(
        "sequence \(firstNotFinite.sequence), position \(firstNotFinite.position): a logit is not "
          + "a finite number, in \(notFinite) positions in all")
    }
    let tolerance = baseline.logitTolerance
    if !run.isBaseline, !(largest <= tolerance) {
      run.disagreements.append(
        "sequence \(largestAt.sequence), position \(largestAt.position): a logit differs from the "
          + "baseline's by \(largest); rounding explains \(tolerance)")
    }
  }
}
