import Colocate
import Foundation

/// A Hugging Face checkpoint under new expert numbers, so that contiguous placement is the plan in
/// any engine; or back under the published ones.
///
///     let work = try CheckpointRenumbering(model: "OLMoE", plan: "plan.json")
///     try work.write(to: "OLMoE-placed") { done, total in true }
///
/// Everything is looked at before a byte is written: every tensor's name and shape, the index, the
/// plan's sizes, the router's groups. What is written appears whole or not at all, and an output
/// that exists is never touched. What the numbers mean, `ExpertRenumbering` derives; where bytes
/// go, `ShardRewrite`.
public struct CheckpointRenumbering {
  /// `model_type` of the model.
  public let modelType: String
  /// The model's MoE layers that are renumbered, ascending.
  public let layers: [Int]
  /// `E`, experts of each.
  public let experts: Int
  /// Experts that change their number, in all layers together.
  public let changedExperts: Int
  /// The machines that the numbers are made for.
  public let topology: Topology
  /// What the user should know: layers that keep their numbers, files that are left out.
  public let remarks: [Remark]
  /// Bytes that will be written.
  public let totalBytes: Int

  private let checkpoint: StoredCheckpoint
  private let shards: [ShardRewrite]
  /// The index under new names; nil for a checkpoint of one file.
  private let index: [UInt8]?
  private let carried: CarriedFiles
  /// What the new folder says of itself; nil where the published numbers are restored.
  private let note: RenumberNote?

  /// Looks at a checkpoint and a plan for it.
  /// - Parameters:
  ///   - folder: a Hugging Face checkpoint.
  ///   - planPath: JSON or ExFlow's table.
  /// - Throws: `FormatError` where the checkpoint is not whole or its names are not known, where
  ///   it is renumbered already, or where the plan is for another model or tears groups apart.
  public init(model folder: String, plan planPath: String) throws(FormatError) {
    let model = try RenumberedModel(folder: folder)
    let notePath = folder + "/" + RenumberNote.fileName
    guard access(notePath, F_OK) != 0 else {
      throw FormatError(
        notePath,
        "this checkpoint is renumbered already: expected the published one (--undo "
          + "restores it)")
    }
    let checkpoint = try StoredCheckpoint(folder: folder)
    let tensors = try ModelTensors(checkpoint, model)
    let plan = try RenumberPlan(planPath, model, tensors)
    let note = RenumberNote(
      family: model.family, renumbering: plan.renumbering, topology: plan.topology,
      plan: PlanFile.Trace(
        file: URL(fileURLWithPath: planPath).lastPathComponent,
        sha256: try Digest.sha256(ofFile: planPath)))
    try self.init(checkpoint, model, tensors, note, isUndone: false)
  }

  /// Looks at a checkpoint that has been renumbered, to restore its published numbers.
  /// - Throws: `FormatError` where its `colocate.json` is missing or is not the checkpoint's.
  public init(undoing folder: String) throws(FormatError) {
    let model = try RenumberedModel(folder: folder)
    let note = try RenumberNote(folder: folder)
    let checkpoint = try StoredCheckpoint(folder: folder)
    let tensors = try ModelTensors(checkpoint, model)
    let known = Set(tensors.layers + tensors.furtherLayers)
    guard note.family == model.family, note.renumbering.experts == model.experts,
      note.renumbering.slotToExpert.keys.allSatisfy(known.contains)
    else {
      throw FormatError(
        folder + "/" + RenumberNote.fileName,
        "a note of \(note.family.rawValue) with \(note.renumbering.experts) experts in the layers "
          + "\(Remark.list(note.renumbering.slotToExpert.keys.sorted())), which this model is not")
    }
    try self.init(checkpoint, model, tensors, note, isUndone: true)
  }

  private init(
    _ checkpoint: StoredCheckpoint, _ model: RenumberedModel, _ tensors: ModelTensors,
    _ note: RenumberNote, isUndone: Bool
  ) throws(FormatError) {
    let renumbering = isUndone ? note.renumbering.inverse : note.renumbering
    var shards = [ShardRewrite]()
    var recorded = note
    for file in checkpoint.files {
      let shard = try ShardRewrite(
        file, roles: tensors.roles, renumbering, room: isUndone ? note.headerBytes[file.name] : nil)
      if shard.header.count != file.dataStart {
        recorded.headerBytes[file.name] = file.dataStart - 8
      }
      shards.append(shard)
    }
    let known = Set(checkpoint.files.map(\.name))
    carried = try CarriedFiles(
      checkpoint.folder,
      except: known.union([StoredCheckpoint.indexName, RenumberNote.fileName]))
    let newNumbers = renumbering.expertToSlot
    do throws(JSONProblem) {
      index =
        if let text = checkpoint.index {
          try KeyRenaming.rename(text, in: ["weight_map"]) { name throws(JSONProblem) in
            tensors.roles[name]?.newName(newNumbers) ?? name
          }
        } else { nil }
    } catch {
      throw FormatError(checkpoint.folder + "/" + StoredCheckpoint.indexName, error.message)
    }
    modelType = model.family.rawValue
    layers = renumbering.slotToExpert.keys.sorted()
    experts = renumbering.experts
    changedExperts = renumbering.changed
    topology = note.topology
    totalBytes =
      shards.reduce(0) { $0 + $1.size } + carried.files.reduce(0) { $0 + $1.size }
      + (index?.count ?? 0)
    remarks = Self.remarks(carried, tensors, layers: Set(layers))
    self.checkpoint = checkpoint
    self.shards = shards
    self.note = isUndone ? nil : recorded
  }

