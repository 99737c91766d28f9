"""Tiny random checkpoints in the layout in which people publish the three families.

Nothing is saved through transformers: names, shapes and config.json follow the published
checkpoints (one tensor per expert and matrix), so that reading them tests a reader against the
real layout. Weights are seeded and scaled so that activations keep their size and the router has
preferences.
"""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def common(**values):
    """Settings that every family spells alike."""
    return {
        "attention_dropout": 0.0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_act": "silu",
        "initializer_range": 0.02,
        "max_position_embeddings": 256,
        "use_cache": True,
        **values,
    }


# One entry per checkpoint. `_` settings steer this script and do not go into config.json.
CHECKPOINTS = {
    # GQA 6:2, head_dim 16 although hidden / heads = 8, untied, rope_theta in the old place.
    "random-mixtral": common(
        architectures=["MixtralForCausalLM"],
        model_type="mixtral",
        torch_dtype="bfloat16",
        vocab_size=128,
        hidden_size=48,
        intermediate_size=24,
        num_hidden_layers=3,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=16,
        num_local_experts=8,
        num_experts_per_tok=2,
        rms_norm_eps=1e-5,
        rope_theta=1000000.0,
        sliding_window=None,
        tie_word_embeddings=False,
        router_aux_loss_coef=0.02,
        output_router_logits=False,
        _seed=11,
    ),
    # Top-1 under Mixtral's renormalisation (the weight is exactly 1), no head_dim, new rope
    # spelling.
    "random-mixtral-top1": common(
        architectures=["MixtralForCausalLM"],
        model_type="mixtral",
        dtype="float32",
        vocab_size=96,
        hidden_size=32,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_local_experts=8,
        num_experts_per_tok=1,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_theta": 10000.0, "rope_type": "default"},
        sliding_window=None,
        tie_word_embeddings=False,
        _seed=12,
    ),
    # q/k norm per head, head_dim 16 ≠ 32 / 4, norm_topk_prob true, float16.
    "random-qwen3-moe": common(
        architectures=["Qwen3MoeForCausalLM"],
        model_type="qwen3_moe",
        torch_dtype="float16",
        attention_bias=False,
        decoder_sparse_step=1,
        mlp_only_layers=[],
        vocab_size=160,
        hidden_size=32,
        intermediate_size=96,
        moe_intermediate_size=24,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        num_experts=8,
        num_experts_per_tok=3,
        norm_topk_prob=True,
        rms_norm_eps=1e-6,
        rope_theta=1000000.0,
        rope_scaling=None,
        sliding_window=None,
        use_sliding_window=False,
        max_window_layers=3,
        tie_word_embeddings=False,
        _seed=13,
    ),
    # The same family with tied embeddings, no renormalisation, new rope spelling, float32.
    "random-qwen3-moe-tied": common(
        architectures=["Qwen3MoeForCausalLM"],
        model_type="qwen3_moe",
        dtype="float32",
        attention_bias=False,
        decoder_sparse_step=1,
        mlp_only_layers=[],
        vocab_size=96,
        hidden_size=32,
        intermediate_size=96,
        moe_intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=12,
        num_experts=8,
        num_experts_per_tok=4,
        norm_topk_prob=False,
        rms_norm_eps=1e-6,
        rope_parameters={"rope_theta": 50000.0, "rope_type": "default"},
        sliding_window=None,
        use_sliding_window=False,
        tie_word_embeddings=True,
        _seed=14,
    ),
    # Several shards with an index, GQA, norms and router in float32 beside bfloat16 matrices.
    "random-olmoe-sharded": common(
        architectures=["OlmoeForCausalLM"],
        model_type="olmoe",
        torch_dtype="bfloat16",
        attention_bias=False,
        clip_qkv=None,
        vocab_size=128,
        hidden_size=48,
        intermediate_size=24,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_experts=8,
        num_experts_per_tok=2,
        norm_topk_prob=False,
        rms_norm_eps=1e-5,
        rope_theta=10000.0,
        rope_scaling=None,
        tie_word_embeddings=False,
        router_aux_loss_coef=0.01,
        output_router_logits=False,
        _seed=15,
        _shards=3,
        _float32=("norm", "mlp.gate."),
    ),
}


