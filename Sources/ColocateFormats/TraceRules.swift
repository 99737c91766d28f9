import ColocateModel
import Foundation

/// What a survey says about a trace: which ids stand for "no expert", which layers are no MoE
/// layers, and the lines that tell the user so.
struct TraceRules {
  /// The trace as it is to be counted.
  private(set) var blocks: TraceBlocks
  private(set) var remarks = [Remark]()
  /// The first of the shared experts whose ids are the trace's last ones, or nil.
  private(set) var firstShared: Int?

  private var survey: TraceSurvey

  /// Whether a token that is not blank lacks an expert in some layer that is counted.
  var hasGaps: Bool {
    survey.live < (blocks.tokens - survey.blankTokens) * blocks.layersKept
  }

  /// The largest id that is an expert's.
  var largest: Int { survey.largest }
  /// Words for an error about an id that a row repeats.
  var hintOf255: String {
    survey.largest == 255 && blocks.padding == nil
      ? " (255 may be -1 stored in a byte without a sign: save the trace as a signed type)" : ""
  }

  /// What a survey tells; where 255 turns out to be padding the trace is surveyed once more.
  /// - Parameters:
  ///   - survey: of the array, finished.
  ///   - moeLayers: the layers to keep as given, or nil where the ids decide.
  ///   - isTrusted: whether the user says that this is a trace.
  /// - Throws: `FormatError` where ids or layers cannot be what a router chose, or can be that and
  ///     padding as well; and where the file cannot be read.
  init(
    _ blocks: TraceBlocks, _ survey: TraceSurvey, moeLayers: [Int]?, isTrusted: Bool
  ) throws(FormatError) {
    self.blocks = blocks
    self.survey = survey
    try findPadding(isTrusted: isTrusted)
    try keepLayers(moeLayers)
    try refuseRepeats()
    if !isTrusted { try refuseGlobalIDs() }
    findShared()
    warnOfUnusedZero()
    warnOfConstantLayers(moeLayers)
  }

  /// What the first blocks tell, as far as that is enough; nil where it is not.
  static func guess(
    _ blocks: TraceBlocks, moeLayers: [Int]?, isTrusted: Bool
  ) -> TraceRules? {
    var sample = blocks
    sample.limit = 4
    guard let survey = try? Self.survey(of: sample),
      var rules = try? TraceRules(sample, survey, moeLayers: moeLayers, isTrusted: isTrusted)
    else { return nil }
    rules.blocks.limit = nil
    return rules
  }

  private static func survey(of blocks: TraceBlocks) throws(FormatError) -> TraceSurvey {
    var survey = TraceSurvey(layers: blocks.layers, choices: blocks.choices)
    try blocks.stream { ids, first, wide throws(ModelError) in
      survey.add(ids, firstToken: first, wide: wide)
    }
    survey.finish()
    return survey
  }

  private func refusal(_ message: String) -> FormatError { FormatError(blocks.array.file, message) }

  /// -1 that lost its sign: 65535 and more cannot be an expert; 255 can, and is taken for padding
  /// only where it is beyond the experts given or far beyond the next largest id.
  private mutating func findPadding(isTrusted: Bool) throws(FormatError) {
    if survey.wideMinusOnes > 0 {
      remarks.append(
        .note(
          "\(Remark.count(survey.wideMinusOnes, "id")) of \(blocks.array.elementName) are -1 "
            + "without its sign: taken as padding"))
    }
    guard survey.histogram[255] > 0 else { return }
    if let why = reasonFor255() {
      remarks.append(
        .note(
          "\(Remark.count(survey.histogram[255], "id")) of 255, \(why): taken as padding, "
            + "-1 stored in a byte without a sign"))
      blocks.padding = 255
      survey = try Self.survey(of: blocks)
    } else if survey.largest == 255, survey.tokensOf255AreNoChance {
      let found =
        "\(Remark.count(survey.tokensOf255, "token")) with id 255 in every layer: -1 stored in a "
        + "byte without a sign?"
      guard isTrusted else {
        let name = blocks.array.file
        throw refusal(
          found + " Expected a signed type: t = numpy.load('\(name)').astype('int16'), "
            + "t[(t == 255).all(1)] = -1, numpy.save('t.npy', t); or --as trace if 255 is an expert"
        )
      }
      remarks.append(.warning(found + " It is taken for an expert"))
    }
  }

  /// Why 255 cannot be an expert; nil where it can.
  private func reasonFor255() -> String? {
    if let experts = blocks.experts, experts <= 255 { return "beyond the \(experts) experts" }
    guard survey.largest == 255 else { return nil }
    let next = survey.histogram[..<255].lastIndex { $0 > 0 } ?? -1
    let isFar = next >= 0 && next < 192
    let isWhole = (0..<240).contains(next) && survey.tokensOf255 > 0
    return isFar || isWhole ? "and the next largest id is \(next)" : nil
  }

