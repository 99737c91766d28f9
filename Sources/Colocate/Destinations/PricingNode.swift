import ColocateModel

/// A node of the pricing search (`DestinationPricing`) and its bound.
///
/// `B` are the `r` experts still to be chosen among the candidates; a set counts with the members
/// that are candidates. With `s_t = |B ∩ t|`, what `B` covers is `Σ_{i ∈ B} Σ_{t ∋ i} w_t / s_t`,
/// and
///
///     1/s ≥ (2m + 1 − s) / (m (m + 1))
///
/// for whole s, m ≥ 1 (the chord through m and m + 1 of a convex function, at whole numbers). So
/// for any whole numbers `m_it ≥ 1`, one for each expert and each of its sets, and any
/// antisymmetric `θ`, which cancels inside `B`,
///
///     cover(B) − u(B) ≥ Σ_{i ∈ B} v_i,    v_i = A_i − (the r − 1 largest over j of x_ij),
///     A_i = Σ_{t ∋ i} 2 w_t / (m_it + 1) − u_i,
///     x_ij = Σ_{t ∋ i, j} w_t / (m_it (m_it + 1)) + θ_ij,
///
/// and the `r` smallest `v` bound the node. A set of which `i` alone is a candidate counts in full.
/// A candidate `j` whose `v_j` in place of the r-th smallest passes the limit is dropped.
///
/// `θ` moves by Polyak's subgradient step towards the limit. `m_it` follows the partners: with
/// `z_ij` how often `j` was among the largest of `i` lately, it is `s = 1 + Σ_{j ∈ t} z_ij` rounded
/// down, the chord that is best there. Both are handed to the children, where they start. One `m`
/// for each expert, as in earlier versions, needed thirty times the nodes on groups of 10 of 60.
///
/// Sets of two candidates have m = 1 and are kept as a matrix; only larger ones are kept as sets.
///
/// In memory candidates are numbers `0 ..< count`, matrices have rows of `stride` doubles, of which
/// those after the last candidate, the diagonal and those of dropped candidates are forbidden.
final class PricingNode {
  /// What everything is multiplied by: the denominators `m (m + 1)` for m up to `steepest` divide
  /// it.
  static let chord = 2520.0
  static let steepest = 8
  /// In place of `θ` where a pair does not count.
  static let forbidden = -0x1p60
  /// `|θ|` stays below, so that sums of 64² are exact.
  static let mostShift = 0x1p38
  /// A unit of tokens.
  static let token = chord * Double(DestinationPricing.scale)

  private let width: Int
  private(set) var count = 0
  private(set) var stride = 0
  private(set) var left = 0
  /// Ranks of the candidates, ascending.
  let experts: SharedBuffer<Int32>
  /// `M1`: what a candidate covers, by `measurePairs`.
  let single: SharedBuffer<Double>
  /// Tokens of sets in which nobody else is a candidate.
  let lone: SharedBuffer<Double>
  /// Tokens of sets in which two are candidates, `[count, stride]`.
  let duo: SharedBuffer<Double>
  /// `Σ w` of the sets with two candidates or more.
  let shared: SharedBuffer<Double>
  let price: SharedBuffer<Double>
  let isThere: SharedBuffer<Bool>
  /// Scratch: the new number of a candidate, or −1.
  private let number: SharedBuffer<Int8>
  /// Candidates whose `v` must be made anew, as bits.
  var dirty: UInt64 = 0
  /// Sets with three candidates or more.
  private var sets = 0
  let starts: SharedBuffer<Int32>
  let members: SharedBuffer<UInt8>
  let weights: SharedBuffer<Double>
  /// The sets of each candidate.
  let rowStarts: SharedBuffer<Int32>
  let rows: SharedBuffer<Int32>
  /// `A`, `v`, the least partner's `x` and the partners as bits.
  let factor: SharedBuffer<Double>
  let worth: SharedBuffer<Double>
  let least: SharedBuffer<Double>
  let partners: SharedBuffer<UInt64>
  /// `x − θ`, `θ`, `R` and `z`.
  let pair: SharedBuffer<Double>
  let shift: SharedBuffer<Double>
  let lost: SharedBuffer<Double>
  let partnership: SharedBuffer<Float>

