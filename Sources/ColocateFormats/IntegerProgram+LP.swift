import Colocate

/// The program in LP format, as CPLEX defined it and HiGHS, SCIP and Gurobi read it: sections
/// `Minimize`, `Subject To`, `Bounds`, `Binaries`, `End`, one row after its name.
extension IntegerProgram {
  /// Writes the program in LP format.
  /// - Throws: `FormatError` where the file cannot be written.
  public func writeLP(to path: String) throws {
    try AtomicFile.write(to: path) { file in
      try file.put(header("\\"))
      try writeLPObjective(&file)
      try file.put("\nSubject To\n")
      for layer in 0..<layers { try writeLPRows(&file, layer: layer) }
      try forEachPair { try writeLPRows(&file, $0) }
      for gpu in 0..<gpus { try writeLPOrder(&file, gpu: gpu) }
      try file.put("Bounds\n")
      try forEachPair { try file.put(" 0 <= \($0.name) <= 1\n") }
      try file.put("Binaries\n")
      for l in 0..<layers {
        for e in 0..<experts {
          for g in 0..<gpus { try put(&file, " x_\(l)_\(e)_\(g)", g) }
          try file.put("\n")
        }
      }
      try file.put("End\n")
    }
  }

  private func writeLPObjective(_ file: inout AtomicFile) throws {
    try file.put("Minimize\n crossings:")
    var terms = 0
    try forEachPair { pair in
      try file.put(" + \(pair.kind.weight * pair.count) \(pair.name)")
      terms += 1
      if terms % 8 == 0 { try file.put("\n ") }
    }
    if terms == 0 { try file.put(" 0 x_0_0_0") }
  }

  /// The rows of a layer's experts and GPUs.
  private func writeLPRows(_ file: inout AtomicFile, layer l: Int) throws {
    for e in 0..<experts {
      try file.put(" one_\(l)_\(e):")
      for g in 0..<gpus { try put(&file, " + x_\(l)_\(e)_\(g)", g) }
      try file.put(" = 1\n")
    }
    for g in 0..<gpus {
      try file.put(" size_\(l)_\(g):")
      for e in 0..<experts { try put(&file, " + x_\(l)_\(e)_\(g)", e) }
      try file.put(" = \(experts / gpus)\n")
    }
    guard let caps = instance.capPerLayer else { return }
    for g in 0..<gpus {
      try file.put(" load_\(l)_\(g):")
      for e in 0..<experts {
        try put(&file, " + \(instance.counts.load(layer: l, expert: e)) x_\(l)_\(e)_\(g)", e)
      }
      try file.put(" <= \(caps[l])\n")
    }
  }

  /// The rows of a pair, one for each group of GPUs.
  private func writeLPRows(_ file: inout AtomicFile, _ pair: Pair) throws {
    let (size, next) = (pair.kind.groupSize, pair.layerOfSecond)
    for group in 0..<(gpus / size) {
      try file.put(" \(pair.name)_\(group): \(pair.name)")
      for g in (group * size)..<((group + 1) * size) {
        try file.put(" - x_\(pair.l)_\(pair.i)_\(g) + x_\(next)_\(pair.j)_\(g)")
      }
      try file.put(" >= 0\n")
    }
  }

  /// The rows that order a GPU after its predecessor.
  private func writeLPOrder(_ file: inout AtomicFile, gpu g: Int) throws {
    guard let before = predecessor(of: g) else { return }
    for e in 0..<experts {
      try file.put(" order_\(e)_\(g): x_0_\(e)_\(g)")
      for f in 0..<e { try put(&file, " - x_0_\(f)_\(before)", f) }
      try file.put(" <= 0\n")
    }
  }

  /// A term, with a line break after every 16.
  private func put(_ file: inout AtomicFile, _ term: String, _ index: Int) throws {
    try file.put(index % 16 == 15 ? term + "\n " : term)
  }
}
