#!/usr/bin/env python3
"""Reads TensorRT-LLM's moe_load_balancer with PyYAML, its own reader, and the class's rules.

    yaml_load.py FILE --map MAP --layers 1,2,4,5

MAP is the same plan by `colocate convert --to vllm-map`. TensorRT-LLM's package needs a GPU to be
imported; what its strict class MoeLoadBalancerConfig accepts is compared by name and type.
"""
import argparse
import json

import yaml

parser = argparse.ArgumentParser()
parser.add_argument("file")
parser.add_argument("--map", required=True)
parser.add_argument("--layers", required=True)
arguments = parser.parse_args()
with open(arguments.file, encoding="utf-8") as file:
    config = yaml.safe_load(file)
with open(arguments.map, encoding="utf-8") as file:
    plan = json.load(file)
layers = [int(layer) for layer in arguments.layers.split(",")]
assert set(config) == {"num_slots", "initial_global_assignments", "layer_updates_per_iter"}
assert config["num_slots"] == len(plan[0]) and config["layer_updates_per_iter"] == 0
assert config["initial_global_assignments"] == dict(zip(layers, plan, strict=True))
print(f"ACCEPTED by PyYAML: {len(plan)} layers, {len(plan[0])} slots (TensorRT-LLM's rules)")
