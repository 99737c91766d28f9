import Colocate
import ColocateCertificate
import TestSupport
import Testing

/// Evidence of kind `fixing` before the checker.
extension CertificateTests {
  /// Steps of fixing, with and without a search at the end, from an optimal placement and from a
  /// worse one, which they may not prove.
  @Test func fixingEvidence() throws {
    var (searched, exhausted, open) = (0, 0, 0)
    for seed in 1...160 as ClosedRange<UInt64> {
      guard let (instance, placement, kept) = try instance(seed: seed) else { continue }
      let problem = instance.gpuProblem
      let relaxation = ColocationRelaxation(problem: problem, control: control)
      relaxation.parameters.maxIterations = [40, 100, 200][Int(seed % 3)]
      relaxation.parameters.searchStates = seed % 2 == 0 ? 1_000 : 0
      relaxation.keepsFixingSteps = true
      relaxation.incumbent = kept
      relaxation.run(targetKept: kept)
      guard relaxation.fixings.dependsOnTarget else { continue }
      let search = relaxation.searchStart
      let evidence = CertificateFixing(relaxation.evidenceSteps, search: search)
      func make(
        _ placement: Placement, _ kept: Int, _ bound: Int, _ evidence: CertificateFixing
      ) -> Certificate {
        certificate(instance, placement, kept: kept, bound: bound, .fixing(evidence))
      }
      let bound = try #require(
        make(placement, kept, 0, evidence).claims[0].leastClaim(
          of: CertifiedProblem(problem), kept: kept, effort: CertificateEffort()))
      #expect(bound >= relaxation.keptBound && bound <= relaxation.keptBound + 1, "seed \(seed)")
      #expect(accepts(make(placement, kept, bound, evidence), instance), "seed \(seed)")
      #expect(!accepts(make(placement, kept, kept - 1, evidence), instance), "seed \(seed)")
      if search != nil { searched += 1 } else if bound == kept { exhausted += 1 } else { open += 1 }
      for wrong in [
        CertificateFixing(steps: [], search: search),
        CertificateFixing(steps: evidence.steps, search: problem.layers),
      ] where search != nil || wrong.steps.isEmpty {
        #expect(!accepts(make(placement, kept, bound, wrong), instance), "seed \(seed)")
      }
      // Of a worse placement nothing below the optimum is proved.
      guard let worse = try worsePlacement(than: kept, instance, seed: seed) else { continue }
      let value = problem.kept(worse.assignment)
      #expect(!accepts(make(worse, value, kept - 1, evidence), instance), "seed \(seed)")
    }
    #expect(
      searched > 10 && exhausted > 10 && open > 0,
      "\(searched) searched, \(exhausted) exhausted, \(open) open")
  }
}
