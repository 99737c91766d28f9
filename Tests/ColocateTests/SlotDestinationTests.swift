import Colocate
import Testing

/// The definition of what plans of slots cost, against the rules by their words.
@Suite struct SlotDestinationTests {
  private func isClose(_ a: Double, _ b: Double) -> Bool { abs(a - b) <= 1e-9 * max(1, abs(b)) }

  @Test(arguments: 0..<120) func definitionIsTheRulesByTheirWords(seed: Int) throws {
    let test = try SlotTestLayer(seed: UInt64(seed))
    for rule in DispatchRule.allCases {
      let expected = PlainDispatch(plan: test.plan, rule: rule).means(test.layer)
      let found = try test.sets.destinations(of: test.plan, rule: rule)
      #expect(isClose(found.gpu, expected.gpus), "\(rule) \(test)")
      #expect(isClose(found.node, expected.nodes), "\(rule) \(test)")
      #expect(isClose(found.rows, expected.rows), "\(rule) \(test)")
      for (a, b) in zip(found.gpuLoads, expected.loads) {
        #expect(isClose(a, b), "\(rule) \(test)")
      }
      #expect(found.tokens == test.layer.tokens)
      let loads = try test.plan.gpuLoads(of: test.layer.loads, rule: rule)
      #expect(loads == found.gpuLoads)
    }
  }

  /// Without copies every rule says what `Destinations` says, to the last digit.
  @Test(arguments: 0..<40) func withoutCopiesAllRulesAgree(seed: Int) throws {
    let test = try SlotTestLayer(seed: UInt64(seed), copies: false)
    let placement = try test.plan.placement()
    let expected = try test.sets.destinations(of: placement)
    let loads = try test.sets.gpuLoads(of: placement)
    for rule in DispatchRule.allCases {
      let found = try test.sets.destinations(of: test.plan, rule: rule)
      #expect(found.gpuPerLayer == expected.gpuPerLayer.map { Double($0) }, "\(rule) \(test)")
      #expect(found.nodePerLayer == expected.nodePerLayer.map { Double($0) }, "\(rule) \(test)")
      let balance = Balance(gpuLoads: loads, gpus: test.topology.gpus)
      #expect(found.balance == balance, "\(rule) \(test)")
      let home = 1 - 1 / Double(test.topology.gpus)
      #expect(isClose(found.rows, Double(expected.gpu) * home), "\(rule) \(test)")
    }
  }

  /// Two experts with two copies each, on GPUs 0 and 1: one hash uses the same GPU for both.
  @Test func oneHashKeepsATokensExpertsTogether() throws {
    let plan = try SlotPlan(topology: Topology(gpus: 2), experts: 2, slots: [[0, 1, 0, 1]])
    let layer = try TokenSets.Layer(experts: 2, sets: [[0, 1]], multiplicities: [8])
    let sets = try TokenSets(experts: 2, layers: [layer])
    func gpus(_ rule: DispatchRule) throws -> Double {
      try sets.destinations(of: plan, rule: rule).gpusPerToken
    }
    #expect(try gpus(.vllm) == 1 && gpus(.uniform) == 1.5 && gpus(.tensorRTLLM) == 1.5)
    // Whoever has all of them at home sends nothing.
    let near = try sets.destinations(of: plan, rule: .sglang)
    #expect(near.gpusPerToken == 1 && near.rowsPerToken == 0)
  }

  @Test func whatDoesNotFitIsRefused() throws {
    let test = try SlotTestLayer(seed: 3)
    let other = try SlotPlan(
      topology: Topology(gpus: 1), experts: test.plan.experts + 1,
      slots: [Array(0...test.plan.experts)])
    #expect(throws: ModelError.self) { try test.sets.destinations(of: other, rule: .uniform) }
    #expect(throws: ModelError.self) { try other.gpuLoads(of: [1], rule: .uniform) }
    // 13 · 11 · 9 · 8 · 7 copies meet in one hash after 72072 tokens.
    let counts = [13, 11, 9, 8, 7]
    let row = counts.indices.flatMap { [Int](repeating: $0, count: counts[$0]) }
    let wide = try SlotPlan(topology: Topology(gpus: 1), experts: 5, slots: [row])
    let sets = try TokenSets(
      experts: 5, layers: [TokenSets.Layer(experts: 5, sets: [[0, 1, 2, 3, 4]])])
    #expect(throws: ModelError.self) { try sets.destinations(of: wide, rule: .vllm) }
    #expect(try sets.destinations(of: wide, rule: .uniform).gpu == 1)
  }
}
