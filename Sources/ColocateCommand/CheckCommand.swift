import ArgumentParser
import Colocate
import ColocateFormats

/// `colocate check`: verifies a certificate against the trace it is about, without trusting the search.
struct CheckCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check",
    abstract: "Verify the proof that `solve --certificate` wrote.",
    usage: "colocate check <certificate> <trace-or-counts> ... [<options>]",
    discussion: """
      The problem is derived from the trace anew, the placement's crossings are counted, and the bound is recomputed from the evidence: duals, value \
      functions, prices, multipliers, trees. Anything that is not true is refused with exit code 2. The trace must be read as it was for the solve \
      (--as, --top-k, --experts, --coactivation). Benchmarks/check_certificate.py does the same in Python and shares no code.

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

  func validate() throws {
    guard threads >= 1 else { throw ValidationError("--threads \(threads): expected 1 or more") }
  }

  func run() throws {
    let file = try CertificateFile.read(certificate)
    let input = try reading.read(inputs)
    for line in reading.warnings(for: input) { Terminal.note(line) }
    let counts = input.counts
    let findings = try file.check(counts: counts, path: certificate, threads: threads)
    if json {
      Terminal.result(
        JSONText.array(
          findings.map {
            .object([
              ("stage", .string($0.stage)), ("evidence", .string($0.evidence)),
              ("crossings", .integer($0.crossings)), ("bound", .integer($0.bound)),
              ("total", .integer($0.total)), ("optimal", .bool($0.crossings == $0.bound)),
            ])
          }
        ).text)
      return
    }
    for finding in findings {
      let gap =
        finding.crossings == 0
        ? 0 : Double(finding.crossings - finding.bound) / Double(finding.crossings)
      Terminal.result(
        "\(finding.stage): crossings \(finding.crossings) of \(finding.total), "
          + (finding.crossings == finding.bound
            ? "proved optimal" : "bound \(finding.bound), gap \(Show.percent(gap, 4))")
          + " (\(finding.evidence))\n")
    }
  }
}
