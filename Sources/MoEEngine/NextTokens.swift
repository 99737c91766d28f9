/// The next tokens as the ranks know them: every rank that knows one must know the same, and it
/// must be the one that the run's own logits choose, exactly. In coherent mode all ranks know them,
/// from the gather.
struct NextTokens {
  private let sequences: Int
  private let new: Int
  /// `[S, new]`: as this rank knows them, −1 where it does not. After `collect`, the largest.
  private var known: [Int32]
  /// `[S, new]`: after `collect`, the smallest that a rank knows.
  private var smallest: [Int32]
  /// `[S, new]` on rank 0: as the logits choose.
  private var chosen: [Int32]

  init(sequences: Int, new: Int) {
    (self.sequences, self.new) = (sequences, new)
    known = [Int32](repeating: -1, count: sequences * new)
    smallest = known
    chosen = known
  }

  /// What this rank knows after a step: the `index`-th new token of the step's sequences.
  mutating func take(_ engine: Engine, at index: Int) {
    for sequence in engine.step.sequences
    where engine.moves || engine.home(sequence) == engine.communicator.rank {
      known[sequence * new + index] = engine.nextToken[sequence]
    }
  }

  /// What the logits on rank 0 choose.
  mutating func choose(_ token: Int, sequence: Int, at index: Int) {
    chosen[sequence * new + index] = Int32(token)
  }

  /// Rank 0 learns what all ranks know.
  mutating func collect(_ communicator: Communicator) {
    // The smallest is the largest of the negative; unknown stays out.
    smallest = known.map { $0 < 0 ? Int32.min : -$0 }
    let count = known.count
    communicator.maxOnFirst(&known, count: count)
    communicator.maxOnFirst(&smallest, count: count)
    smallest = smallest.map { $0 == Int32.min ? -1 : -$0 }
  }

  /// Enters what was found, on rank 0.
  func enter(_ run: inout Verification.Run, _ baseline: VerificationBaseline, _ vocabulary: Int) {
    run.nextTokens = sequences * new
    var differing = 0
    for sequence in 0..<sequences {
      for index in 0..<new {
        let at = sequence * new + index
        let place = "sequence \(sequence), new token \(index)"
        guard known[at] >= 0, chosen[at] >= 0 else {
          run.disagreements.append("\(place): no rank knows it")
          continue
        }
        run.nextTokensCompared += 1
        if known[at] != smallest[at] || known[at] != chosen[at] {
          run.disagreements.append(
            "\(place): the ranks know \(smallest[at]) and \(known[at]), the logits choose "
              + "\(chosen[at])")
        }
        let expected = baseline.tokens[sequence * baseline.length + baseline.prompt + index]
        guard chosen[at] != expected, !run.isBaseline else { continue }
        differing += 1
        let logits = baseline.logits + at * vocabulary
        let lead = logits[Int(expected)] - logits[Int(chosen[at])]
        if !(lead <= 2 * baseline.logitTolerance) {
          run.disagreements.append(
            "\(place) is \(chosen[at]); the baseline has \(expected), with a lead of \(lead)")
        }
      }
    }
    if !run.isBaseline, run.nextTokensCompared > 0 { run.nextTokensThatDiffer = differing }
  }
}
