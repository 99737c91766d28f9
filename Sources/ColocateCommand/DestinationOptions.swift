import ArgumentParser
import Colocate

/// What is counted, and what beside it.
struct ModeOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "What the engine sends. coherent (the default): a token from expert to expert, so crossings "
        + "between layers count. home: every token to the GPUs of its experts and back in each "
        + "layer (vLLM, SGLang, TensorRT-LLM), so its number of distinct GPUs (nodes) counts.",
      valueName: "home|coherent"))
  var mode: ModeName?

  @Option(
    help: ArgumentHelp(
      "In home mode: what a GPU crossing counts beside a GPU destination, 0 without it.",
      valueName: "W"))
  var crossingWeight: Int?

  /// - Throws: `ValidationError` for objectives that the mode does not have.
  func check(_ objective: ObjectiveName?, nodes: Int) throws {
    if objective == .nodes, mode != .home {
      throw ValidationError("--objective nodes counts the nodes of a token: expected --mode home")
    }
    if objective == .rows, mode == .home {
      throw ValidationError("--objective rows with --mode home: expected --mode coherent")
    }
    guard let crossingWeight else { return }
    guard mode == .home, objective == nil || objective == .flat else {
      throw ValidationError("--crossing-weight: expected with --mode home --objective flat")
    }
    guard (0...(1 << 20)).contains(crossingWeight) else {
      throw ValidationError("--crossing-weight \(crossingWeight): expected 0 to \(1 << 20)")
    }
  }

  /// Whether destinations, or rows, are minimised, and not crossings.
  func isAboutSets(_ objective: ObjectiveName?) -> Bool { mode == .home || objective == .rows }
}
