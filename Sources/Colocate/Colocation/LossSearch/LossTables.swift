import ColocateModel

/// Losses of all pairs in 32 bits, for `LossSearch`.
///
/// A loss is the multiple of 2^shift that is not above it, and at most `budget + 1`, which stands
/// for what is forbidden. δ is rounded up. With δ below 2^17 of these units, sums are within 32
/// bits: an expert meets at most 128 others, and 64 experts are added up.
final class LossTables: Sendable {
  let problem: GroupingProblem
  /// δ; -1 where it is negative.
  let budget: Int32
  /// Of a pair of layers l and l+1: what expert i of the one loses with j of the other apart, and
  /// what it loses more together. `[L-1, E, stride]`, from layer l on and, transposed, from l+1.
  let ahead: Pairs
  let back: Pairs
  /// Of a pair of one layer, `[L, E, stride]`.
  let inside: Pairs
  /// Entries from one row to the next, a multiple of 8.
  let stride: Int

  struct Pairs: Sendable {
    let apart: SharedBuffer<Int32>
    let more: SharedBuffer<Int32>
    /// Σ_i of `apart`, by expert j, `[blocks, stride]`.
    let allApart: SharedBuffer<Int32>

    init(blocks: Int, experts: Int, stride: Int) {
      apart = SharedBuffer(repeating: 0, count: blocks * experts * stride)
      more = SharedBuffer(repeating: 0, count: blocks * experts * stride)
      allApart = SharedBuffer(repeating: 0, count: blocks * stride)
    }
  }

  init(
    problem: GroupingProblem, fixings: ColocationFixings, coefficients: [Int], budget delta: Int
  ) {
    self.problem = problem
    let experts = problem.experts
    stride = (experts + 7) & ~7
    var shift = 0
    while delta >> shift >= (1 << 17) - 1 { shift += 1 }
    let whole = delta >> shift
    let rounded = whole << shift == delta ? whole : whole + 1
    let budget = delta < 0 ? -1 : Int32(rounded)
    self.budget = budget
    ahead = Pairs(blocks: problem.layers - 1, experts: experts, stride: stride)
    back = Pairs(blocks: problem.layers - 1, experts: experts, stride: stride)
    inside = Pairs(blocks: problem.layers, experts: experts, stride: stride)
    /// Losses where the pair is apart and together.
    func losses(_ place: Int) -> (apart: Int32, together: Int32) {
      let forbidden = max(budget, 0) + 1
      switch fixings[place] {
      case .apart: return (0, forbidden)
      case .together: return (forbidden, 0)
      case .free:
        let loss = Int32(min(coefficients[place].magnitude >> UInt(shift), UInt(forbidden)))
        return coefficients[place] > 0 ? (loss, 0) : (0, loss)
      }
    }
    let layout = ColocationLayout(layers: problem.layers, experts: experts)
    for l in 0..<problem.layers {
      for i in 0..<experts {
        for j in 0..<experts {
          if i < j {
            let loss = losses(layout.inside(l, i, j))
            set(inside, l, i, j, loss)
            set(inside, l, j, i, loss)
          }
          guard l < layout.boundaries else { continue }
          let loss = losses(layout.between(l, i, j))
          set(ahead, l, i, j, loss)
          set(back, l, j, i, loss)
        }
      }
    }
  }

  private func set(
    _ pairs: Pairs, _ block: Int, _ i: Int, _ j: Int, _ loss: (apart: Int32, together: Int32)
  ) {
    let place = (block * problem.experts + i) * stride + j
    pairs.apart[place] = loss.apart
    pairs.more[place] = loss.together - loss.apart
    pairs.allApart[block * stride + j] += loss.apart
  }
}
