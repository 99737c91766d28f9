"""llama.cpp as a peer, through llama-cpp-python's C bindings: one thread, float32 weights.

    python peer_llama.py MODEL.gguf IDS.npy NEW OUT.npy REPEATS [--flash 0|1] [--unified 0|1]
                         [--half-cache]

All sequences go into one llama_decode per step. Timed are only the calls into llama.cpp
(llama_decode and waiting for its logits), not Python's work around them. Prints one JSON object,
times as [wall, CPU] seconds of each run; OUT.npy gets the prompts and the greedy continuation.
"""

import argparse
import ctypes
import json
import time

import llama_cpp as llama
import numpy as np


@llama.llama_log_callback
def quiet(level, text, data):
    pass


def clocks():
    """Wall and CPU seconds."""
    return np.array([time.perf_counter(), time.process_time()])


class Runner:
    def __init__(self, path, sequences, length, flash, unified, half):
        llama.llama_log_set(quiet, ctypes.c_void_p(0))
        llama.llama_backend_init()
        options = llama.llama_model_default_params()
        options.n_gpu_layers = 0
        self.model = llama.llama_model_load_from_file(path.encode(), options)
        if not self.model:
            raise SystemExit(f"peer_llama.py: cannot load {path}")
        options = llama.llama_context_default_params()
        options.n_ctx = sequences * (-(-length // 256) * 256 if not unified else length) + 256
        options.n_seq_max = sequences
        options.n_batch = 2048
        options.n_ubatch = 512
        options.n_threads = options.n_threads_batch = 1
        options.type_k = options.type_v = 1 if half else 0  # GGML_TYPE_F16, GGML_TYPE_F32
        options.flash_attn_type = 1 if flash else 0
        options.kv_unified = bool(unified)
        options.offload_kqv = options.op_offload = False
        options.no_perf = True
        self.context = llama.llama_init_from_model(self.model, options)
        if not self.context:
            raise SystemExit("peer_llama.py: no context")
        self.vocabulary = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(self.model))
        self.batch = llama.llama_batch_init(2048, 0, 1)
        view = lambda pointer: np.ctypeslib.as_array(pointer, (2048,))
        self.tokens, self.positions = view(self.batch.token), view(self.batch.pos)
        self.counts, self.wanted = view(self.batch.n_seq_id), view(self.batch.logits)

    def decode(self, tokens, positions, sequences, wanted):
        """One llama_decode of up to 2,048 tokens: seconds, and logits [wanted, vocabulary]."""
        n = len(tokens)
        self.batch.n_tokens = n
        self.tokens[:n], self.positions[:n] = tokens, positions
        self.counts[:n], self.wanted[:n] = 1, wanted
        for i, sequence in enumerate(sequences):
            self.batch.seq_id[i][0] = int(sequence)
        begin = clocks()
        status = llama.llama_decode(self.context, self.batch)
        llama.llama_synchronize(self.context)
        logits = llama.llama_get_logits(self.context)
        seconds = clocks() - begin
        if status != 0:
            raise SystemExit(f"peer_llama.py: llama_decode returned {status}")
        rows = int(np.sum(wanted))
        if rows == 0:
            return seconds, None
        return seconds, np.ctypeslib.as_array(logits, (rows, self.vocabulary))

    def run(self, ids, new):
        llama.llama_memory_clear(llama.llama_get_memory(self.context), True)
        n, length = ids.shape
        prefill, decode = np.zeros(2), np.zeros(2)
        answer = np.empty((n, length + new), np.int32)
        answer[:, :length] = ids
        group = max(1, 2048 // length)
        for first in range(0, n, group):
            part = np.arange(first, min(first + group, n))
            wanted = np.tile(np.arange(length) == length - 1, len(part))
            seconds, logits = self.decode(
                ids[part].ravel(),
                np.tile(np.arange(length), len(part)),
                np.repeat(part, length),
                wanted,
            )
            prefill += seconds
            answer[part, length] = logits.argmax(-1)
        everyone, wanted = np.arange(n), np.ones(n, np.int8)
        for at in range(length, length + new - 1):
            seconds, logits = self.decode(answer[:, at], at, everyone, wanted)
            decode += seconds
            answer[:, at + 1] = logits.argmax(-1)
        return prefill, decode, answer


def main():
    parser = argparse.ArgumentParser()
    for name in ("model", "ids", "new", "output", "repeats"):
        parser.add_argument(name)
    parser.add_argument("--flash", type=int, default=1)
    parser.add_argument("--unified", type=int, default=0)
    parser.add_argument("--half-cache", action="store_true")
    arguments = parser.parse_args()
    ids, new = np.load(arguments.ids), int(arguments.new)
    runner = Runner(
        arguments.model,
        len(ids),
        ids.shape[1] + new,
        arguments.flash,
        arguments.unified,
        arguments.half_cache,
    )
    results = [runner.run(ids, new) for _ in range(int(arguments.repeats))]
    np.save(arguments.output, results[0][2])
    print(
        json.dumps(
            {
                "prefill": [list(r[0]) for r in results],
                "decode": [list(r[1]) for r in results],
                "system": llama.llama_print_system_info().decode(),
            }
        )
    )


if __name__ == "__main__":
    main()
