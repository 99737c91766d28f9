import Colocate

/// The first run's tokens and routes, on every rank, and its logits, on rank 0: what the other runs
/// are fed and compared with.
final class VerificationBaseline {
  let sequences: Int
  let prompt: Int
  /// Prompt and new tokens.
  let length: Int
  /// `[sequences, length]`
  let tokens: UnsafeMutablePointer<Int32>
  /// Of the first `length − 1` positions: the last token is never fed.
  let routes: RouteTable
  /// `[sequences, new, V]`: the logits that chose each new token.
  let logits: Floats
  /// `[sequences, prompt, d]`: final hidden states of the prompt.
  let hidden: Floats
  /// The largest magnitude of a logit.
  var logitScale: Float = 0
  private(set) var logitTolerance: Float = 0
  private(set) var probabilityTolerance: Float = 0
  private(set) var isComplete = false
  private let config: ModelConfig
  private let memory = Memory()

  var new: Int { length - prompt }

  init(model: Model, prompts: Tokens, new: Int) throws(EngineError) {
    (sequences, prompt) = (prompts.sequences, prompts.positions)
    length = prompt + new
    config = model.config
    tokens = try memory.integers(sequences * length)
    for sequence in 0..<sequences {
      for i in 0..<prompt {
        tokens[sequence * length + i] = prompts.ids[sequence * prompt + i]
      }
    }
    routes = try RouteTable(sequences: sequences, positions: length - 1, config: config)
    let isFirst = model.communicator.isFirst
    logits = try memory.floats(isFirst ? sequences * new * config.vocabulary : 0)
    hidden = try memory.floats(isFirst ? sequences * prompt * config.hidden : 0)
  }

  /// Every rank learns the tokens and the routes; what comes is compared from now on.
  ///
  /// - Throws: the same error on every rank where a token was not routed at all.
  func complete(_ communicator: Communicator) throws(EngineError) {
    communicator.broadcast(tokens, count: sequences * length)
    routes.share(communicator)
    try routes.checkComplete()
    let rounding = Rounding(layers: config.layers)
    logitScale = Float(communicator.max(Double(logitScale)))
    logitTolerance = rounding.logits(scale: logitScale)
    probabilityTolerance = rounding.probabilities(scoreScale: routes.scoreScale)
    isComplete = true
  }

  /// Which experts these routes use together: what the solver would be given for home mode.
  func tokenSets() throws(ModelError) -> TokenSets {
    var accumulator = try TokenSetAccumulator(
      layers: config.layers, choices: config.expertsPerToken, experts: config.experts,
      memoryLimit: .max)
    let ids = UnsafeBufferPointer(
      start: routes.chosen,
      count: sequences * (length - 1) * config.layers * config.expertsPerToken)
    try accumulator.add(ids)
    return try accumulator.sets()
  }

  /// What these routes send under a placement.
  func prediction(
    _ mode: Mode, _ placement: Placement, route: ExchangeRoute = .direct
  ) throws(EngineError) -> Prediction {
    var prediction = try Prediction(
      mode: mode, placement: placement, expertsPerToken: config.expertsPerToken, route: route)
    for sequence in 0..<sequences {
      for position in 0..<(length - 1) {
        prediction.add(
          route: routes.experts(routes.index(sequence: sequence, position: position, layer: 0)),
          home: sequence % placement.topology.gpus, choosesToken: position >= prompt - 1)
      }
    }
    return prediction
  }
}
