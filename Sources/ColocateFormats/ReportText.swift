import Colocate

/// What the reports on certificates have in common.
enum ReportText {
  /// Names to the left, in lines of at most 80 columns.
  static func text(_ lines: [(name: String, text: String)]) -> String {
    lines.map { name, text in
      name + String(repeating: " ", count: max(1, 11 - name.count)) + text + "\n"
    }.joined()
  }

  static func machines(_ topology: Topology) -> String {
    "\(topology.gpus) GPU\(topology.gpus == 1 ? "" : "s") on \(topology.nodes) "
      + "node\(topology.nodes == 1 ? "" : "s")"
  }

  /// The cap and the tokens that it allows; "none" without one.
  static func cap(_ loadCap: LoadCap?, _ caps: [Int]?, relaxedLayers: Int) -> String {
    guard let loadCap, let caps else { return "none" }
    let (least, most) = (caps.min() ?? 0, caps.max() ?? 0)
    return "\(loadCap.numerator)/\(loadCap.denominator) of a GPU's even share, "
      + (least == most ? "\(least)" : "\(least) to \(most)") + " tokens"
      + (relaxedLayers > 0 ? ", relaxed in \(relaxedLayers) of \(caps.count) layers" : "")
  }

  /// "proved optimal", or the bound and the gap in ten-thousandths of a percent, rounded up.
  static func verdict(_ value: Int, _ bound: Int) -> String {
    if value == bound { return "proved optimal" }
    let (share, rest) = (Int128(value - bound) * 1_000_000).quotientAndRemainder(
      dividingBy: Int128(value))
    let parts = Int(share) + (rest > 0 ? 1 : 0)
    let fraction = String(parts % 10_000 + 10_000).dropFirst()
    return "bound \(bound), gap \(parts / 10_000).\(fraction) %"
  }

  /// The sizes, machines and cap for programs.
  static func sizes(
    layers: Int, experts: Int, topology: Topology, loadCap: LoadCap?, caps: [Int]?
  ) -> SharedFields.Members {
    [
      ("layers", .integer(layers)), ("experts", .integer(experts)),
      ("gpus", .integer(topology.gpus)), ("nodes", .integer(topology.nodes)),
      ("load_cap", SharedFields.json(loadCap)), ("caps", caps.map { JSONText($0) } ?? nil),
    ]
  }
}
