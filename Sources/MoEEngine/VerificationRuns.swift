import Colocate

extension Model {
  /// Runs the same tokens under several placements and compares everything.
  ///
  /// The first run, home × contiguous, decodes greedily and is the baseline. The others are fed its
  /// tokens and take its routes (`RouteReplay`), so that their logits must be the same at every
  /// position within `Rounding`; what their routers would have chosen is compared apart. Every
  /// message is compared at both ends (`MessageAudit`), every token is counted on its way
  /// (`TokenCensus`), and the rows, words and calls that MPI was given must be those that the
  /// baseline's routes and the placement predict (`Prediction`). Collecting and comparing happen
  /// between the steps, neither timed nor counted; the audit's sums of the words are made within.
  ///
  /// - Parameters:
  ///   - new: tokens to decode after each prompt, at least 2.
  ///   - plan: a placement and its name.
  /// - Returns: on rank 0 the report; elsewhere a part of it that says nothing.
  public func verify(
    _ prompts: Tokens, new: Int, plan: (name: String, placement: Placement)?
  ) throws(EngineError) -> Verification {
    guard config.layers >= 2 else {
      throw EngineError(
        "a model with 1 layer: at least 2 are needed, there is no boundary to cross",
        isShared: true)
    }
    guard communicator.isNodeByNode else {
      throw EngineError(
        "the ranks' nodes are \(communicator.nodeOf): expected nodes of one size whose ranks "
          + "follow each other", isShared: true)
    }
    communicator.audit = MessageAudit(ranks: communicator.size)
    defer { communicator.audit = nil }
    let baseline = try communicator.together { () throws(EngineError) in
      try VerificationBaseline(model: self, prompts: prompts, new: new)
    }
    var report = Verification(
      ranks: communicator.size, nodes: communicator.topology.nodes, layers: config.layers,
      experts: config.experts, expertsPerToken: config.expertsPerToken,
      sequences: prompts.sequences, prompt: prompts.positions, decodeSteps: new - 1)

    report.runs.append(try observe(.home, "contiguous", contiguous, baseline))
    report.logitScale = baseline.logitScale
    report.scoreScale = baseline.routes.scoreScale
    report.logitTolerance = baseline.logitTolerance
    report.probabilityTolerance = baseline.probabilityTolerance
    if let plan {
      report.runs.append(
        try observe(.home, plan.name, plan.placement, baseline, route: route))
    }
    report.runs.append(try observe(.coherent, "contiguous", contiguous, baseline))
    let greedy = try greedyPlan(baseline)
    report.runs.append(try observe(.coherent, "greedy", greedy, baseline))
    if let plan {
      report.runs.append(try observe(.coherent, plan.name, plan.placement, baseline))
    }
    return report
  }

  /// Layer by layer, for the routes of the baseline; the same on every rank.
  private func greedyPlan(_ baseline: VerificationBaseline) throws(EngineError) -> Placement {
    var assignment = try communicator.together { () throws(EngineError) in
      guard communicator.isFirst else { return contiguous.assignment }
      let prediction = try baseline.prediction(.home, contiguous)
      do {
        // Among GPUs alone, whatever the nodes.
        let instance = try Instance(
          counts: prediction.counts(), topology: Topology(gpus: communicator.size))
        return try Baseline.greedyForwards.placement(for: instance).assignment
      } catch {
        throw EngineError("\(error)")
      }
    }
    communicator.broadcast(&assignment)
    return try placement(assignment)
  }

  /// One run over all tokens; the first makes the baseline, the others are compared with it.
  private func observe(
    _ mode: Mode, _ name: String, _ placement: Placement, _ baseline: VerificationBaseline,
    route: ExchangeRoute = .direct
  ) throws(EngineError) -> Verification.Run {
    let (sequences, prompt, length) = (baseline.sequences, baseline.prompt, baseline.length)
    let engine = try engine(
      placement: placement, mode: mode,
      capacity: Capacity(
        sequences: sequences, positions: length,
        rows: min(512 * communicator.size, sequences * prompt)), route: route)
    let observed = try communicator.together { () throws(EngineError) in
      try ObservedRun(engine, baseline)
    }
    var run = Verification.Run(mode: mode, placement: name, isBaseline: !baseline.isComplete)

    communicator.barrier()
    try engine.prefill(
      sequences: 0..<sequences, positions: prompt, tokens: baseline.tokens, stride: length,
      logits: .last, afterEachStep: observed.afterStep)
    let prefillSeconds = communicator.max(engine.timings.total)
    let prefillTraffic = engine.traffic
    for position in prompt..<(length - 1) {
      if baseline.isComplete {
        for sequence in 0..<sequences {
          engine.stepIds[sequence] = baseline.tokens[sequence * length + position]
        }
      } else {
        engine.takeNext(into: engine.stepIds, stride: 1, sequences: sequences)
      }
      try engine.forward(
        Step(sequences: 0..<sequences, positions: position..<(position + 1)), ids: engine.stepIds,
        logits: .last)
      observed.afterStep()
    }
    let decodeSeconds = communicator.max(engine.timings.total) - prefillSeconds
    let steps = Double(length - 1 - prompt)
    run.prefillTokensPerSecond = Double(sequences * prompt) / prefillSeconds
    run.decodeTokensPerSecond = Double(sequences) * steps / decodeSeconds
    let traffic = engine.traffic
    func perStep(_ collective: Collective) -> Double {
      Double(traffic.calls(collective) - prefillTraffic.calls(collective)) / steps
    }
    run.collectivesPerDecodeStep = Verification.Collectives(
      dispatch: perStep(.dispatch), combine: perStep(.combine), context: perStep(.context),
      counts: perStep(.counts))

    if !baseline.isComplete { try baseline.complete(communicator) }
    observed.finish(&run)
    let all = traffic.overAllRanks(communicator)
    guard communicator.isFirst else { return run }
    let prediction = try baseline.prediction(
      mode, placement, route: engine.relay == nil ? .direct : .node)
    let objective = try EngineError.modelling { () throws(ModelError) in
      try prediction.counts().crossings(of: placement)
    }
    let destinations = try EngineError.modelling { () throws(ModelError) in
      try baseline.tokenSets().destinations(of: placement)
    }
    run.compare(
      all, prediction, objective, destinations, engine, steps: observed.steps,
      contextGathers: observed.contextGathers)
    return run
  }
}
