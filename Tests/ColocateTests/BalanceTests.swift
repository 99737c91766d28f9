import Colocate
import Testing

/// The four figures by their words, one layer at a time.
@Suite struct BalanceTests {
  @Test func figuresOfAKnownTable() {
    // Means 2 and 3 (and a layer without tokens), peaks 3 and 6.
    let balance = Balance(gpuLoads: [3, 1, 0, 0, 6, 0], gpus: 2)
    #expect(balance.vLLM == 5.0 / 9.0)
    #expect(balance.sglang == (2.0 / 3.0 + 0.5) / 2)
    #expect(balance.meanPeak == 1.75 && balance.worstPeak == 2)
    #expect(balance.meanImbalance == 0.75 && balance.worstImbalance == 1)
    let nothing = Balance(gpuLoads: [0, 0], gpus: 2)
    #expect(nothing.vLLM == 1 && nothing.sglang == 1 && nothing.worstImbalance == 0)
  }

  @Test(arguments: 0..<30) func figuresByTheirDefinitions(seed: Int) {
    var random = SeededGenerator(seed: UInt64(seed))
    let (layers, gpus) = (1 + random.next(below: 6), 1 + random.next(below: 5))
    let table = (0..<layers).map { _ in (0..<gpus).map { _ in 1 + random.next(below: 1000) } }
    let means = table.map { Double($0.reduce(0, +)) / Double(gpus) }
    let peaks = table.map { Double($0.max() ?? 0) }
    let balance = Balance(gpuLoads: table.flatMap { $0 }, gpus: gpus)
    func close(_ a: Double, _ b: Double) -> Bool { abs(a - b) <= 1e-12 * max(abs(a), abs(b), 1) }
    #expect(close(balance.vLLM, means.reduce(0, +) / peaks.reduce(0, +)), "seed \(seed)")
    let shares = zip(means, peaks).map { $0 / $1 }
    #expect(close(balance.sglang, shares.reduce(0, +) / Double(layers)), "seed \(seed)")
    let imbalances = zip(means, peaks).map { ($1 - $0) / $0 }
    #expect(close(balance.meanImbalance, imbalances.reduce(0, +) / Double(layers)), "seed \(seed)")
    #expect(close(balance.worstImbalance, imbalances.max() ?? 0), "seed \(seed)")
    // Even loads are even in all of them.
    let even = Balance(gpuLoads: [Int](repeating: 7, count: layers * gpus), gpus: gpus)
    #expect([even.vLLM, even.sglang, even.meanPeak, even.worstPeak].allSatisfy { $0 == 1 })
  }
}
