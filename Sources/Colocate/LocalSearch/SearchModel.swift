import ColocateModel

/// The numbers of a problem laid out for the hot loops: rows padded to whole vectors, and every
/// boundary in both directions so that the neighbours of an expert are a contiguous row on either
/// side.
///
/// `@unchecked Sendable` holds because nothing writes to the memory after `init`, and it is freed
/// only with the last reference to the model: all streams read it at once.
package final class SearchModel<Gain: FixedWidthInteger & SignedInteger & SIMDScalar & Sendable>:
  @unchecked Sendable
{
  package let problem: GroupingProblem
  package let saved: SavedWeights
  let layers: Int
  let experts: Int
  let groups: Int
  let size: Int
  /// `E` rounded up to a multiple of 8.
  let pitch: Int
  /// `[L-1, E, pitch]`: `W_l[i, j]`.
  let forward: UnsafeMutablePointer<Gain>
  /// `[L-1, E, pitch]`: `W_l[i, j]` at row `j`, column `i`.
  let backward: UnsafeMutablePointer<Gain>
  /// `[L, E, pitch]`, or nil.
  let together: UnsafeMutablePointer<Gain>?
  /// `[L, E]`.
  let loads: UnsafeMutablePointer<Int>
  /// `[L]`; `Int.max` without a cap.
  let caps: UnsafeMutablePointer<Int>
  let isCapped: Bool
  let isFlat: Bool
  /// Whether nobody stopped its making.
  let isWhole: Bool
  /// Mean entry of `W`, the unit of temperatures.
  let meanEntry: Double

  /// - Parameter control: looked at while rows are laid out; where it says stop the model is not
  ///   whole, and must not be used.
  /// - Precondition: `fits(problem, saved)`.
  package init(problem: GroupingProblem, saved: SavedWeights, control: SearchControl? = nil) {
    precondition(Self.fits(problem, saved), "gains beyond \(Gain.self)")
    self.problem = problem
    self.saved = saved
    layers = problem.layers
    experts = problem.experts
    groups = problem.groups
    size = problem.groupSize
    pitch = (experts + 7) / 8 * 8
    isFlat = saved.node == 0 && saved.group == 1
    let square = experts * pitch
    forward = .allocate(capacity: (layers - 1) * square)
    backward = .allocate(capacity: (layers - 1) * square)
    forward.initialize(repeating: 0, count: (layers - 1) * square)
    backward.initialize(repeating: 0, count: (layers - 1) * square)
    var sum = 0
    for l in 0..<(layers - 1) {
      for i in 0..<experts {
        if i & 31 == 0, control?.shouldStop ?? false { break }
        for j in 0..<experts {
          let weight = problem.weight(l, i, j)
          forward[(l * experts + i) * pitch + j] = Gain(weight)
          backward[(l * experts + j) * pitch + i] = Gain(weight)
          sum += weight
        }
      }
    }
    meanEntry = max(Double(sum) / Double((layers - 1) * experts * experts), 1e-3)
    if problem.coactivation.isEmpty {
      together = nil
    } else {
      let rows = UnsafeMutablePointer<Gain>.allocate(capacity: layers * square)
      rows.initialize(repeating: 0, count: layers * square)
      for row in 0..<(layers * experts) {
        if row & 31 == 0, control?.shouldStop ?? false { break }
        let (l, i) = (row / experts, row % experts)
        for j in 0..<experts { rows[row * pitch + j] = Gain(problem.coactivation(l, i, j)) }
      }
      together = rows
    }
    loads = .allocate(capacity: layers * experts)
    for index in 0..<(layers * experts) { (loads + index).initialize(to: problem.loads[index]) }
    caps = .allocate(capacity: layers)
    for l in 0..<layers { (caps + l).initialize(to: problem.caps?[l] ?? .max) }
    isCapped = problem.caps != nil
    isWhole = !(control?.shouldStop ?? false)
  }

  deinit {
    forward.deallocate()
    backward.deallocate()
    together?.deallocate()
    loads.deallocate()
    caps.deallocate()
  }

  /// Whether every gain of the problem fits into `Gain`: attractions are at most the total times
  /// the largest `s`, and a gain adds up four of them and twice a co-activation. The weights
  /// themselves have to fit too, where `s` is 0 everywhere.
  package static func fits(_ problem: GroupingProblem, _ saved: SavedWeights) -> Bool {
    let (product, overflow) = problem.total.multipliedReportingOverflow(
      by: max(1, saved.group + saved.node))
    return !overflow && product <= Int(clamping: Gain.max) / 8
  }
}
