"""Hugging Face transformers as a peer: one thread, float32, KV cache, its own default kernels.

    python peer_huggingface.py MODEL IDS.npy NEW OUT.npy REPEATS

Prints one JSON object, times as [wall, CPU] seconds of each run; OUT.npy gets the prompts and
the greedy continuation.
"""

import json
import os
import sys
import time

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
from transformers import AutoModelForCausalLM, DynamicCache


def clocks():
    """Wall and CPU seconds."""
    return np.array([time.perf_counter(), time.process_time()])


@torch.inference_mode()
def run(model, ids, new):
    tokens = torch.as_tensor(ids, dtype=torch.long)
    cache = DynamicCache(config=model.config)
    steps = []
    begin = clocks()
    logits = model(input_ids=tokens, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
    steps.append(logits[:, -1].argmax(-1, keepdim=True))
    prefilled = clocks()
    for _ in range(new - 1):
        logits = model(input_ids=steps[-1], past_key_values=cache, use_cache=True).logits
        steps.append(logits[:, -1].argmax(-1, keepdim=True))
    end = clocks()
    return prefilled - begin, end - prefilled, torch.cat([tokens] + steps, 1).numpy()


def main():
    folder, ids, new, output, repeats = sys.argv[1:6]
    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    ids, new = np.load(ids), int(new)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    results = [run(model, ids, new) for _ in range(int(repeats))]
    np.save(output, results[0][2].astype(np.int32))
    print(
        json.dumps(
            {
                "prefill": [list(r[0]) for r in results],
                "decode": [list(r[1]) for r in results],
                "experts": getattr(model.config, "_experts_implementation", None),
                "attention": model.config._attn_implementation,
            }
        )
    )


main()
