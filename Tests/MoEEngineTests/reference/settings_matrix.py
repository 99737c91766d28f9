"""Every setting that the engine accepts, compared with Hugging Face transformers on random
weights.

    pip install torch transformers safetensors numpy
    cd Tests/MoEEngineTests/reference
    python settings_matrix.py                               # writes Fixtures/settings
    python settings_matrix.py --engine ENGINE --random 400  # ENGINE: the program colocate-engine

The first form writes a few small checkpoints with `save_pretrained`, and for each a list of
changes to its config.json with the logits that transformers computes from the changed folder;
the Swift tests compare the engine with them. The second form draws whole checkpoints at random
(family, sizes, type, layout of the experts, settings), runs both programs on each and prints how
far they are apart.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
import transformers
from transformers import AutoModelForCausalLM, MixtralConfig, OlmoeConfig, Qwen3MoeConfig
from transformers import MixtralForCausalLM, OlmoeForCausalLM, Qwen3MoeForCausalLM

HERE = Path(__file__).resolve().parent
FIXTURES = HERE.parent / "Fixtures" / "settings"
CLASSES = {
    "mixtral": (MixtralConfig, MixtralForCausalLM),
    "qwen3_moe": (Qwen3MoeConfig, Qwen3MoeForCausalLM),
    "olmoe": (OlmoeConfig, OlmoeForCausalLM),
}
MARGIN = 2e-5  # least probability by which a router's choice and its rank must be decided
TOLERANCE = 1e-4  # of the logits' scale

# The kept checkpoints: family, type, whether the experts are fused on disk, settings.
BASES = {
    "mixtral-5": ("mixtral", "bfloat16", False, dict(num_local_experts=4, num_experts_per_tok=2)),
    "mixtral-5-fused": (
        "mixtral",
        "float32",
        True,
        dict(num_local_experts=4, num_experts_per_tok=2, head_dim=8),
    ),
    "qwen3-moe-5": (
        "qwen3_moe",
        "bfloat16",
        False,
        dict(num_experts=6, num_experts_per_tok=3, head_dim=8),
    ),
    "qwen3-moe-5-fused": (
        "qwen3_moe",
        "float16",
        True,
        dict(
            num_experts=4,
            num_experts_per_tok=2,
            head_dim=6,
            norm_topk_prob=True,
            tie_word_embeddings=True,
        ),
    ),
    "olmoe-5": (
        "olmoe",
        "bfloat16",
        False,
        dict(num_experts=6, num_experts_per_tok=2, clip_qkv=0.4),
    ),
    "olmoe-5-fused": (
        "olmoe",
        "float32",
        True,
        dict(num_experts=4, num_experts_per_tok=2, num_key_value_heads=2, norm_topk_prob=True),
    ),
}

# What any config.json may have without a difference.
HARMLESS = {
    "qkv_bias": False,
    "unsloth_fixed": True,
    "unsloth_version": "2025.1",
    "auto_map": {"AutoConfig": "a.B"},
    "quantization_config": None,
    "device_map": "auto",
    "use_grouped_mm": True,
    "_moe_implementation": "fused",
    "router_z_loss_coef": 0.001,
    "load_balance_coeff": 0.001,
    "chunk_size_feed_forward": 16,
    "shared_expert_intermediate_size": 0,
    "num_shared_experts": None,
    "torch_dtype": "float32",
    "attention_dropout": 0.1,
    "output_router_logits": True,
    "router_aux_loss_coef": 0.5,
    "use_cache": False,
    "_name_or_path": "somewhere",
    "is_decoder": True,
    "tokenizer_class": "X",
    "pretraining_tp": 1,
    "temperature": 0.7,
    "top_p": 0.9,
    "max_length": 20,
    "eos_token_id": [1, 2],
    "pad_token_id": 0,
    "neftune_noise_alpha": 5,
    "initializer_range": 0.5,
    "id2label": {"0": "a"},
    "label2id": {"a": 0},
    "model_max_length": 77,
    "transformers.js_config": {"dtype": "q4"},
    "scoring_func": "softmax",
    "routed_scaling_factor": 1.0,
    "n_group": 1,
    "hidden_act": "swish",
    "use_qk_norm": None,
    "max_position_embeddings": 64,
    "sliding_window": None,
    "use_sliding_window": False,
    "layer_types": ["full_attention"] * 2,
    "mlp_bias": False,
    "rope_scaling": None,
}


def cases(family, settings):
    """Changes to config.json: (name, what is set, what is removed)."""
    yield "as saved", {}, []
    for name, value in HARMLESS.items():
        yield f"{name} = {json.dumps(value)}", {name: value}, []
    for name in (
        "rms_norm_eps",
        "tie_word_embeddings",
        "hidden_act",
        "attention_bias",
        "bos_token_id",
        "transformers_version",
        "norm_topk_prob",
        "use_cache",
        "max_position_embeddings",
    ):
        # Without the tie, a checkpoint without lm_head.weight has no output head.
        if name != "tie_word_embeddings" or not settings.get(name):
            yield f"without {name}", {}, [name]
    for epsilon in (1e-6, 1e-3, 0.1):
        yield f"rms_norm_eps = {epsilon}", {"rms_norm_eps": epsilon}, []
    yield "without rope", {}, ["rope_parameters"]
    yield "rope_parameters = null", {"rope_parameters": None}, []
    yield "rope_theta in the old place", {"rope_theta": 500.0, "rope_scaling": None}, [
        "rope_parameters"
    ]
    yield "rope_theta an integer", {"rope_theta": 500}, ["rope_parameters"]
    yield "rope_theta new", {"rope_parameters": {"rope_type": "default", "rope_theta": 300.0}}, []
    yield "rope_theta in both places", {
        "rope_theta": 300,
        "rope_parameters": {"rope_type": "default", "rope_theta": 300.0},
    }, []
    yield "rope_scaling of default type", {
        "rope_theta": 500.0,
        "rope_scaling": {"type": "default"},
    }, ["rope_parameters"]
    for k in range(1, 4):
        for normalises in (False, True):
            yield (
                f"num_experts_per_tok = {k}, norm_topk_prob = {normalises}",
                {"num_experts_per_tok": k, "norm_topk_prob": normalises},
                [],
            )
    for clip in (None, 0.05, 0.3, 1.0, 8.0):
        for theta in (50.0, 1e4):
            yield (
                f"clip_qkv = {clip}, rope_theta = {theta}",
                {
                    "clip_qkv": clip,
                    "rope_parameters": {"rope_type": "default", "rope_theta": theta},
                },
                [],
            )
    experts = settings.get("num_experts", settings.get("num_local_experts"))
    yield "num_experts", {"num_experts": experts}, ["num_local_experts"]
    yield "num_local_experts", {"num_local_experts": experts}, ["num_experts"]
    yield "both names of the experts", {"num_experts": experts, "num_local_experts": experts}, []
    if family == "mixtral":
        yield "sliding_window beyond the positions", {
            "sliding_window": 64,
            "max_position_embeddings": 64,
        }, []
        if "head_dim" not in settings:
            yield "without head_dim", {}, ["head_dim"]
            yield "head_dim said", {"head_dim": 6}, []
        yield "router_jitter_noise", {"router_jitter_noise": 0.1}, []
        yield "use_qk_norm = false", {"use_qk_norm": False}, []
    else:
        yield "use_qk_norm", {"use_qk_norm": True}, []
    if family == "qwen3_moe":
        yield "sliding_window that is not used", {
            "sliding_window": 2,
            "use_sliding_window": False,
            "max_window_layers": 1,
        }, []
        yield "mlp_only_layers = null", {"mlp_only_layers": None}, []
        yield "decoder_sparse_step absent", {}, [
            "decoder_sparse_step",
            "mlp_only_layers",
            "intermediate_size",
        ]
        yield "intermediate_size", {"intermediate_size": 7}, []
    if family == "olmoe":
        if "num_key_value_heads" not in settings:
            yield "num_key_value_heads = null", {"num_key_value_heads": None}, []
            yield "without num_key_value_heads", {}, ["num_key_value_heads"]


def build(family, dtype, fused, settings, seed, folder):
    """Saves a model with random weights whose router has preferences."""
    configuration, model_class = CLASSES[family]
    common = dict(
        vocab_size=32,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
        eos_token_id=None,
        bos_token_id=None,
        pad_token_id=None,
    )
    if family != "olmoe":
        common["num_key_value_heads"] = 2
    common["moe_intermediate_size" if family == "qwen3_moe" else "intermediate_size"] = 8
    torch.manual_seed(seed)
    model = model_class(configuration(**{**common, **settings}))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                parameter.copy_(1 + 0.2 * torch.randn_like(parameter))
            else:
                gain = 3 if "gate.weight" in name else 1 if "embed" in name else 1.5
                width = 1 if "embed" in name else parameter.shape[-1]
                parameter.copy_(gain * torch.randn_like(parameter) / width**0.5)
    shutil.rmtree(folder, ignore_errors=True)
    model.to(getattr(torch, dtype)).save_pretrained(folder, save_original_format=not fused)
    for extra in ("generation_config.json",):
        (Path(folder) / extra).unlink(missing_ok=True)


def changed(base, folder, settings, removed):
    """A folder with the weights of `base` and its config.json changed."""
    shutil.rmtree(folder, ignore_errors=True)
    Path(folder).mkdir(parents=True)
    config = json.loads((base / "config.json").read_text())
    config.update(settings)
    for name in removed:
        config.pop(name, None)
    (Path(folder) / "config.json").write_text(json.dumps(config, indent=2))
    (Path(folder) / "model.safetensors").symlink_to(base / "model.safetensors")


@torch.no_grad()
def answer(folder, ids):
    """transformers' logits, and the least probability by which a choice or its rank is decided."""
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager"
    ).eval()
    routers = []
    for layer in model.model.layers:
        layer.mlp.gate.register_forward_hook(
            lambda module, inputs, outputs: routers.append(torch.softmax(outputs[0].float(), -1))
        )
    logits = model(input_ids=torch.as_tensor(ids, dtype=torch.long), use_cache=False).logits.numpy()
    k = model.config.num_experts_per_tok
    best = torch.stack(routers, 1)
    best = best.topk(min(k + 1, best.shape[-1]), -1).values
    margin = (best[..., :-1] - best[..., 1:]).amin().item() if best.shape[-1] > 1 else 1.0
    return logits, margin


