import Colocate

extension Verification.Run {
  /// What MPI was given and gave back against what the routes and the placement say, per layer;
  /// every difference becomes a line.
  ///
  /// - Parameters:
  ///   - traffic: of all ranks.
  ///   - objective: the solver's own crossings of these routes.
  ///   - destinations: the solver's own destinations of them.
  ///   - steps: steps of the run, and context gathers that they need.
  mutating func compare(
    _ traffic: Traffic, _ prediction: Prediction, _ objective: Crossings,
    _ destinations: Destinations, _ engine: Engine, steps: Int, contextGathers: Int
  ) {
    compareEnds(traffic)
    for collective in [Collective.dispatch, .combine] {
      compareRows(collective, traffic, prediction, engine)
    }
    switch mode {
    case .coherent: compareMoves(traffic, prediction, objective)
    case .home: compareDestinations(destinations)
    }
    compareContext(traffic, prediction, engine)
    compareCalls(
      traffic, engine, prediction.placement.topology, steps: steps, contextGathers: contextGathers)
    countBytes(traffic, engine)
  }

  private mutating func check(_ what: String, _ measured: Int, _ predicted: Int) {
    if measured != predicted {
      disagreements.append("\(what): measured \(measured), predicted \(predicted)")
    }
  }

  /// All that was handed to MPI must have come out of it.
  private mutating func compareEnds(_ traffic: Traffic) {
    for collective in Collective.allCases {
      for layer in 0...traffic.layers {
        for distance in Distance.leaving {
          func compare(_ what: String, _ sent: Int, _ received: Int) {
            if sent != received {
              disagreements.append(
                "layer \(layer), \(collective): \(sent) \(what) sent, \(received) received")
            }
          }
          compare(
            "words", traffic.words(collective, layer: layer, .sent, distance),
            traffic.words(collective, layer: layer, .received, distance))
          compare(
            "rows", traffic.rows(collective, layer: layer, .sent, distance),
            traffic.rows(collective, layer: layer, .received, distance))
          guard collective == .dispatch else { continue }
          compare(
            "moving tokens", traffic.moves(layer: layer, .sent, distance),
            traffic.moves(layer: layer, .received, distance))
        }
      }
    }
  }

  private mutating func compareRows(
    _ collective: Collective, _ traffic: Traffic, _ prediction: Prediction, _ engine: Engine
  ) {
    let message = collective == .dispatch ? engine.work.dispatch : engine.work.sums
    for l in 0..<traffic.layers {
      func measured(_ distance: Distance) -> Int {
        traffic.rows(collective, layer: l, .received, distance)
      }
      func predicted(_ distance: Distance) -> Int {
        prediction.count(collective, layer: l, distance)
      }
      let rows = Verification.Rows(
        toOtherGPUs: measured(.sameNode) + measured(.otherNode),
        toOtherGPUsPredicted: predicted(.sameNode) + predicted(.otherNode),
        toOtherNodes: measured(.otherNode), toOtherNodesPredicted: predicted(.otherNode))
      check(
        "layer \(l), \(collective) to other GPUs", rows.toOtherGPUs, rows.toOtherGPUsPredicted)
      check(
        "layer \(l), \(collective) to other nodes", rows.toOtherNodes, rows.toOtherNodesPredicted)
      for distance in Distance.leaving {
        check(
          "layer \(l), bytes of \(collective)",
          4 * traffic.words(collective, layer: l, .sent, distance),
          4 * message.rowWords * predicted(distance))
      }
      if collective == .dispatch { dispatched.append(rows) } else { combined.append(rows) }
    }
  }