  /// - Parameter width: the most candidates.
  init(width: Int, _ layer: DestinationLayer) {
    func row<T: BitwiseCopyable & ExpressibleByIntegerLiteral>(_ n: Int) -> SharedBuffer<T> {
      SharedBuffer(repeating: 0, count: n)
    }
    self.width = width
    let (sets, places) = (layer.count, layer.members.count)
    let area = width * ((width + 3) & ~3)
    isThere = SharedBuffer(repeating: true, count: width)
    (experts, number, partners) = (row(width), row(width), row(width))
    (single, lone, shared, price) = (row(width), row(width), row(width), row(width))
    (factor, worth, least) = (row(width), row(width), row(width))
    (starts, weights, members) = (row(sets + 1), row(sets), row(places))
    (rowStarts, rows) = (row(width + 1), row(places))
    (duo, pair, shift, lost) = (row(area), row(area), row(area), row(area))
    partnership = row(area)
  }

  // MARK: - Where a node comes from

  /// The root: all experts and sets of the layer.
  /// - Parameter expertOf: by rank.
  func fill(
    _ layer: DestinationLayer, expertOf: [Int], shift given: SharedBuffer<Double>,
    partnership share: SharedBuffer<Float>
  ) {
    let n = expertOf.count
    (count, stride, sets) = (n, (n + 3) & ~3, layer.count)
    var rank = [UInt8](repeating: 0, count: n)
    for (r, e) in expertOf.enumerated() { rank[e] = UInt8(r) }
    for i in 0..<n {
      experts[i] = Int32(i)
      lone[i] = 0
      for j in 0..<n {
        shift[i * stride + j] = given[i * n + j]
        partnership[i * stride + j] = share[i * n + j]
      }
      for j in 0..<stride { duo[i * stride + j] = 0 }
    }
    var (end, held) = (0, 0)
    for t in 0..<layer.count {
      let begin = end
      for index in Int(layer.starts[t])..<Int(layer.starts[t + 1]) {
        members[end] = rank[Int(layer.members[index])]
        end += 1
      }
      close(&held, begin, &end, weight: Double(layer.weights[t]) * Self.token)
    }
    starts[0] = 0
    sets = held
  }

  /// Puts a set whose members are written from `begin` to `end` where it belongs.
  @inline(__always)
  private func close(_ held: inout Int, _ begin: Int, _ end: inout Int, weight: Double) {
    switch end - begin {
    case 0: break
    case 1: lone[Int(members[begin])] += weight
    case 2:
      let (i, j) = (Int(members[begin]), Int(members[begin + 1]))
      duo[i * stride + j] += weight
      duo[j * stride + i] += weight
    default:
      starts[held] = Int32(begin)
      weights[held] = weight
      held += 1
      starts[held] = Int32(end)
      return
    }
    end = begin
  }

  /// What `keep` got is what the root starts from under the next prices.
  func keep(shift kept: SharedBuffer<Double>, partnership share: SharedBuffer<Float>) {
    for i in 0..<count where isThere[i] {
      for j in 0..<count where isThere[j] && j != i {
        let index = Int(experts[i]) * width + Int(experts[j])
        kept[index] = shift[i * stride + j]
        share[index] = partnership[i * stride + j]
      }
    }
  }

