import Colocate
import Testing

/// The table of options against the options themselves.
@Suite struct SolverOptionsTests {
  @Test func defaultsAreInTheirRanges() throws {
    try SolverOptions().validate()
    #expect(Set(OptionDescription.table.map(\.name)).count == OptionDescription.table.count)
    for option in OptionDescription.table {
      #expect(option.meaning.hasSuffix("."), "\(option.name)")
    }
  }

  /// Every option reads what it prints, takes both ends of its range, and refuses what is outside
  /// with its name, the value and the range.
  @Test func everyOptionIsReadAndRefused() throws {
    for option in OptionDescription.table {
      var options = SolverOptions()
      let (inside, outside) = Self.samples(of: option)
      for text in inside {
        try option.set(text, in: &options)
        #expect(option.text(in: options) == text, "\(option.name)")
        try options.validate()
      }
      option.reset(&options)
      #expect(options == SolverOptions(), "\(option.name)")
      for text in outside {
        let error = #expect(throws: ModelError.self) { try option.set(text, in: &options) }
        let line = error?.description ?? ""
        #expect(line == "\(option.name) \(text): expected \(option.rangeText)")
        #expect(options == SolverOptions(), "\(option.name)")
      }
    }
  }

  /// A value that was set without `set` is refused by the solver itself.
  @Test func theSolverRefusesWhatIsOutOfRange() throws {
    let counts = try TransitionCounts(layers: 2, experts: 2, weights: [1, 2, 3, 4])
    let instance = try Instance(counts: counts, topology: Topology(gpus: 2))
    var count = 0
    for option in OptionDescription.table {
      var options = SolverOptions()
      switch option.access {
      case .flag, .seed: continue
      case .count(let path, let range):
        options[keyPath: path] = range.lowerBound - 1
      case .limit(let path, let range):
        options[keyPath: path] = range.lowerBound - 1
      case .number(let path, _): options[keyPath: path] = .nan
      case .seconds(let path, _): options[keyPath: path] = -0.5
      }
      count += 1
      let error = #expect(throws: ModelError.self) { try Solver(options).solve(instance) }
      #expect(error?.description.hasPrefix("\(option.name) ") == true, "\(option.name)")
    }
    #expect(count > 10)
  }

  private static func samples(of option: OptionDescription) -> (inside: [String], outside: [String])
  {
    func around(_ range: ClosedRange<Int>) -> (inside: [String], outside: [String]) {
      (
        ["\(range.lowerBound)", "\(range.upperBound)"],
        ["\(range.lowerBound - 1)", "1.5", "", "99999999999999999999", "on"]
      )
    }
    switch option.access {
    case .flag: return (["on", "off"], ["yes", "", "1"])
    case .count(_, let range): return around(range)
    case .limit(_, let range):
      let (inside, outside) = around(range)
      return (inside + ["none"], outside)
    case .number(_, let range): return (["\(Int(range.upperBound))"], ["-1", "nan", "inf", ""])
    case .seconds: return (["1", "0.25", "none"], ["-1", "nan", "inf", ""])
    case .seed: return (["0", "\(UInt64.max)"], ["-1", "x", "18446744073709551616"])
    }
  }
}