def engine(program, folder, ids, work):
    """The engine's logits, or its complaint."""
    np.save(work / "ids.npy", ids)
    done = subprocess.run(
        [
            program,
            "logits",
            "--model",
            str(folder),
            "--tokens",
            str(work / "ids.npy"),
            "-o",
            str(work / "l.npy"),
        ],
        capture_output=True,
        text=True,
    )
    return np.load(work / "l.npy") if done.returncode == 0 else done.stderr.strip()


def difference(mine, theirs):
    return float(np.abs(mine - theirs).max() / np.abs(theirs).max())


def write_fixtures(program):
    for name, (family, dtype, fused, settings) in BASES.items():
        with tempfile.TemporaryDirectory() as place:
            work = Path(place)
            for seed in range(100):
                base = work / "base"
                build(family, dtype, fused, settings, seed, base)
                ids = np.random.default_rng(seed).integers(0, 32, (2, 5)).astype(np.int32)
                answers, least = [], 1.0
                for case, change, removed in cases(family, settings):
                    changed(base, work / "case", change, removed)
                    logits, margin = answer(work / "case", ids)
                    answers.append((case, change, removed, logits))
                    least = min(least, margin)
                    if least < MARGIN:
                        break
                if least >= MARGIN:
                    break
            else:
                sys.exit(f"{name}: no seed decides every case")
            folder = FIXTURES / name
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            for file in ("config.json", "model.safetensors"):
                shutil.copy(base / file, folder / file)
            np.save(folder / "ids.npy", ids)
            np.save(folder / "logits.npy", np.stack([logits for *_, logits in answers]))
            listed = [
                {"name": case, "set": change, "remove": removed}
                for case, change, removed, _ in answers
            ]
            (folder / "cases.json").write_text(
                "[\n" + ",\n".join(json.dumps(one) for one in listed) + "\n]\n"
            )
            print(
                f"{name}: seed {seed}, {len(listed)} cases, least router margin {least:.1e}",
                flush=True,
            )
            if program:
                worst, failed = 0.0, 0
                for case, change, removed, logits in answers:
                    changed(base, work / "case", change, removed)
                    mine = engine(program, work / "case", ids, work)
                    if isinstance(mine, str):
                        print("  REFUSED", case, mine)
                        failed += 1
                        continue
                    worst = max(worst, difference(mine, logits))
                    if difference(mine, logits) > TOLERANCE:
                        print(f"  DIFFERS {case}: {difference(mine, logits):.1e}")
                        failed += 1
                print(
                    f"  largest difference {worst:.1e} of the logits' scale, {failed} failed",
                    flush=True,
                )


