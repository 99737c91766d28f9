import ArgumentParser
import ColocateFormats
import Foundation

/// `colocate renumber`: a checkpoint in which contiguous placement is the plan.
struct RenumberCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "renumber",
    abstract: "Renumber a checkpoint's experts, so that any engine follows a plan unpatched.",
    usage: """
      colocate renumber --model <DIR> --plan <PLAN> -o <DIR2>
      colocate renumber --undo --model <DIR2> -o <DIR3>
      """,
    discussion: """
      Engines place experts in the order of their numbers: the first E/P of a layer on GPU 0, and \
      so on. This command gives the experts new numbers, so that this order is the plan. The \
      router's rows and biases change places, experts that are stored apart change their names, \
      fused experts change places within their tensors, and the index of the shards follows. The \
      model computes the same: only expert numbers in traces and logs are new ones, and \
      colocate.json in DIR2 says which expert each of them was (slot_to_expert).

      Serve DIR2 with as many GPUs as the plan has, expert parallelism on, and no other placement: \
      vLLM with --enable-expert-parallel and linear placement (the default), SGLang without \
      --init-expert-location. Traces recorded from DIR2 have the new numbers.

      FAMILIES
        OLMoE, Mixtral, Qwen2-MoE, Qwen3-MoE, DeepSeek-V2/V3/V3.2, Kimi-K2, gpt-oss, GLM-4.x, \
      GLM-5, Granite-MoE; in safetensors, plain or quantised (FP8, MXFP4, GPTQ, AWQ, \
      compressed-tensors). A tensor whose name is not known is refused, never guessed. DeepSeek's \
      router chooses among groups of experts: a plan must move experts only as whole groups, or \
      within a group, and one that does not is refused. Layers that predict further tokens keep \
      their numbers, unless the plan has them too.

      FILES
        Weights in other formats (.bin, .gguf, original/*.safetensors) hold the old numbers and \
      are left out; all other files come along. DIR2 must not exist. It appears when it is \
      complete; until then there is a hidden folder .DIR2.* beside it. The size of the new files \
      is that of the old, or next to nothing where the file system shares blocks (XFS, Btrfs); \
      memory stays small, whatever the size. With --undo the files of DIR come back, byte for \
      byte.

      EXAMPLES
        colocate solve trace.npy --gpus 8 -o plan.json
        colocate renumber --model OLMoE-1B-7B --plan plan.json -o OLMoE-1B-7B-8gpus
        colocate renumber --undo --model OLMoE-1B-7B-8gpus -o OLMoE-1B-7B-again
      """)

  @Option(
    help: ArgumentHelp("A Hugging Face checkpoint with safetensors weights.", valueName: "DIR"))
  var model: String

  @Option(help: ArgumentHelp("Where its experts are to live (.json, .csv).", valueName: "PLAN"))
  var plan: String?

  @Flag(help: "Give a renumbered checkpoint its published numbers again.")
  var undo = false

  @Option(name: .shortAndLong, help: ArgumentHelp("The new folder.", valueName: "DIR2"))
  var output: String

  func validate() throws {
    if undo, plan != nil {
      throw ValidationError(
        "--undo --plan: expected one of them (colocate.json knows the way back)")
    }
    if !undo, plan == nil {
      throw ValidationError("expected --plan PLAN, or --undo for a renumbered checkpoint")
    }
  }

  func run() throws {
    let work =
      if let plan {
        try CheckpointRenumbering(model: model, plan: plan)
      } else {
        try CheckpointRenumbering(undoing: model)
      }
    for remark in work.remarks { Terminal.note("Note: \(model): \(remark.text)") }
    let interrupt = Interrupt()
    let log = CopyLog()
    do {
      try work.write(to: output) { done, total in
        log.show(done, of: total)
        return !interrupt.isRequested
      }
    } catch is CancellationError {
      Terminal.note("Interrupted: nothing is written.")
      throw interrupt.status
    }
    Terminal.result(summary(work))
  }

  private func summary(_ work: CheckpointRenumbering) -> String {
    let (all, gpus) = (work.layers.count * work.experts, work.topology.gpus)
    let numbers =
      "\(work.modelType), \(work.layers.count) MoE layers × \(work.experts) experts: "
      + "\(work.changedExperts) of \(all) experts have "
    guard !undo else { return "\(output): \(numbers)their published number again\n" }
    return """
      \(output): \(numbers)a new number
      Contiguous placement on \(gpus) GPU\(gpus == 1 ? "" : "s") is now \(plan ?? "the plan"): \
      experts 0 to \(work.experts / gpus - 1) of each layer on GPU 0, and so on. \
      colocate.json says which was which.

      """
  }
}

/// How far a long copy is, on standard error: at most one line in two seconds, none for a short
/// one.
final class CopyLog {
  private static let interval = 2.0
  private let start = Date()
  private var lastTime = 0.0

  func show(_ done: Int, of total: Int) {
    let time = Date().timeIntervalSince(start)
    guard time - lastTime >= Self.interval, done < total else { return }
    lastTime = time
    let rate = Double(done) / time
    let left = ProgressLog.fixed(Double(total - done) / max(rate, 1), 0)
    Terminal.note(
      "\(giga(Double(done), 1)) of \(giga(Double(total), 1)) GB, \(giga(rate, 2)) GB/s, "
        + "\(left) s left")
  }

  private func giga(_ bytes: Double, _ digits: Int) -> String {
    ProgressLog.fixed(bytes / 1e9, digits)
  }
}
