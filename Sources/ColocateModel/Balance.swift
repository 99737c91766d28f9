/// How evenly a placement spreads the tokens, in the four figures that operators of serving stacks
/// know. With `max_l` the tokens of layer `l`'s fullest GPU and `mean_l` those of a GPU on average:
///
/// | stack | figure | even |
/// |---|---|---|
/// | vLLM | balancedness, `Σ_l mean_l / Σ_l max_l` | 1 |
/// | SGLang | balancedness, mean over layers of `mean_l / max_l` | 1 |
/// | TensorRT-LLM | imbalance, `(max_l − mean_l) / mean_l` | 0 |
/// | vLLM-Ascend | peak to average, `max_l / mean_l` | 1 |
///
/// The last two are figures of one layer; of all layers the mean and the worst are kept. Layers
/// without tokens say nothing and are left out; without any layer all is even.
public struct Balance: Hashable, Sendable {
  /// `Σ_l mean_l / Σ_l max_l`: busy layers weigh more.
  public let vLLM: Double
  /// Mean over layers of `mean_l / max_l`: all layers weigh alike.
  public let sglang: Double
  /// Mean over layers of `max_l / mean_l`, vLLM-Ascend's peak to average.
  public let meanPeak: Double
  /// The worst layer's `max_l / mean_l`.
  public let worstPeak: Double

  /// TensorRT-LLM's `(max − mean) / mean`, mean over layers.
  public var meanImbalance: Double { meanPeak - 1 }
  /// TensorRT-LLM's `(max − mean) / mean` of the worst layer.
  public var worstImbalance: Double { worstPeak - 1 }

  /// - Parameters:
  ///   - gpuLoads: tokens of each GPU in each layer, `[L, P]`, row-major, none negative.
  ///   - gpus: `P ≥ 1`.
  public init(gpuLoads: [Int], gpus: Int) {
    self.init(meanGPULoads: gpuLoads.map { Double($0) }, gpus: gpus)
  }

  /// The same of loads that are means, where experts have copies.
  /// - Parameters:
  ///   - meanGPULoads: `[L, P]`, row-major, none negative.
  ///   - gpus: `P ≥ 1`.
  public init(meanGPULoads: [Double], gpus: Int) {
    precondition(gpus >= 1 && meanGPULoads.count % gpus == 0, "loads are not whole layers")
    var (layers, means, peaks, shares, ratios, worst) = (0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    for start in stride(from: 0, to: meanGPULoads.count, by: gpus) {
      let loads = meanGPULoads[start..<(start + gpus)]
      let (sum, peak) = (loads.reduce(0, +), loads.max() ?? 0)
      guard sum > 0 else { continue }
      let mean = sum / Double(gpus)
      layers += 1
      means += mean
      peaks += peak
      shares += mean / peak
      ratios += peak / mean
      worst = max(worst, peak / mean)
    }
    vLLM = layers == 0 ? 1 : means / peaks
    sglang = layers == 0 ? 1 : shares / layers
    meanPeak = layers == 0 ? 1 : ratios / layers
    worstPeak = worst
  }
}