  /// Leaves out layers where no token has an expert.
  private mutating func keepLayers(_ moeLayers: [Int]?) throws(FormatError) {
    let all = Array(0..<blocks.layers)
    if let moeLayers {
      guard let last = moeLayers.last, last < blocks.layers else {
        throw refusal(
          "\(blocks.layers) layers, expected MoE layers of 0 to \(blocks.layers - 1), "
            + "found \(Remark.list(moeLayers))")
      }
      if let empty = moeLayers.first(where: { survey.liveRows[$0] == 0 }), survey.live > 0 {
        throw refusal("layer \(empty): named as an MoE layer, but no token has an expert there")
      }
    }
    guard survey.live > 0 else {
      guard survey.repeats > 0 else {
        throw refusal("\(blocks.tokens) tokens, and every id is padding")
      }
      throw refusal(
        "every token repeats one id in each layer, expected \(blocks.choices) different experts")
    }
    let kept = moeLayers ?? all.filter { survey.liveRows[$0] > 0 }
    blocks.dropsRepeats = survey.repeats > 0
    if kept.count < all.count {
      blocks.kept = kept
      let dense = all.filter { !kept.contains($0) }
      let are = dense.count == 1 ? "layers is" : "layers are"
      guard kept.count >= 2 else {
        throw refusal(
          "1 MoE layer, \(kept[0]), of \(blocks.layers): at least 2 are needed (in the others no "
            + "token has an expert)")
      }
      remarks.append(
        .note(
          "\(dense.count) of \(all.count) \(are) dense (\(Remark.list(dense))): "
            + "transitions join the MoE layers \(Remark.list(kept))"))
    }
    if survey.blankTokens > 0 {
      remarks.append(
        .note(
          "\(survey.blankTokens) of \(blocks.tokens) tokens have no expert in any layer: padding"))
    }
  }

  /// A router chooses k different experts: a row that repeats one is either no choice at all, in a
  /// dense layer or a token that was not recorded, or the file is no trace.
  private func refuseRepeats() throws(FormatError) {
    for layer in blocks.kept ?? Array(0..<blocks.layers) where survey.firstRepeat[layer] >= 0 {
      throw refusal(
        "token \(survey.firstRepeat[layer]), layer \(layer): one id \(blocks.choices) times, "
          + "expected \(blocks.choices) different experts (or -1 for padding)")
    }
  }

  /// Ids that are numbered through the layers, `layer · E + expert`: each layer's lie above those
  /// of the layer before.
  private func refuseGlobalIDs() throws(FormatError) {
    let kept = blocks.kept ?? Array(0..<blocks.layers)
    guard kept.allSatisfy({ survey.liveRows[$0] >= 32 }), survey.largest >= 2 * kept.count,
      zip(kept, kept.dropFirst()).allSatisfy({ survey.most[$0] < survey.least[$1] }),
      kept.contains(where: { survey.most[$0] > survey.least[$0] })
    else { return }
    throw refusal(
      "layer \(kept[0]) has ids \(survey.least[kept[0]]) to \(survey.most[kept[0]]), layer "
        + "\(kept[1]) \(survey.least[kept[1]]) to \(survey.most[kept[1]]), and so on: numbered "
        + "through the layers? Expected 0 to E - 1 in each layer (t - E * numpy.arange(layers)), "
        + "or --as trace if it is so")
  }

  /// Ids that start at 1 make one expert too many, and a first one that nobody uses.
  private mutating func warnOfUnusedZero() {
    guard blocks.experts == nil, survey.histogram[0] == 0, survey.live >= 256,
      survey.largest >= 2 * blocks.choices
    else { return }
    remarks.append(
      .warning("no token uses expert 0 in any layer: if the ids start at 1, subtract 1"))
  }

  /// Looks for shared experts, which engines append to the routed ones: ids that every row holds.
  ///
  /// With k of E experts chosen at random, one given expert is in all of n rows with probability
  /// (k / E)^n; below e^-20 that is no chance.
  private mutating func findShared() {
    let shared = (survey.inEveryRow ?? []).map { Int($0) }.sorted()
    let experts = survey.largest + 1
    guard blocks.choices > 1, !shared.isEmpty, shared.count < blocks.choices,
      experts > blocks.choices,
      Double(survey.live) * log(Double(experts) / Double(blocks.choices)) > 20
    else { return }
    let areLast = shared == Array((experts - shared.count)..<experts)
    if areLast { firstShared = shared[0] }
    let are =
      shared.count == 1
      ? "expert \(shared[0]) is" : "experts \(Remark.list(shared)) are"
    if areLast, let given = blocks.experts, given <= shared[0] {
      blocks.firstShared = Int32(shared[0])
      remarks.append(
        .note("\(are) in every token's row of every layer: shared, left out"))
      return
    }
    let remedy =
      areLast
      ? "--experts \(shared[0]) leaves \(shared.count == 1 ? "it" : "them") out"
      : "take the id out of the rows"
    remarks.append(
      .warning(
        "\(are) in every token's row of every layer: a shared expert that runs on every GPU? "
          + remedy))
  }

  /// With one expert a token, a dense layer written as zeros looks like a layer that uses one
  /// expert.
  private mutating func warnOfConstantLayers(_ moeLayers: [Int]?) {
    guard moeLayers == nil, blocks.choices == 1, survey.largest >= 3 else { return }
    let kept = blocks.kept ?? Array(0..<blocks.layers)
    let constant = kept.filter { survey.constantID[$0] >= 0 && survey.liveRows[$0] >= 64 }
    guard !constant.isEmpty, constant.count < kept.count else { return }
    let rest = kept.filter { !constant.contains($0) }
    let (noun, verb) = constant.count == 1 ? ("layer", "uses") : ("layers", "use")
    let ids = Set(constant.map { survey.constantID[$0] })
    let expert = ids.count == 1 ? "expert \(ids.first ?? 0)" : "one expert"
    remarks.append(
      .warning(
        "\(noun) \(Remark.list(constant)) \(verb) \(expert) for every token: if that is a dense "
          + "layer written as zeros, --moe-layers "
          + Remark.list(rest, most: .max).replacingOccurrences(of: " ", with: "")))
  }
}
