import ArgumentParser
import Colocate

/// Copies of experts, and who chooses among them.
struct ReplicaOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "With --mode home: R slots a layer beyond one for each expert; E + R must be divisible by P. "
        + "Copies go to the experts with the most tokens a copy (EPLB's rule), none twice on a GPU "
        + "and are placed by a search of swaps. No bound is known of such plans.",
      valueName: "R"))
  var redundant: Int?

  @Option(
    help: DispatchRule.help(
      "With --redundant: the rule by which the stack chooses among copies.",
      "uniform without it."))
  var dispatch: DispatchRule?

  /// The rule, named or not.
  var rule: DispatchRule { dispatch ?? .uniform }

  /// `R` of a command in that mode; nil where experts have no copies.
  /// - Throws: `ValidationError` where the two options or the mode do not go together.
  func checked(mode: ModeName?) throws -> Int? {
    guard let redundant else {
      if let dispatch {
        throw ValidationError("--dispatch \(dispatch.rawValue) without --redundant: expected both")
      }
      return nil
    }
    guard redundant >= 1 else {
      throw ValidationError("--redundant \(redundant): expected 1 or more")
    }
    guard mode == .home else {
      throw ValidationError("--redundant: expected with --mode home")
    }
    return redundant
  }

  /// - Throws: `ValidationError` for what plans with copies do not have.
  func check(_ solve: SolveCommand) throws {
    guard try checked(mode: solve.counted.mode) != nil else { return }
    if solve.objective == .staged {
      throw ValidationError(
        "--redundant with --objective staged: expected flat, nodes or joint")
    }
    for (name, isGiven) in [
      ("--certificate", solve.certificate != nil), ("--warm-start", solve.warmStart != nil),
      ("--crossing-weight", solve.counted.crossingWeight ?? 0 > 0),
    ] where isGiven {
      throw ValidationError(
        "\(name) with --redundant: plans with copies of experts have no such thing")
    }
    if solve.isTable {
      throw ValidationError("--redundant with a .csv output: expected one that ends in .json")
    }
  }
}
