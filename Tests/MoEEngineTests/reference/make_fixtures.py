"""Writes Tests/MoEEngineTests/Fixtures: what transformers answers, for the Swift tests.

    pip install torch transformers safetensors numpy
    python Tests/MoEEngineTests/reference/make_fixtures.py

The tests read the files and need no Python. Everything is computed in float32 from the stored
weights, attention and experts in their plain ("eager") form, greedy decoding by a full forward
pass per token: no cache, no early end. Prompts are chosen so that no decision hangs on rounding:
in every greedy step the best token leads the second by at least MARGIN of the logits' scale, and
the router's choices in the prompts and continuations lead by at least ROUTER_MARGIN
(probability).
"""

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import AutoModelForCausalLM

import random_checkpoints

HERE = Path(__file__).resolve().parent
FIXTURES = HERE.parent / "Fixtures"
MODELS = HERE.parents[2] / "instances" / "models"
NEW = 48
MARGIN = 2e-3
ROUTER_MARGIN = 2e-5
TRACE_MARGIN = (
    4e-6  # a window of a trace is "decided" if every choice in it leads by this much: three times
)
# the largest difference seen between float32 and float64 compute on these checkpoints (1.2e-6)


class Reference:
    """A checkpoint in transformers, float32, with its router's decisions recorded."""

    def __init__(self, folder):
        self.model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager"
        ).eval()
        self.k = self.model.config.num_experts_per_tok
        self.routers = []
        for layer in self.model.model.layers:
            layer.mlp.gate.register_forward_hook(self.record)

    def record(self, module, inputs, outputs):
        self.routers.append(torch.softmax(outputs[0].float(), -1))

    @torch.no_grad()
    def __call__(self, ids):
        """ids [n, t] → logits [n, t, vocabulary], experts [n·t, layers, k], margins [n·t]:
        the least probability by which a choice or its rank is decided, over the layers."""
        self.routers.clear()
        logits = self.model(
            input_ids=torch.as_tensor(ids, dtype=torch.long), use_cache=False
        ).logits
        probabilities = torch.stack(self.routers, 1)  # [n·t, layers, experts]
        best = probabilities.topk(min(self.k + 1, probabilities.shape[-1]), -1)
        margins = (best.values[..., :-1] - best.values[..., 1:]).amin((1, 2))
        experts = best.indices[..., : self.k]
        return logits.numpy(), experts.numpy().astype(np.uint8), margins.numpy()


def greedy(reference, ids):
    """ids [n, t] → tokens [n, t + NEW] and, per sequence, the least lead of the best token over the
    second (as a share of the logits' scale) and the least router margin."""
    tokens = np.array(ids)
    lead = np.full(len(ids), np.inf)
    for _ in range(NEW):
        logits, _, margins = reference(tokens)
        last = logits[:, -1]
        best = np.sort(last, -1)[:, -2:]
        lead = np.minimum(lead, (best[:, 1] - best[:, 0]) / np.abs(logits).max((1, 2)))
        tokens = np.concatenate([tokens, last.argmax(-1)[:, None]], 1).astype(np.int32)
    _, _, margins = reference(tokens)
    return tokens, lead, margins.reshape(tokens.shape).min(1)


def decisive(reference, candidates, count):
    """The first `count` prompts of `candidates` [n, t] whose decisions do not hang on rounding."""
    ids, answers, leads, margins = [], [], [], []
    for start in range(0, len(candidates), 16):
        batch = candidates[start : start + 16]
        tokens, lead, margin = greedy(reference, batch)
        for i in np.flatnonzero((lead >= MARGIN) & (margin >= ROUTER_MARGIN)):
            # Distinct continuations only: random models like to fall into one loop.
            if all((tokens[i, -8:] != other[-8:]).any() for other in answers):
                ids.append(batch[i])
                answers.append(tokens[i])
                leads.append(lead[i])
                margins.append(margin[i])
            if len(ids) == count:
                return np.array(ids), np.array(answers), min(leads), min(margins)
    sys.exit(f"only {len(ids)} of {count} decisive prompts")


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)


def main():
    rows = []
    for name, config in random_checkpoints.CHECKPOINTS.items():
        folder = FIXTURES / name
        random_checkpoints.write(name, folder)
        reference = Reference(folder)
        random = np.random.default_rng(config["_seed"])
        candidates = random.integers(0, config["vocab_size"], (256, 20)).astype(np.int32)
        ids, tokens, lead, _ = decisive(reference, candidates, 3)
        logits, experts, margins = reference(ids)
        save(folder / "ids.npy", ids)
        save(folder / "logits.npy", logits)
        save(folder / "greedy.npy", tokens)
        save(folder / "trace.npy", experts)
        rows.append((name, ids.shape, np.abs(logits).max(), lead, margins.min()))
        print(*rows[-1], flush=True)

    for name in ("tiny-olmoe-16x8", "tiny-olmoe-32x12"):
        folder = FIXTURES / name
        reference = Reference(MODELS / name)
        windows = np.load(MODELS / name / "tokens.code.npy")
        candidates = np.concatenate([windows[:, i : i + 24] for i in (0, 48, 96, 24, 72)])
        ids, tokens, lead, _ = decisive(reference, candidates, 3)
        logits, experts, margins = reference(ids)
        positions = np.array([0, 11, 23], dtype=np.int32)
        save(folder / "ids.npy", ids)
        save(folder / "positions.npy", positions)
        save(folder / "logits.npy", logits[:, positions])
        save(folder / "greedy.npy", tokens)
        rows.append((name, ids.shape, np.abs(logits).max(), lead, margins.min()))
        print(*rows[-1], flush=True)
        for domain in ("code", "kjv"):
            windows = np.load(MODELS / name / f"tokens.{domain}.npy")
            windows = windows if domain == "code" else windows[:8]
            _, experts, margins = reference(windows)
            margins = margins.reshape(windows.shape).min(1)
            decided = margins >= TRACE_MARGIN
            save(folder / f"trace.{domain}.npy", experts)
            save(folder / f"decided.{domain}.npy", decided.astype(np.uint8))
            rows.append((f"{name}: trace.{domain}, all", windows.shape, None, None, margins.min()))
            shape = (int(decided.sum()), 128)
            rows.append(
                (f"{name}: trace.{domain}, decided", shape, None, None, margins[decided].min())
            )
            print(*rows[-1], flush=True)

    lines = [
        "| files of | prompts | logits' scale | least lead of the best token / scale "
        "| least router margin (probability) |",
        "|---|---|---|---|---|",
    ]
    for name, shape, scale, lead, margin in rows:
        cells = ["–" if v is None else f"{v:.3g}" for v in (scale, lead, margin)]
        lines.append(f"| {name} | {shape[0]} × {shape[1]} | " + " | ".join(cells) + " |")
    lines.append(
        f"\ntorch {torch.__version__}, transformers {transformers.__version__}, "
        f"numpy {np.__version__}."
    )
    (FIXTURES / "MARGINS.md").write_text(
        "# How decided the references are\n\n" + "\n".join(lines) + "\n"
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
