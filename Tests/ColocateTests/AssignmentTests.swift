import Colocate
import TestSupport
import Testing

@Suite struct AssignmentTests {
  @Test(arguments: 0..<200) func assignmentEqualsBruteForce(seed: Int) {
    var random = SeededGenerator(seed: UInt64(seed))
    let size = 1 + random.next(below: 7)
    let largest = [1, 5, 1000][random.next(below: 3)]
    let entries = (0..<(size * size)).map { _ in
      random.next(below: largest + 1) - (seed % 3 == 0 ? largest / 2 : 0)
    }
    var best = Int.min
    func assign(_ row: Int, _ used: Int, _ sum: Int) {
      if row == size { best = max(best, sum) }
      for j in 0..<size where row < size && used >> j & 1 == 0 {
        assign(row + 1, used | 1 << j, sum + entries[row * size + j])
      }
    }
    assign(0, 0, 0)
    let assignment = LinearAssignment()
    var column = [Int]()
    // Twice, and another size between: no call may leave anything behind for the next.
    for _ in 0..<2 {
      let value = assignment.maximise(size: size, entries: entries, columnOf: &column)
      #expect(value == best, "seed \(seed)")
      #expect(Set(column) == Set(0..<size), "seed \(seed)")
      #expect((0..<size).reduce(0) { $0 + entries[$1 * size + column[$1]] } == best)
      var other = [Int]()
      assignment.maximise(size: 5, entries: (0..<25).map { $0 % 7 }, columnOf: &other)
    }
  }

  @Test(arguments: 0..<200) func transportationEqualsCopiedColumns(seed: Int) {
    var random = SeededGenerator(seed: UInt64(seed))
    let groups = 1 + random.next(below: 5)
    let capacity = 1 + random.next(below: 4)
    let items = groups * capacity - (seed % 4 == 0 ? random.next(below: groups * capacity) : 0)
    let largest = [1, 5, 1000][random.next(below: 3)]
    let gains = (0..<(items * groups)).map { _ in random.next(below: 2 * largest + 1) - largest }
    // The oracle: one column per seat, rows of zeros for empty seats.
    let seats = groups * capacity
    var entries = [Int](repeating: 0, count: seats * seats)
    for item in 0..<items {
      for s in 0..<seats { entries[item * seats + s] = gains[item * groups + s / capacity] }
    }
    let assignment = LinearAssignment()
    var column = [Int]()
    let best = assignment.maximise(size: seats, entries: entries, columnOf: &column)
    let transportation = Transportation()
    var groupOf = [Int]()
    let value = transportation.maximise(
      items: items, groups: groups, capacity: capacity, gains: gains, groupOf: &groupOf)
    #expect(value == best, "seed \(seed)")
    #expect((0..<items).reduce(0) { $0 + gains[$1 * groups + groupOf[$1]] } == best)
    for g in 0..<groups {
      #expect(groupOf.filter { $0 == g }.count <= capacity, "seed \(seed)")
    }
  }

  @Test func largeAssignmentIsOptimalByItsDual() {
    // The sum of row and column maxima bounds any assignment; a hidden permutation meets it.
    var random = SeededGenerator(seed: 7)
    let size = 256
    let hidden = (0..<size).shuffled(using: &random)
    var entries = (0..<(size * size)).map { _ in random.next(below: 1000) }
    for i in 0..<size { entries[i * size + hidden[i]] = 1000 + random.next(below: 10) }
    let assignment = LinearAssignment()
    var column = [Int]()
    assignment.maximise(size: size, entries: entries, columnOf: &column)
    #expect(column == hidden)
  }
}
