"""Checks that llama.cpp computes from the converted file what transformers does from the source.

    python check_gguf.py MODEL_FOLDER MODEL.gguf IDS.npy

Compares the last logits of every prompt; exits with 1 if, with everything in float32 (no flash
attention, whose CPU kernel rounds to float16 on the way), they differ by more than 1e-4 of their
scale.
"""

import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from peer_llama import Runner

folder, gguf, ids = sys.argv[1:4]
ids = np.load(ids)[:8]
n, length = ids.shape
torch.set_num_threads(1)
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
with torch.inference_mode():
    expected = model(torch.as_tensor(ids, dtype=torch.long), logits_to_keep=1).logits[:, -1].numpy()
for options in ((0, 0, False), (1, 0, False), (1, 0, True)):
    runner = Runner(gguf, n, length + 1, *options)
    _, found = runner.decode(
        ids.ravel(),
        np.tile(np.arange(length), n),
        np.repeat(np.arange(n), length),
        np.tile(np.arange(length) == length - 1, n),
    )
    difference = np.abs(found - expected).max() / np.abs(expected).max()
    print(
        "flash %d, unified %d, half cache %d: largest difference / scale %.2g"
        % (*options, difference)
    )
    if difference > 1e-4 and options == (0, 0, False):
        sys.exit("check_gguf.py: the logits differ")
