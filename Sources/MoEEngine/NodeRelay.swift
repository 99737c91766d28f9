/// Home mode, once per node: a token goes once to each other node that has experts of it, is spread
/// there, and its partial sums are added there before they travel back.
///
/// Links between nodes are the slow ones. Direct exchange sends a token to another node as often as
/// it has ranks there; here it goes to one rank of that node, its **relay**: the rank with the same
/// place in its node as the token's home. Four exchanges a layer instead of two:
///
///     out      home → relay of each other node             between nodes
///     spread   home, or relay → ranks of the experts       inside a node
///     gather   ranks of the experts → who sent the row      inside a node, the way back
///     back     relay → home, one sum for each row           between nodes
///
/// Per token, with `R` the ranks of its experts, `N` their nodes and `h` its home:
///
///     between nodes:  |N \ {node(h)}| rows out and as many back
///     inside nodes:   Σ_{n ∈ N} |R_n \ {relay of n, or h}| rows there and back
///
/// The rows of `out`, and the tokens that have an expert on their own node, are the distinct nodes
/// of the node objective. A relay holds what it relays beside its own rows; a token has one home
/// and comes to a rank in one way only, so no buffer grows beyond the rows of a step.
final class NodeRelay {
  /// Rows out, in the layout of dispatch, and sums back.
  let out: RowExchange
  let back: RowExchange
  /// `[G · N]`: local row of each row that went out.
  let sentRow: UnsafeMutablePointer<Int32>
  /// The nodes of a row's experts.
  let distinctNodes: DistinctRanks
  /// Rows that this rank relays in this layer.
  var held = 0
  /// Local rows with an expert on this rank's node.
  var onOwnNode = 0

  /// - Parameters:
  ///   - rows: `G`.
  ///   - rowWords: of a dispatched row; `width` of them are its hidden state.
  init(
    rows: Int, choices: Int, nodes: Int, ranks: Int, rowWords: Int, width: Int, memory: Memory
  ) throws(EngineError) {
    let copies = rows * min(choices, nodes - 1)
    out = try RowExchange(
      .dispatch, ranks: ranks, rowWords: rowWords, payloadWords: width, mostSent: copies,
      mostReceived: rows, memory: memory)
    back = try RowExchange(
      .combine, ranks: ranks, rowWords: width, payloadWords: width, mostSent: rows,
      mostReceived: copies, memory: memory)
    sentRow = try memory.integers(copies)
    distinctNodes = try DistinctRanks(ranks: nodes, memory: memory)
  }
}

/// How rows travel to the ranks of their experts in home mode.
public enum ExchangeRoute: String, CaseIterable, Sendable {
  /// To each rank by itself.
  case direct
  /// Once to each other node, and spread there.
  case node
}

extension Engine {
  /// The rank of `node` that relays for this one, or that this one relays for.
  @inline(__always)
  private func relay(on node: Int) -> Int {
    let size = communicator.topology.gpusPerNode
    return node * size + communicator.rank % size
  }

  private var ownNode: Int { communicator.topology.node(of: communicator.rank) }

  /// Dispatch by way of relays.
  func dispatchByNode(_ l: Int, _ relay: NodeRelay) throws(EngineError) {
    let rankOf = weights.layers[l].rank
    measure(.packing) { packOut(relay, rankOf) }
    try measure(.collectives) { () throws(EngineError) in
      communicator.exchangeCounts(of: relay.out, layer: l, counting: &traffic)
      try checkRelayed(relay, l)
      communicator.exchange(relay.out, layer: l, counting: &traffic)
    }
    try measure(.packing) { () throws(EngineError) in
      try checkRelayedExperts(relay, rankOf, l)
      spread(relay, rankOf)
    }
    try exchangeDispatched(l)
    try measure(.packing) { () throws(EngineError) in
      try unpackCopies(l)
      prepareReturn()
    }
  }

  /// Combine by way of relays.
  func combineByNode(_ l: Int, _ relay: NodeRelay) {
    let (d, sums) = (config.hidden, work.sums)
    measure(.collectives) { communicator.exchange(sums, layer: l, counting: &traffic) }
    measure(.packing) {
      for i in 0..<sums.receivedRows {
        let row = Int(work.sentRow[i])
        let target = row < localRows ? work.x + row * d : relay.back.send + (row - localRows) * d
        VectorMath.add(sums.receive + i * d, to: target, count: d)
      }
    }
    measure(.collectives) { communicator.exchange(relay.back, layer: l, counting: &traffic) }
    measure(.packing) {
      for i in 0..<relay.back.receivedRows {
        VectorMath.add(
          relay.back.receive + i * d, to: work.x + Int(relay.sentRow[i]) * d, count: d)
      }
    }
  }

  /// Calls `body` once for each distinct node of a row's experts.
  @inline(__always)
  private func forEachNode(
    of experts: UnsafePointer<Int32>, _ rankOf: UnsafePointer<Int32>, _ relay: NodeRelay,
    _ body: (_ node: Int) -> Void
  ) {
    let topology = communicator.topology
    relay.distinctNodes.forEach(
      of: experts, count: config.expertsPerToken,
      rankOf: { topology.node(of: Int(rankOf[$0])) }
    ) { node, _ in body(node) }
  }

