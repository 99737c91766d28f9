#!/usr/bin/env python3
"""Loads an expert map with vLLM-Ascend's own eplb_utils.py (no NPU).

    ascend_load.py EPLB_UTILS FILE --experts E --gpus P

EPLB_UTILS is vllm_ascend/eplb/core/eplb_utils.py of 0.23.0. PyPI has only a source package,
which pip cannot prepare without the NPU's tool chain, so fetch.sh does not bring it.
"""
import argparse
import json
import logging
from types import SimpleNamespace as Names

import torch

import stubs

parser = argparse.ArgumentParser()
parser.add_argument("code")
parser.add_argument("file")
parser.add_argument("--experts", type=int, required=True)
parser.add_argument("--gpus", type=int, required=True)
arguments = parser.parse_args()
torch.Tensor.npu = lambda self: self
for name in ("vllm", "vllm.model_executor", "vllm.model_executor.layers",
             "vllm.model_executor.layers.fused_moe"):
    stubs.package(name)
stubs.module("vllm.logger", logger=logging.getLogger("vllm"))
stubs.module(
    "vllm.model_executor.layers.fused_moe.expert_map_manager", determine_expert_map=None)
utilities = stubs.load("eplb_utils", arguments.code)
with open(arguments.file, encoding="utf-8") as file:
    layers = json.load(file)["moe_layer_count"]
configuration = Names(
    expert_map_path=arguments.file, dynamic_eplb=False, num_redundant_experts=0)
experts, gpus = arguments.experts, arguments.gpus
for layer in range(layers):
    for rank in range(gpus):
        held, _, chosen, redundant = utilities.init_eplb_config(
            configuration, layer, Names(num_experts=experts, ep_size=gpus, ep_rank=rank),
            tp_size=None)
        slots = (experts + redundant) // gpus
        owner = torch.full((slots * gpus,), -1, dtype=torch.long)
        for gpu in range(gpus):
            for expert in range(experts):
                if held[gpu, expert] >= 0:
                    owner[gpu * slots + held[gpu, expert]] = expert
        assert torch.equal(owner[chosen.long()], torch.arange(experts)), (layer, rank)
print(f"ACCEPTED by vLLM-Ascend: {layers} layers, {experts} experts, {redundant} redundant, "
      f"{gpus} ranks")
