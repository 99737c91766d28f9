import ColocateModel
import Foundation

/// ExFlow's placement table (YJHMITWEB/ExFlow, solve_affinity.py): header `Expert,Node`, one line
/// for each expert of the model, `layer · E + expert` and its GPU.
public enum ExFlowCSV {
  /// The table's first line.
  public static let header = "Expert,Node"

  /// The table of a placement.
  public static func text(_ placement: Placement) -> String {
    var text = header + "\n"
    for (expert, gpu) in placement.assignment.enumerated() { text += "\(expert),\(gpu)\n" }
    return text
  }

  /// Writes the table, whole or not at all.
  /// - Throws: `FormatError` where the file cannot be written.
  public static func write(_ placement: Placement, to path: String) throws {
    try AtomicFile.write(text(placement), to: path)
  }

  /// The text of a file of at most 256 MiB.
  private static func text(of path: String) throws(FormatError) -> String {
    let file = try PositionedFile(path)
    if file.size <= 1 << 28,
      let text = String(validating: try file.bytes(0..<file.size), as: UTF8.self)
    {
      return text.hasPrefix("\u{FEFF}") ? String(text.dropFirst()) : text
    }
    if let container = Container(try file.head(), file: path) {
      throw container.error(path, expected: "a table '\(header)'")
    }
    throw FormatError(path, "not a text of at most 256 MiB")
  }

  /// Reads a table. It has no sizes of its own: they come from the model.
  /// - Parameters:
  ///   - path: the table.
  ///   - layers: MoE layers, `L`.
  ///   - experts: experts in each layer, `E`.
  ///   - gpus: `P`; nil takes the largest GPU number + 1.
  ///   - nodes: `N`, of which the format says nothing.
  /// - Throws: `FormatError` with the line of what is wrong.
  public static func read(
    _ path: String, layers: Int, experts: Int, gpus: Int? = nil, nodes: Int = 1
  ) throws(FormatError) -> Placement {
    let text = try text(of: path)
    var assignment = [Int](repeating: -1, count: layers * experts)
    var number = 0
    var largest = 0
    for line in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline) {
      number += 1
      let line = line.trimmingCharacters(in: .whitespaces)
      if number == 1 {
        guard line == header else {
          throw FormatError(path, "line 1: found '\(line.prefix(40))', expected '\(header)'")
        }
        continue
      }
      if line.isEmpty { continue }
      let fields = line.split(separator: ",", omittingEmptySubsequences: false).map {
        Int($0.trimmingCharacters(in: .whitespaces))
      }
      guard fields.count == 2, let expert = fields[0], let gpu = fields[1] else {
        throw FormatError(
          path, "line \(number): found '\(line.prefix(40))', expected two integers, EXPERT,GPU")
      }
      guard assignment.indices.contains(expert) else {
        throw FormatError(
          path,
          "line \(number): expert \(expert), expected 0 to \(assignment.count - 1) "
            + "(\(layers) layers × \(experts) experts)"
        )
      }
      guard assignment[expert] < 0 else {
        throw FormatError(path, "line \(number): expert \(expert) a second time")
      }
      guard gpu >= 0, gpu < gpus ?? experts else {
        throw FormatError(
          path, "line \(number): GPU \(gpu), expected 0 to \((gpus ?? experts) - 1)")
      }
      assignment[expert] = gpu
      largest = max(largest, gpu)
    }
    guard number > 0 else { throw FormatError(path, "empty, expected '\(header)'") }
    if let missing = assignment.firstIndex(of: -1) {
      throw FormatError(
        path,
        "no line for expert \(missing) (layer \(missing / experts), expert \(missing % experts)): "
          + "expected \(assignment.count) experts"
      )
    }
    do throws(ModelError) {
      return try Placement(
        topology: Topology(gpus: gpus ?? largest + 1, nodes: nodes), layers: layers,
        experts: experts, assignment: assignment)
    } catch {
      throw FormatError(path, error.description)
    }
  }
}
