import Colocate
import ColocateCertificate
import ColocateFormats

/// Edits certificates as somebody would who wants a false one accepted, or who just breaks things:
/// numbers nudged, scaled, negated or exchanged, entries dropped, doubled or swapped, kinds
/// changed, claims made stronger. Seeded.
struct CertificateForger {
  var random: SeededGenerator

  init(seed: UInt64) { random = SeededGenerator(seed: seed) }

  /// `document` with one to three edits.
  mutating func forge(_ document: JSONText) -> JSONText {
    var forged = document
    for _ in 0...random.next(below: 3) {
      if random.next(below: 4) == 0 {
        claimMore(&forged)
      } else {
        edit(&forged, depth: 0)
      }
    }
    return forged
  }

  /// Lowers the bound that some stage claims.
  private mutating func claimMore(_ document: inout JSONText) {
    guard case .object(var members) = document,
      let place = members.firstIndex(where: { $0.key == "stages" }),
      case .array(var stages) = members[place].value, !stages.isEmpty
    else { return }
    let stage = random.next(below: stages.count)
    guard case .object(var fields) = stages[stage],
      let bound = fields.firstIndex(where: { $0.key == "kept_bound" }),
      case .integer(let value) = fields[bound].value
    else { return }
    let less = random.next(below: 2) == 0 ? 1 : 1 + random.next(below: max(1, abs(value / 2)))
    fields[bound].value = .integer(value &- less)
    stages[stage] = .object(fields)
    members[place].value = .array(stages)
    document = .object(members)
  }

  private mutating func edit(_ value: inout JSONText, depth: Int) {
    switch value {
    case .array(var values) where !values.isEmpty:
      // Long rows of numbers are rather changed in one number than in their length.
      if random.next(below: 6) == 0 {
        rearrange(&values)
      } else {
        edit(&values[random.next(below: values.count)], depth: depth + 1)
      }
      value = .array(values)
    case .object(var members) where !members.isEmpty:
      var place = random.next(below: members.count)
      // Most of what can be forged is in the stages.
      if depth == 0, random.next(below: 3) > 0 {
        place = members.firstIndex { $0.key == "stages" } ?? place
      }
      if random.next(below: 12) == 0 {
        members.remove(at: place)
      } else {
        edit(&members[place].value, depth: depth + 1)
      }
      value = .object(members)
    case .integer(let number): value = forged(number)
    case .string(let text):
      let names = [
        "gpus", "nodes", "node 0", "node 1", "flat", "staged", "joint", "bounded", "path",
      ]
      value = .string(random.next(below: 2) == 0 ? text + "0" : names[random.next(below: 9)])
    default: value = [nil, true, 0, 1, "x"][random.next(below: 5)]
    }
  }

  private mutating func rearrange(_ values: inout [JSONText]) {
    let (a, b) = (random.next(below: values.count), random.next(below: values.count))
    switch random.next(below: 4) {
    case 0: values.remove(at: a)
    case 1: values.insert(values[b], at: a)
    case 2: values[a] = values[b]
    default: values.swapAt(a, b)
    }
  }

  private mutating func forged(_ number: Int) -> JSONText {
    switch random.next(below: 14) {
    case 0...2: return .integer(number &+ 1)
    case 3...5: return .integer(number &- 1)
    case 6: return .integer(number &+ random.next(below: 2001) &- 1000)
    case 7: return .integer(number &* 2)
    case 8: return .integer(number / 2)
    case 9: return .integer(0 &- number)
    case 10: return .integer(number &+ (1 << random.next(below: 63)))
    case 11: return .integer(number &- (1 << random.next(below: 63)))
    case 12: return .integer([0, 1, Int.max, Int.min][random.next(below: 4)])
    default: return [.number(Double(number) + 0.5), "NaN", true, nil][random.next(below: 4)]
    }
  }
}
