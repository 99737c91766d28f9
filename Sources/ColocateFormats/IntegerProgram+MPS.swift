import Colocate

/// The program in free MPS format: sections `ROWS`, `COLUMNS`, `RHS`, `BOUNDS`, fields divided by
/// blanks, the binaries between the markers `INTORG` and `INTEND`.
///
/// Columns come by variable, so the rows of a variable are worked out from what it stands for.
extension IntegerProgram {
  /// Writes the program in free MPS format.
  /// - Throws: `FormatError` where the file cannot be written.
  public func writeMPS(to path: String) throws {
    try AtomicFile.write(to: path) { file in
      try file.put(header("*"))
      try file.put("NAME colocate\n")
      try writeMPSRows(&file)
      try file.put("COLUMNS\n MARK0 'MARKER' 'INTORG'\n")
      for l in 0..<layers {
        for e in 0..<experts {
          for g in 0..<gpus { try writeMPSColumn(&file, layer: l, expert: e, gpu: g) }
        }
      }
      try file.put(" MARK1 'MARKER' 'INTEND'\n")
      try forEachPair { pair in
        try file.put(" \(pair.name) crossings \(pair.kind.weight * pair.count)\n")
        for group in 0..<(gpus / pair.kind.groupSize) {
          try file.put(" \(pair.name) \(pair.name)_\(group) 1\n")
        }
      }
      try writeMPSRightSides(&file)
      try writeMPSBounds(&file)
      try file.put("ENDATA\n")
    }
  }

  /// The names and senses of all rows.
  private func writeMPSRows(_ file: inout AtomicFile) throws {
    try file.put("ROWS\n N crossings\n")
    for l in 0..<layers {
      for e in 0..<experts { try file.put(" E one_\(l)_\(e)\n") }
      for g in 0..<gpus { try file.put(" E size_\(l)_\(g)\n") }
      if instance.capPerLayer != nil {
        for g in 0..<gpus { try file.put(" L load_\(l)_\(g)\n") }
      }
    }
    try forEachPair { pair in
      for group in 0..<(gpus / pair.kind.groupSize) {
        try file.put(" G \(pair.name)_\(group)\n")
      }
    }
    for g in 0..<gpus where predecessor(of: g) != nil {
      for e in 0..<experts { try file.put(" L order_\(e)_\(g)\n") }
    }
  }

  /// The rows in which `x` of an expert and a GPU stands.
  private func writeMPSColumn(
    _ file: inout AtomicFile, layer l: Int, expert e: Int, gpu g: Int
  ) throws {
    let x = " x_\(l)_\(e)_\(g)"
    try file.put("\(x) one_\(l)_\(e) 1\n\(x) size_\(l)_\(g) 1\n")
    let load = instance.counts.load(layer: l, expert: e)
    if instance.capPerLayer != nil, load > 0 { try file.put("\(x) load_\(l)_\(g) \(load)\n") }
    for kind in pairs {
      for (pair, factor) in pairs(of: kind, layer: l, expert: e) {
        try file.put("\(x) \(pair.name)_\(g / kind.groupSize) \(factor)\n")
      }
    }
    guard l == 0 else { return }
    if predecessor(of: g) != nil { try file.put("\(x) order_\(e)_\(g) 1\n") }
    for next in 0..<gpus where predecessor(of: next) == g {
      for later in (e + 1)..<max(experts, e + 1) {
        try file.put("\(x) order_\(later)_\(next) -1\n")
      }
    }
  }

  /// The pairs of a kind that an expert is in, and its factor in their rows: -1 as the first of a
  /// pair, 1 as the second.
  private func pairs(
    of kind: PairKind, layer l: Int, expert e: Int
  ) -> [(pair: Pair, factor: Int)] {
    func pair(_ l: Int, _ i: Int, _ j: Int) -> Pair {
      Pair(kind: kind, l: l, i: i, j: j, count: count(kind, l, i, j))
    }
    let found: [(Pair, Int)]
    if kind.isCoactivation {
      found = (0..<experts).filter { $0 != e }.map { other in
        (pair(l, max(e, other), min(e, other)), other < e ? -1 : 1)
      }
    } else {
      let onward = l < layers - 1 ? (0..<experts).map { (pair(l, e, $0), -1) } : []
      found = onward + (l > 0 ? (0..<experts).map { (pair(l - 1, $0, e), 1) } : [])
    }
    return found.filter { $0.0.count > 0 }
  }

  private func writeMPSRightSides(_ file: inout AtomicFile) throws {
    try file.put("RHS\n")
    for l in 0..<layers {
      for e in 0..<experts { try file.put(" RHS one_\(l)_\(e) 1\n") }
      for g in 0..<gpus {
        try file.put(" RHS size_\(l)_\(g) \(experts / gpus)\n")
        if let caps = instance.capPerLayer { try file.put(" RHS load_\(l)_\(g) \(caps[l])\n") }
      }
    }
  }

  private func writeMPSBounds(_ file: inout AtomicFile) throws {
    try file.put("BOUNDS\n")
    for l in 0..<layers {
      for e in 0..<experts {
        for g in 0..<gpus { try file.put(" UP BND x_\(l)_\(e)_\(g) 1\n") }
      }
    }
    try forEachPair { try file.put(" UP BND \($0.name) 1\n") }
  }
}
