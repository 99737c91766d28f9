import ColocateFormats
import Foundation
import MoEEngine

/// What `generate` reports: throughput, and on request where the time went.
struct GenerationFigures {
  let mode: String
  let ranks: Int
  let sequences: Int
  let prompt: Int
  let decodeSteps: Int
  let prefillSeconds: Double
  let prefillTokensPerSecond: Double?
  let decodeSeconds: Double
  let decodeTokensPerSecond: Double?
  /// On the processor's clock of rank 0, which other programs on the machine hardly disturb; only
  /// of interest with one rank.
  let decodeTokensPerComputingSecond: Double?
  let prefillTokensPerComputingSecond: Double?
  /// Per decode step and token row: bytes that left their rank.
  let decodeBytesPerToken: Double?
  /// The exchanges of the decode steps beside bare MPI_Alltoallv of the same rows; nil where not
  /// compared.
  let exchange: ExchangeFigures?
  /// Shares of rank 0's decode time: by phase, inside OpenBLAS, and what no phase covers.
  let shares: [String: Double]?
  /// Where the tokens went; nil where they were not kept.
  let output: String?

  init(
    _ result: Model.Generated, _ model: Model, _ tokens: Tokens, mode: Mode, timed: Bool,
    exchange: ExchangeFigures?, output: String?
  ) {
    (self.exchange, self.output) = (exchange, output)
    self.mode = mode.rawValue
    ranks = model.communicator.size
    (sequences, prompt, decodeSteps) = (tokens.sequences, tokens.positions, result.decodeSteps)
    (prefillSeconds, decodeSeconds) = (result.prefillSeconds, result.decodeSeconds)
    func rate(_ count: Int, _ seconds: Double) -> Double? {
      count == 0 || seconds <= 0 ? nil : Double(count) / seconds
    }
    prefillTokensPerSecond = rate(result.prefillTokens, result.prefillSeconds)
    decodeTokensPerSecond = rate(result.decodeTokens, result.decodeSeconds)
    decodeTokensPerComputingSecond = rate(result.decodeTokens, result.timings.computing)
    prefillTokensPerComputingSecond = rate(
      result.prefillTokens, result.prefillTimings.computing)
    let bytes = Collective.allCases.reduce(0) { $0 + result.decodeTraffic.bytes($1) }
    decodeBytesPerToken =
      result.decodeTokens == 0 ? nil : Double(bytes) / Double(result.decodeTokens)
    guard timed, result.decodeSteps > 0 else {
      shares = nil
      return
    }
    var shares = ["blas": result.timings.blasShare]
    var rest = 1.0
    for phase in Timings.Phase.allCases {
      shares[phase.name] = result.timings.share(phase)
      rest -= result.timings.share(phase)
    }
    shares["rest"] = rest
    self.shares = shares
  }

  var json: String {
    func number(_ value: Double?) -> JSONText { value.map { .number($0) } ?? nil }
    let shares = shares.map { shares in
      JSONText.object(shares.sorted { $0.key < $1.key }.map { ($0.key, .number($0.value)) })
    }
    return JSONText.object([
      ("mode", .string(mode)), ("ranks", .integer(ranks)), ("sequences", .integer(sequences)),
      ("prompt", .integer(prompt)), ("decode_steps", .integer(decodeSteps)),
      ("prefill_seconds", .number(prefillSeconds)),
      ("prefill_tokens_per_second", number(prefillTokensPerSecond)),
      ("prefill_tokens_per_computing_second", number(prefillTokensPerComputingSecond)),
      ("decode_seconds", .number(decodeSeconds)),
      ("decode_tokens_per_second", number(decodeTokensPerSecond)),
      ("decode_tokens_per_computing_second", number(decodeTokensPerComputingSecond)),
      ("decode_bytes_per_token", number(decodeBytesPerToken)),
      ("exchange_seconds", number(exchange?.exchange)),
      ("bare_exchange_seconds", number(exchange?.bare)),
      ("exchange_calls", exchange.map { .integer($0.calls) } ?? nil), ("shares", shares ?? nil),
      ("output", output.map { .string($0) } ?? nil),
    ]).text
  }

  var text: String {
    func rounded(_ value: Double?) -> String {
      value.map { String(format: $0 < 100 ? "%.1f" : "%.0f", $0) } ?? "–"
    }
    var lines = [
      "\(ranks) rank\(ranks == 1 ? "" : "s"), \(mode): \(sequences) sequences × \(prompt) read at "
        + "\(rounded(prefillTokensPerSecond)) tokens/s, \(decodeSteps) steps decoded at "
        + "\(rounded(decodeTokensPerSecond)) tokens/s"
        + (ranks > 1 ? ", \(rounded(decodeBytesPerToken)) bytes between ranks per token" : "")
    ]
    if let exchange {
      func micro(_ seconds: Double) -> String { rounded(seconds / Double(exchange.calls) * 1e6) }
      let ratio = String(format: "%.2f", exchange.exchange / exchange.bare)
      lines.append(
        "\(exchange.calls) exchanges: \(micro(exchange.exchange)) µs each, bare MPI_Alltoallv "
          + "\(micro(exchange.bare)) µs, ratio \(ratio)")
    }
    if let shares {
      let parts = shares.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
      lines.append(
        "decode time: "
          + parts.map { name, share in
            "\(name.replacing("_", with: " ")) \(String(format: "%.1f", share * 100)) %"
          }.joined(separator: ", "))
      lines.append(
        "decode on the processor's clock: \(rounded(decodeTokensPerComputingSecond)) tokens/s")
    }
    lines.append(
      output.map { "\($0): the prompts and what follows them" }
        ?? "The new tokens were not kept: -o FILE.npy writes them.")
    return lines.joined(separator: "\n")
  }
}
