import Colocate
import ColocateFormats

/// What a top-k trace says about destinations before anything is solved.
struct SpreadInspection {
  let sets: TokenSets
  /// For every number of GPUs that divides E: the mean number of a token's GPUs in a layer, with
  /// expert `e` on GPU `e / c`.
  let contiguous: [(gpus: Int, perToken: Double)]

  init(_ sets: TokenSets) throws {
    self.sets = sets
    let experts = sets.experts
    contiguous = try (2...max(2, experts)).filter { experts % $0 == 0 }.map { gpus in
      let placement = try Placement(
        topology: Topology(gpus: gpus), layers: sets.layers, experts: experts,
        assignment: (0..<(sets.layers * experts)).map { $0 % experts / (experts / gpus) })
      return (gpus, try sets.destinations(of: placement).gpusPerToken)
    }
  }

  private var distinct: Int { sets.layerSets.reduce(0) { $0 + $1.count } / sets.layers }

  var text: String {
    let sample = sets.sample
    var text = "token sets   \(distinct) different ones a layer"
    if sample.sequencesAreNamed { text += ", from \(sample.sequencesTaken) sequences" }
    var line = "spread      "
    for (gpus, perToken) in contiguous {
      let entry = " \(gpus) GPUs \(Show.fixed(perToken, 2))"
      if line.count + entry.count > 80 {
        text += "\n" + line
        line = "            "
      }
      line += entry
    }
    return text + "\n" + line + "\n"
  }

  var json: JSONText {
    .object([
      ("distinct_per_layer", JSONText(sets.layerSets.map(\.count))),
      ("tokens_read", .integer(sets.sample.tokensRead)),
      ("tokens_taken", .integer(sets.sample.tokensTaken)),
      (
        "sequences",
        sets.sample.sequencesAreNamed ? .integer(sets.sample.sequencesTaken) : nil
      ),
      (
        "contiguous",
        .array(
          contiguous.map {
            .object([("gpus", .integer($0.gpus)), ("gpus_per_token", .number($0.perToken))])
          })
      ),
    ])
  }
}
