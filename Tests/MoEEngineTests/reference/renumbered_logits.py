"""Renumbered checkpoints under Hugging Face transformers: the same logits, the renumbered routes.

    pip install torch transformers safetensors
    python Tests/MoEEngineTests/reference/renumbered_logits.py .build/release/colocate

For each family a tiny random model is saved as people publish it and with its experts fused, where
transformers offers both; `colocate renumber` makes a copy under a random plan; both are loaded and
read the same tokens, in float32. One line for each: the largest difference of a logit over the
logits' scale, and of how many chosen experts the new number is not the old one's (0 is right).
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM

COMMON = dict(
    vocab_size=97, hidden_size=32, intermediate_size=48, num_hidden_layers=3,
    num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
    num_experts_per_tok=3, pad_token_id=0, bos_token_id=1, eos_token_id=2,
)
LATENT = dict(
    kv_lora_rank=16, q_lora_rank=None, qk_rope_head_dim=8, qk_nope_head_dim=8, v_head_dim=8,
    num_key_value_heads=4, head_dim=8, first_k_dense_replace=1, moe_intermediate_size=16,
    n_routed_experts=16, n_shared_experts=1, norm_topk_prob=True,
)
FAMILIES = {
    "olmoe": dict(num_experts=16),
    "mixtral": dict(num_local_experts=16),
    "qwen2_moe": dict(num_experts=16, moe_intermediate_size=16, shared_expert_intermediate_size=16,
                      mlp_only_layers=[1]),
    "qwen3_moe": dict(num_experts=16, moe_intermediate_size=16, head_dim=8),
    "deepseek_v2": dict(LATENT, n_group=4, topk_group=2, topk_method="group_limited_greedy"),
    "deepseek_v3": dict(LATENT, n_group=4, topk_group=2),
    "gpt_oss": dict(num_local_experts=16, head_dim=8, sliding_window=16),
    "glm4_moe": dict(n_routed_experts=16, n_shared_experts=1, moe_intermediate_size=16, head_dim=8,
                     first_k_dense_replace=1, n_group=1, topk_group=1),
    "glm4_moe_lite": dict(LATENT, q_lora_rank=16, n_group=1, topk_group=1),
    "granitemoe": dict(num_local_experts=16),
    "granitemoeshared": dict(num_local_experts=16, shared_intermediate_size=16),
    "granitemoehybrid": dict(num_local_experts=16, shared_intermediate_size=16,
                             layer_types=["mamba", "attention", "mamba"], mamba_n_heads=8,
                             mamba_d_state=8),
}
GPUS = 4


def plan(layers, experts, groups, generator):
    """A plan for GPUS GPUs that keeps groups together, and its JSON."""
    size = experts // groups
    rows = []
    for _ in range(layers):
        order = [
            group * size + expert
            for group in torch.randperm(groups, generator=generator).tolist()
            for expert in torch.randperm(size, generator=generator).tolist()
        ]
        row = [0] * experts
        for slot, expert in enumerate(order):
            row[expert] = slot * GPUS // experts
        rows.append(row)
    return dict(
        format="colocate-plan", version=1, layers=layers, experts=experts,
        topology=dict(nodes=1, gpus_per_node=GPUS), assignment=rows)


@torch.no_grad()
def answer(folder, ids):
    """Logits in float32, and the chosen experts [layers, tokens, k] as the routers give them."""
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager"
    ).eval()
    routes = []

    def note(module, inputs, outputs):
        chosen = [o for o in outputs if torch.is_tensor(o) and not o.is_floating_point()]
        routes.extend(chosen[:1])

    for name, module in model.named_modules():
        if name.endswith((".gate", ".router")) and "TopkRouter" in type(module).__name__.replace(
            "TopK", "Topk"
        ):
            module.register_forward_hook(note)
    return model(input_ids=ids, use_cache=False).logits, routes


def main():
    program = Path(sys.argv[1]).resolve()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    print(f"torch {torch.__version__}, transformers {transformers.__version__}")
    ids = torch.randint(3, 97, (4, 24), generator=torch.Generator().manual_seed(1))
    for number, (family, settings) in enumerate(FAMILIES.items()):
        torch.manual_seed(number)
        config = AutoConfig.for_model(family, **{**COMMON, **settings})
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
        # Wide enough for the routers to differ between tokens.
        for name, tensor in list(model.named_parameters()) + list(model.named_buffers()):
            if "e_score_correction_bias" in name or name.endswith("router.bias"):
                tensor.data.normal_(0, 0.1)
            elif tensor.dim() > 1:
                tensor.data.normal_(0, 0.15)
        for fused in (False, True):
            with tempfile.TemporaryDirectory() as folder:
                folder = Path(folder)
                source, target = folder / "model", folder / "renumbered"
                model.save_pretrained(source, save_original_format=not fused, max_shard_size="100KB")
                logits, routes = answer(source, ids)
                (folder / "plan.json").write_text(
                    json.dumps(
                        plan(len(routes), 16, settings.get("n_group", 1),
                             torch.Generator().manual_seed(number))))
                subprocess.run(
                    [program, "renumber", "--model", source, "--plan", folder / "plan.json",
                     "-o", target], check=True, stdout=subprocess.DEVNULL)
                new_logits, new_routes = answer(target, ids)
                rows = json.loads((target / "colocate.json").read_text())["slot_to_expert"]
                wrong = 0
                for (_, row), old, new in zip(
                    sorted(rows.items(), key=lambda r: int(r[0])), routes, new_routes, strict=True
                ):
                    back = torch.tensor(row)[new]
                    wrong += int((back.sort(-1).values != old.sort(-1).values).sum())
                scale = logits.abs().max()
                shards = len(list(source.glob("*.safetensors")))
                print(
                    f"{family:18}{'fused' if fused else 'published':11}{shards:3} files, "
                    f"{len(routes)} MoE layers: difference {(logits - new_logits).abs().max() / scale:.1e} "
                    f"of {scale:.2f}, routes wrong {wrong} of {sum(r.numel() for r in routes)}",
                    flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
