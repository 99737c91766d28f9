import ColocateModel

/// The co-location relaxation: an upper bound on the kept weight that does not see labels.
///
/// The relaxation and its proof are in `ColocationMultipliers`. Here its dual is minimised by the
/// alternating direction method of multipliers (Wen, Goldfarb, Yin, Math. Programming Computation
/// 2, 2010), which splits the spectral sets from the box and the cuts:
///
///     L(M, X, U) = ⟨Ŵ, X⟩ + Σ_l ⟨U_l, M_l - X_l⟩ - ρ/2 Σ_l ‖M_l - X_l‖²
///
///     M_l ← projection of X_l + U_l/ρ:  J/P + Σ_k g_k v_k v_kᵀ,  g_k = clip(λ_k - t, 0, 2c),  Σ g_k = 2c(P-1)
///     X   ← the maximiser over the box and the cuts: a clipped average plus a few sweeps of dual ascent on the cuts
///     U_l ← U_l - γρ (M_l - X_l)
///
/// All is stored in units of ρ. The basis of the vectors that sum to 0 in each half is a
/// Householder reflection of each half, so changing the basis costs O(E²). Boundaries are
/// independent in the M step, even and odd boundaries in the sweeps (neighbours share a layer), so
/// the result does not depend on the number of threads. Any U and λ ≥ 0 prove a bound: every few
/// iterations they are rounded to multiples of 2^-q and evaluated rigorously, and the best are
/// kept.
///
/// Unchecked: the memory is reached by pointers. Every parallel step gives each of its parts blocks
/// of its own to write, and what the parts read is not written in that step; between steps one
/// thread works.
package final class ColocationRelaxation: @unchecked Sendable {
  /// What can be tuned.
  package struct Parameters: Sendable {
    /// ρ over the mean deviation of the weights from their mean.
    package var penalty = 1.0
    /// γ.
    package var step = 1.6
    package var firstCuts = 60
    package var separateEvery = 15
    package var evaluateEvery = 20
    package var violation = 0.02
    /// New cuts in a boundary at a time, over E.
    package var cutsPerExpert = 20
    package var firstSparse = 150
    package var sparseViolation = 0.05
    package var sparsePerExpert = 4
    package var sweeps = 2
    package var overRelaxation = 1.0
    package var maxIterations = Int.max
    package var log: (@Sendable (String) -> Void)?
    /// Defaults by size.
    package init(experts: Int, groups: Int) {
      if groups == 2 { penalty = 0.5 }
      if experts > 128 {
        evaluateEvery = 5
        firstCuts = 20
      }
    }
  }

  package let problem: GroupingProblem
  package let control: SearchControl
  package var parameters: Parameters
  /// No placement keeps more.
  package private(set) var keptBound: Int
  /// What proves `keptBound`; nil while it is the trivial bound.
  package private(set) var multipliers: ColocationMultipliers?
  package private(set) var iterations = 0
  /// Cuts with a multiplier now.
  package var cutCount: Int {
    cuts.reduce(0) { $0 + $1.count } + sparse.reduce(0) { $0 + $1.count }
  }

  let layout: ColocationLayout
  let context: ColocationCut.Context
  let boundaries: Int
  let experts: Int
  /// Doubles in a row of a block, a multiple of 4, and in a block.
  let width: Int
  let block: Int
  private let storage: UnsafeMutableRawPointer
  /// M and U, `[L-1, 3, E, width]`: blocks of Z_l, Y_l, Z_{l+1}.
  let matrices: UnsafeMutablePointer<Double>
  let duals: UnsafeMutablePointer<Double>
  /// `[layout.count]`: unclipped X, Aᵀλ, 1/h.
  let values: UnsafeMutablePointer<Double>
  let sums: UnsafeMutablePointer<Double>
  private let inverse: UnsafeMutablePointer<Double>
  /// Linear objective by place, half of it, in units of ρ.
  let linear: UnsafeMutablePointer<Double>
  var rho = 1.0
  let fractionBits: Int
  private let cuts: [TripleCuts]
  private let sparse: [SparseCuts]
  private var workers = [Worker]()
  /// Seconds that the last evaluation took.
  private var evaluationSeconds = 0.0

  package init(problem: GroupingProblem, control: SearchControl) {
    self.problem = problem
    self.control = control
    keptBound = problem.total
    parameters = Parameters(experts: problem.experts, groups: problem.groups)
    experts = problem.experts
    boundaries = problem.layers - 1
    width = (experts + 3) & ~3
    block = experts * width
    layout = ColocationLayout(layers: problem.layers, experts: experts, stride: width)
    context = ColocationCut.Context(problem: problem, stride: width)
    let size = 6 * boundaries * block + 4 * layout.count
    storage = .allocate(byteCount: size * 8, alignment: 64)
    matrices = storage.bindMemory(to: Double.self, capacity: size)
    matrices.initialize(repeating: 0, count: size)
    duals = matrices + 3 * boundaries * block
    values = duals + 3 * boundaries * block
    sums = values + layout.count
    inverse = sums + layout.count
    linear = inverse + layout.count
    cuts = (0..<boundaries).map { TripleCuts(boundary: $0) }
    sparse = (0..<boundaries).map { SparseCuts(boundary: $0) }
    var bits = experts > 128 ? 12 : 28
    while bits > 0 && problem.total > (1 << 52) >> bits { bits -= 1 }
    fractionBits = bits
    for place in 0..<layout.count { inverse[place] = 1 / Double(layout.copies(place)) }
  }

  deinit { storage.deallocate() }

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

  /// Scratch of one thread.
  private final class Worker {
    let eigen: SymmetricEigen
    /// Vectors in the reduced basis, `[2(E-1), eigen.stride]`, then in the full one,
    /// `[2(E-1) + 1, 2 width]`.
    let storage: UnsafeMutableRawPointer
    let vectors: UnsafeMutablePointer<Double>
    let full: UnsafeMutablePointer<Double>
    let target: UnsafeMutablePointer<Double>
    let gains: UnsafeMutablePointer<Double>

    init(experts: Int, width: Int, control: SearchControl) {
      let order = 2 * (experts - 1)
      eigen = SymmetricEigen(order: order, control: control)
      let size =
        order * eigen.stride + (order + 1) * 2 * width + 4 * experts * width + 4 * width + 64
      storage = .allocate(byteCount: size * 8, alignment: 64)
      vectors = storage.bindMemory(to: Double.self, capacity: size)
      vectors.initialize(repeating: 0, count: size)
      full = vectors + order * eigen.stride
      target = full + (order + 1) * 2 * width
      gains = target + 4 * experts * width
    }

    deinit { storage.deallocate() }
  }

  // MARK: Running

  /// Iterates until the control stops it, the bound is at most `targetKept`, the multipliers have
  /// converged, or `onBound`, called with each better bound, returns false.
  package func run(targetKept: Int? = nil, onBound: (Int) -> Bool = { _ in true }) {
    guard problem.groups > 1, problem.total > 0 else { return }
    if iterations == 0 { start() }
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
      if iterations >= parameters.firstCuts
        && (iterations - parameters.firstCuts) % parameters.separateEvery == 0
      {
        separate()
      }
      if iterations % parameters.evaluateEvery == 0 {
        evaluate()
        guard report() else { return }
        if let targetKept, keptBound <= targetKept { return }
      }
      if control.shouldStop { return }
    }
    evaluate()
    _ = report()
  }

  /// ρ and the starting point: M = J/P, U = 0, and X from them.
  private func start() {
    let mean = Double(problem.weights.reduce(0, +)) / Double(problem.weights.count)
    var deviation = 0.0
    for weight in problem.weights { deviation += abs(Double(weight) - mean) }
    deviation /= Double(problem.weights.count)
    rho = parameters.penalty * max(deviation, mean * 0.01, 1e-6)
    workers = (0..<control.threads).map { _ in
      Worker(experts: experts, width: width, control: control)
    }
    for l in 0..<boundaries {
      for i in 0..<experts {
        for j in 0..<experts {
          let weight = Double(problem.weights[(l * experts + i) * experts + j])
          linear[layout.between(l, i, j)] = weight / rho
        }
      }
    }
    for l in 0..<problem.layers {
      for i in 0..<experts {
        for j in 0..<experts where i != j {
          let place = ((boundaries + l) * experts + i) * width + j
          if !problem.coactivation.isEmpty {
            linear[place] =
              Double(problem.coactivation[(l * experts + i) * experts + j]) / rho
          }
        }
      }
    }
    if problem.caps != nil { addLoadCuts() }
    let share = 1 / Double(problem.groups)
    for row in 0..<(3 * boundaries * experts) {
      for j in 0..<experts { matrices[row * width + j] = share }
    }
    boxStep()
  }

  /// Caps of the groups of every node, in its own layer and the neighbouring one.
  private func addLoadCuts() {
    for l in 0..<boundaries {
      let last = l == boundaries - 1
      for half in 0..<2 {
        for node in 0..<(2 * experts) {
          if half == 1 && node >= experts && !last { continue }
          for atMost in [true, false] {
            sparse[l].add(
              .load(node: node, half: half, atMost: atMost), context, fixed: true)
          }
        }
      }
      for (first, second) in last ? [(0, 0), (0, 1), (1, 1)] : [(0, 0), (0, 1)] {
        for atMost in [true, false] {
          sparse[l].add(
            .loadProduct(first: first, second: second, atMost: atMost), context, fixed: true)
        }
      }
    }
  }

  /// z_ii = 1, and pairs that exceed the cap stay apart.
  private func fixDiagonal() {
    for l in 0..<problem.layers {
      for i in 0..<experts { values[((boundaries + l) * experts + i) * width + i] = 1 }
    }
    for place in context.apart { values[place] = -1e6 }
  }

  // MARK: Iteration

  /// M_l for all boundaries.
  private func spectralStep() {
    concurrentFor(boundaries, threads: control.threads) { worker, l in
      if !control.shouldStop { project(l, workers[worker]) }
    }
  }

  private func project(_ l: Int, _ worker: Worker) {
    let eigen = worker.eigen
    let order = eigen.order
    let half = experts - 1
    let u = 1 / Double(experts).squareRoot()
    let beta = 1 / (1 + u)
    // Target X + U of each block, then its reflection's lower-right part, into the eigen-solver:
    // layer l+1 first, so that rows of Y are rows there.
    let target = worker.target
    let columns = target + 3 * block
    let rows = columns + width
    for kind in 0..<3 {
      let x = values + (kind == 1 ? l : boundaries + l + kind / 2) * block
      let dual = duals + (3 * l + kind) * block
      let t = target
      for j in 0..<width { columns[j] = 0 }
      for i in 0..<experts {
        let offset = i * width
        let weight = SIMD4(repeating: i == 0 ? 1 + u : u)
        var sum = SIMD4<Double>.zero
        var j = 0
        while j < width {
          let value =
            pointwiseMin(pointwiseMax(load4(x, offset + j), .zero), SIMD4(repeating: 1))
            + load4(dual, offset + j)
          store4(t, offset + j, value)
          sum += value
          store4(columns, j, load4(columns, j) + weight * value)
          j += 4
        }
        rows[i] = u * sum.sum() + t[offset]
      }
      var s = 0.0
      for j in 0..<experts { s += columns[j] }
      s = u * s + columns[0]
      let bu = beta * u
      let corner = bu * bu * s
      let (rowStart, columnStart) = (kind == 2 ? 0 : half, kind == 0 ? half : 0)
      for i in 1..<experts {
        let out = eigen.matrix + (rowStart + i - 1) * eigen.stride + columnStart - 1
        let line = t + i * width
        let shift = corner - bu * rows[i]
        for j in 1..<(kind == 1 ? experts : i + 1) { out[j] = line[j] + shift - bu * columns[j] }
      }
    }
    eigen.reduce()
    if control.shouldStop { return }
    // t with Σ clip(λ - t, 0, 2c) = 2c(P-1).
    let cap = Double(2 * problem.groupSize)
    let wanted = cap * Double(problem.groups - 1)
    var low = eigen.values[order - 1] - cap
    var high = eigen.values[0]
    for _ in 0..<100 {
      let t = 0.5 * (low + high)
      if t <= low || t >= high { break }
      var sum = 0.0
      for k in 0..<order {
        let over = eigen.values[k] - t
        if over <= 0 { break }
        sum += min(over, cap)
      }
      if sum > wanted { low = t } else { high = t }
    }
    let t = 0.5 * (low + high)
    var rank = 0
    while rank < order && eigen.values[rank] > t { rank += 1 }
    eigen.vectors(count: rank, into: worker.vectors, stride: eigen.stride)
    // Back to the full basis; row 0 holds the constant J/P.
    let wide = 2 * width
    for j in 0..<wide { worker.full[j] = j % width < experts ? 1 : 0 }
    worker.gains[0] = 1 / Double(problem.groups)
    for k in 0..<rank {
      let z = worker.vectors + k * eigen.stride
      let f = worker.full + (k + 1) * wide
      worker.gains[k + 1] = min(cap, eigen.values[k] - t)
      for side in 0..<2 {
        var sum = 0.0
        for i in 0..<half { sum += z[side * half + i] }
        let q = u * sum
        f[side * width] = -q
        for i in 0..<half { f[side * width + i + 1] = z[side * half + i] - beta * u * q }
      }
    }
    for kind in 0..<3 {
      assemble(
        matrices + (3 * l + kind) * block, worker, rank + 1, rows: kind == 2 ? 0 : width,
        columns: kind == 0 ? width : 0)
    }
  }

  /// `out[i, j] = Σ_k g_k f_k[rows + i] f_k[columns + j]`, two rows and eight columns in registers.
  private func assemble(
    _ out: UnsafeMutablePointer<Double>, _ worker: Worker, _ rank: Int, rows: Int, columns: Int
  ) {
    let wide = 2 * width
    let gains = worker.gains
    var i = 0
    while i < experts {
      let two = i + 1 < experts
      let a = worker.full + rows + i
      let step = two ? 1 : 0
      var j = 0
      while j < width {
        let b = worker.full + columns + j
        var s0 = SIMD4<Double>.zero
        var s1 = s0
        for k in 0..<rank {
          let line = load4(b, k * wide)
          let g = gains[k]
          s0 += SIMD4(repeating: g * a[k * wide]) * line
          s1 += SIMD4(repeating: g * a[k * wide + step]) * line
        }
        store4(out, i * width + j, s0)
        if two { store4(out, (i + 1) * width + j, s1) }
        j += 4
      }
      i += 2
    }
  }

  /// X before clipping: the unconstrained maximiser, then dual ascent on the cuts.
  private func boxStep() {
    concurrentFor(2 * problem.layers - 1, threads: control.threads) { _, row in
      let x = values + row * block
      let weight = linear + row * block
      let sum = sums + row * block
      if row < boundaries {
        let m = matrices + (3 * row + 1) * block
        let dual = duals + (3 * row + 1) * block
        for j in 0..<block { x[j] = m[j] - dual[j] + 0.5 * (weight[j] - sum[j]) }
      } else {
        let l = row - boundaries
        let before = l > 0 ? (3 * (l - 1) + 2) * block : nil
        let after = l < boundaries ? 3 * l * block : nil
        if let before, let after {
          let (m0, m1, u0, u1) = (
            matrices + before, matrices + after, duals + before, duals + after
          )
          for j in 0..<block {
            x[j] = 0.5 * (m0[j] + m1[j] - u0[j] - u1[j]) + 0.25 * (weight[j] - sum[j])
          }
        } else {
          let only = before ?? after!
          let (m, dual) = (matrices + only, duals + only)
          for j in 0..<block { x[j] = m[j] - dual[j] + 0.5 * (weight[j] - sum[j]) }
        }
      }
    }
    fixDiagonal()
    for _ in 0..<parameters.sweeps {
      for parity in 0..<min(2, boundaries) {
        concurrentFor((boundaries + 1 - parity) / 2, threads: control.threads) { _, index in
          cuts[2 * index + parity].ascend(
            values: values, sums: sums, inverse: inverse, over: parameters.overRelaxation)
          sparse[2 * index + parity].ascend(values: values, sums: sums, inverse: inverse)
        }
      }
    }
    concurrentFor(problem.layers, threads: control.threads) { _, l in
      let x = values + (boundaries + l) * block
      for i in 0..<experts {
        for j in 0..<i { x[i * width + j] = x[j * width + i] }
      }
    }
  }

  /// U_l -= γ (M_l - X_l).
  private func dualStep() {
    let step = SIMD4(repeating: parameters.step)
    concurrentFor(3 * boundaries, threads: control.threads) { _, index in
      let (l, kind) = index.quotientAndRemainder(dividingBy: 3)
      let x = values + (kind == 1 ? l : boundaries + l + kind / 2) * block
      let m = matrices + index * block
      let dual = duals + index * block
      var j = 0
      while j < block {
        let clipped = pointwiseMin(pointwiseMax(load4(x, j), .zero), SIMD4(repeating: 1))
        store4(dual, j, load4(dual, j) - step * (load4(m, j) - clipped))
        j += 4
      }
    }
  }

  // MARK: Cuts

  /// X of boundary l as a symmetric matrix with zero diagonal.
  private func fill(_ dense: UnsafeMutablePointer<Double>, _ l: Int, stride: Int) {
    for a in 0..<(2 * experts) {
      for b in 0..<a {
        let value = min(max(values[layout.pair(l, a, b)], 0), 1)
        dense[a * stride + b] = value
        dense[b * stride + a] = value
      }
    }
  }

  /// How much two nodes of boundary l share a group in the relaxation, `[2E, 2E]`, zero diagonal.
  package func marginals(boundary l: Int) -> [Double] {
    var dense = [Double](repeating: 0, count: 4 * experts * experts)
    dense.withUnsafeMutableBufferPointer { fill($0.baseAddress!, l, stride: 2 * experts) }
    return dense
  }

  private func separate() {
    let wide = (2 * experts + 3) & ~3
    concurrentFor(boundaries, threads: control.threads) { _, l in
      if control.shouldStop { return }
      let raw = UnsafeMutableRawPointer.allocate(
        byteCount: 2 * experts * wide * 8, alignment: 64)
      defer { raw.deallocate() }
      let dense = raw.bindMemory(to: Double.self, capacity: 2 * experts * wide)
      dense.initialize(repeating: 0, count: 2 * experts * wide)
      fill(dense, l, stride: wide)
      cuts[l].purge()
      _ = cuts[l].separate(
        dense: dense, stride: wide, layout: layout, pairs: problem.groups == 2,
        second: l == boundaries - 1, threshold: parameters.violation,
        limit: parameters.cutsPerExpert * experts)
      guard iterations >= parameters.firstSparse, parameters.sparsePerExpert > 0 else { return }
      sparse[l].purge()
      sparse[l].separate(
        dense: dense, stride: wide, context: context, second: l == boundaries - 1,
        threshold: parameters.sparseViolation, limit: parameters.sparsePerExpert * experts)
    }
  }

  // MARK: Bound

  /// Rounds the multipliers, evaluates their bound rigorously and keeps them if it is the best.
  private func evaluate() {
    let begun = control.elapsed
    defer { evaluationSeconds = control.elapsed - begun }
    let unit = Double(1 << fractionBits) * rho
    let square = experts * experts
    var dual = [Int](repeating: 0, count: 3 * boundaries * square)
    dual.withUnsafeMutableBufferPointer { buffer in
      nonisolated(unsafe) let out = buffer.baseAddress!
      concurrentFor(3 * boundaries, threads: control.threads) { _, index in
        let u = duals + index * block
        let rounded = out + index * square
        for i in 0..<experts {
          for j in 0..<experts {
            // The blocks of Z are symmetric up to rounding; the upper half counts.
            let place = index % 3 != 1 && j < i ? j * width + i : i * width + j
            rounded[i * experts + j] = Magnitude.whole(
              u[place] * unit, limit: ColocationMultipliers.limit / 4)
          }
        }
      }
    }
    tighten(&dual)
    // Any multipliers prove a bound, these too.
    let most = ColocationMultipliers.limit - 1
    for index in dual.indices where abs(dual[index]) > most {
      dual[index] = dual[index] < 0 ? -most : most
    }
    let candidate = ColocationMultipliers(
      layers: problem.layers, experts: experts, groups: problem.groups, fractionBits: fractionBits,
      dual: dual,
      cuts: cuts.flatMap { $0.export(unit: unit) } + sparse.flatMap { $0.export(unit: unit) })
    guard let bound = candidate.keptBound(for: problem, control: control) else { return }
    parameters.log?(
      "\(iterations) \(control.elapsed) bound \(bound) best \(keptBound) cuts \(cutCount)")
    if bound < keptBound {
      keptBound = bound
      multipliers = candidate
    }
  }
}
