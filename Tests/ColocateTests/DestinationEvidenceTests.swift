import Colocate
import ColocateCertificate
import Testing

@Suite struct DestinationEvidenceTests {
  private static func answer(_ test: DestinationTestLayer, seed: Int) -> LevelSolver.Answer? {
    guard let truth = test.bruteForce() else { return nil }
    let layer = DestinationLayer(test.sets, groups: test.groups, cap: test.cap)
    return LevelSolver(starts: 1, proves: true).solve(
      layer, experts: Array(0..<test.experts), known: [truth.labels], seed: UInt64(seed),
      control: SearchControl())
  }

  /// What the solver proved is accepted, and one better is refused.
  @Test func provedBoundsAreAcceptedAndBetterOnesRefused() throws {
    var checked = 0
    for seed in 0..<400 {
      let test = try DestinationTestLayer(seed: UInt64(seed) &+ 90_000, experts: [6, 8, 9, 10])
      guard let answer = Self.answer(test, seed: seed), let prices = answer.prices else {
        continue
      }
      let evidence = DestinationEvidence(prices)
      checked += 1
      let effort = CertificateEffort()
      #expect(throws: Never.self, "\(test)") { try evidence.check(test.sets, effort: effort) }
      let better = DestinationEvidence(
        experts: evidence.experts, groups: evidence.groups, cap: evidence.cap,
        prices: evidence.prices, unit: evidence.unit, bound: evidence.bound + 1)
      #expect(throws: CertificateError.self, "\(test)") {
        try better.check(test.sets, effort: effort)
      }
    }
    #expect(checked > 50, "only \(checked) layers needed prices")
  }

  /// Any prices may be given: a bound that they do not prove is never accepted.
  @Test func arbitraryPricesProveNothingFalse() throws {
    var accepted = 0
    for seed in 0..<300 {
      let test = try DestinationTestLayer(seed: UInt64(seed) &+ 40_000, experts: [6, 8, 9])
      guard let truth = test.bruteForce() else { continue }
      var random = SeededGenerator(seed: UInt64(seed))
      let prices = test.sets.loads.map { load in
        Int(Double(load * DestinationEvidence.scale) * (random.nextUnit() * 1.5 - 0.2))
      }
      for bound in [truth.value - 1, truth.value, truth.value + 1] where bound >= 0 {
        let evidence = DestinationEvidence(
          experts: Array(0..<test.experts), groups: test.groups, cap: test.cap, prices: prices,
          unit: 1, bound: bound)
        let isAccepted = (try? evidence.check(test.sets, effort: CertificateEffort())) != nil
        #expect(isAccepted == (bound <= truth.value), "\(test), bound \(bound)")
        accepted += isAccepted ? 1 : 0
      }
    }
    #expect(accepted > 0)
  }

  /// Two groups without prices: exactly the bounds that are true are accepted.
  @Test func twoGroupsNeedNoPrices() throws {
    var checked = 0
    for seed in 0..<300 {
      let test = try DestinationTestLayer(
        seed: UInt64(seed) &+ 20_000, experts: [2, 4, 6, 8, 10], groups: 2)
      guard let truth = test.bruteForce() else { continue }
      checked += 1
      for bound in max(0, truth.value - 2)...(truth.value + 2) {
        let evidence = DestinationEvidence(
          experts: Array(0..<test.experts), groups: 2, cap: test.cap, prices: [], unit: 1,
          bound: bound)
        let isAccepted = (try? evidence.check(test.sets, effort: CertificateEffort())) != nil
        #expect(isAccepted == (bound <= truth.value), "\(test), bound \(bound)")
      }
    }
    #expect(checked > 200)
    // Three groups do.
    let sets = try TokenSets.Layer(
      experts: 6, sets: [[0, 1], [1, 2], [0, 2], [3, 4]], multiplicities: [1, 1, 1, 1])
    let three = DestinationEvidence(
      experts: Array(0..<6), groups: 3, cap: nil, prices: [], unit: 1, bound: 6)
    #expect(throws: CertificateError.self) {
      try three.check(sets, effort: CertificateEffort())
    }
  }

  @Test func evidenceForSomethingElseIsRefused() throws {
    let sets = try TokenSets.Layer(
      experts: 4, sets: [[0, 1], [1, 2], [2, 3], [0, 3]], multiplicities: [2, 4, 6, 8])
    func evidence(
      experts: [Int] = [0, 1, 2, 3], groups: Int = 2, prices: [Int] = [0, 0, 0, 0], unit: Int = 2,
      bound: Int = 21
    ) -> DestinationEvidence {
      DestinationEvidence(
        experts: experts, groups: groups, cap: nil, prices: prices, unit: unit, bound: bound)
    }
    let wrong = [
      evidence(experts: [0, 1, 2]), evidence(experts: [1, 0, 2, 3]), evidence(groups: 3),
      evidence(experts: [0, 1, 2, 4]), evidence(prices: [0, 0, 0]), evidence(unit: 4),
      evidence(unit: 0), evidence(prices: [1 << 51, 0, 0, 0]), evidence(bound: -1),
      evidence(bound: 29), evidence(prices: [], bound: 29),
    ]
    for (index, one) in wrong.enumerated() {
      #expect(throws: CertificateError.self, "case \(index)") {
        try one.check(sets, effort: CertificateEffort())
      }
    }
    // {0,3} and {1,2} split the sets of 2 and 6 tokens: 28 destinations, the least.
    #expect(throws: Never.self) {
      try evidence(bound: 28).check(sets, effort: CertificateEffort())
    }
  }
}