  /// What left its rank and what stayed on it are what home mode's objective counts.
  private mutating func compareDestinations(_ objective: Destinations) {
    destinationsPredicted = objective.gpuPerLayer
    for l in dispatched.indices {
      let isRelayed = !stayedOnNode.isEmpty
      // Rows to relays are no destinations: relays pass them on, or they stay there.
      let spread = dispatched[l].toOtherGPUs - (isRelayed ? dispatched[l].toOtherNodes : 0)
      destinations.append(spread + stayed[l])
      check("layer \(l), destinations", destinations[l], objective.gpuPerLayer[l])
      if isRelayed {
        nodeDestinations.append(dispatched[l].toOtherNodes + stayedOnNode[l])
        nodeDestinationsPredicted.append(objective.nodePerLayer[l])
        check("layer \(l), nodes", nodeDestinations[l], objective.nodePerLayer[l])
      }
      // The same rows come back.
      check("layer \(l), combined", combined[l].toOtherGPUs, dispatched[l].toOtherGPUs)
    }
  }

  private mutating func compareMoves(
    _ traffic: Traffic, _ prediction: Prediction, _ objective: Crossings
  ) {
    for l in 0..<traffic.layers {
      let toNodes = traffic.moves(layer: l, .received, .otherNode)
      let toGPUs = toNodes + traffic.moves(layer: l, .received, .sameNode)
      guard l > 0 else {
        startedElsewhere = toGPUs
        startedElsewherePredicted = prediction.startedElsewhere
        check("layer 0, moves", startedElsewhere, startedElsewherePredicted)
        continue
      }
      crossedGPUs.append(toGPUs)
      crossedNodes.append(toNodes)
      crossedGPUsPredicted.append(objective.gpuPerBoundary[l - 1])
      crossedNodesPredicted.append(objective.nodePerBoundary[l - 1])
      check("boundary \(l - 1)–\(l), GPUs", toGPUs, objective.gpuPerBoundary[l - 1])
      check("boundary \(l - 1)–\(l), nodes", toNodes, objective.nodePerBoundary[l - 1])
    }
  }

  private mutating func compareContext(
    _ traffic: Traffic, _ prediction: Prediction, _ engine: Engine
  ) {
    for distance in Distance.leaving {
      let entries = prediction.count(.context, distance)
      check(
        "entries of context", traffic.rows(.context, .received, distance), entries)
      check(
        "bytes of context", 4 * traffic.words(.context, .sent, distance),
        4 * (entries * engine.work.context.entryWords + 2 * prediction.nextTokens(distance)))
    }
  }

  private mutating func compareCalls(
    _ traffic: Traffic, _ engine: Engine, _ topology: Topology, steps: Int, contextGathers: Int
  ) {
    // By way of relays there are two of each.
    let times = engine.relay == nil ? 1 : 2
    let exchanges = topology.gpus > 1 ? times * steps * traffic.layers : 0
    check("dispatches", traffic.calls(.dispatch), exchanges)
    check("combines", traffic.calls(.combine), engine.hasCombine ? exchanges : 0)
    check("context gathers", traffic.calls(.context), contextGathers)
    check("exchanges of counts", traffic.calls(.counts), exchanges + contextGathers)
    for distance in Distance.leaving {
      // Ordered pairs of ranks as far from each other.
      let others =
        distance == .sameNode ? topology.gpusPerNode - 1 : topology.gpus - topology.gpusPerNode
      let pairs = topology.gpus * others
      check(
        "bytes of counts", 4 * traffic.words(.counts, .sent, distance),
        4 * pairs * (exchanges + 2 * contextGathers))
    }
  }

  private mutating func countBytes(_ traffic: Traffic, _ engine: Engine) {
    let work = engine.work
    func payload(_ collective: Collective, _ words: Int) -> Int {
      Distance.leaving.reduce(0) { $0 + 4 * words * traffic.rows(collective, .sent, $1) }
    }
    bytes.dispatch = payload(.dispatch, work.dispatch.payloadWords)
    bytes.combine = payload(.combine, work.sums.payloadWords)
    bytes.context = payload(.context, work.context.entryWords - 1)
    bytes.counts = traffic.bytes(.counts)
    let all = Collective.allCases.reduce(0) { $0 + traffic.bytes($1) }
    bytes.headers = all - bytes.counts - bytes.dispatch - bytes.combine - bytes.context
    bytes.toOtherNodes = Collective.allCases.reduce(0) {
      $0 + 4 * traffic.words($1, .sent, .otherNode)
    }
  }
}
