import Foundation

/// Where the time of the steps goes. Off by default: reading the clock twice per matrix product
/// costs a percent or two at batch 1.
public struct Timings: Sendable {
  /// What a step does.
  public enum Phase: Int, CaseIterable, Sendable {
    /// Projections, router, experts, output head: OpenBLAS.
    case products
    /// Scores and mixed values of attention: OpenBLAS.
    case attentionProducts
    /// RMSNorm, RoPE, softmax, SwiGLU, sorting, copying.
    case vectors
    /// Putting rows into messages and taking them out.
    case packing
    /// Inside MPI: counts, dispatch, combine, context; waiting for slower ranks included.
    case collectives

    /// As reports call it, in snake_case.
    public var name: String {
      switch self {
      case .products: "products"
      case .attentionProducts: "attention_products"
      case .vectors: "vectors"
      case .packing: "packing"
      case .collectives: "collectives"
      }
    }
  }

  public let isOn: Bool
  /// `[phase]`
  private var seconds = [Double](repeating: 0, count: Phase.allCases.count)
  /// All of the steps' time, whether it belongs to a phase or not.
  public private(set) var total = 0.0
  /// The same on the processor's clock of this thread.
  public private(set) var computing = 0.0

  init(isOn: Bool) { self.isOn = isOn }

  /// Seconds of a clock that only goes forward.
  package static func now() -> Double { seconds(of: CLOCK_MONOTONIC) }

  /// Seconds that this thread has been computing: what other programs on the machine do hardly
  /// matters to it.
  @inline(__always)
  static func computing() -> Double { seconds(of: CLOCK_THREAD_CPUTIME_ID) }

  /// What a clock shows; 0 where there is no such clock, as after the end of a thread.
  @inline(__always)
  static func seconds(of clock: clockid_t) -> Double {
    var time = timespec()
    guard clock_gettime(clock, &time) == 0 else { return 0 }
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
  }

  @inline(__always)
  func start() -> Double { isOn ? Self.now() : 0 }

  @inline(__always)
  mutating func stop(_ phase: Phase, since start: Double) {
    if isOn { seconds[phase.rawValue] += Self.now() - start }
  }

  mutating func step(seconds: Double, computing: Double) {
    total += seconds
    self.computing += computing
  }

  mutating func reset() {
    for i in seconds.indices { seconds[i] = 0 }
    total = 0
    computing = 0
  }

  /// Share of a phase in the time of the steps.
  public func share(_ phase: Phase) -> Double { total > 0 ? seconds[phase.rawValue] / total : 0 }
  /// Share of the time inside OpenBLAS.
  public var blasShare: Double { share(.products) + share(.attentionProducts) }
}