def draw(random):
    """A checkpoint and a change of its config.json, at random."""

    def pick(*values):
        return values[random.integers(len(values))]

    family = pick(*CLASSES)
    heads = int(pick(2, 4, 6))
    experts = int(pick(2, 4, 8))
    settings = dict(
        vocab_size=int(pick(16, 33, 64)),
        num_hidden_layers=int(pick(1, 2, 3)),
        num_attention_heads=heads,
        hidden_size=heads * int(pick(2, 4, 8, 10)),
        rms_norm_eps=float(pick(1e-6, 1e-5, 1e-3, 0.1)),
        rope_theta=float(pick(20.0, 1e4, 1e6)),
        tie_word_embeddings=bool(pick(False, False, True)),
        num_key_value_heads=int(pick(*(n for n in (1, 2, heads) if heads % n == 0))),
        num_experts_per_tok=int(pick(*range(1, min(experts, 4) + 1))),
    )
    settings["num_local_experts" if family == "mixtral" else "num_experts"] = experts
    settings["moe_intermediate_size" if family == "qwen3_moe" else "intermediate_size"] = int(
        pick(3, 8, 17)
    )
    if family != "olmoe" and pick(False, True):
        settings["head_dim"] = int(pick(2, 4, 6, 16))
    if family == "olmoe":
        settings["clip_qkv"] = pick(None, 0.05, 0.5, 2.0)
    if family != "mixtral":
        settings["norm_topk_prob"] = bool(pick(False, True))
    change, removed = {}, []
    for name in random.choice(list(HARMLESS), 6, replace=False):
        if name not in ("layer_types", "hidden_act", "rope_scaling", "max_position_embeddings"):
            change[str(name)] = HARMLESS[str(name)]
    if pick(False, True):
        change["clip_qkv" if family != "olmoe" else "num_local_experts"] = (
            0.1 if family != "olmoe" else experts
        )
    for name in ("rms_norm_eps", "norm_topk_prob", "tie_word_embeddings"):
        if pick(False, False, True) and not (name == "tie_word_embeddings" and settings[name]):
            removed.append(name)
    return (
        family,
        str(pick("float32", "float16", "bfloat16")),
        bool(pick(False, True)),
        settings,
        change,
        removed,
    )


