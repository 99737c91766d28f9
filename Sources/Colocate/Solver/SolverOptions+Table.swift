import ColocateModel

extension OptionDescription {
  /// All options with a range, in the order in which `--help` shows them.
  public static let table: [OptionDescription] = spending + methods

  /// What a run may spend, and when it ends.
  private static let spending: [OptionDescription] = [
    basic("time-limit", .seconds(\.timeLimit, 0...1e9), "Stop after this many seconds."),
    basic(
      "gap", .number(\.gapLimit, 0...1),
      "Stop once (incumbent - bound) / incumbent is at most this; 0 asks for a proof."),
    basic(
      "tree-nodes", .limit(\.treeNodeLimit, 1...Int.max),
      "Stop after this many nodes of the search tree."),
    basic(
      "work-limit", .limit(\.workLimit, 1...Int.max),
      "Stop after this much work, in units that do not depend on the machine."
        + " Without a time limit the result can then be repeated."),
    basic("threads", .count(\.threads, 1...1024), "Threads that may work at the same time."),
    basic("seed", .seed(\.seed), "Names the run's random numbers."),
    basic("proof", .flag(\.proves), "Look for bounds and proofs, not only for a good placement."),
  ]

  /// Which methods may run, and where one gives way to the next.
  private static let methods: [OptionDescription] = [
    .init("assignment", .flag(\.methods.assignment), "Solve one expert a GPU by assignment."),
    .init("chain", .flag(\.methods.chain), "List all partitions of a layer where they are few."),
    .init(
      "chain-partitions", .count(\.methods.chainPartitions, 0...50_000),
      "Partitions of a layer up to which the chain lists them."),
    .init(
      "chain-seconds", .number(\.methods.chainSeconds, 0...100_000),
      "Estimated seconds on one core up to which the chain is preferred."),
    .init(
      "two-group-chain", .flag(\.methods.twoGroupChain),
      "Use the chain's own step for two groups of at most 8 experts."),
    .init("local-search", .flag(\.methods.localSearch), "Anneal and recombine before any bound."),
    .init(
      "local-rounds", .limit(\.methods.localRounds, 1...Int.max),
      "Rounds of local search before any bound."),
    .init("pool", .flag(\.methods.pool), "Recombine the partitions of all solutions found."),
    .init("path", .flag(\.methods.path), "Bound by the path relaxation."),
    .init(
      "path-subsets", .count(\.methods.pathSubsets, 1...65_535),
      "Subsets of a layer up to which the path relaxation sweeps all of them."),
    .init(
      "path-generation", .flag(\.methods.pathGeneration),
      "Generate the path relaxation's subsets where they are more."),
    .init(
      "path-evaluations", .count(\.methods.pathEvaluations, 0...100_000),
      "Evaluations of the smoothed dual in each stage of the root's prices."),
    .init("path-deletion", .flag(\.methods.pathDeletion), "Delete subsets by their penalties."),
    .init(
      "path-cut-rounds", .count(\.methods.pathCutRounds, 0...1_000),
      "Rounds of separating subset-row cuts."),
    .init("dolls", .flag(\.methods.dolls), "Search layer by layer with Russian dolls."),
    .init(
      "doll-states", .count(\.methods.dollStates, 0...100_000_000),
      "Partitions of one layer that the dolls may hold at the root."),
    .init("tree", .flag(\.methods.tree), "Branch where the dolls overflow."),
    .init(
      "tree-states", .count(\.methods.treeStates, 0...100_000_000),
      "Partitions of one layer that the dolls may hold at a node of the tree."),
    .init("co-location", .flag(\.methods.colocation), "Bound by the co-location relaxation."),
    .init(
      "co-location-cuts", .flag(\.methods.colocationCuts),
      "Separate cuts of the co-location relaxation."),
    .init(
      "hypermetric-cuts", .flag(\.methods.hypermetricCuts),
      "Separate hypermetric cuts among them."),
    .init(
      "cover-cuts", .flag(\.methods.coverCuts),
      "Separate cover cuts among them, where there is a load cap."),
    .init(
      "co-location-iterations", .limit(\.methods.colocationIterations, 1...Int.max),
      "Iterations of the co-location relaxation."),
    .init(
      "co-location-fixing", .flag(\.methods.colocationFixing),
      "Fix pairs of the co-location relaxation by what the other value would lose."),
    .init(
      "co-location-states", .count(\.methods.colocationStates, 0...100_000_000),
      "Partitions of one layer that the search on these losses may hold."),
    .init(
      "windows", .flag(\.methods.windows),
      "Search windows of two layers by trees, where there are more than two groups."),
    .init(
      "window-iterations", .count(\.methods.windowIterations, 1...100_000),
      "Iterations of the relaxation at a node of a window's tree."),
  ]

  private static func basic(_ name: String, _ access: Access, _ meaning: String)
    -> OptionDescription
  {
    OptionDescription(name, access, meaning, isAdvanced: false)
  }
}
