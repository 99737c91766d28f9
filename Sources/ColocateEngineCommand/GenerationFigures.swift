import Foundation
import MoEEngine

/// What `generate` reports: throughput, and on request where the time went.
struct GenerationFigures: Encodable {
  let mode: String
  let ranks: Int
  let sequences: Int
  let prompt: Int
  let decodeSteps: Int
  let prefillSeconds: Double
  let prefillTokensPerSecond: Double
  let decodeSeconds: Double
  let decodeTokensPerSecond: Double
  /// On the processor's clock of rank 0, which other programs on the machine hardly disturb; only of interest with one rank.
  let decodeTokensPerComputingSecond: Double
  let prefillTokensPerComputingSecond: Double
  /// Per decode step and token row: bytes that left their rank.
  let decodeBytesPerToken: Double
  /// Seconds of all exchanges of the decode steps, and of bare MPI_Alltoallv of the same rows; 0 where not compared.
  let exchangeSeconds: Double
  let bareExchangeSeconds: Double
  let exchangeCalls: Int
  /// Shares of rank 0's decode time: by part, inside OpenBLAS, and what no part covers.
  let shares: [String: Double]?

  init(_ result: Model.Generated, _ model: Model, _ tokens: Tokens, mode: Mode, timed: Bool) {
    self.mode = mode.rawValue
    ranks = model.communicator.size
    (sequences, prompt, decodeSteps) = (tokens.sequences, tokens.positions, result.decodeSteps)
    (prefillSeconds, decodeSeconds) = (result.prefillSeconds, result.decodeSeconds)
    func rate(_ count: Int, _ seconds: Double) -> Double {
      count == 0 ? 0 : Double(count) / seconds
    }
    prefillTokensPerSecond = rate(result.prefillTokens, result.prefillSeconds)
    decodeTokensPerSecond = rate(result.decodeTokens, result.decodeSeconds)
    decodeTokensPerComputingSecond = rate(result.decodeTokens, result.timings.computing)
    prefillTokensPerComputingSecond = rate(
      result.prefillTokens, result.prefillTimings.computing)
    (exchangeSeconds, bareExchangeSeconds) = (result.exchangeSeconds, result.bareExchangeSeconds)
    exchangeCalls = result.exchangeCalls
    let bytes = Collective.allCases.reduce(0) { $0 + result.decodeTraffic.bytes($1) }
    decodeBytesPerToken = result.decodeTokens == 0 ? 0 : Double(bytes) / Double(result.decodeTokens)
    guard timed, result.decodeSteps > 0 else {
      shares = nil
      return
    }
    var shares = ["blas": result.timings.blasShare]
    var rest = 1.0
    for part in Timings.Part.allCases {
      shares["\(part)"] = result.timings.share(part)
      rest -= result.timings.share(part)
    }
    shares["rest"] = rest
    self.shares = shares
  }

  var json: String {
    get throws {
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
      return String(decoding: try encoder.encode(self), as: UTF8.self)
    }
  }

  var text: String {
    func rounded(_ value: Double) -> String { String(format: value < 100 ? "%.1f" : "%.0f", value) }
    var lines = [
      "\(ranks) rank\(ranks == 1 ? "" : "s"), \(mode): \(sequences) sequences × \(prompt) read at \(rounded(prefillTokensPerSecond)) "
        + "tokens/s, \(decodeSteps) steps decoded at \(rounded(decodeTokensPerSecond)) tokens/s"
        + (ranks > 1 ? ", \(rounded(decodeBytesPerToken)) bytes between ranks per token" : "")
    ]
    if exchangeCalls > 0 {
      func micro(_ seconds: Double) -> String { rounded(seconds / Double(exchangeCalls) * 1e6) }
      lines.append(
        "\(exchangeCalls) exchanges: \(micro(exchangeSeconds)) µs each, bare MPI_Alltoallv \(micro(bareExchangeSeconds)) µs, "
          + "ratio \(String(format: "%.2f", exchangeSeconds / bareExchangeSeconds))")
    }
    if let shares {
      let parts = shares.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
      lines.append(
        "decode time: "
          + parts.map { "\($0.key) \(String(format: "%.1f", $0.value * 100)) %" }.joined(
            separator: ", "))
      lines.append(
        "decode on the processor's clock: \(rounded(decodeTokensPerComputingSecond)) tokens/s")
    }
    return lines.joined(separator: "\n")
  }
}
