#!/usr/bin/env python3
"""Packs loads with LMDeploy's own nn/eplb.py and compares with the plan.

    lmdeploy_load.py DIR/lmdeploy FILE --gpus P --map MAP

FILE is what `colocate convert --to lmdeploy` wrote, MAP the same plan by `--to vllm-map` with a row
for every row of FILE. Every GPU must get the plan's experts, in the plan's order.
"""
import argparse
import json

import stubs

parser = argparse.ArgumentParser()
parser.add_argument("root")
parser.add_argument("file")
parser.add_argument("--gpus", type=int, required=True)
parser.add_argument("--map", required=True)
arguments = parser.parse_args()
with open(arguments.map, encoding="utf-8") as file:
    plan = json.load(file)
stubs.package("lmdeploy")
stubs.package("lmdeploy.pytorch")
stubs.module(
    "lmdeploy.pytorch.envs", eplb_experts_statistic_file=arguments.file, eplb_num_groups=1,
    eplb_num_redundant_experts=0, eplb_ranks_per_node=arguments.gpus + 1)
eplb = stubs.load("eplb", arguments.root + "/lmdeploy/pytorch/nn/eplb.py")
metadata = eplb.EPLBMetadata.init(
    ep_size=arguments.gpus, num_routed_experts=len(plan[0]), num_hidden_layers=len(plan))
packed = metadata.physical_to_logical_map.tolist()
for layer, (row, wanted) in enumerate(zip(packed, plan, strict=True)):
    assert row == wanted, f"layer {layer}: {row}, expected {wanted}"
print(f"ACCEPTED by LMDeploy: {len(plan)} layers, {len(plan[0])} experts, {arguments.gpus} ranks, "
      "packed into the plan")
