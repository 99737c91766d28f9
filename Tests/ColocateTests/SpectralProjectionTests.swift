import Colocate
import TestSupport
import Testing

/// The projection onto the spectral set.
@Suite struct SpectralProjectionTests {
  /// M is in the spectral set, and no placement's matrix makes an acute angle with what is left of
  /// the target: so none is nearer, nor is anything between them.
  @Test func projectionIsTheNearestOfItsSet() {
    for seed in 1...120 as ClosedRange<UInt64> {
      var random = SeededGenerator(seed: seed)
      let experts = 2 + random.next(below: 9)
      let divisors = (2...experts).filter { experts % $0 == 0 }
      let groups = divisors[random.next(below: divisors.count)]
      let (size, width, order) = (experts / groups, (experts + 3) & ~3, 2 * experts)
      let projection = SpectralProjection(
        experts: experts, groups: groups, width: width, control: SearchControl())
      var target = [Double](repeating: 0, count: order * order)
      let x = AlignedRows(rows: experts, stride: width)
      let dual = AlignedRows(rows: experts, stride: width)
      func place(_ block: ColocationLayout.Block, _ i: Int, _ j: Int) -> (Int, Int) {
        (block.rowHalf * experts + i, block.columnHalf * experts + j)
      }
      for block in ColocationLayout.Block.allCases {
        for i in 0..<experts {
          for j in 0..<experts {
            let mirrored = block != .between && j < i
            x[i, j] = mirrored ? x[j, i] : random.nextUnit() * 2 - 0.5
            dual[i, j] = mirrored ? dual[j, i] : random.nextUnit() * 4 - 2
            let (a, b) = place(block, i, j)
            target[a * order + b] = min(max(x[i, j], 0), 1) + dual[i, j]
            target[b * order + a] = target[a * order + b]
          }
        }
        projection.setTarget(block, x: x.base, dual: dual.base)
      }
      #expect(projection.decompose())
      var m = [Double](repeating: 0, count: order * order)
      for block in ColocationLayout.Block.allCases {
        projection.write(block, to: x.base)
        for i in 0..<experts {
          for j in 0..<experts {
            let (a, b) = place(block, i, j)
            (m[a * order + b], m[b * order + a]) = (x[i, j], x[i, j])
          }
        }
      }
      let note: Comment = "seed \(seed), E=\(experts) P=\(groups)"
      for a in 0..<order {
        for half in 0..<2 {
          let sum = (0..<experts).reduce(0.0) { $0 + m[a * order + half * experts + $1] }
          #expect(abs(sum - Double(size)) < 1e-9, note)
        }
      }
      let trace = (0..<order).reduce(0.0) { $0 + m[$1 * order + $1] }
      #expect(abs(trace - Double(2 * experts)) < 1e-9, note)
      let largest = EigenvalueSum(order: order, count: 1)
      #expect(largest.upperBound(m, stride: order) < Double(2 * size) + 1e-6, note)
      #expect(largest.upperBound(m.map { -$0 }, stride: order) < 1e-6, note)
      for _ in 0..<30 {
        let labels = (0..<2).flatMap { _ in
          (0..<experts).map { $0 % groups }.shuffled(using: &random)
        }
        var product = 0.0
        for a in 0..<order {
          for b in 0..<order {
            let other = labels[a] == labels[b] ? 1.0 : 0
            product += (target[a * order + b] - m[a * order + b]) * (other - m[a * order + b])
          }
        }
        #expect(product < 1e-7 * Double(order * order), note)
      }
    }
  }
}
