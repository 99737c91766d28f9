import Foundation

/// What `verify --json` prints.
struct VerificationReport: Decodable {
  struct Run: Decodable {
    struct Collectives: Decodable {
      let dispatch: Double
      let combine: Double
      let context: Double
      let counts: Double
    }
    let mode: String
    let placement: String
    let crossedGPUs: [Int]
    let crossedGPUsPredicted: [Int]
    let crossedNodes: [Int]
    let crossedNodesPredicted: [Int]
    let destinations: [Int]
    let destinationsPredicted: [Int]
    let nodeDestinations: [Int]
    let nodeDestinationsPredicted: [Int]
    let collectivesPerDecodeStep: Collectives
    let positionsCompared: Int
    let largestLogitDifference: Float?
    let choicesCompared: Int
    let choicesThatDiffer: Int?
    let nextTokensCompared: Int
    let disagreements: [String]

    enum CodingKeys: String, CodingKey {
      case mode, placement, disagreements, destinations
      case destinationsPredicted = "destinations_predicted"
      case nodeDestinations = "node_destinations"
      case nodeDestinationsPredicted = "node_destinations_predicted"
      case crossedGPUs = "crossed_gpus"
      case crossedGPUsPredicted = "crossed_gpus_predicted"
      case crossedNodes = "crossed_nodes"
      case crossedNodesPredicted = "crossed_nodes_predicted"
      case collectivesPerDecodeStep = "collectives_per_decode_step"
      case positionsCompared = "positions_compared"
      case largestLogitDifference = "largest_logit_difference"
      case choicesCompared = "choices_compared"
      case choicesThatDiffer = "choices_that_differ"
      case nextTokensCompared = "next_tokens_compared"
    }
  }
  let layers: Int
  let expertsPerToken: Int
  let sequences: Int
  let prompt: Int
  let logitTolerance: Float
  let runs: [Run]

  enum CodingKeys: String, CodingKey {
    case layers, sequences, prompt, runs
    case expertsPerToken = "experts_per_token"
    case logitTolerance = "logit_tolerance"
  }

  init(_ output: String) throws {
    self = try JSONDecoder().decode(Self.self, from: Data(output.utf8))
  }
}
