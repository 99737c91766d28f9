/// A multiset of short lists of experts: an open-addressed hash table whose keys lie one after the
/// other in one array, so that a million sets are a few allocations and not a million.
struct TokenSetTable: Sendable {
  /// Index of an entry + 1 for each slot, 0 where it is free; a power of two of them, at most half
  /// used.
  private var slots = [UInt32](repeating: 0, count: 64)
  private var starts: [Int] = [0]
  private var members: [UInt16] = []
  private var multiplicities: [Int] = []

  /// Distinct keys.
  var count: Int { multiplicities.count }
  /// Members of all keys together.
  var memberCount: Int { members.count }
  /// Bytes that the entries take.
  var bytes: Int { 4 * slots.count + 16 * count + 2 * members.count }

  /// Members of key `index`.
  subscript(index: Int) -> ArraySlice<UInt16> { members[starts[index]..<starts[index + 1]] }

  /// How often key `index` was added.
  func multiplicity(_ index: Int) -> Int { multiplicities[index] }

  /// The slot of `key`: where it stands, or the free one where it would.
  private func slot(of key: some Collection<UInt16>) -> Int {
    var hash: UInt64 = 0x9E37_79B9_7F4A_7C15
    for member in key {
      hash = (hash ^ UInt64(member)) &* 0xBF58_476D_1CE4_E5B9
      hash ^= hash &>> 29
    }
    let mask = slots.count - 1
    var slot = Int(truncatingIfNeeded: hash &>> 7) & mask
    while slots[slot] != 0, !self[Int(slots[slot]) - 1].elementsEqual(key) {
      slot = (slot + 1) & mask
    }
    return slot
  }

  /// The index of `key`, nil where it was never added.
  func index(of key: some Collection<UInt16>) -> Int? {
    let entry = slots[slot(of: key)]
    return entry == 0 ? nil : Int(entry) - 1
  }

  /// Adds `key` `times` times.
  mutating func add(_ key: some Collection<UInt16>, _ times: Int = 1) {
    let slot = slot(of: key)
    if slots[slot] != 0 {
      multiplicities[Int(slots[slot]) - 1] += times
      return
    }
    members.append(contentsOf: key)
    starts.append(members.count)
    multiplicities.append(times)
    slots[slot] = UInt32(count)
    if 2 * count > slots.count { grow() }
  }

  /// Adds all of `other`.
  mutating func add(_ other: TokenSetTable) {
    for index in 0..<other.count { add(other[index], other.multiplicity(index)) }
  }

  private mutating func grow() {
    slots = [UInt32](repeating: 0, count: 2 * slots.count)
    for index in 0..<count { slots[slot(of: self[index])] = UInt32(index + 1) }
  }
}
