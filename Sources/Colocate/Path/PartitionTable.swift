import ColocateModel
import Synchronization

/// The states of one layer of the layered search: partitions into groups, each with its least loss
/// so far and where that came from.
///
/// A state is the ascending list of its groups' subset numbers. Equal states merge in hash tables;
/// the hash chooses one of a fixed number of shards, each with a lock of its own, so that several
/// workers insert at the same time.
final class PartitionTable: Sendable {
  static let shardCount = 64
  let groups: Int
  private let shards: [Shard]

  /// - Parameter previous: the states that parents are numbers of; nil where nobody follows them.
  init(groups: Int, previous: PartitionTable? = nil) {
    self.groups = groups
    shards = (0..<Self.shardCount).map { _ in Shard(groups: groups, previous: previous) }
  }

  /// States of all shards; exact while nobody inserts.
  var count: Int { shards.reduce(0) { $0 + $1.count } }

  /// Bytes held.
  var bytes: Int { shards.reduce(0) { $0 + $1.bytes } }

  /// Adds a state or lowers its loss. `state` is ascending.
  /// - Returns: whether the state is new.
  @inline(__always)
  func insert(_ state: UnsafePointer<UInt16>, loss: Int32, parent: Int64) -> Bool {
    let hash = Self.hash(state, groups)
    let shard = shards[Int(truncatingIfNeeded: hash &>> 58)]
    return shard.lock.withLock { _ in
      shard.insert(state, hash: hash, loss: loss, parent: parent)
    }
  }

  @inline(__always)
  private static func hash(_ state: UnsafePointer<UInt16>, _ groups: Int) -> UInt64 {
    var hash: UInt64 = 0x9E37_79B9_7F4A_7C15
    for index in 0..<groups {
      hash = (hash ^ UInt64(state[index])) &* 0xFF51_AFD7_ED55_8CCD
      hash ^= hash &>> 29
    }
    return hash
  }

  /// Number of states in a shard, and its memory: `[count, groups]`, `[count]`, `[count]`. Only
  /// while nobody inserts.
  func contents(ofShard index: Int) -> (
    count: Int, states: UnsafePointer<UInt16>, loss: UnsafePointer<Int32>,
    parent: UnsafePointer<Int64>
  ) {
    let shard = shards[index]
    return (
      shard.count, UnsafePointer(shard.states.base), UnsafePointer(shard.losses.base),
      UnsafePointer(shard.parents.base)
    )
  }

  /// A state's number in its layer: shard and position.
  @inline(__always)
  static func number(shard: Int, position: Int) -> Int64 {
    (Int64(shard) << 40) | Int64(position)
  }

  /// The groups of a state, and its parent's number.
  func state(_ number: Int64) -> (groups: [Int], parent: Int64) {
    let shard = shards[Int(number >> 40)]
    let position = Int(number & 0xFF_FFFF_FFFF)
    let states = groups(of: number)
    return ((0..<groups).map { Int(states[$0]) }, shard.parents.base[position])
  }

  private func groups(of number: Int64) -> UnsafePointer<UInt16> {
    let states = shards[Int(number >> 40)].states.base
    return UnsafePointer(states + Int(number & 0xFF_FFFF_FFFF) * groups)
  }

  /// Whether a state comes before another by its groups. Numbers depend on which worker came first;
  /// this order does not, so that ties are broken alike for any number of workers.
  func precedes(_ number: Int64, _ other: Int64) -> Bool {
    let (a, b) = (groups(of: number), groups(of: other))
    for index in 0..<groups where a[index] != b[index] { return a[index] < b[index] }
    return false
  }

  /// Ascending order of the few numbers of a state.
  @inline(__always)
  static func sort(_ numbers: UnsafeMutablePointer<UInt16>, _ count: Int) {
    for index in 1..<count {
      let value = numbers[index]
      var hole = index
      while hole > 0 && numbers[hole - 1] > value {
        numbers[hole] = numbers[hole - 1]
        hole -= 1
      }
      numbers[hole] = value
    }
  }

  /// A part of the states, with a hash table of its own.
  ///
  /// `@unchecked Sendable` holds because every insertion has `lock`, and because nobody reads
  /// before the last insertion is over: a layer is read from when the workers that made it have
  /// joined. (That readers need no lock is what lets the states of one layer be compared while the
  /// next one is made from them.)
  private final class Shard: @unchecked Sendable {
    let groups: Int
    let previous: PartitionTable?
    let lock = Mutex(())
    var states = GrowingBuffer<UInt16>(capacity: 64)
    var losses = GrowingBuffer<Int32>(capacity: 16)
    var parents = GrowingBuffer<Int64>(capacity: 16)
    /// Open addressing: position + 1 of a state in the upper half, 0 for none; the low half of the
    /// hash in the lower half spares most comparisons. A power of two of slots.
    var slots = Buffer<UInt64>(repeating: 0, count: 64)

    init(groups: Int, previous: PartitionTable?) {
      self.groups = groups
      self.previous = previous
    }

    var count: Int { losses.count }
    var bytes: Int { count * (2 * groups + 12) + slots.count * 8 }

    func insert(_ state: UnsafePointer<UInt16>, hash: UInt64, loss: Int32, parent: Int64) -> Bool {
      let (table, mask) = (slots.base, slots.count - 1)
      let tag = hash & 0xFFFF_FFFF
      var slot = Int(truncatingIfNeeded: hash &>> 8) & mask
      while table[slot] != 0 {
        if table[slot] & 0xFFFF_FFFF == tag {
          let position = Int(table[slot] >> 32) - 1
          if isEqual(state, at: position) {
            lower(position, loss: loss, parent: parent)
            return false
          }
        }
        slot = (slot + 1) & mask
      }
      let position = losses.count
      table[slot] = (UInt64(position + 1) << 32) | tag
      for index in 0..<groups { states.append(state[index]) }
      losses.append(loss)
      parents.append(parent)
      if (position + 1) * 2 > mask { grow() }
      return true
    }

    @inline(__always)
    private func isEqual(_ state: UnsafePointer<UInt16>, at position: Int) -> Bool {
      let other = states.base + position * groups
      for index in 0..<groups where other[index] != state[index] { return false }
      return true
    }

    /// Takes the lower loss; of equal ones, the parent that comes first by its groups.
    @inline(__always)
    private func lower(_ position: Int, loss: Int32, parent: Int64) {
      let held = losses.base[position]
      guard loss <= held else { return }
      if loss == held {
        guard let previous, previous.precedes(parent, parents.base[position]) else { return }
      }
      losses.base[position] = loss
      parents.base[position] = parent
    }

    private func grow() {
      let larger = Buffer<UInt64>(repeating: 0, count: slots.count * 2)
      let mask = larger.count - 1
      for old in 0..<slots.count where slots.base[old] != 0 {
        let entry = slots.base[old]
        let position = Int(entry >> 32) - 1
        // The hash again, from the state: its low bits alone are stored.
        let hash = PartitionTable.hash(states.base + position * groups, groups)
        var slot = Int(truncatingIfNeeded: hash &>> 8) & mask
        while larger.base[slot] != 0 { slot = (slot + 1) & mask }
        larger.base[slot] = entry
      }
      slots = larger
    }
  }
}
