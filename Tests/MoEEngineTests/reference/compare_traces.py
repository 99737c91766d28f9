"""How far a folder of routing traces agrees with float32 transformers on a bundled checkpoint.

    python compare_traces.py MODEL_FOLDER TRACE.npy TOKENS.npy [--window 128] [--tokens 4096]
                             [--double]

TRACE [tokens, layers] or [tokens, layers, k], TOKENS any shape with the same number of ids.
Prints the share of (token, layer) whose top-1, whose ordered top-k, and whose top-k as a set are
the same. `--double` computes in float64: how much of any disagreement is rounding.
"""

import argparse

import numpy as np
import torch

from make_fixtures import Reference

parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("trace")
parser.add_argument("tokens")
parser.add_argument("--window", type=int, default=128)
parser.add_argument("--count", type=int, default=4096, help="tokens to compare")
parser.add_argument("--double", action="store_true")
arguments = parser.parse_args()

torch.set_num_threads(1)
reference = Reference(arguments.model)
if arguments.double:
    reference.model.double()
ids = np.load(arguments.tokens).reshape(-1)[: arguments.count].reshape(-1, arguments.window)
_, experts, margins = reference(ids.astype(np.int32))
stored = np.load(arguments.trace)[: ids.size].reshape(experts.shape)
print(
    f"{ids.size} tokens: first {np.mean(experts[..., 0] == stored[..., 0]):.4%},",
    f"ordered {np.mean((experts == stored).all(-1)):.4%},",
    f"set {np.mean((np.sort(experts) == np.sort(stored)).all(-1)):.4%},",
    f"differing choices {(experts != stored).sum()}, least margin {margins.min():.2g}",
)
