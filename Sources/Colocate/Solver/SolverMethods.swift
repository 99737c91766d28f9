import ColocateModel

/// Which methods may run, and where one gives way to the next.
///
/// The defaults are what an ordinary run wants. Switching a method off never makes an answer wrong,
/// it only leaves more to the others: tests use that to reach each of them on instances that the
/// first would solve alone. What each option means stands in `OptionDescription.table`.
public struct SolverMethods: Hashable, Sendable {
  public var assignment = true
  public var chain = true
  public var chainPartitions = 50_000
  public var chainSeconds = 60.0
  public var twoGroupChain = true

  public var localSearch = true
  public var localRounds: Int?
  public var pool = true

  public var path = true
  public var pathSubsets = 2_100
  public var pathGeneration = true
  public var pathEvaluations = 100
  public var pathDeletion = true
  public var pathCutRounds = 8

  public var dolls = true
  public var dollStates = 6_000_000
  public var tree = true
  public var treeStates = 100_000

  public var colocation = true
  public var colocationCuts = true
  public var hypermetricCuts = true
  public var coverCuts = true
  public var colocationIterations: Int?
  public var colocationFixing = true
  public var colocationStates = 1_000_000
  public var windows = true
  public var windowIterations = 50

  public init() {}

  /// Iterations of a window's relaxation before its tree branches for the first time.
  var windowRootIterations: Int { 6 * windowIterations }

  /// What these switches leave to the search on the path relaxation.
  var pathSearch: GroupingSearch.Options {
    var options = GroupingSearch.Options()
    options.subsetLimit = pathSubsets
    if !pathGeneration { options.generationLimit = 0 }
    options.rootStates = dollStates
    options.treeNodeStates = treeStates
    options.effort.evaluationsPerStage = pathEvaluations
    options.effort.deepEvaluations = 10 * pathEvaluations
    options.effort.deletes = pathDeletion
    options.effort.cutRounds = pathCutRounds
    options.usesDolls = dolls
    options.branches = tree
    return options
  }

  /// What these switches leave to the chain programme.
  var chainAllowance: ChainProgram.Allowance {
    ChainProgram.Allowance(
      assignment: assignment, partitions: chain ? chainPartitions : 0, twoGroups: twoGroupChain)
  }
}
