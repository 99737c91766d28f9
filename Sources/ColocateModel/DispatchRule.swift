/// Which copy of an expert serves a token, where the expert has several: the rule of a serving
/// stack.
///
/// Read from the stacks' own code, in the versions named. `r` is the number of the expert's copies,
/// taken in the order of their slots; the source is the GPU that is the token's home.
///
/// * `vllm`: vLLM 0.33.0 (fused_moe/router/base_router.py). A hash of the token's row, modulo `r`.
/// * `sglang`: SGLang 0.5.23 with an all-to-all back end and `--ep-dispatch-algorithm static`
///   (eplb/expert_location.py). The first copy on the source; else the first on its node, where not
///   all copies are there; else one copy for each source, drawn fairly when the server starts.
/// * `tensorrt-llm`: TensorRT-LLM at commit 004d78b0 (moeLoadBalanceKernels.cu,
///   moeComputeRouteKernel). Round robin, with a counter for each expert.
/// * `uniform`: each copy alike, drawn for each token and expert. LMDeploy 0.18.0.
///
/// A trace says neither on which row nor on which GPU a token will be, nor what an engine draws.
/// So everything here is an **average**: over sources, all alike, and over what the rule leaves
/// open. What that makes of the rules:
///
/// * `vllm`: the hash `h` is uniform, and **one for all experts of a token**: expert `e` uses copy
///   `h mod r_e`. Two experts with two copies each are used both first or both second.
/// * `sglang`: what is drawn is uniform over the copies, for each source and expert by itself.
/// * `tensorrt-llm`: where an expert's counter stands when a token comes depends on all tokens
///   before it; that is taken as uniform, for each expert by itself. It then averages as `uniform`
///   does: of the two, round robin only varies less from batch to batch.
public enum DispatchRule: String, Hashable, Sendable, CaseIterable {
  case vllm
  case sglang
  case tensorRTLLM = "tensorrt-llm"
  case uniform

  /// Whether the experts of a token draw together, by one hash.
  package var isShared: Bool { self == .vllm }

  /// Whether the choice depends on where the token comes from.
  package var looksAtSource: Bool { self == .sglang }

  /// The copies among which a token of GPU `source` has the same chance of each, as positions in
  /// `copies`.
  /// - Parameter copies: the GPU of each copy, in the order of slots; at least one.
  package func candidates(_ copies: [Int], source: Int, topology: Topology) -> [Int] {
    let all = Array(copies.indices)
    guard looksAtSource, copies.count > 1 else { return all }
    if let here = copies.firstIndex(of: source) { return [here] }
    let node = topology.node(of: source)
    let near = all.filter { topology.node(of: copies[$0]) == node }
    if let first = near.first, near.count < copies.count { return [first] }
    return all
  }
}
