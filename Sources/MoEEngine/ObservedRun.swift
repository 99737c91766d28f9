/// One run of `verify` as it is watched: after every step its messages, hidden states, logits and
/// next tokens are collected; at its end all is compared.
final class ObservedRun {
  private let engine: Engine
  private let baseline: VerificationBaseline
  private let communicator: Communicator
  private let census: TokenCensus
  private let replay: RouteReplay?
  private var logits: LogitComparison
  private var nextTokens: NextTokens
  /// On rank 0.
  private let logitBuffer: RowBuffer?
  private let hiddenBuffer: RowBuffer?
  /// Steps so far, and context gathers that they need.
  private(set) var steps = 0
  private(set) var contextGathers = 0
  /// The first messages that did not arrive as they were sent, and how many there were.
  private var messageFaults: [String] = []
  private var messageFaultCount = 0

  /// - Throws: `EngineError` on this rank alone: call inside `Communicator.together`.
  init(_ engine: Engine, _ baseline: VerificationBaseline) throws(EngineError) {
    (self.engine, self.baseline) = (engine, baseline)
    communicator = engine.communicator
    let config = engine.config
    let isFirst = communicator.isFirst
    census = try TokenCensus(
      sequences: baseline.sequences, positions: baseline.length - 1, layers: config.layers)
    engine.observer = census
    replay = baseline.isComplete ? RouteReplay(baseline.routes) : nil
    engine.routeObserver = replay ?? baseline.routes
    logits = try LogitComparison(baseline, engine)
    nextTokens = NextTokens(sequences: baseline.sequences, new: baseline.new)
    logitBuffer =
      isFirst ? try RowBuffer(rows: baseline.sequences, width: config.vocabulary) : nil
    hiddenBuffer =
      isFirst ? try RowBuffer(rows: engine.work.capacity.rows, width: config.hidden) : nil
  }

  func afterStep() {
    let step = engine.step
    let isPrefill = step.positions.count > 1 || step.positions.lowerBound < baseline.prompt
    let choosesTokens = step.positions.upperBound >= baseline.prompt
    steps += 1
    if engine.moves {
      contextGathers += step.positions.count > 1 ? engine.config.layers : 0
      contextGathers += choosesTokens || step.positions.count == 1 ? 1 : 0
    }
    if let audit = communicator.audit { note(audit.compare(communicator), step) }
    if choosesTokens { nextTokens.take(engine, at: step.positions.upperBound - baseline.prompt) }
    if choosesTokens {
      engine.collectLogits(logitBuffer) { sequence, position, row in
        logits.compare(row, sequence: sequence, position: position)
        nextTokens.choose(
          VectorMath.argmax(row, count: engine.config.vocabulary), sequence: sequence,
          at: position + 1 - baseline.prompt)
      }
    }
    if isPrefill {
      engine.collectHidden(hiddenBuffer) { sequence, position, row in
        if position < baseline.prompt - 1 {
          logits.compare(hidden: row, sequence: sequence, position: position)
        }
      }
      logits.finishBlock()
    }
    communicator.barrier()
  }

  private func note(_ faults: [MessageAudit.Fault], _ step: Step) {
    for fault in faults {
      messageFaultCount += 1
      guard messageFaults.count < 3 else { continue }
      messageFaults.append(
        "positions \(step.positions.lowerBound) to \(step.positions.upperBound - 1), "
          + "\(fault.collective): what rank \(fault.to) got from rank \(fault.from) is not what "
          + "rank \(fault.from) sent")
    }
  }

  /// Compares what is left, and enters everything in the report. Every rank calls it, after the
  /// baseline is complete.
  func finish(_ run: inout Verification.Run) {
    run.disagreements += messageFaults
    if messageFaultCount > messageFaults.count {
      run.disagreements.append(
        "\(messageFaultCount - messageFaults.count) more messages did not arrive as they were sent")
    }
    let k = engine.config.expertsPerToken
    run.disagreements += census.faults(communicator, expertsPerToken: k)
    if engine.moves { run.disagreements += CacheComparison.faults(engine, baseline) }
    let routes = replay?.comparison.overAllRanks(communicator)
    nextTokens.collect(communicator)
    guard communicator.isFirst else { return }
    run.stayed = census.stayed
    run.stayedOnNode = engine.relay == nil ? [] : census.stayedOnNode
    logits.enter(&run)
    nextTokens.enter(&run, baseline, engine.config.vocabulary)
    run.choices = baseline.sequences * (baseline.length - 1) * engine.config.layers
    if let routes { routes.enter(&run, baseline) }
  }
}

extension RouteComparison {
  /// Enters the routes that the run would have taken itself.
  fileprivate func enter(_ run: inout Verification.Run, _ baseline: VerificationBaseline) {
    let tolerance = baseline.probabilityTolerance
    func place(_ choice: Int) -> String {
      let (layers, positions) = (baseline.routes.layers, baseline.routes.positions)
      let token = choice / layers
      return
        "sequence \(token / positions), position \(token % positions), layer \(choice % layers)"
    }
    run.choicesCompared = compared
    guard compared > 0 else {
      run.disagreements.append("no choice of the router was compared")
      return
    }
    run.choicesThatDiffer = differing
    if differenceAt >= 0 { run.largestProbabilityDifference = largestDifference }
    if leadAt >= 0 { run.largestLeadAtADifference = largestLead }
    if compared != run.choices {
      run.disagreements.append(
        "\(compared) of \(run.choices) choices of the router were compared")
    }
    if notFinite > 0 {
      run.disagreements.append(
        "\(place(notFiniteAt)): a router's probability is not a finite number, "
          + "\(notFinite) in all")
    }
    if !(largestDifference <= tolerance) {
      run.disagreements.append(
        "\(place(differenceAt)): the router's probability differs from the baseline's by "
          + "\(largestDifference); rounding explains \(tolerance)")
    }
    if !(largestLead <= 2 * tolerance) {
      run.disagreements.append(
        "\(place(leadAt)): the router would have chosen another expert, with a lead of "
          + "\(largestLead); rounding explains \(2 * tolerance)")
    }
  }
}
