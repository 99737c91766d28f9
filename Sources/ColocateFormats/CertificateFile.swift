import Colocate
import ColocateCertificate

/// A certificate as JSON.
///
///     { "format": "colocate-certificate", "version": 1, "tool": "colocate 0.2.0",
///       "layers": L, "experts": E, "nodes": N, "gpus_per_node": G,
///       "objective": { "name": "flat" }, or staged, or joint with inter_node and intra_node
///       "load_cap": { "numerator": …, "denominator": …, "relaxed_to_feasible": … } or null,
///       "caps": the most tokens of a GPU in each layer, or null,
///       "counts_sha256": of L, E, W, loads and co-activation (if any), as 64-bit integers, low
///                        byte first,
///       "assignment": [ GPU of each expert, a row for each layer ],
///       "stages": [ { "name": "gpus", "kept": …, "kept_bound": …, "unit": 1, "load_unit": 1,
///                     "evidence": { "kind": …, … } }, … ] }
///
/// All numbers are integers. `caps` may be absent where the cap is not relaxed. A stage's evidence
/// is about the counts divided by `unit` and the loads divided by `load_unit` (1 where absent),
/// which divide all of them; caps are divided and rounded down. `kept` and `kept_bound` are in
/// counts. Evidence by kind (what it proves: `Certificate.Evidence`):
///
///     one-group
///     assignment    rows, columns: [L-1][E]
///     chain         values: [L][partitions]
///     path          prices: [L][E]; cuts: [ [layer, price, experts …], … ]
///     co-location   fraction_bits; left, between, right: for each boundary the rows i ≤ j of U's
///                   block of Z_l, all of Y_l's, the rows i ≤ j of Z_{l+1}'s; and cuts, each with
///                   its boundary and its multiplier in front:
///                   partition: [ [ , , |S|, S …, T …], … ]; crowd: [ [ , , vertices …], … ];
///                   company: [ [ , , i, k, half, |first|, first …, second …], … ];
///                   load: [ [ , , vertex, half, at most], … ];
///                   load_pair: [ [ , , i, k, half, relation], … ];
///                   load_product: [ [ , , first, second, at most], … ];
///                   hypermetric: [ [ , , vertex, b, vertex, b, …], … ];
///                   cover: [ [ , , a, half, C …], … ]; cover_pairs: [ [ , , half, C …], … ]
///     fixing        steps: multipliers as of kind co-location, without kind, in the order in which
///                   they fix pairs; and perhaps search: the layer from which the search over the
///                   rest begins
///     windows       fraction_bits; shares: for each inner layer the rows i < j of S; trees: for
///                   each window best, and nodes: a list, root first, children after their
///                   parents. Each has either steps and perhaps search, as of kind fixing, or
///                   branch: [first, second] and children: [together, apart]
///     tree          nodes: a list, root first, children after their parents. Each has deletions:
///                   [ { prices, cuts }, … ] and either leaf ("bounded" or "exhausted"), prices,
///                   cuts and for the latter dolls, or branch: [layer, first, second] and
///                   children: [together, apart] (places in the list)
///
/// A file too large with line breaks and spaces is written without. What a checker takes on: files
/// of 128 MiB; chains of 60,000 partitions a layer; paths of 64 experts and 60,000 subsets a layer,
/// counts and prices that add up to 2^60/64; layered searches of 16 groups, 8,000,000 partitions a
/// layer and 80,000,000 arcs; co-location of 512 experts and 2^20 cuts; 1,024 steps of fixing, and
/// searches over the rest of 64 experts, 16 groups, 4,000,000 partitions a layer and 16,000,000
/// arcs; and the time it is given. What is beyond is refused.
public struct CertificateFile: Sendable {
  public static let formatName = "colocate-certificate"
  public static let formatVersion = 1

  package let certificate: Certificate
  package let digest: String

  /// - Parameter counts: what the certificate is about.
  package init(_ certificate: Certificate, counts: TransitionCounts) {
    self.certificate = certificate
    digest = Self.digest(of: counts)
  }

  /// The certificate of an answer whose run kept its evidence; nil where it has none.
  public init?(of outcome: SolverOutcome, instance: Instance, threads: Int = 1) {
    guard
      let certificate = Certificate(
        of: outcome, instance: instance, control: SearchControl(threads: threads))
    else { return nil }
    self.init(certificate, counts: instance.counts)
  }

  init(certificate: Certificate, digest: String) {
    self.certificate = certificate
    self.digest = digest
  }

  /// Checks everything against `counts`.
  /// - Parameters:
  ///   - counts: what the certificate should be about.
  ///   - path: the certificate's name, for messages.
  ///   - threads: that may check at the same time.
  ///   - seconds: how long the check may take.
  /// - Throws: `FormatError` naming `path`, with the first thing that is not true or is beyond the
  ///   checker's limits.
  public func check(
    counts: TransitionCounts, path: String, threads: Int = 1, seconds: Double = .infinity
  ) throws(FormatError) -> CertificateReport {
    let found = Self.digest(of: counts)
    guard found == digest else {
      throw FormatError(path, "for counts with digest \(digest.prefix(64)), these have \(found)")
    }
    do throws(CertificateError) {
      let effort = CertificateEffort(threads: threads, seconds: seconds)
      return CertificateReport(
        certificate, counts: counts, digest: found,
        findings: try certificate.check(counts: counts, effort: effort))
    } catch {
      throw FormatError(path, error.description)
    }
  }

  /// SHA-256 of L, E, W, loads, V as little-endian 64-bit integers.
  static func digest(of counts: TransitionCounts) -> String {
    Digest.sha256([
      [counts.layers, counts.experts], counts.weights, counts.loads, counts.coactivation,
    ])
  }
}
