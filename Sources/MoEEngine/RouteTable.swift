/// The routes of a batch: which experts every token takes in every layer, and how strongly. As an
/// observer of an engine it records them.
final class RouteTable: RouteObserver {
  let sequences: Int
  let positions: Int
  let layers: Int
  let experts: Int
  let expertsPerToken: Int
  /// `[S, T, L, k]`, the strongest first; −1 where this rank did not route the token.
  let chosen: UnsafeMutablePointer<Int32>
  /// `[S, T, L, k]`: bits of the probabilities, before any scaling.
  private let strengths: UnsafeMutablePointer<Int32>
  /// `[S, T, L]`: bits of the least lead, in probability, of a chosen expert over the next one, the
  /// best that was not chosen included.
  private let margins: UnsafeMutablePointer<Int32>
  /// The largest magnitude of a score of the router.
  private(set) var scoreScale: Float = 0
  private let memory = Memory()

  private var choices: Int { sequences * positions * layers }

  init(sequences: Int, positions: Int, config: ModelConfig) throws(EngineError) {
    (self.sequences, self.positions) = (sequences, positions)
    (layers, experts) = (config.layers, config.experts)
    expertsPerToken = config.expertsPerToken
    let choices = sequences * positions * config.layers
    chosen = try memory.integers(choices * config.expertsPerToken)
    strengths = try memory.integers(choices * config.expertsPerToken)
    margins = try memory.integers(choices)
    clear()
  }

  func clear() {
    for i in 0..<(choices * expertsPerToken) { (chosen[i], strengths[i]) = (-1, -1) }
    for i in 0..<choices { margins[i] = -1 }
  }

  /// Number of a choice: of a token in a layer.
  @inline(__always)
  func index(sequence: Int, position: Int, layer: Int) -> Int {
    (sequence * positions + position) * layers + layer
  }

  /// The experts of a choice, `[k]`.
  func experts(_ choice: Int) -> UnsafePointer<Int32> {
    UnsafePointer(chosen + choice * expertsPerToken)
  }

  func probability(_ choice: Int, _ j: Int) -> Float {
    Float(bitPattern: UInt32(bitPattern: strengths[choice * expertsPerToken + j]))
  }

  func margin(_ choice: Int) -> Float { Float(bitPattern: UInt32(bitPattern: margins[choice])) }

  func willChoose(scores: UnsafePointer<Float>, count: Int) {
    for i in 0..<count where abs(scores[i]) > scoreScale { scoreScale = abs(scores[i]) }
  }

  func chose(_ choice: RouterChoice) {
    let k = expertsPerToken
    let at = index(sequence: choice.sequence, position: choice.position, layer: choice.layer)
    for j in 0..<k {
      chosen[at * k + j] = choice.experts[j]
      strengths[at * k + j] = Int32(bitPattern: choice.probabilities[j].bitPattern)
    }
    let p = choice.probabilities
    var margin =
      k < experts ? p[k - 1] - choice.others[VectorMath.argmax(choice.others, count: experts)] : 1
    for j in 1..<max(k, 1) { margin = min(margin, p[j - 1] - p[j]) }
    margins[at] = Int32(bitPattern: margin.bitPattern)
  }

  /// Rank 0 learns the experts of the first sequences.
  func collect(sequences: Int, _ communicator: Communicator) {
    communicator.maxOnFirst(chosen, count: sequences * positions * layers * expertsPerToken)
  }

  /// Every rank learns everything. A probability that is not a number stays one (the bits of the
  /// unknown, −1, are one as well).
  func share(_ communicator: Communicator) {
    communicator.maxEverywhere(chosen, count: choices * expertsPerToken)
    communicator.maxEverywhere(strengths, count: choices * expertsPerToken)
    communicator.maxEverywhere(margins, count: choices)
    scoreScale = Float(communicator.max(Double(scoreScale)))
  }

  /// - Throws: an error of all ranks where no rank routed a token.
  func checkComplete() throws(EngineError) {
    for i in 0..<(choices * expertsPerToken) where !(0..<Int32(experts)).contains(chosen[i]) {
      let choice = i / expertsPerToken
      let token = choice / layers
      throw EngineError(
        "sequence \(token / positions), position \(token % positions), layer \(choice % layers): "
          + "no rank routed this token", isShared: true)
    }
  }
}