def compare_random(program, count, seed):
    figures = {family: [] for family in CLASSES}
    undecided, failed = 0, 0
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        for i in range(count):
            random = np.random.default_rng((seed, i))
            family, dtype, fused, settings, change, removed = draw(random)
            build(family, dtype, fused, settings, i, work / "base")
            changed(work / "base", work / "case", change, removed)
            ids = random.integers(
                0, settings["vocab_size"], (int(random.integers(1, 4)), int(random.integers(1, 40)))
            ).astype(np.int32)
            logits, margin = answer(work / "case", ids)
            mine = engine(program, work / "case", ids, work)
            if isinstance(mine, str):
                print(f"case {i} REFUSED: {family} {settings} {change} {removed}: {mine}")
                failed += 1
            elif margin < 1e-6:
                undecided += 1
            else:
                figures[family].append(difference(mine, logits))
                if figures[family][-1] > TOLERANCE:
                    print(
                        f"case {i} DIFFERS by {figures[family][-1]:.1e}: {family} {dtype} {fused} "
                        f"{settings} {change} {removed} margin {margin}"
                    )
                    failed += 1
    for family, values in figures.items():
        print(
            f"{family}: {len(values)} cases, largest difference {max(values):.1e} of the "
            "logits' scale"
        )
    print(
        f"{undecided} cases with a router margin below 1e-6 left out, {failed} failed "
        f"(seed {seed}; torch {torch.__version__}, transformers {transformers.__version__})"
    )
    return failed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--engine")
    parser.add_argument(
        "--random", type=int, help="compare this many checkpoints drawn at random, write nothing"
    )
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.random:
        sys.exit(1 if compare_random(options.engine, options.random, options.seed) else 0)
    write_fixtures(options.engine)


if __name__ == "__main__":
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    main()