  private static func remarks(
    _ carried: CarriedFiles, _ tensors: ModelTensors, layers: Set<Int>
  ) -> [Remark] {
    var remarks = [Remark]()
    let kept = (tensors.layers + tensors.furtherLayers).filter { !layers.contains($0) }
    if !kept.isEmpty {
      remarks.append(
        .note(
          "\(kept.count == 1 ? "layer" : "layers") \(Remark.list(kept)), behind the model's last "
            + "(for further tokens), not in the plan: keeps the published numbers"))
    }
    if !carried.leftOut.isEmpty {
      remarks.append(
        .note(
          "left out, as they hold the other numbers or belong to the folder alone: "
            + carried.leftOut.prefix(10).joined(separator: ", ")
            + (carried.leftOut.count > 10 ? ", …" : "")))
    }
    return remarks
  }

  /// Writes the checkpoint into a new folder, whole or not at all.
  /// - Parameters:
  ///   - output: a name that nothing has yet, outside of the checkpoint's folder.
  ///   - progress: gets the bytes written so far and all that will be; false ends the work.
  /// - Throws: `FormatError` where the output exists or cannot be written or a file cannot be read;
  ///   `CancellationError` where `progress` ended it. Nothing is left behind.
  public func write(to output: String, progress: @escaping (Int, Int) -> Bool) throws {
    let folder = try HiddenFolder(for: output)
    do {
      guard !folder.isInside(checkpoint.folder) else {
        throw FormatError(output, "lies in the checkpoint's own folder, expected another place")
      }
      try fill(folder.path, progress)
      try folder.publish()
    } catch let error as FormatError {
      folder.discard()
      // The hidden name says nothing to whoever asked for another.
      throw error.file.hasPrefix(folder.path)
        ? FormatError(folder.target + error.file.dropFirst(folder.path.count), error.message)
        : error
    } catch {
      folder.discard()
      throw error
    }
  }

  private func fill(_ folder: String, _ progress: @escaping (Int, Int) -> Bool) throws {
    try checkSpace(folder)
    var done = 0
    let advance = { (bytes: Int) throws in
      done += bytes
      guard progress(done, totalBytes) else { throw CancellationError() }
    }
    for name in carried.folders {
      guard mkdir(folder + "/" + name, 0o777) == 0 else {
        throw FormatError(folder + "/" + name, Descriptor.reason(errno))
      }
    }
    for file in carried.files {
      let source = try PositionedFile(checkpoint.folder + "/" + file.name)
      let copy = try FileCopy(of: source, to: folder + "/" + file.name, advance: advance)
      try copy.copy(0..<source.size, to: 0)
      try copy.finish()
    }
    for shard in shards { try shard.write(to: folder + "/" + shard.file.name, advance: advance) }
    if let index {
      try AtomicFile.write(to: folder + "/" + StoredCheckpoint.indexName) { file in
        try file.put(index)
      }
      try advance(index.count)
    }
    if let note {
      try AtomicFile.write(note.json.text, to: folder + "/" + RenumberNote.fileName)
    }
    for name in carried.folders.reversed() { try HiddenFolder.sync(folder + "/" + name) }
  }

  /// Notices a disk that is too small before hours of copying, unless blocks may be shared.
  private func checkSpace(_ folder: String) throws(FormatError) {
    var system = statvfs()
    guard statvfs(folder, &system) == 0, let first = shards.max(by: { $0.size < $1.size }) else {
      return
    }
    let free = Int(clamping: UInt64(system.f_bavail)) * Int(clamping: UInt64(system.f_frsize))
    guard free < totalBytes else { return }
    let probe = folder + "/probe"
    defer { unlink(probe) }
    let copy = try FileCopy(of: try first.file.open(), to: probe) { _ in }
    guard copy.clone(from: 0, to: 0) else {
      throw FormatError(
        folder, "needs \(totalBytes) bytes on a disk with \(free) free, expected room for all")
    }
  }
}
