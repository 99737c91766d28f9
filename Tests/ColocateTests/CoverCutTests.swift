import Colocate
import ColocateCertificate
import ColocateModel
import TestSupport
import Testing

/// Covers of a load cap, and hypermetric weights: what is no cut is refused, and what is one holds
/// for every placement.
@Suite struct CoverCutTests {
  /// Exactly the sets that no group within the cap holds are covers, and both inequalities of each
  /// hold for every group of c experts within the cap.
  @Test func coversAreWhatNoGroupHolds() {
    var covers = 0
    for seed in 1...300 as ClosedRange<UInt64> {
      let random = RandomProblem(seed: seed, experts: [4, 6, 8], maxLayers: 2)
      let problem = random.problem
      guard let caps = problem.caps, problem.groupSize >= 2 else { continue }
      let context = ColocationCut.Context(problem: problem)
      let experts = problem.experts
      for half in 0..<2 {
        let groups = (0..<(1 << experts)).filter { bits in
          bits.nonzeroBitCount == problem.groupSize
            && (0..<experts).reduce(0) {
              $0 + (bits >> $1 & 1 == 1 ? problem.load(half, $1) : 0)
            } <= caps[half]
        }
        for bits in 0..<(1 << experts)
        where (2...problem.groupSize).contains(bits.nonzeroBitCount) {
          let members = (0..<experts).filter { bits >> $0 & 1 == 1 }.map { half * experts + $0 }
          let cut = ColocationCut(
            boundary: 0, shape: .coverPairs(half: half, members: members), multiplier: 1)
          let isCover = !groups.contains { $0 & bits == bits }
          #expect((cut.row(in: context) != nil) == isCover, "\(random) \(members)")
          guard isCover, let extended = cut.extendedCover(members, half: half, in: context) else {
            continue
          }
          covers += 1
          let mask = extended.reduce(0) { $0 | 1 << ($1 - half * experts) }
          for group in groups {
            #expect((group & mask).nonzeroBitCount < members.count, "\(random) \(members)")
          }
        }
      }
    }
    #expect(covers > 500)
  }

  /// The checker expands every cut to the solver's inequality, and refuses what the solver refuses.
  @Test func theCheckerHasTheSameRows() throws {
    for seed in 1...200 as ClosedRange<UInt64> {
      let random = RandomProblem(seed: seed, experts: [4, 6, 8], maxLayers: 3)
      let problem = random.problem
      var generator = SeededGenerator(seed: seed)
      let context = ColocationCut.Context(problem: problem)
      for _ in 0..<40 {
        let vertices = (0..<(2 * problem.experts)).shuffled(using: &generator)
        let count = 2 + generator.next(below: 4)
        let members = Array(vertices.prefix(count))
        let half = generator.next(below: 2)
        let shape: ColocationCut.Shape =
          switch generator.next(below: 3) {
          case 0: .hypermetric(members, members.map { _ in generator.next(below: 7) - 3 })
          case 1: .cover(vertex: vertices[count], half: half, members: members)
          default: .coverPairs(half: half, members: members)
          }
        let cut = ColocationCut(
          boundary: generator.next(below: problem.layers - 1), shape: shape, multiplier: 1)
        var expected: [Int: Int]?
        if let row = cut.row(in: context) {
          expected = [:]
          for (index, coefficient) in row.terms { expected?[index, default: 0] += coefficient }
          expected?[-1] = row.limit
        }
        #expect(try Self.checkersRow(cut, problem) == expected, "\(random) \(cut)")
      }
    }
  }

  /// Terms by place of the variable, summed, and the limit under -1; nil where the checker refuses.
  private static func checkersRow(
    _ cut: ColocationCut, _ problem: GroupingProblem
  ) throws -> [Int: Int]? {
    let certified = try CertifiedProblem(problem)
    guard let row = try? CertificateColocationCut(cut).row(of: certified) else { return nil }
    let layout = ColocationLayout(layers: problem.layers, experts: problem.experts)
    var sums = [-1: Int(row.limit)]
    for (a, b, coefficient) in row.terms {
      sums[layout.pair(cut.boundary, a, b), default: 0] += Int(coefficient)
    }
    return sums
  }
}
