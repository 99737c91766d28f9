import ColocateFormats
import Foundation
import MoEEngine
import Testing

/// One rank against Hugging Face transformers: logits, greedy tokens, routes. See
/// Fixtures/README.md.
struct ReferenceTests {
  static let checkpoints = [
    "random-mixtral", "random-mixtral-top1", "random-qwen3-moe", "random-qwen3-moe-tied",
    "random-olmoe-sharded",
    "tiny-olmoe-16x8", "tiny-olmoe-32x12",
  ]

  @Test(arguments: checkpoints)
  func logitsEqualTheReference(name: String) throws {
    let (model, tokens) = try Fixture.open(name)
    let logits = try model.logits(tokens, placement: model.contiguous, mode: .home)
    let vocabulary = model.config.vocabulary
    let reference = try Fixture.floats(name, "logits.npy")
    // The larger models' fixtures hold some positions only.
    let all = (0..<tokens.positions).map { $0 }
    let positions =
      Fixture.exists(name, "positions.npy") ? try Fixture.integers(name, "positions.npy") : all
    #expect(reference.count == tokens.sequences * positions.count * vocabulary)
    let scale = reference.reduce(0) { max($0, abs($1)) }
    var largest: Float = 0
    for s in 0..<tokens.sequences {
      for (i, position) in positions.enumerated() {
        for v in 0..<vocabulary {
          let mine = logits[(s * tokens.positions + position) * vocabulary + v]
          let theirs = reference[(s * positions.count + i) * vocabulary + v]
          largest = max(largest, abs(mine - theirs))
        }
      }
    }
    #expect(largest <= 1e-4 * scale, "largest difference \(largest), scale \(scale)")
  }

  @Test(arguments: checkpoints)
  func fortyEightGreedyTokensAreIdentical(name: String) throws {
    let (model, tokens) = try Fixture.open(name)
    let generated = try model.generate(tokens, new: 48, placement: model.contiguous, mode: .home)
    #expect(generated.tokens.map(Int.init) == (try Fixture.integers(name, "greedy.npy")))
  }

  @Test(arguments: checkpoints.filter { $0.hasPrefix("random") })
  func routesEqualTheReference(name: String) throws {
    let (model, tokens) = try Fixture.open(name)
    let routes = try model.trace(tokens, placement: model.contiguous, mode: .home)
    #expect(routes.map(Int.init) == (try Fixture.integers(name, "trace.npy")))
  }

  @Test func whatFitsNotThisModelIsRefused() throws {
    let (model, tokens) = try Fixture.open("random-mixtral")
    let (other, _) = try Fixture.open("tiny-olmoe-16x8")
    let error = try #require(throws: EngineError.self) {
      _ = try model.logits(tokens, placement: other.contiguous, mode: .home)
    }
    #expect(error.description.contains("expected 3 × 8 on 1 nodes × 1 ranks"), "\(error)")
    for (sequences, ids) in [(2, [1, 2, 3] as [Int32]), (0, []), (-1, [])] {
      #expect(throws: EngineError.self) {
        _ = try Tokens(sequences: sequences, positions: 2, ids: ids)
      }
    }
  }
}

/// The stored checkpoints and answers.
enum Fixture {
  static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("Fixtures").path

  /// The random checkpoints are in the fixtures, the trained ones in `instances/models`.
  static func checkpoint(_ name: String) -> String {
    if exists(name, "config.json") { return "\(folder)/\(name)" }
    return URL(fileURLWithPath: folder).appendingPathComponent("../../../instances/models/\(name)")
      .standardized.path
  }

  static func exists(_ name: String, _ file: String) -> Bool {
    FileManager.default.fileExists(atPath: "\(folder)/\(name)/\(file)")
  }

  static func open(_ name: String) throws -> (Model, Tokens) {
    let communicator = try Communicator(ranksPerNode: nil, process: MPIProcess())
    let model = try Model(folder: checkpoint(name), communicator: communicator)
    let tokens = try Tokens(
      "\(folder)/\(name)/ids.npy", vocabulary: model.config.vocabulary, window: nil)
    return (model, tokens)
  }

  static func integers(_ name: String, _ file: String) throws -> [Int] {
    try IntegerFile("\(folder)/\(name)/\(file)").values
  }

  static func floats(_ name: String, _ file: String) throws -> [Float] {
    try floats("\(folder)/\(name)/\(file)")
  }

  /// A float32 array; its shape is what the caller expects.
  static func floats(_ path: String) throws -> [Float] {
    let data = try Data(contentsOf: URL(fileURLWithPath: path))
    let start = 10 + Int(data[8]) + Int(data[9]) << 8
    return data.withUnsafeBytes { bytes in
      stride(from: start, to: bytes.count, by: 4).map {
        bytes.loadUnaligned(fromByteOffset: $0, as: Float.self)
      }
    }
  }
}
