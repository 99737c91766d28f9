"""Converts an OLMoE checkpoint folder to a float32 GGUF file for llama.cpp.

    python to_gguf.py MODEL_FOLDER OUT.gguf

Every weight is stored as float32 and the output head is written out even if the checkpoint ties
it to the embeddings (llama.cpp's OLMoE loader wants `output.weight`). There is no tokenizer in
the file ("no_vocab"): the comparison feeds token ids.
"""

import json
import sys
from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors import safe_open


def checkpoint_tensors(folder):
    """name → function that loads the tensor as float32."""
    found = {}
    for file in sorted(Path(folder).glob("*.safetensors")):
        handle = safe_open(file, "pt")
        for name in handle.keys():
            found[name] = lambda handle=handle, name=name: (
                handle.get_tensor(name).to(torch.float32).numpy()
            )
    return found


def convert(folder, output):
    config = json.loads((Path(folder) / "config.json").read_text())
    if config["model_type"] != "olmoe" or config.get("norm_topk_prob"):
        sys.exit("to_gguf.py: only OLMoE without norm_topk_prob")
    if config.get("clip_qkv") is not None:
        sys.exit("to_gguf.py: clip_qkv is not supported")
    load = checkpoint_tensors(folder)
    rope = config.get("rope_parameters") or config

    writer = gguf.GGUFWriter(str(output), "olmoe", use_temp_file=False)
    writer.add_name(Path(folder).name)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(rope.get("rope_theta", 10000.0))
    writer.add_expert_count(config["num_experts"])
    writer.add_expert_used_count(config["num_experts_per_tok"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("no_vocab")

    def add(name, tensor):
        writer.add_tensor(name + ".weight", np.ascontiguousarray(tensor, dtype=np.float32))

    embeddings = "model.embed_tokens.weight"
    add("token_embd", load[embeddings]())
    for layer in range(config["num_hidden_layers"]):
        at, to = f"model.layers.{layer}.", f"blk.{layer}."
        add(to + "attn_norm", load[at + "input_layernorm.weight"]())
        add(to + "ffn_norm", load[at + "post_attention_layernorm.weight"]())
        for part, name in (
            ("q_proj", "attn_q"),
            ("k_proj", "attn_k"),
            ("v_proj", "attn_v"),
            ("o_proj", "attn_output"),
            ("q_norm", "attn_q_norm"),
            ("k_norm", "attn_k_norm"),
        ):
            add(to + name, load[f"{at}self_attn.{part}.weight"]())
        add(to + "ffn_gate_inp", load[at + "mlp.gate.weight"]())
        for part in ("gate", "up", "down"):
            add(
                f"{to}ffn_{part}_exps",
                np.stack(
                    [
                        load[f"{at}mlp.experts.{expert}.{part}_proj.weight"]()
                        for expert in range(config["num_experts"])
                    ]
                ),
            )
    add("output_norm", load["model.norm.weight"]())
    add("output", load["lm_head.weight" if "lm_head.weight" in load else embeddings]())

    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    convert(*sys.argv[1:3])
