import ColocateModel

/// A number that two groups' values are computed in, with its inner loop.
///
/// The loops are written for concrete vectors: generic comparisons of vectors go lane by lane.
protocol LaneScalar: BinaryFloatingPoint, SIMDScalar, BitwiseCopyable, Codable, Sendable {
  /// The largest of `first + sum` and `second − sum` over sixteen lanes, where `sum` is
  /// `low + high` lane by lane.
  static func largest(
    _ low: UnsafePointer<Self>, _ high: UnsafePointer<Self>, _ first: UnsafePointer<Self>,
    _ second: UnsafePointer<Self>
  ) -> Self
}

/// Sixteen states of one boundary side by side: for each the sums of its differences over all
/// subsets of the low and of the high eight experts, and the values that they are added to.
///
/// One thread's scratch. `table[mask, lane] = table[mask without its lowest bit, lane] + d[bit]`
/// fills a table with one addition per entry.
final class TwoGroupBlock<Scalar: LaneScalar> {
  /// States side by side.
  static var width: Int { 16 }

  private let problem: GroupingProblem
  private let boundary: Int
  /// Holds what the four pointers below point to.
  private let memory: Buffer<Scalar>
  /// `[256, width]`.
  private let low: UnsafeMutablePointer<Scalar>
  private let high: UnsafeMutablePointer<Scalar>
  /// `[width]`: `f(S) + b_S` and `f(S) + total − b_S`.
  private let first: UnsafeMutablePointer<Scalar>
  private let second: UnsafeMutablePointer<Scalar>

  init(_ problem: GroupingProblem, boundary: Int) {
    (self.problem, self.boundary) = (problem, boundary)
    memory = Buffer(repeating: 0, count: (256 + 256 + 2) * Self.width)
    low = memory.base
    high = low + 256 * Self.width
    first = high + 256 * Self.width
    second = first + Self.width
  }

  /// Where a target's sums stand in the two tables.
  static func offsets(of target: UInt64) -> (low: Int, high: Int) {
    (Int(target & 0xFF) * width, Int(target >> 8) * width)
  }

  /// Takes sixteen states.
  /// - Parameter state: the state of a lane: the group of expert 0, and `f(S)`.
  func fill(_ state: (_ lane: Int) -> (set: ExpertSet, value: Int)) {
    let experts = problem.experts
    for lane in 0..<Self.width {
      let (set, value) = state(lane)
      var difference = [Int](repeating: 0, count: experts)
      var (kept, total) = (0, 0)
      for j in 0..<experts {
        var (inside, outside) = (0, 0)
        for i in 0..<experts {
          let weight = problem.weight(boundary, i, j)
          if set.contains(i) { inside += weight } else { outside += weight }
        }
        difference[j] = inside - outside
        kept += outside
        total += inside + outside
      }
      tabulate(difference.prefix(8), in: low, lane: lane)
      tabulate(difference.dropFirst(8), in: high, lane: lane)
      first[lane] = Scalar(value + kept)
      second[lane] = Scalar(value + total - kept)
    }
  }

  /// Sums over all subsets of up to eight differences, in one lane of a table.
  private func tabulate(
    _ difference: ArraySlice<Int>, in table: UnsafeMutablePointer<Scalar>, lane: Int
  ) {
    for mask in 1..<(1 << difference.count) {
      let rest = mask & (mask - 1)
      let one = difference[difference.startIndex + mask.trailingZeroBitCount]
      table[mask * Self.width + lane] = table[rest * Self.width + lane] + Scalar(one)
    }
  }

  /// `best[T] = max(best[T], max over the lanes of f(S) + θ(S, T))`.
  func raise(_ best: UnsafeMutableBufferPointer<Scalar>, _ offsets: [(low: Int, high: Int)]) {
    for (target, offset) in offsets.enumerated() {
      let most = Scalar.largest(low + offset.low, high + offset.high, first, second)
      if most > best[target] { best[target] = most }
    }
  }
}

extension Float: LaneScalar {
  @inline(__always)
  static func largest(
    _ low: UnsafePointer<Float>, _ high: UnsafePointer<Float>, _ first: UnsafePointer<Float>,
    _ second: UnsafePointer<Float>
  ) -> Float {
    typealias Vector = SIMD4<Float>
    @inline(__always) func load(_ pointer: UnsafePointer<Float>, _ k: Int) -> Vector {
      UnsafeRawPointer(pointer + 4 * k).loadUnaligned(as: Vector.self)
    }
    @inline(__always) func larger(_ a: Vector, _ b: Vector) -> Vector {
      a.replacing(with: b, where: b .> a)
    }
    @inline(__always) func part(_ k: Int) -> Vector {
      let sum = load(low, k) + load(high, k)
      return larger(load(first, k) + sum, load(second, k) - sum)
    }
    let four = larger(larger(part(0), part(1)), larger(part(2), part(3)))
    return max(max(four.x, four.y), max(four.z, four.w))
  }
}

extension Double: LaneScalar {
  @inline(__always)
  static func largest(
    _ low: UnsafePointer<Double>, _ high: UnsafePointer<Double>, _ first: UnsafePointer<Double>,
    _ second: UnsafePointer<Double>
  ) -> Double {
    typealias Vector = SIMD2<Double>
    @inline(__always) func load(_ pointer: UnsafePointer<Double>, _ k: Int) -> Vector {
      UnsafeRawPointer(pointer + 2 * k).loadUnaligned(as: Vector.self)
    }
    @inline(__always) func larger(_ a: Vector, _ b: Vector) -> Vector {
      a.replacing(with: b, where: b .> a)
    }
    var most = Vector(repeating: -1)
    for k in 0..<8 {
      let sum = load(low, k) + load(high, k)
      most = larger(most, larger(load(first, k) + sum, load(second, k) - sum))
    }
    return most.x > most.y ? most.x : most.y
  }
}
