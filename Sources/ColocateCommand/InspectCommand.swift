import ArgumentParser
import Colocate
import ColocateFormats
import Foundation

/// `colocate inspect`: what a trace says before anything is solved.
struct InspectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect",
    abstract: "Show a trace's sizes, popularity, affinity and load imbalance.",
    usage: "colocate inspect <trace-or-counts> ... [<options>]",
    discussion: """
      popularity   tokens of a layer's busiest expert over the mean: what a load cap has to cope \
      with.
      affinity     the share of the uncertainty about the next layer's expert that this layer's \
      expert removes, I(i; j) / H(j), averaged over boundaries. \
      The null has the same popularities and no affinity: next experts shuffled over the tokens. A \
      placement can only save what is above the null.
      prediction   how often the likeliest next expert is right, given this layer's expert, and \
      given the popularity alone.
      spread       of a top-k trace: on how many GPUs a token's experts of one layer are, if \
      experts are placed in the order of their numbers; what --mode home minimises.
      least cap    the smallest --max-load that every layer can meet, rounded up; where the search \
      for it was not finished, \
      what it lies between.

      EXAMPLES
        colocate inspect trace.npy
        colocate inspect prose.npy code.npy --json
      """)

  @Argument(
    help: ArgumentHelp(
      "Traces or counts (.npy, .safetensors); several are added up.", valueName: "trace-or-counts"))
  var inputs: [String]

  @OptionGroup var reading: ReadingOptions

  @Flag(help: "Print the result as JSON on standard output.")
  var json = false

  func run() throws {
    let input = try reading.read(inputs, sets: .sets)
    for line in reading.warnings(for: input) { Terminal.note(line) }
    let counts = input.counts
    let affinity = Affinity(counts)
    let caps = leastCaps(counts)
    let spreads = try input.sets.map(SpreadInspection.init)
    if json {
      let document = document(input, affinity, caps, spreads)
      Terminal.result(document.text)
      return
    }
    var text = ""
    for file in input.files {
      let shape = file.shape.map(String.init).joined(separator: " × ")
      text +=
        "\(FormatError(file.path, "").file): \(file.kind.rawValue), \(shape), \(file.elementType)"
      if let tokens = file.tokens { text += ", \(tokens) tokens, \(file.choices) per layer" }
      text += "\n  SHA-256 \(file.sha256)\n"
    }
    text += "layers       \(counts.layers)"
    text += input.moeLayers.map { ", MoE layers \(Remark.list($0)) of the file\n" } ?? "\n"
    text += "experts      \(counts.experts)"
    let inferred = input.files.filter { $0.kind == .trace }.allSatisfy(\.expertsInferred)
    text +=
      input.files.contains { $0.kind == .trace } && inferred
      ? " (the largest id + 1; --experts gives another)\n" : "\n"
    text += "transitions  \(counts.total)\n"
    let peaks = (0..<counts.layers).map { peak(counts, layer: $0) }
    let highest = peaks.max() ?? 1
    text +=
      "popularity   busiest expert \(Show.ratio(mean(peaks))) × the mean, "
      + "\(Show.ratio(highest)) in layer \(peaks.firstIndex(of: highest) ?? 0)\n"
    let idle = counts.loads.count { $0 == 0 }
    text += "idle         \(idle) of \(counts.loads.count) experts have no token\n"
    text +=
      "affinity     \(Show.percent(mean(affinity.shares))) of the next expert's entropy, null "
      + "\(Show.percent(mean(affinity.nullShares)))\n"
    text +=
      "             weakest boundary \(Show.percent(affinity.shares.min() ?? 0)), strongest "
      + "\(Show.percent(affinity.shares.max() ?? 0))\n"
    text +=
      "prediction   \(Show.percent(mean(affinity.hits))) of next experts, "
      + "\(Show.percent(mean(affinity.popularHits))) from popularity alone\n"
    if let spreads {
      text += spreads.text
      for line in SampleNote.lines(spreads.sets, paths: input.paths) { Terminal.note(line) }
    }
    text += "least cap   "
    for (gpus, least) in caps {
      let upper = least.upper.decimal(digits: 2, up: true)
      let lower = least.lower.decimal(digits: 4, up: false)
      text += " \(gpus) GPUs " + (least.isExact ? upper : "\(lower) to \(upper)")
    }
    Terminal.result(text + "\n")
  }

  private func document(
    _ input: TraceInput, _ affinity: Affinity, _ caps: [(gpus: Int, least: LeastCap)],
    _ spreads: SpreadInspection?
  ) -> JSONText {
    let counts = input.counts
    let spread: [(key: String, value: JSONText)] =
      spreads.map { [("token_sets", $0.json)] } ?? []
    return .object(
      [
        (
          "files",
          .array(
            input.files.map { file in
              .object([
                ("file", .string(file.path)), ("kind", .string(file.kind.rawValue)),
                ("shape", JSONText(file.shape)), ("type", .string(file.elementType)),
                ("tokens", file.tokens.map { .integer($0) } ?? nil),
                ("experts_inferred", .bool(file.expertsInferred)),
                ("moe_layers", file.moeLayers.map { JSONText($0) } ?? nil),
                ("remarks", .array(file.remarks.map { .string($0.text) })),
                ("sha256", .string(file.sha256)),
              ])
            })
        ),
        ("layers", .integer(counts.layers)), ("experts", .integer(counts.experts)),
        ("transitions", .integer(counts.total)),
        (
          "busiest_over_mean",
          .array((0..<counts.layers).map { .number(peak(counts, layer: $0)) })
        ),
        ("idle_experts", .integer(counts.loads.count { $0 == 0 })),
        ("affinity", .array(affinity.shares.map { .number($0) })),
        ("affinity_null", .array(affinity.nullShares.map { .number($0) })),
        ("prediction", .array(affinity.hits.map { .number($0) })),
        ("prediction_from_popularity", .array(affinity.popularHits.map { .number($0) })),
        (
          "least_cap",
          .array(
            caps.map {
              .object([
                ("gpus", .integer($0.gpus)), ("ratio", .number(Self.cap($0.least.upper))),
                ("exact", .bool($0.least.isExact)), ("at_least", .number($0.least.lower.value)),
              ])
            })
        ),
      ] + spread)
  }

  private func mean(_ values: [Double]) -> Double { values.reduce(0, +) / Double(values.count) }

  /// The busiest expert's tokens over the mean; 1 without tokens.
  private func peak(_ counts: TransitionCounts, layer: Int) -> Double {
    let most = (0..<counts.experts).map { counts.load(layer: layer, expert: $0) }.max() ?? 0
    let tokens = counts.load(layer: layer)
    return tokens == 0 ? 1 : Double(most) * Double(counts.experts) / Double(tokens)
  }

  /// For every number of GPUs that divides E.
  private func leastCaps(_ counts: TransitionCounts) -> [(gpus: Int, least: LeastCap)] {
    (2...max(2, counts.experts)).filter { counts.experts % $0 == 0 }.map { gpus in
      (gpus, LeastCap(counts: counts, gpus: gpus))
    }
  }

  /// A cap that `--max-load` takes: rounded up, to more digits than people read.
  private static func cap(_ ratio: LoadRatio) -> Double {
    Double(ratio.decimal(digits: 9, up: true)) ?? ratio.value
  }
}

