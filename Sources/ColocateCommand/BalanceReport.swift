import Colocate
import ColocateFormats

extension Balance {
  /// The four figures, for programs.
  var json: JSONText {
    .object([
      ("vllm_balancedness", .number(vLLM)), ("sglang_balancedness", .number(sglang)),
      (
        "tensorrt_llm_imbalance",
        .object([("mean", .number(meanImbalance)), ("worst", .number(worstImbalance))])
      ),
      (
        "ascend_peak_to_average",
        .object([("mean", .number(meanPeak)), ("worst", .number(worstPeak))])
      ),
    ])
  }

  /// The four figures, for people.
  var text: String {
    func row(_ name: String, _ text: String) -> String { ProgressLog.left(name, 16) + text + "\n" }
    return row("balance", "\(Show.ratio(vLLM)) (vLLM), \(Show.ratio(sglang)) (SGLang); 1 is even")
      + row(
        "",
        "imbalance \(Show.ratio(meanImbalance)), worst \(Show.ratio(worstImbalance)) "
          + "(TensorRT-LLM)")
      + row(
        "", "peak \(Show.ratio(meanPeak)), worst \(Show.ratio(worstPeak)) × the mean (Ascend)")
  }
}

extension EvaluateCommand {
  /// The loads of recordings that have nothing else; nil where the inputs are traces or counts.
  func loadsAlone() throws -> ExpertLoads? {
    let recording = reading.understanding.recording
    guard let first = inputs.first, let loads = RecordingReader.loads(first, recording) else {
      return nil
    }
    var parts = [Recording.loads(loads)]
    for path in inputs.dropFirst() {
      guard let part = RecordingReader.loads(path, recording) else {
        throw FormatError(path, "no recording of loads alone, expected one as \(first) is")
      }
      parts.append(.loads(part))
    }
    let joined = try RecordingReader.joined(parts, name: inputs.joined(separator: " + "))
    guard case .loads(let sum)? = joined else { return nil }
    return sum
  }

  /// Prints how evenly the plan spreads loads, of which nobody knows what follows what.
  func showBalance(of loads: ExpertLoads) throws {
    var sizes = PlacementReading()
    (sizes.gpus, sizes.nodes, sizes.experts) = (gpus, nodes, loads.experts)
    sizes.moeLayers = reading.moeLayers?.layers ?? loads.layers
    let format = try PlacementReader.format(of: plan)
    if format?.hasDenseLayers != true { sizes.moeLayers = nil }
    let slots = try PlacementReader.read(plan, as: format, sizes).placement.plan
    guard slots.layers == loads.layers.count, slots.experts == loads.experts else {
      throw FormatError(
        plan,
        "a plan for \(slots.layers) layers × \(slots.experts) experts, expected "
          + "\(loads.layers.count) × \(loads.experts) as in \(loads.name)")
    }
    let (balance, perLayer) = try balance(of: loads, under: slots)
    guard json else {
      Terminal.note("colocate: note: \(loads.name): loads alone, balance is all that they tell")
      return Terminal.result(balance.text)
    }
    let document: [(key: String, value: JSONText)] = [
      ("plan", .string(plan)), ("traces", .array(inputs.map { .string($0) })),
      (
        "load",
        .object([
          ("max_over_mean", .number(balance.worstPeak)), ("per_layer", perLayer),
        ])
      ),
      ("balance", balance.json),
    ]
    Terminal.result(JSONText.object(document).text)
  }

  /// How evenly slots spread the loads, and the loads of each layer's GPUs: whole numbers where
  /// every expert has one slot, else means under the rule of `--dispatch`.
  private func balance(
    of loads: ExpertLoads, under slots: SlotPlan
  ) throws -> (Balance, perLayer: JSONText) {
    let gpus = slots.topology.gpus
    guard slots.redundant > 0 else {
      let gpuLoads = loads.gpuLoads(of: try slots.placement())
      return (Balance(gpuLoads: gpuLoads, gpus: gpus), JSONText(gpuLoads, width: gpus))
    }
    let recorded = SlotPlanFile.isNamed(by: plan) ? try SlotPlanFile.read(plan).dispatch : nil
    guard let rule = dispatch ?? recorded else { throw PlanInput.unsaidDispatch(plan, slots) }
    let means = try slots.gpuLoads(of: loads.loads, rule: rule)
    let rows = stride(from: 0, to: means.count, by: gpus).map { start in
      JSONText.array(means[start..<(start + gpus)].map { .number($0) })
    }
    return (Balance(meanGPULoads: means, gpus: gpus), .array(rows))
  }
}
