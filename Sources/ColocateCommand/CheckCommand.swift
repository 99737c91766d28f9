import ArgumentParser
import Colocate
import ColocateFormats

/// `colocate check`: verifies a certificate against the trace it is about, without trusting the
/// search.
struct CheckCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check",
    abstract: "Verify the proof that `solve --certificate` wrote.",
    usage: "colocate check <certificate> <trace-or-counts> ... [<options>]",
    discussion: """
      The problem is derived from the trace anew, the placement's crossings are counted, and the \
      bound is recomputed from the evidence: duals, value functions, prices, multipliers, trees. \
      Anything that is not true, or that takes longer than the time limit, is refused with exit \
      code 2. The trace must be read as it was for the solve (--as, --top-k, --experts, \
      --coactivation). What is printed is what was proved: machines, cap, objective, counts, \
      value and bound. Benchmarks/check_certificate.py does the same in Python and shares no code.

      EXAMPLE
        colocate solve counts.npy --gpus 4 --certificate proof.json -o plan.json
        colocate check proof.json counts.npy
      """)

  @Argument(help: "What `solve --certificate` wrote.")
  var certificate: String

  @Argument(
    help: ArgumentHelp(
      "Traces or counts (.npy, .safetensors); several are added up.", valueName: "trace-or-counts"))
  var inputs: [String]

  @OptionGroup var reading: ReadingOptions

  @Option(help: ArgumentHelp("Threads.", valueName: "T"))
  var threads: Int = 2

  @Flag(help: "Print the findings as JSON on standard output.")
  var json = false

  @Option(help: ArgumentHelp("Seconds that the check may take.", valueName: "S"))
  var timeLimit: Double = 120

  func validate() throws {
    guard threads >= 1 else { throw ValidationError("--threads \(threads): expected 1 or more") }
    guard timeLimit > 0, timeLimit.isFinite else {
      throw ValidationError("--time-limit \(timeLimit): expected more than 0 seconds")
    }
  }

  func run() throws {
    let file: CertificateFile
    switch try AnyCertificateFile.read(certificate) {
    case .crossings(let found): file = found
    case .destinations(let found): return try check(found)
    }
    let input = try reading.read(inputs)
    for line in reading.warnings(for: input) { Terminal.note(line) }
    let report = try file.check(
      counts: input.counts, path: certificate, threads: threads, seconds: timeLimit)
    // What counts files were made of, only their maker knows.
    let counting =
      input.files.allSatisfy { $0.kind == .counts }
      ? "as given"
      : reading.topK == .first ? "a token's first experts" : "all pairs of a token's experts"
    Terminal.result(json ? report.json(counting: counting).text : report.text(counting: counting))
  }

  private func check(_ file: DestinationCertificateFile) throws {
    let input = try reading.read(inputs, sets: .sets)
    guard let sets = input.sets else {
      throw CommandFailure(
        FormatError(
          input.paths.joined(separator: " + "),
          "the certificate is about a token's experts of one layer: expected a trace "
            + "[tokens, layers, k]"
        ).description)
    }
    let report = try file.check(
      sets: sets, path: certificate, threads: threads, seconds: timeLimit)
    Terminal.result(json ? report.json().text : report.text())
  }
}
