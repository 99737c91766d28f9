/// What many cases have shown.
package struct FuzzTally: Sendable {
  package private(set) var cases = 0
  package private(set) var infeasible = 0
  package private(set) var open = 0
  package private(set) var certificates = 0
  package private(set) var forgeries = 0
  /// The seconds of the slowest case.
  package private(set) var slowest = 0.0
  /// Proofs of stages by method, and seconds of the cases by the method of the first.
  package private(set) var proofs: [String: Int] = [:]
  package private(set) var seconds: [String: Double] = [:]

  package init() {}

  package mutating func add(_ report: FuzzRun.Report, seconds spent: Double = 0) {
    cases += 1
    slowest = max(slowest, spent)
    seconds[report.proofs.first ?? "open", default: 0] += spent
    infeasible += report.isInfeasible ? 1 : 0
    open += report.open
    certificates += report.certificates
    forgeries += report.forgeries
    // What a limit of time lets through depends on the machine's load, and says nothing of shares.
    if !report.isTimed { for method in report.proofs { proofs[method, default: 0] += 1 } }
  }

  package mutating func add(_ other: FuzzTally) {
    cases += other.cases
    infeasible += other.infeasible
    open += other.open
    certificates += other.certificates
    forgeries += other.forgeries
    slowest = max(slowest, other.slowest)
    proofs.merge(other.proofs, uniquingKeysWith: +)
    seconds.merge(other.seconds, uniquingKeysWith: +)
  }

  /// The part of all proofs that a method has closed.
  package func share(_ method: String) -> Double {
    Double(proofs[method] ?? 0) / Double(max(1, proofs.values.reduce(0, +)))
  }

  /// A table for people.
  package var text: String {
    var lines = [
      "\(cases) cases, \(infeasible) of them with a cap that cannot be met",
      "\(proofs.values.reduce(0, +)) stages proved, \(open) ended open",
      "\(certificates) certificates accepted, \(forgeries) forgeries refused",
    ]
    for (method, count) in proofs.sorted(by: { ($1.value, $0.key) < ($0.value, $1.key) }) {
      let permille = Int((1000 * share(method)).rounded())
      let name = method + String(repeating: " ", count: max(1, 14 - method.count))
      lines.append("  \(name)\(count) proofs, \(permille / 10).\(permille % 10) %")
    }
    let spent = seconds.sorted { $0.value > $1.value }.map {
      "\($0.key) \(Int(1000 * $0.value)) ms"
    }
    lines.append(
      "  the slowest case took \(Int(1000 * slowest)) ms; \(spent.joined(separator: ", "))")
    return lines.joined(separator: "\n")
  }
}
