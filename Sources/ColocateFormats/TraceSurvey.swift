import ColocateModel
import Foundation

/// What the ids of a trace look like before any of them is counted: which layers route nothing, how
/// absent experts are written, which expert every token uses.
///
/// A row is what one token has in one layer: k ids. A row is live where it has an expert and does
/// not repeat one id (a router chooses k different ones); a token is blank where none of its rows
/// is live.
struct TraceSurvey {
  let layers: Int
  let choices: Int

  /// How often each id occurs, shape `[4096]`.
  private(set) var histogram = [Int](repeating: 0, count: TransitionAccumulator.mostExperts)
  /// -1 in an unsigned type of more than a byte.
  private(set) var wideMinusOnes = 0
  /// Live rows of each layer, `[L]`.
  private(set) var liveRows: [Int]
  /// Tokens without a live row.
  private(set) var blankTokens = 0
  /// Rows with an id that all k choices repeat.
  private(set) var repeats = 0
  /// The ids that are repeated so, at most a few of them.
  private(set) var repeatedIDs = Set<Int32>()
  /// The first token that is not blank and repeats an id in this layer, -1 if none, `[L]`.
  private(set) var firstRepeat: [Int]
  /// Of a top-1 trace: tokens whose id is 255 in all layers, tokens that have one other id in all
  /// layers, and how often each layer has 255, `[L]`.
  private(set) var tokensOf255 = 0
  private(set) var tokensOfOneOtherID = 0
  private(set) var of255: [Int]
  /// The ids that every live row holds; nil before the first live row.
  private(set) var inEveryRow: [Int32]?
  /// The first choice of a layer's live rows: -1 before the first, -2 where rows differ, `[L]`.
  private(set) var constantID: [Int32]

  /// The least and the largest id of each layer's live rows, `[L]`.
  private(set) var least: [Int32]
  private(set) var most: [Int32]

  /// Of a top-1 trace how often each layer has each id, `[L, 4096]`: all that rows of one id can
  /// tell, added up once at the end (`finish`).
  private var singles: [Int] = []

  init(layers: Int, choices: Int) {
    if choices == 1 {
      singles = [Int](repeating: 0, count: layers * TransitionAccumulator.mostExperts)
    }
    least = [Int32](repeating: .max, count: layers)
    most = [Int32](repeating: -1, count: layers)
    self.layers = layers
    self.choices = choices
    liveRows = [Int](repeating: 0, count: layers)
    of255 = liveRows
    firstRepeat = [Int](repeating: -1, count: layers)
    constantID = [Int32](repeating: -1, count: layers)
  }

  /// The largest id, -1 where there is none.
  var largest: Int { histogram.lastIndex { $0 > 0 } ?? -1 }
  /// Rows that are live.
  var live: Int { liveRows.reduce(0, +) }

  /// Whether tokens with 255 in every layer are more than experts chosen at random would make.
  ///
  /// Were expert 255 chosen independently in each layer, with the share that it has among the other
  /// tokens there, n such tokens would be Poisson with mean `λ = T · Π_l share_l`, and n or more of
  /// them have a chance of at most `e^-λ · (e λ / n)^n` for n > λ (Chernoff). Where tokens keep to
  /// one expert through the layers, they do so with other ids too: λ is at least the mean number
  /// of such tokens of each other id. Below a chance of 1e-4 they are no chance.
  var tokensOf255AreNoChance: Bool {
    let n = Double(tokensOf255)
    guard tokensOf255 > 0 else { return false }
    var lambda = Double(liveRows.max() ?? 0)
    for (live, found) in zip(liveRows, of255) {
      lambda *= Double(found - tokensOf255) / Double(max(1, live - tokensOf255))
    }
    lambda = max(lambda, Double(tokensOfOneOtherID) / 255)
    guard lambda > 0 else { return true }
    return n > lambda && n * (1 + log(lambda / n)) - lambda < log(1e-4)
  }

  /// Looks at whole tokens, `[tokens, L, k]`.
  mutating func add(_ ids: UnsafeBufferPointer<Int32>, firstToken: Int, wide: Int) {
    wideMinusOnes += wide
    guard choices > 1 else { return addSingles(ids) }
    var repeatedLayers = [Int]()
    for token in 0..<(ids.count / (layers * choices)) {
      var live = 0
      repeatedLayers.removeAll(keepingCapacity: true)
      for layer in 0..<layers {
        let first = (token * layers + layer) * choices
        let row = UnsafeBufferPointer(rebasing: ids[first..<(first + choices)])
        var (low, high, isRepeat) = (Int32.max, Int32(-1), true)
        for id in row {
          high = max(high, id)
          isRepeat = isRepeat && id == row[0]
          if id >= 0 {
            low = min(low, id)
            histogram[Int(id)] += 1
          }
        }
        if high < 0 { continue }
        if isRepeat {
          repeats += 1
          if repeatedIDs.count < 3 { repeatedIDs.insert(high) }
          repeatedLayers.append(layer)
          continue
        }
        live += 1
        least[layer] = min(least[layer], low)
        most[layer] = max(most[layer], high)
        liveRows[layer] += 1
        if inEveryRow?.isEmpty != true { narrow(row) }
        if constantID[layer] == -1 {
          constantID[layer] = row[0]
        } else if constantID[layer] != row[0] {
          constantID[layer] = -2
        }
      }
      if live == 0 { blankTokens += 1 }
      for layer in repeatedLayers where live > 0 && firstRepeat[layer] < 0 {
        firstRepeat[layer] = firstToken + token
      }
    }
  }

  /// Whole tokens of a top-1 trace, `[tokens, L]`.
  private mutating func addSingles(_ ids: UnsafeBufferPointer<Int32>) {
    let (layers, most) = (layers, TransitionAccumulator.mostExperts)
    var (blank, of255, ofOne) = (0, 0, 0)
    singles.withUnsafeMutableBufferPointer { table in
      for start in stride(from: 0, to: ids.count, by: layers) {
        let first = ids[start]
        var (isAlike, largest) = (true, Int32(-1))
        for layer in 0..<layers {
          let id = ids[start + layer]
          isAlike = isAlike && id == first
          largest = max(largest, id)
          if id >= 0 { table[layer &* most &+ Int(id)] &+= 1 }
        }
        if largest < 0 {
          blank += 1
        } else if isAlike {
          if first == 255 { of255 += 1 } else { ofOne += 1 }
        }
      }
    }
    blankTokens += blank
    tokensOf255 += of255
    tokensOfOneOtherID += ofOne
  }

  /// Adds up what the last block has completed. Called once, after all of them.
  mutating func finish() {
    guard choices == 1 else { return }
    let most = TransitionAccumulator.mostExperts
    for layer in 0..<layers {
      let used = (0..<most).filter { singles[layer * most + $0] > 0 }
      guard let low = used.first, let high = used.last else { continue }
      for id in used {
        histogram[id] += singles[layer * most + id]
        liveRows[layer] += singles[layer * most + id]
      }
      (least[layer], self.most[layer]) = (Int32(low), Int32(high))
      constantID[layer] = low == high ? Int32(low) : -2
      of255[layer] = singles[layer * most + 255]
    }
    let ids = histogram.indices.filter { histogram[$0] > 0 }
    if !ids.isEmpty { inEveryRow = ids.count == 1 ? [Int32(ids[0])] : [] }
  }

  /// Keeps what this row holds too.
  private mutating func narrow(_ row: UnsafeBufferPointer<Int32>) {
    inEveryRow =
      inEveryRow?.filter { id in row.contains(id) } ?? row.filter { $0 >= 0 }
  }
}
