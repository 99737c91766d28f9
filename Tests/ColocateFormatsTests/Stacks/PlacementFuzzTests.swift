import Colocate
import ColocateFormats
import Foundation
import Testing

/// Damaged placement files: refused with one line, or read as a second, plain reading reads them.
@Suite struct PlacementFuzzTests {
  let scratch: Scratch
  init() throws { scratch = try Scratch() }

  /// Files of each format in the suite; `COLOCATE_FUZZ=10000` asks for more.
  static let count = min(Mutation.count, 10_000) / (Mutation.count > 2000 ? 1 : 5)

  static let words: [PlacementFormat: [String]] = [
    .sglang: ["\"physical_to_logical_map\"", "[0, 1]", ",", "]", "[", "{", "null"],
    .tensorRTLLM: ["num_slots: 4\n", "  2: [0, 1]\n", "- 1\n", "[", "]", "{", "}", ": ", "#", "'"],
    .vllm: ["\"0\":[", "\"num_slots\":4,", "}", "\n", ",", "[0,1]", "\"version\":1,"],
    .vllmMap: ["[0, 1]", ",", "]", "[", "-", "1e2"],
    .vllmAscend: ["\"device_id\": 0,", "\"device_expert\": [1]", "{", "}", "[", "]", ","],
    .lmdeploy: ["[5, 6]", ",", "]", "[", ".5", "1e9"],
    .exflow: ["Expert,Node\n", "0,1\n", ",", "\n"],
    .colocate: ["\"layers\": 2,", "[0, 1]", ",", "}", "null"],
  ]

  @Test(arguments: PlacementFormat.allCases)
  func damagedFiles(format: PlacementFormat) throws {
    var read = 0
    for seed in 0..<Self.count {
      var random = SeededGenerator(seed: UInt64(seed))
      let placement = try PlacementFormatTests.random(&random, replicas: format.hasReplicas)
      let good = Array(try PlacementWriter.text(placement, as: format).utf8)
      let file =
        random.next(below: 3) == 0
        ? Self.exchanged(good, &random)
        : Mutation.damage(good, Self.words[format] ?? ["x"], &random)
      let path = try scratch.write(file, "\(format.rawValue).json")
      var reading = PlacementReading()
      reading.gpus = placement.plan.topology.gpus
      if format == .exflow { reading.experts = placement.plan.experts }
      let given = random.next(below: 2) == 0 ? format : nil
      do throws(FormatError) {
        let result = try PlacementReader.read(path, as: given, reading)
        read += 1
        let slots = result.placement.plan.slots
        if let plain = PlainPlacement.slots(file, result.format, gpus: reading.gpus ?? 1) {
          #expect(plain == slots, "seed \(seed), \(result.format): \(slots), plainly \(plain)")
        } else {
          #expect(
            PlainPlacement.isBeyond(result.format), "seed \(seed): read, but not plainly: \(slots)")
        }
      } catch {
        #expect(error.description.hasPrefix(path + ": ") && !error.message.isEmpty, "seed \(seed)")
        #expect(!error.description.contains("\n"), "seed \(seed)")
      }
    }
    #expect(read > Self.count / 100, "damage that leaves no file readable tests little")
  }

  /// Two numbers of the text in each other's places: damage that leaves it well formed.
  static func exchanged(_ file: [UInt8], _ random: inout SeededGenerator) -> [UInt8] {
    let text = String(decoding: file, as: UTF8.self)
    let numbers = text.matches(of: #/\d+/#).map { $0.range }
    guard numbers.count > 1 else { return file }
    let first = random.next(below: numbers.count - 1)
    let second = first + 1 + random.next(below: numbers.count - 1 - first)
    let (a, b) = (numbers[first], numbers[second])
    return Array(
      (text[..<a.lowerBound] + text[b] + text[a.upperBound..<b.lowerBound] + text[a]
        + text[b.upperBound...]).utf8)
  }
}

/// A second reading that shares no code with the readers: Foundation's JSON, and lines of text.
enum PlainPlacement {
  /// YAML that the plain reading, which knows one way to write a row, does not follow; the tool's
  /// own plan, which has its own fuzz test.
  static func isBeyond(_ format: PlacementFormat) -> Bool {
    format == .tensorRTLLM || format == .colocate || format == .exflow
  }

  static func slots(_ file: [UInt8], _ format: PlacementFormat, gpus: Int) -> [[Int]]? {
    let text = String(decoding: file, as: UTF8.self)
    func json(_ text: String) -> Any? {
      try? JSONSerialization.jsonObject(with: Data(text.utf8), options: .fragmentsAllowed)
    }
    switch format {
    case .colocate, .exflow: return nil
    case .sglang: return (json(text) as? [String: Any])?["physical_to_logical_map"] as? [[Int]]
    case .vllmMap: return json(text) as? [[Int]]
    case .vllm:
      let documents =
        (json(text) as? [String: Any]).map { [$0] }
        ?? text.split(separator: "\n").compactMap { json(String($0)) as? [String: Any] }
      let records = documents.filter { $0["record_type"] as? String == "eplb_initial_mapping" }
      guard records.count == 1,
        let rows = records[0]["initial_global_assignments"] as? [String: [Int]]
      else { return nil }
      return rows.sorted { Int($0.key) ?? -1 < Int($1.key) ?? -1 }.map(\.value)
    case .vllmAscend:
      guard let layers = (json(text) as? [String: Any])?["layer_list"] as? [[String: Any]] else {
        return nil
      }
      return layers.map { layer in
        (layer["device_list"] as? [[String: Any]] ?? []).flatMap {
          $0["device_expert"] as? [Int] ?? []
        }
      }
    case .tensorRTLLM:
      var rows = [Int: [Int]]()
      for match in text.matches(of: #/(?m)^ +(\d+): \[([\d, ]*)\] *$/#) {
        guard let layer = Int(match.1), rows[layer] == nil else { return nil }
        rows[layer] = match.2.split(separator: ",").compactMap {
          Int($0.filter { $0 != " " })
        }
      }
      let lines = text.split(separator: "\n")
      guard rows.count == lines.count - 3 else { return nil }
      return rows.sorted { $0.key < $1.key }.map(\.value)
    case .lmdeploy:
      guard let rows = json(text) as? [[NSNumber]] else { return nil }
      return rows.map { packed($0.map { Float($0.doubleValue) }, gpus) }
    }
  }

  /// The greedy packing by its words: heaviest first, to the lightest GPU with room.
  private static func packed(_ loads: [Float], _ gpus: Int) -> [Int] {
    let room = loads.count / gpus
    if room == 1 { return Array(loads.indices) }
    var held = [[Int]](repeating: [], count: gpus)
    for expert in loads.indices.sorted(by: { loads[$0] > loads[$1] }) {
      let open = held.indices.filter { held[$0].count < room }
      let weights = held.map { $0.reduce(Float(0)) { $0 + loads[$1] } }
      if let gpu = open.min(by: { weights[$0] < weights[$1] }) { held[gpu].append(expert) }
    }
    return held.flatMap { $0 }
  }
}
