import ColocateModel

/// A first plan of one layer's slots: copies by falling load, each to the least loaded GPU that has
/// room and does not hold the expert yet.
///
/// It is EPLB's balanced packing with one more condition. That can leave a copy of `e` for which
/// every GPU with room holds `e`. Then a GPU `h` without `e` gives an expert `f` to such a GPU `g`
/// and takes `e`. There is such an `h`, since `e` has at most `P` copies; it is full, or it would
/// have had room. And of its `S / P` experts one is missing on `g`, which holds fewer and `e` among
/// them.
package enum SlotPacking {
  /// - Parameters:
  ///   - counts: copies of each expert, `[E]`, each from 1 to `held.count`.
  ///   - loads: tokens of each expert, `[E]`.
  ///   - held: experts that each GPU has already, `[P]`, none twice, copies among `counts`.
  ///   - room: slots of a GPU, `Σ counts / P`.
  /// - Returns: the expert of each slot, `[S]`, ascending on each GPU.
  package static func slots(
    counts: [Int], loads: [Int], held: [[Int]], room: Int
  ) -> [Int] {
    let each = counts.indices.map { Double(loads[$0]) / Double(counts[$0]) }
    var held = held
    var weight = held.map { $0.reduce(0.0) { $0 + each[$1] } }
    var left = counts
    for expert in held.joined() { left[expert] -= 1 }
    let order = counts.indices.sorted { (each[$0], $1) > (each[$1], $0) }
    for expert in order {
      for _ in 0..<max(0, left[expert]) {
        let open = held.indices.filter { held[$0].count < room }
        let free = open.filter { !held[$0].contains(expert) }
        var target = free.min { (weight[$0], $0) < (weight[$1], $1) }
        if target == nil, let g = open.first {
          target = makeRoom(for: expert, on: g, &held, &weight, each, room: room)
        }
        guard let target else { continue }
        held[target].append(expert)
        weight[target] += each[expert]
      }
    }
    return held.flatMap { $0.sorted() }
  }

  /// Moves an expert to `g` from a full GPU without `expert`, of those the one whose load changes
  /// least.
  /// - Returns: the GPU that has room now.
  private static func makeRoom(
    for expert: Int, on g: Int, _ held: inout [[Int]], _ weight: inout [Double], _ each: [Double],
    room: Int
  ) -> Int? {
    var best: (change: Double, gpu: Int, index: Int)?
    for h in held.indices where held[h].count == room && !held[h].contains(expert) {
      for (index, other) in held[h].enumerated() where !held[g].contains(other) {
        let change = abs(each[expert] - each[other])
        if change < best?.change ?? .infinity { best = (change, h, index) }
      }
    }
    guard let best else { return nil }
    let moved = held[best.gpu].remove(at: best.index)
    held[g].append(moved)
    weight[g] += each[moved]
    weight[best.gpu] -= each[moved]
    return best.gpu
  }
}