/// How much this layer's expert says about the next layer's, boundary by boundary.
struct Affinity {
  /// `I(i; j) / H(j)`, 0 where `H(j) = 0`.
  private(set) var shares = [Double]()
  /// The same for tokens whose next experts are shuffled.
  private(set) var nullShares = [Double]()
  /// `Σ_i max_j W[i,j] / Σ W`.
  private(set) var hits = [Double]()
  /// `max_j Σ_i W[i,j] / Σ W`.
  private(set) var popularHits = [Double]()

  /// Draws of the null; with more transitions than that, its bias is scaled (it falls as 1 / n).
  static let mostDraws = 1_000_000

  init(_ counts: TransitionCounts) {
    let experts = counts.experts
    for l in 0..<counts.boundaries {
      let table = Array(counts.weights[(l * experts * experts)..<((l + 1) * experts * experts)])
      var random = SeededGenerator.stream(seed: 1, index: l)
      let (share, entropy) = Self.share(table, experts)
      shares.append(share)
      var rows = [Int](repeating: 0, count: experts)
      var columns = rows
      var best = 0
      for i in 0..<experts {
        for j in 0..<experts {
          rows[i] += table[i * experts + j]
          columns[j] += table[i * experts + j]
        }
        best += table[(i * experts)..<((i + 1) * experts)].max() ?? 0
      }
      let total = rows.reduce(0, +)
      hits.append(total == 0 ? 0 : Double(best) / Double(total))
      popularHits.append(total == 0 ? 0 : Double(columns.max() ?? 0) / Double(total))
      let draws = min(total, Self.mostDraws)
      guard draws > 0, entropy > 0 else {
        nullShares.append(0)
        continue
      }
      // The same margins: each side's experts in a list as often as they occur, one of the lists
      // shuffled.
      func list(_ margin: [Int]) -> [Int32] {
        var list = [Int32]()
        list.reserveCapacity(draws)
        guard total > draws else {
          for (expert, count) in margin.enumerated() {
            list.append(contentsOf: repeatElement(Int32(expert), count: count))
          }
          return list
        }
        // Systematic sampling: draw d is where the running total passes (d + ½) · total / draws.
        var (expert, upTo) = (0, margin[0])
        for draw in 0..<draws {
          let at = Int((Double(draw) + 0.5) * Double(total) / Double(draws))
          while at >= upTo, expert < margin.count - 1 {
            expert += 1
            upTo += margin[expert]
          }
          list.append(Int32(expert))
        }
        return list
      }
      let from = list(rows)
      var to = list(columns)
      to.shuffle(using: &random)
      var shuffled = [Int](repeating: 0, count: experts * experts)
      for (i, j) in zip(from, to) { shuffled[Int(i) * experts + Int(j)] += 1 }
      nullShares.append(Self.share(shuffled, experts).share * Double(draws) / Double(total))
    }
  }

  /// `(I / H(j), H(j))` of a table of counts, in bits.
  static func share(_ table: [Int], _ experts: Int) -> (share: Double, entropy: Double) {
    var rows = [Int](repeating: 0, count: experts)
    var columns = rows
    for i in 0..<experts {
      for j in 0..<experts {
        rows[i] += table[i * experts + j]
        columns[j] += table[i * experts + j]
      }
    }
    let total = Double(rows.reduce(0, +))
    guard total > 0 else { return (0, 0) }
    var entropy = 0.0
    for count in columns where count > 0 {
      entropy -= Double(count) / total * log2(Double(count) / total)
    }
    var information = 0.0
    for i in 0..<experts {
      for j in 0..<experts where table[i * experts + j] > 0 {
        let joint = Double(table[i * experts + j])
        information += joint / total * log2(joint * total / (Double(rows[i]) * Double(columns[j])))
      }
    }
    return (entropy > 0 ? max(0, information) / entropy : 0, entropy)
  }
}