  /// Copies of the local rows to the relays of other nodes.
  private func packOut(_ relay: NodeRelay, _ rankOf: UnsafePointer<Int32>) {
    let (d, k, out) = (config.hidden, config.expertsPerToken, relay.out)
    out.clear()
    relay.onOwnNode = 0
    for row in 0..<localRows {
      forEachNode(of: work.chosen + row * k, rankOf, relay) { node in
        if node == ownNode {
          relay.onOwnNode += 1
        } else {
          out.sendRows[self.relay(on: node)] += 1
        }
      }
    }
    _ = out.startPacking()
    for row in 0..<localRows {
      forEachNode(of: work.chosen + row * k, rankOf, relay) { node in
        guard node != ownNode else { return }
        let at = out.slot(for: self.relay(on: node))
        relay.sentRow[at] = Int32(row)
        let words = out.send + at * out.rowWords
        words.update(from: work.normed + row * d, count: d)
        write(work.chosen + row * k, work.gates + row * k, after: words + d)
      }
    }
  }

  private func write(
    _ experts: UnsafePointer<Int32>, _ gates: UnsafePointer<Float>, after words: Floats
  ) {
    let k = config.expertsPerToken
    for i in 0..<k {
      words[i] = Float(bitPattern: UInt32(bitPattern: experts[i]))
      words[k + i] = gates[i]
    }
  }

  /// What the other nodes announce must fit beside what is here.
  private func checkRelayed(_ relay: NodeRelay, _ l: Int) throws(EngineError) {
    var held = 0
    for rank in 0..<communicator.size {
      let rows = Int(relay.out.receiveRows[rank])
      guard (0...step.rows).contains(rows) else {
        throw damaged(
          "layer \(l), dispatch between nodes", from: rank, "\(rows) announced rows",
          expected: "0 to \(step.rows)")
      }
      held += rows
    }
    guard localRows + held <= step.rows else {
      throw EngineError(
        "layer \(l), dispatch between nodes: rank \(communicator.rank) is to relay \(held) rows "
          + "beside its own \(localRows); expected \(step.rows) in all: a message was damaged on "
          + "its way")
    }
    relay.held = held
    for rank in 0..<communicator.size {
      relay.back.sendRows[rank] = relay.out.receiveRows[rank]
      relay.back.receiveRows[rank] = relay.out.sendRows[rank]
    }
    relay.back.send.update(repeating: 0, count: held * config.hidden)
  }

  /// A relayed row's experts are experts, and one of them at least is on this node. Their ids and
  /// gate weights follow those of the local rows.
  private func checkRelayedExperts(
    _ relay: NodeRelay, _ rankOf: UnsafePointer<Int32>, _ l: Int
  ) throws(EngineError) {
    let (d, k, out) = (config.hidden, config.expertsPerToken, relay.out)
    let topology = communicator.topology
    var i = 0
    for rank in 0..<communicator.size {
      for _ in 0..<out.receiveRows[rank] {
        let words = out.receive + i * out.rowWords + d
        let (chosen, gates) = (
          work.chosen + (localRows + i) * k, work.gates + (localRows + i) * k
        )
        var isHere = false
        for j in 0..<k {
          chosen[j] = Int32(bitPattern: words[j].bitPattern)
          gates[j] = words[k + j]
          guard (0..<config.experts).contains(Int(chosen[j])) else {
            throw damaged(
              "layer \(l), dispatch between nodes", from: rank, "a row for expert \(chosen[j])",
              expected: "0 to \(config.experts - 1)")
          }
          if topology.node(of: Int(rankOf[Int(chosen[j])])) == ownNode { isHere = true }
        }
        guard isHere else {
          throw damaged(
            "layer \(l), dispatch between nodes", from: rank,
            "a row none of whose experts is on this node", expected: "one of them")
        }
        i += 1
      }
    }
  }

  /// Local and relayed rows to the ranks of this node; what has an expert here becomes a work row.
  private func spread(_ relay: NodeRelay, _ rankOf: UnsafePointer<Int32>) {
    let (d, k, message) = (config.hidden, config.expertsPerToken, work.dispatch)
    let topology = communicator.topology
    message.clear()
    for row in 0..<(localRows + relay.held) {
      forEachRank(of: work.chosen + row * k, rankOf) { rank, _ in
        guard topology.node(of: rank) == ownNode else { return }
        if rank == communicator.rank {
          row < localRows ? addLocalWork(row) : addRelayedWork(row, relay)
        } else {
          message.sendRows[rank] += 1
        }
      }
    }
    _ = message.startPacking()
    for row in 0..<(localRows + relay.held) {
      let (chosen, gates) = (work.chosen + row * k, work.gates + row * k)
      let from =
        row < localRows
        ? work.normed + row * d : relay.out.receive + (row - localRows) * relay.out.rowWords
      forEachRank(of: chosen, rankOf) { rank, _ in
        guard topology.node(of: rank) == ownNode, rank != communicator.rank else { return }
        let at = message.slot(for: rank)
        work.sentRow[at] = Int32(row)
        let words = message.send + at * message.rowWords
        words.update(from: from, count: d)
        write(chosen, gates, after: words + d)
      }
    }
  }

  /// A relayed row with an expert here: its outputs are added to the sum that goes back.
  private func addRelayedWork(_ row: Int, _ relay: NodeRelay) {
    let (d, k) = (config.hidden, config.expertsPerToken)
    let words = relay.out.receive + (row - localRows) * relay.out.rowWords
    work.workInput[workRows] = words
    work.workResidual[workRows] = words
    work.workTarget[workRows] = relay.back.send + (row - localRows) * d
    (work.workExperts + workRows * k).update(from: work.chosen + row * k, count: k)
    (work.workGates + workRows * k).update(from: work.gates + row * k, count: k)
    workRows += 1
  }
}
