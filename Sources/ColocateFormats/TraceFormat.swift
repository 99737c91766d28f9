/// The files in which traces and recordings come. Their content tells which one a file is; naming
/// it (`RecordingReading.format`) settles what the content leaves open: responses of which the
/// first have no routed experts, or that speak two engines' languages; a folder with files of
/// several kinds; a damaged file, whose own reader then says what is wrong with it.
///
/// | case | file |
/// |---|---|
/// | `npy` | an array: trace or counts |
/// | `npz` | a zip archive of arrays |
/// | `safetensors` | tensors: `trace` or `counts` |
/// | `vllm` | vLLM's responses, JSON or JSON lines |
/// | `sglang` | SGLang's responses, likewise |
/// | `sglang-recorder` | SGLang's expert distribution recorder, `.pt` |
/// | `tensorrt-llm` | a folder of TensorRT-LLM's expert statistics |
public enum TraceFormat: String, Hashable, Sendable, CaseIterable {
  case npy
  case npz
  case safetensors
  case vllm
  case sglang
  case sglangRecorder = "sglang-recorder"
  case tensorRTLLM = "tensorrt-llm"

  /// Endings of the files that are looked at in a folder of recordings; none where a folder is the
  /// recording as a whole, or never one.
  var endings: [String] {
    switch self {
    case .vllm, .sglang: [".json", ".jsonl"]
    case .sglangRecorder: [".pt"]
    case .npy, .npz, .safetensors, .tensorRTLLM: []
    }
  }
}
