import Colocate
import Testing

/// The solver's table of options as the command shows and reads it.
@Suite struct SolverArgumentsTests {
  @Test func helpNamesEveryOptionAndItsRange() throws {
    let runner = try CommandRunner()
    let help = try runner.run(["solve", "--help"])
    #expect(help.code == 0)
    let text = help.output.split(whereSeparator: \.isWhitespace).joined(separator: " ")
    for option in OptionDescription.table {
      if option.isAdvanced {
        let shown = "\(option.name)=\(option.defaultText) (\(option.rangeText)) \(option.meaning)"
        #expect(text.contains(shown), "\(shown)")
      } else {
        #expect(text.contains(option.name == "proof" ? "--no-proof" : "--\(option.name) "))
      }
    }
    #expect(help.output.split(separator: "\n").allSatisfy { $0.count <= 80 })
  }

  @Test func advancedOptionsAreSetAndRefused() throws {
    let runner = try CommandRunner()
    let solve = [
      "solve", runner.instance("generated-8.npy"), "--gpus", "4", "--work-limit", "3000000",
      "--quiet",
    ]
    func method(_ set: [String]) throws -> String {
      let plan = try runner.run(solve + set.flatMap { ["--set", $0] }).json()
      let stages = try #require(plan["stages"] as? [[String: Any]])
      return try #require(stages.first?["bound_method"] as? String)
    }
    #expect(try method([]) == "chain")
    #expect(try method(["chain=off"]) != "chain")
    #expect(try method(["chain-partitions=104", "path=off"]) == "co-location")
    #expect(try method(["chain-partitions=105"]) == "chain")
    for (text, reason) in [
      ("chain", "expected NAME=VALUE"), ("chains=on", "expected one of assignment, chain, "),
      ("chain=maybe", "--set chain maybe: expected on or off"),
      ("seed=4", "expected one of assignment"),
      ("path-subsets=0", "--set path-subsets 0: expected 1 to 65535"),
    ] {
      try runner.refuses(solve + ["--set", text], reason)
    }
  }
}
