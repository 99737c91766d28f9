import Foundation

/// One safetensors file under new numbers.
///
/// **Where bytes go.** A tensor keeps its place in the data, so that the data changes only inside
/// the tensors that hold all experts of a layer (the router, fused experts): their E equal parts
/// along the first axis are put into the new order. An expert that is stored apart changes its
/// name in the header and not a byte of its data. The data's start stays where it is while the
/// header with its new names fits into the room of the old, and moves by a multiple of 4096 bytes
/// where it does not: so that a file system that shares blocks can share nearly all of the file.
struct ShardRewrite {
  let file: StoredCheckpoint.File
  /// Of the new file: 8 bytes with the length, then JSON, filled up with blanks.
  let header: [UInt8]
  /// Tensors whose parts change places: their bytes in the old file, and the old part that each
  /// new one is, `[E]`.
  let permuted: [(range: Range<Int>, order: [Int])]

  /// - Parameters:
  ///   - roles: of all tensors of the checkpoint.
  ///   - room: bytes that the header shall have; nil leaves it to the rule above.
  /// - Throws: `FormatError` where the header cannot be rewritten.
  init(
    _ file: StoredCheckpoint.File, roles: [String: TensorRole], _ renumbering: ExpertRenumbering,
    room: Int?
  ) throws(FormatError) {
    self.file = file
    let newNumbers = renumbering.expertToSlot
    let old = try file.header()
    var text: [UInt8]
    do throws(JSONProblem) {
      text = try KeyRenaming.rename(old) { name throws(JSONProblem) in
        roles[name]?.newName(newNumbers) ?? name
      }
    } catch {
      throw FormatError(file.path, "header: \(error.message)")
    }
    while text.last == UInt8(ascii: " ") { text.removeLast() }
    let length: Int
    if let room {
      guard room >= text.count, room <= 100_000_000 else {
        throw FormatError(
          file.path,
          "\(RenumberNote.fileName) gives its header \(room) bytes, expected "
            + "\(text.count) or more: it is another checkpoint's")
      }
      length = room
    } else {
      let growth = max(0, text.count - old.count)
      length = old.count + (growth + 4095) / 4096 * 4096
    }
    text += [UInt8](repeating: UInt8(ascii: " "), count: length - text.count)
    header = (0..<8).map { UInt8(truncatingIfNeeded: length >> (8 * $0)) } + text
    permuted = file.tensors.compactMap { name, tensor in
      guard let order = roles[name]?.order(renumbering), !tensor.range.isEmpty,
        order != Array(0..<order.count)
      else { return nil }
      return (tensor.range, order)
    }.sorted { $0.range.lowerBound < $1.range.lowerBound }
  }

  /// Bytes of the new file.
  var size: Int { header.count + file.size - file.dataStart }

  /// Writes the new file.
  /// - Parameter advance: gets the bytes that each step wrote; what it throws ends the writing.
  /// - Throws: `FormatError` where a file cannot be read or written; what `advance` throws.
  func write(to path: String, advance: @escaping (Int) throws -> Void) throws {
    let source = try file.open()
    let copy = try FileCopy(of: source, to: path, advance: advance)
    let shift = header.count - file.dataStart
    let isCloned = copy.clone(from: file.dataStart, to: header.count)
    var end = file.dataStart
    for (range, order) in permuted {
      try keep(end..<range.lowerBound, isCloned, copy, shift)
      try permute(range, order, source, copy, shift)
      end = range.upperBound
    }
    try keep(end..<file.size, isCloned, copy, shift)
    try copy.write(header, to: 0)
    try copy.wrote(header.count)
    try copy.finish()
  }

  private func keep(_ range: Range<Int>, _ isCloned: Bool, _ copy: FileCopy, _ shift: Int) throws {
    if isCloned {
      try copy.wrote(range.count)
    } else {
      try copy.copy(range, to: range.lowerBound + shift)
    }
  }

  /// The parts of one tensor in their new order: in memory where it is small, else part by part.
  private func permute(
    _ range: Range<Int>, _ order: [Int], _ source: PositionedFile, _ copy: FileCopy, _ shift: Int
  ) throws {
    let part = range.count / order.count
    guard range.count > FileCopy.bufferBytes else {
      let old = try source.bytes(range)
      var new = [UInt8]()
      new.reserveCapacity(old.count)
      for expert in order { new += old[(expert * part)..<((expert + 1) * part)] }
      try copy.write(new, to: range.lowerBound + shift)
      try copy.wrote(range.count)
      return
    }
    for (slot, expert) in order.enumerated() {
      let start = range.lowerBound + expert * part
      try copy.copy(start..<(start + part), to: range.lowerBound + slot * part + shift)
    }
  }
}

extension TensorRole {
  /// The name of an expert's tensor under its new number; nil for all others.
  /// - Parameter newNumbers: model layer → new number of each expert.
  func newName(_ newNumbers: [Int: [Int]]) -> String? {
    guard case .expert(let layer, let expert) = self, let row = newNumbers[layer] else {
      return nil
    }
    return expert.name(number: row[expert.number])
  }

  /// The old part that each new part of a tensor with all experts is; nil for all others.
  func order(_ renumbering: ExpertRenumbering) -> [Int]? {
    switch self {
    case .router(let layer), .fused(let layer, _): return renumbering.slotToExpert[layer]
    case .expert, .other: return nil
    }
  }
}