  /// A child of `node`: the candidates that are still there, and the sets without candidate `e`.
  /// - Parameters:
  ///   - node: may be this one.
  ///   - e: one that was struck off; nil where the sets of those only lose a candidate.
  func fill(from node: PricingNode, without e: Int?) {
    let (n, chosen) = (node.count, e ?? -1)
    // As it was: this node's own changes below.
    let old = node.stride
    var kept = 0
    for i in 0..<n {
      number[i] = -1
      guard node.isThere[i] else { continue }
      number[i] = Int8(kept)
      experts[kept] = node.experts[i]
      price[kept] = node.price[i]
      lone[kept] = node.lone[i]
      kept += 1
    }
    let to = (kept + 3) & ~3
    var a = 0
    for i in 0..<n where number[i] >= 0 {
      let (source, target) = (node.shift.base + i * old, shift.base + a * to)
      let (share, shareTo) = (node.partnership.base + i * old, partnership.base + a * to)
      let (both, bothTo) = (node.duo.base + i * old, duo.base + a * to)
      var b = 0
      for j in 0..<n {
        if number[j] >= 0 {
          target[b] = source[j]
          shareTo[b] = share[j]
          bothTo[b] = both[j]
          b += 1
        } else if j != chosen {
          lone[a] += both[j]
        }
      }
      while b < to {
        bothTo[b] = 0
        b += 1
      }
      a += 1
    }
    (count, stride) = (kept, to)
    var (end, held, next) = (0, 0, 0)
    for t in 0..<node.sets {
      let (begin, from) = (end, next)
      // What is written below may be where this was.
      next = Int(node.starts[t + 1])
      var isHit = false
      for index in from..<next {
        let member = Int(node.members[index])
        if member == chosen {
          isHit = true
          break
        }
        let k = number[member]
        if k >= 0 {
          members[end] = UInt8(k)
          end += 1
        }
      }
      if isHit {
        end = begin
      } else {
        close(&held, begin, &end, weight: node.weights[t])
      }
    }
    starts[0] = 0
    sets = held
  }

  // MARK: - What the bound looks at

  /// Makes what depends on candidates and sets.
  func start(left: Int, price given: SharedBuffer<Double>) {
    self.left = left
    for i in 0..<count { price[i] = given[Int(experts[i])] }
    index()
  }

  /// The lists of sets of each candidate; everyone is there.
  private func index() {
    for i in 0..<count {
      isThere[i] = true
      shared[i] = 0
      for j in 0..<count { shared[i] += duo[i * stride + j] }
      rowStarts[i] = 0
      partners[i] = 0
      let row = shift.base + i * stride
      row[i] = Self.forbidden
      for j in count..<stride { row[j] = Self.forbidden }
    }
    rowStarts[count] = 0
    let end = Int(starts[sets])
    for index in 0..<end { rowStarts[Int(members[index]) + 1] += 1 }
    for i in 0..<count { rowStarts[i + 1] += rowStarts[i] }
    withUnsafeTemporaryAllocation(of: Int32.self, capacity: count + 1) { next in
      for i in 0..<count { next[i] = rowStarts[i] }
      for t in 0..<sets {
        for index in Int(starts[t])..<Int(starts[t + 1]) {
          let i = Int(members[index])
          rows[Int(next[i])] = Int32(t)
          next[i] += 1
          shared[i] += weights[t]
        }
      }
    }
  }

  /// What candidate `e` covers.
  func cover(_ e: Int) -> Double { lone[e] + shared[e] }

  func strike(_ e: Int) {
    isThere[e] = false
    for i in 0..<count {
      shift[i * stride + e] = Self.forbidden
      if partners[i] >> UInt64(e) & 1 == 1 { dirty |= 1 << UInt64(i) }
    }
  }

  /// Strikes off whom the cap leaves no room. Ranks fall by load: the least are at the end.
  func drop(by loads: SharedBuffer<Int>, load: Int, cap: Int) {
    guard count >= left else { return }
    var rest = load
    for i in (count - left + 1)..<count { rest += loads[Int(experts[i])] }
    for i in 0..<count where rest + loads[Int(experts[i])] > cap { strike(i) }
  }

  /// Forgets those struck off.
  func shrink() {
    fill(from: self, without: nil)
    index()
  }

  /// `M1`, and `M2` as `[count, count]`.
  func measurePairs(into pairs: SharedBuffer<Double>) {
    let n = count
    for i in 0..<n {
      single[i] = lone[i]
      for j in 0..<n {
        pairs[i * n + j] = duo[i * stride + j]
        single[i] += duo[i * stride + j]
      }
    }
    for t in 0..<sets {
      for a in Int(starts[t])..<Int(starts[t + 1]) {
        let i = Int(members[a])
        single[i] += weights[t]
        for b in Int(starts[t])..<a {
          let j = Int(members[b])
          pairs[i * n + j] += weights[t]
          pairs[j * n + i] += weights[t]
        }
      }
    }
  }
}
