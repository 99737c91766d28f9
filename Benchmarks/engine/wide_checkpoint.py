"""A random OLMoE checkpoint with widths of real models, where the matrix products rule.

It is in bfloat16 and takes about 0.8 GB.

    python wide_checkpoint.py OUT_FOLDER [--hidden 1024] [--width 1024] [--layers 2]

64 experts, top-8, heads of 64. The vocabulary is the bundled checkpoints' 2,048, so that the
output head does not outweigh the few layers.
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file


def write(folder, hidden=1024, width=1024, layers=2, experts=64, k=8, vocabulary=2048, seed=7):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "architectures": ["OlmoeForCausalLM"],
        "model_type": "olmoe",
        "dtype": "bfloat16",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "clip_qkv": None,
        "hidden_act": "silu",
        "hidden_size": hidden,
        "intermediate_size": width,
        "max_position_embeddings": 512,
        "norm_topk_prob": False,
        "num_attention_heads": hidden // 64,
        "num_experts": experts,
        "num_experts_per_tok": k,
        "num_hidden_layers": layers,
        "num_key_value_heads": hidden // 64,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "vocab_size": vocabulary,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "pad_token_id": 0,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    generator = torch.Generator().manual_seed(seed)

    def matrix(rows, columns, gain=1.0):
        values = torch.randn(rows, columns, generator=generator)
        return values.mul_(gain / columns**0.5).to(torch.bfloat16)

    ones = lambda: torch.ones(hidden, dtype=torch.bfloat16)
    weights = {"model.embed_tokens.weight": matrix(vocabulary, hidden, hidden**0.5)}
    for layer in range(layers):
        at = f"model.layers.{layer}."
        for name in (
            "input_layernorm",
            "post_attention_layernorm",
            "self_attn.q_norm",
            "self_attn.k_norm",
        ):
            weights[at + name + ".weight"] = ones()
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            weights[f"{at}self_attn.{name}.weight"] = matrix(hidden, hidden)
        weights[at + "mlp.gate.weight"] = matrix(experts, hidden, 2)
        for expert in range(experts):
            name = f"{at}mlp.experts.{expert}."
            weights[name + "gate_proj.weight"] = matrix(width, hidden, 2)
            weights[name + "up_proj.weight"] = matrix(width, hidden, 2)
            weights[name + "down_proj.weight"] = matrix(hidden, width, 2)
    weights["model.norm.weight"] = ones()
    weights["lm_head.weight"] = matrix(vocabulary, hidden, 2)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--hidden", type=int, default=1024)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--layers", type=int, default=2)
    arguments = parser.parse_args()
    write(arguments.folder, arguments.hidden, arguments.width, arguments.layers)
