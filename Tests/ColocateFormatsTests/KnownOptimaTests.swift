import Colocate
import ColocateFormats
import Foundation
import Testing

/// Instances whose optimum is known (`instances/best-known.csv`), solved again with the optimal
/// placement held against every step, from a weak start and without the method that would end it.
@Suite struct KnownOptimaTests {
  private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("instances")

  /// Crossings of the proved optimum on one node without a cap.
  private func optimum(_ name: String, gpus: Int) throws -> Int? {
    let table = try String(
      contentsOf: Self.folder.appendingPathComponent("best-known.csv"), encoding: .utf8)
    for line in table.split(separator: "\n") {
      let fields = line.split(separator: ",", omittingEmptySubsequences: false)
      guard fields.count >= 6, fields[0] == name, fields[1] == "1x\(gpus)", fields[2].isEmpty,
        fields[5] == "yes"
      else { continue }
      return Int(fields[3])
    }
    return nil
  }

  @Test(arguments: [
    ("generated-8", 2), ("generated-8", 4), ("synthetic-8-95-24", 2), ("synthetic-16-95-8", 8),
    ("tiny-16x8", 8),
  ])
  func theKnownOptimumOutlivesTheRun(name: String, gpus: Int) throws {
    let best = try #require(try optimum(name, gpus: gpus))
    let counts = try TraceFile(Self.folder.appendingPathComponent(name + ".npy").path).counts
    let instance = try Instance(counts: counts, topology: Topology(gpus: gpus))
    var options = SolverOptions()
    options.timeLimit = 60
    let first = try Solver(options).solve(instance)
    #expect(first.status == .optimal && first.value == best)
    options.debug.knownSolution = first.placement
    options.methods.chain = false
    options.methods.localSearch = false
    (options.timeLimit, options.workLimit) = (nil, 60_000_000)
    let second = try Solver(options).solve(instance)
    #expect(second.internalFault == nil)
    let bound = try #require(second.bound)
    #expect(bound <= best)
    if second.status == .optimal { #expect(second.value == best) }
  }
}
