import ColocateModel

/// The co-location relaxation: an upper bound on the kept weight that does not see labels.
///
/// The relaxation itself, and why any multipliers U and λ ≥ 0 prove a bound, is in
/// `ColocationMultipliers`. Here good multipliers are found, by the alternating direction method of
/// multipliers (ADMM; Wen, Goldfarb, Yin, Math. Programming Computation 2, 2010).
///
/// **Splitting.** What makes the relaxation hard is that the matrices M_l have to satisfy two
/// things at once: their eigenvalues lie in a spectral set, and their entries lie in a box and
/// satisfy cuts, where an inner layer's Z_l is shared by two boundaries. Either alone is easy. So
/// there are two copies, M_l for the spectral set and the variables X for the box and the cuts,
/// whose matrix in boundary l is X_l, and multipliers U_l for M_l = X_l. The augmented Lagrangian
///
///     L(M, X, U) = ⟨Ŵ, X⟩ + Σ_l ⟨U_l, M_l - X_l⟩ - ρ/2 Σ_l ‖M_l - X_l‖²
///
/// is maximised in M, then in X, and then U moves to reduce what is left between the two:
///
///     M_l ← the projection of X_l + U_l/ρ onto the spectral set         `spectralStep`
///     X   ← the maximiser over the box and the cuts                     `boxStep`
///     U_l ← U_l - γρ·(M_l - X_l)                                        `dualStep`
///
/// **Cuts** join as X is found to violate them (`separate`), and leave when their multiplier has
/// been 0 for a while. **The bound** of the multipliers is taken every few iterations: they are
/// rounded to multiples of 2^-q, improved where that costs little (row potentials), and evaluated
/// with full rigour (`evaluate`). The best are kept. Nothing that is computed on the way there
/// needs to be accurate.
///
/// U, λ, W and V are stored in units of ρ.
///
/// **Threads.** Boundaries are independent in the spectral step, blocks of variables in the box and
/// dual steps, even and odd boundaries in the ascent on cuts (neighbours share a layer). So the
/// result does not depend on the number of threads.
///
/// Unchecked: the memory is reached by pointers. That is safe because every parallel step gives
/// each of its calls blocks, projections and cuts of its own to write, and what the calls read is
/// not written in that step; between steps the one thread that called `run` works.
package final class ColocationRelaxation: @unchecked Sendable {
  package let problem: GroupingProblem
  package private(set) var control: SearchControl
  package var parameters: Parameters
  /// No placement keeps more.
  package internal(set) var keptBound: Int
  /// What proves `keptBound`; nil while it is the trivial bound.
  package internal(set) var multipliers: ColocationMultipliers?
  /// What better placements than the incumbent have in common.
  package internal(set) var fixings: ColocationFixings
  /// The multipliers that `fixings` came from, in their order, where they are to be kept.
  package internal(set) var fixingSteps: [ColocationMultipliers] = []
  package var keepsFixingSteps = false
  /// Whether `multipliers` are one of the steps.
  var bestIsStep = false
  /// What the incumbent keeps; -1 without one. With one pairs are fixed, and bounds are the larger
  /// of `incumbent` and what better placements keep.
  package var incumbent = -1
  /// The layer from which a layered search listed all that is better than the incumbent, with the
  /// last of `fixingSteps`; nil while none has come to its end.
  package internal(set) var searchStart: Int?
  /// Called with a better placement, `[L, E]`, and what it keeps.
  package var onPlacement: ([Int], Int) -> Void = { _, _ in }
  /// Whether the state is kept in which the first pairs were fixed because of the incumbent.
  package var keepsUnfixed = false
  /// That state: its multipliers are about all placements.
  package internal(set) var unfixed: ColocationRelaxation?
  /// Held against everything that is fixed, and against the search.
  package var known: KnownSolution?
  var history = SearchHistory()
  package private(set) var iterations = 0
  /// The iterations when the bound was evaluated last.
  var evaluatedAt = 0
  /// Cuts with a multiplier now.
  package var cutCount: Int {
    triples.reduce(0) { $0 + $1.count } + sparse.reduce(0) { $0 + $1.count }
  }

  let layout: ColocationLayout
  let context: ColocationCut.Context
  let boundaries: Int
  let experts: Int
  /// Doubles in a row of a block, a multiple of 4.
  let width: Int
  /// M and U/ρ, the blocks of `ColocationLayout.copy`, `[(L-1)·3·E, width]`.
  let matrices: AlignedRows
  let duals: AlignedRows
  /// X before it is clipped to [0, 1], by place, `[(2L-1)·E, width]`.
  let values: AlignedRows
  /// Aᵀλ/ρ by place.
  let sums: AlignedRows
  /// 1/h by place (`ColocationLayout.entries`).
  let inverse: AlignedRows
  /// The objective Ŵ/ρ by place: W of the Y, V of the Z.
  let objective: AlignedRows
  var rho = 1.0
  var isStarted = false
  /// `q`.
  let fractionBits: Int
  /// One of each for every boundary.
  let triples: [TripleCuts]
  let sparse: [SparseCuts]
  /// One for every thread.
  var projections = [SpectralProjection]()
  /// Places of `values` that are fixed at 0 and at 1, the diagonal of each Z_l among the latter.
  var fixedPlaces: (zeros: [Int32], ones: [Int32]) = ([], [])
  /// Seconds that the last evaluation took.
  var evaluationSeconds = 0.0

  /// - Parameter fractionBits: q, where less is wanted than what fits.
  package init(problem: GroupingProblem, control: SearchControl, fractionBits most: Int = 28) {
    self.problem = problem
    self.control = control
    keptBound = problem.total
    parameters = Parameters(experts: problem.experts, groups: problem.groups)
    experts = problem.experts
    boundaries = problem.layers - 1
    width = (experts + 3) & ~3
    layout = ColocationLayout(layers: problem.layers, experts: experts, stride: width)
    context = ColocationCut.Context(problem: problem, stride: width)
    fixings = ColocationFixings(problem: problem)
    matrices = AlignedRows(rows: 3 * boundaries * experts, stride: width)
    duals = AlignedRows(rows: 3 * boundaries * experts, stride: width)
    values = AlignedRows(rows: layout.blocks * experts, stride: width)
    sums = AlignedRows(rows: layout.blocks * experts, stride: width)
    inverse = AlignedRows(rows: layout.blocks * experts, stride: width)
    objective = AlignedRows(rows: layout.blocks * experts, stride: width)
    triples = (0..<boundaries).map { TripleCuts(boundary: $0) }
    sparse = (0..<boundaries).map { SparseCuts(boundary: $0) }
    // Multipliers of load caps' cuts are as small as products of loads are large.
    var bits = min(most, experts > 128 && problem.caps == nil ? 12 : 28)
    while bits > 0 && problem.total > (1 << 52) >> bits { bits -= 1 }
    fractionBits = bits
    for place in 0..<layout.count { inverse[place] = 1 / Double(layout.entries(of: place)) }
  }

  /// Lets `run` go on under another control.
  package func goOn(under control: SearchControl) {
    self.control = control
    if isStarted { makeProjections() }
  }

  /// Units of work of an iteration, an eigen-decomposition of order 2E for each boundary: about
  /// (2E)³ / 5 each.
  package static func iterationWork(_ problem: GroupingProblem) -> Int {
    let order = 2 * problem.experts
    return max(1, problem.layers * order * order * order / 5)
  }

  /// What one evaluation costs in seconds of `threads` threads, and what the whole takes in bytes:
  /// from a thousand experts on minutes and gigabytes.
  package static func estimate(
    problem: GroupingProblem, threads: Int
  ) -> (seconds: Double, bytes: Double) {
    let (experts, boundaries) = (Double(problem.experts), Double(problem.layers - 1))
    let order = 2 * experts
    // Reduction, factorisation, and vectors that are found, orthogonalised and multiplied out.
    let operations = 2 * order * order * order + 3 * Double(problem.groups) * order * order
    return (
      boundaries * operations / 1e9 / min(Double(threads), boundaries),
      8 * (boundaries * 13 * experts * experts + Double(threads) * 6 * order * order)
    )
  }

  // MARK: Blocks

  /// A block of M_l.
  func matrix(_ l: Int, _ block: ColocationLayout.Block) -> UnsafeMutablePointer<Double> {
    matrix(copy: layout.copy(l, block))
  }

  func matrix(copy: Int) -> UnsafeMutablePointer<Double> { matrices.row(copy * experts) }

  /// A block of U_l/ρ.
  func dual(_ l: Int, _ block: ColocationLayout.Block) -> UnsafeMutablePointer<Double> {
    dual(copy: layout.copy(l, block))
  }

  func dual(copy: Int) -> UnsafeMutablePointer<Double> { duals.row(copy * experts) }

  /// A block of X_l, before clipping.
  func variables(_ l: Int, _ block: ColocationLayout.Block) -> UnsafeMutablePointer<Double> {
    values.row(layout.variables(l, block) * experts)
  }

  // MARK: Running

  /// Iterates until the control stops it, the bound is at most `targetKept`, the iterations are
  /// used up, or `onBound`, called with each better bound, returns false.
  package func run(targetKept: Int? = nil, onBound: (Int) -> Bool = { _ in true }) {
    guard problem.groups > 1, problem.total > 0 else { return }
    if !isStarted { start() }
    var shown = keptBound
    func report() -> Bool {
      guard keptBound < shown else { return true }
      shown = keptBound
      return onBound(keptBound)
    }
    // What a stopped step leaves behind means nothing and is not looked at again. So that the last
    // iterations are not lost, they end while there is time for an evaluation.
    if iterations == 0 { evaluate() }
    guard report(), !control.shouldStop else { return }
    while iterations < parameters.maxIterations, control.remaining > 1.5 * evaluationSeconds {
      iterations += 1
      spectralStep()
      if control.shouldStop { return }
      boxStep()
      dualStep()
      if control.shouldStop { return }
      if isTimeToSeparate { separate() }
      if isTimeToEvaluate {
        evaluate()
        guard report() else { return }
        if let targetKept, keptBound <= targetKept { return }
      }
      if control.shouldStop { return }
    }
    evaluate()
    _ = report()
  }

  private var isTimeToEvaluate: Bool {
    let share = Int(parameters.evaluateShare * Double(iterations))
    return share <= parameters.evaluateEvery
      ? iterations % parameters.evaluateEvery == 0 : iterations - evaluatedAt >= share
  }

  private var isTimeToSeparate: Bool {
    iterations >= parameters.firstCuts
      && (iterations - parameters.firstCuts) % parameters.separateEvery == 0
  }
}