def tensors(config):
    """Every tensor of the checkpoint, float32, in the order of the forward pass."""
    random = np.random.default_rng(config["_seed"])

    def matrix(rows, columns, gain=1.0):
        return torch.from_numpy(
            (random.standard_normal((rows, columns)) * gain / columns**0.5).astype(np.float32)
        )

    def norm(width):
        return torch.from_numpy((1 + 0.2 * random.standard_normal(width)).astype(np.float32))

    family = config["model_type"]
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    kv_heads, head = config["num_key_value_heads"], config.get("head_dim", hidden // heads)
    experts = config.get("num_experts", config.get("num_local_experts"))
    width = config.get("moe_intermediate_size", config["intermediate_size"])
    block, parts = {
        "mixtral": ("block_sparse_moe", ("w1", "w3", "w2")),
        "qwen3_moe": ("mlp", ("gate_proj", "up_proj", "down_proj")),
        "olmoe": ("mlp", ("gate_proj", "up_proj", "down_proj")),
    }[family]

    yield "model.embed_tokens.weight", matrix(config["vocab_size"], hidden, gain=hidden**0.5)
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        yield at + "input_layernorm.weight", norm(hidden)
        yield at + "self_attn.q_proj.weight", matrix(heads * head, hidden, gain=1.5)
        yield at + "self_attn.k_proj.weight", matrix(kv_heads * head, hidden, gain=1.5)
        yield at + "self_attn.v_proj.weight", matrix(kv_heads * head, hidden)
        yield at + "self_attn.o_proj.weight", matrix(hidden, heads * head)
        if family == "olmoe":  # over the whole width
            yield at + "self_attn.q_norm.weight", norm(heads * head)
            yield at + "self_attn.k_norm.weight", norm(kv_heads * head)
        if family == "qwen3_moe":  # one head's width, shared by all heads
            yield at + "self_attn.q_norm.weight", norm(head)
            yield at + "self_attn.k_norm.weight", norm(head)
        yield at + "post_attention_layernorm.weight", norm(hidden)
        yield at + f"{block}.gate.weight", matrix(experts, hidden, gain=2)
        for expert in range(experts):
            name = at + f"{block}.experts.{expert}."
            yield name + parts[0] + ".weight", matrix(width, hidden, gain=2)
            yield name + parts[1] + ".weight", matrix(width, hidden, gain=2)
            yield name + parts[2] + ".weight", matrix(hidden, width, gain=2)
    yield "model.norm.weight", norm(hidden)
    if not config["tie_word_embeddings"]:
        yield "lm_head.weight", matrix(config["vocab_size"], hidden, gain=2)


def write(name, folder):
    """Writes checkpoint `name` of the table above to `folder`."""
    config = CHECKPOINTS[name]
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    public = {key: value for key, value in config.items() if not key.startswith("_")}
    (folder / "config.json").write_text(json.dumps(public, indent=2) + "\n")

    dtype = DTYPES[config.get("dtype", config.get("torch_dtype"))]
    wide = config.get("_float32", ())
    weights = {
        key: value.to(torch.float32 if any(part in key for part in wide) else dtype)
        for key, value in tensors(config)
    }
    shards = config.get("_shards", 1)
    if shards == 1:
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        return
    # Cut in the middle of layers on purpose: a layer's tensors may lie in two files.
    names = list(weights)
    where = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        part = names[shard * len(names) // shards : (shard + 1) * len(names) // shards]
        save_file({key: weights[key] for key in part}, folder / file, metadata={"format": "pt"})
        where.update({key: file for key in part})
    size = sum(value.numel() * value.element_size() for value in weights.values())
    index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(where.items()))}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")
