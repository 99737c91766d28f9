import Colocate
import ColocateFormats
import Testing

/// What a move copies, against the tensors that were written.
struct ExpertSizesTests {
  let scratch: Scratch
  init() throws { scratch = try Scratch() }

  @Test(arguments: Array(SyntheticCheckpoint.all.keys.sorted()))
  func bytesOfAnExpert(name: String) throws {
    let checkpoint = try #require(SyntheticCheckpoint.all[name])
    let folder = scratch.file("model")
    let written = try checkpoint.write(to: folder, seed: 3)
    let sizes = try ExpertSizes(model: folder)
    #expect(sizes.experts == checkpoint.experts)
    #expect(sizes.layers == checkpoint.moeLayers.filter { $0 < checkpoint.layers })
    for (layer, bytes) in zip(sizes.layers, sizes.bytes) {
      // What an expert has of its own, and its part of what holds all of them; routers stay.
      let own = checkpoint.tensors.filter { entry in
        entry.layer == layer && entry.tensor.fate != .stays && !isRouter(entry.name)
      }
      let sum = own.reduce(0) { $0 + (written[$1.name]?.count ?? 0) }
      #expect(bytes * checkpoint.experts == sum && bytes > 0, "\(name), layer \(layer)")
    }
  }

  private func isRouter(_ name: String) -> Bool {
    name.contains(".gate.") || name.contains(".router.")
  }

  @Test func bytesOfAMigration() throws {
    let checkpoint = try #require(SyntheticCheckpoint.all["olmoe"])
    let folder = scratch.file("model")
    _ = try checkpoint.write(to: folder, seed: 3)
    let sizes = try ExpertSizes(model: folder)
    let topology = try Topology(gpus: 4, nodes: 2)
    let layers = sizes.layers.count
    let row = (0..<sizes.experts).map { $0 * 4 / sizes.experts }
    func placement(_ rows: [[Int]]) throws -> Placement {
      try Placement(
        topology: topology, layers: layers, experts: sizes.experts,
        assignment: rows.flatMap { $0 })
    }
    let contiguous = [[Int]](repeating: row, count: layers)
    var moved = contiguous
    // Two experts change places inside a node, two between nodes.
    moved[0].swapAt(0, sizes.experts / 4)
    moved[1].swapAt(0, sizes.experts - 1)
    let migration = try Migration(from: placement(contiguous), to: placement(moved))
    #expect(migration.copies == 4 && migration.nodeCopies == 2)
    let bytes = try sizes.bytes(
      of: migration, experts: sizes.experts, moeLayers: nil, file: folder)
    #expect(bytes.copied == 2 * sizes.bytes[0] + 2 * sizes.bytes[1])
    #expect(bytes.betweenNodes == 2 * sizes.bytes[1])
    #expect(throws: FormatError.self) {
      try sizes.bytes(
        of: migration, experts: sizes.experts, moeLayers: [90, 91, 92], file: folder)
    }
    #expect(throws: FormatError.self) {
      try sizes.bytes(of: migration, experts: 3, moeLayers: nil, file: folder)
    }
  }
}
