import Colocate
import Testing

@Suite struct SymmetricEigenTests {
  /// Matrices whose eigenvalues are hard to separate, and random ones.
  static func matrices(seed: UInt64) -> [(name: String, order: Int, entries: [Double])] {
    var random = SeededGenerator(seed: seed)
    var list = [(name: String, order: Int, entries: [Double])]()
    func add(_ name: String, _ order: Int, _ entry: (Int, Int) -> Double) {
      var entries = [Double](repeating: 0, count: order * order)
      for i in 0..<order {
        for j in 0...i {
          let value = entry(i, j)
          entries[i * order + j] = value
          entries[j * order + i] = value
        }
      }
      list.append((name, order, entries))
    }
    for order in [1, 2, 3, 5, 14, 30, 63] {
      add("random", order) { _, _ in random.nextUnit() - 0.5 }
      add("zero", order) { _, _ in 0 }
      add("identity", order) { $0 == $1 ? 1 : 0 }
      add("ones", order) { _, _ in 1 }
      add("tiny", order) { _, _ in (random.nextUnit() - 0.5) * 0x1p-700 }
      add("huge", order) { _, _ in (random.nextUnit() - 0.5) * 0x1p400 }
      add("graded", order) { i, j in 1 / Double(1 + i * i * i + j * j * j) }
      add("two equal blocks", order) { i, j in
        i / max(1, order / 2) == j / max(1, order / 2)
          ? Double((i % max(1, order / 2)) * (j % max(1, order / 2)) % 7) : 0
      }
      // Wilkinson's W⁺: pairs of eigenvalues that agree to machine precision.
      add("wilkinson", order) { i, j in
        i == j ? abs(Double(i) - Double(order - 1) / 2) : i - j == 1 ? 1 : 0
      }
    }
    return list
  }

  @Test func decomposesAwkwardMatrices() {
    for (name, order, entries) in Self.matrices(seed: 11) {
      let eigen = SymmetricEigen(order: order)
      for i in 0..<order {
        for j in 0...i { eigen.matrix[i, j] = entries[i * order + j] }
      }
      eigen.reduce()
      let vectors = AlignedRows(rows: order, stride: eigen.stride)
      eigen.vectors(count: order, into: vectors)
      let norm = entries.reduce(0) { max($0, abs($1)) } * Double(order)
      for k in 0..<order {
        if k > 0 { #expect(eigen.values[k] <= eigen.values[k - 1], "\(name) \(order)") }
        let v = vectors.row(k)
        for i in 0..<order {
          var sum = 0.0
          for j in 0..<order { sum += entries[i * order + j] * v[j] }
          #expect(
            abs(sum - eigen.values[k] * v[i]) <= 1e-12 * norm, "\(name) \(order), vector \(k)")
        }
        for other in 0...k {
          var dot = 0.0
          for j in 0..<order { dot += v[j] * vectors[other, j] }
          #expect(abs(dot - (other == k ? 1 : 0)) < 1e-9, "\(name) \(order), \(other) · \(k)")
        }
      }
    }
  }

  /// A = H D H / n with a Hadamard matrix H and integers D: exact entries, exact eigenvalues.
  @Test func sumIsAnUpperBoundWhereTheTruthIsExact() {
    var random = SeededGenerator(seed: 12)
    for bits in 1...6 {
      let order = 1 << bits
      for spread in [1, 2, 1000, 1 << 20] {
        let exact = (0..<order).map { _ in random.next(below: spread) - spread / 2 }
        var entries = [Double](repeating: 0, count: order * order)
        for i in 0..<order {
          for j in 0..<order {
            var sum = 0
            for k in 0..<order {
              sum +=
                ((i & k).nonzeroBitCount + (j & k).nonzeroBitCount) % 2 == 0 ? exact[k] : -exact[k]
            }
            entries[i * order + j] = Double(sum) / Double(order)
          }
        }
        let sorted = exact.sorted(by: >)
        for count in Set([1, order / 2, order]) {
          let truth = Double(sorted[..<count].reduce(0, +))
          let bound = EigenvalueSum(order: order, count: count).upperBound(entries, stride: order)
          #expect(bound >= truth, "order \(order), spread \(spread), \(count) largest")
          #expect(bound <= truth + 1e-6 * Double(spread), "order \(order), spread \(spread)")
        }
      }
    }
  }

  @Test func sumHoldsForAwkwardMatrices() {
    for (name, order, entries) in Self.matrices(seed: 13) {
      // The trace is the exact sum of all eigenvalues; any k orthonormal unit vectors give a lower
      // bound on the k largest.
      let norm = entries.reduce(0) { max($0, abs($1)) } * Double(order)
      for count in Set([1, (order + 1) / 2, order]) {
        let bound = EigenvalueSum(order: order, count: count).upperBound(entries, stride: order)
        let diagonal = (0..<order).map { entries[$0 * order + $0] }.sorted(by: >)
        let lower = diagonal[..<count].reduce(0, +)
        #expect(bound >= lower, "\(name) \(order), \(count) largest")
        #expect(bound <= Double(count) * norm * (1 + 1e-8), "\(name) \(order), \(count) largest")
        if count == order && norm > 1e-100 {
          #expect(bound <= lower + 1e-9 * norm * Double(order), "\(name) \(order): trace")
        }
      }
    }
  }

  @Test func errorOfTheMatrixIsAdded() {
    let entries: [Double] = [2, 0, 0, 1]
    let sum = EigenvalueSum(order: 2, count: 1)
    #expect(sum.upperBound(entries, stride: 2, error: 0.5) >= 2.5)
  }
}
