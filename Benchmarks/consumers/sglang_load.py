#!/usr/bin/env python3
"""Loads a placement with SGLang's own code: expert_location.py and expert_location_dispatch.py.

    sglang_load.py DIR/sglang FILE --layers H --experts E --gpus P [--redundant R] [--a2a none]

Configuration and model class are stubs. SGLang's compute_initial_expert_location_metadata reads
the file for every rank; then its topk_ids_logical_to_physical sends every expert, and the slot it
chooses must hold that expert.
"""
import argparse
import importlib
from types import SimpleNamespace as Names

import torch

import stubs


def surround(arguments):
    """What the two modules import, as after SGLang's start with --init-expert-location."""
    stubs.package("sglang", arguments.root + "/sglang")
    stubs.package("sglang.srt", arguments.root + "/sglang/srt")
    stubs.package("sglang.srt.elastic_ep")
    stubs.module("sglang.srt.elastic_ep.elastic_ep", elastic_expanded_world_enabled=lambda: False)
    algorithm = "dynamic" if arguments.a2a == "none" else "static"
    moe = Names(
        init_expert_location=arguments.file, ep_num_redundant_experts=arguments.redundant,
        ep_dispatch_algorithm=algorithm, moe_a2a_backend=arguments.a2a, ep_join_mode=None,
        eplb_algorithm="auto", is_ep_scale_joiner=False)
    parallel = Names(
        ep_size=arguments.gpus, nnodes=arguments.nodes, elastic_ep_initial_size=None,
        tp_size=arguments.gpus, ep_join_rank_offset=0)
    resources = Names(expert_location_metadata=None, expert_distribution_recorder=None)
    stubs.module(
        "sglang.srt.runtime_context", get_exec=lambda: Names(moe=moe),
        get_parallel=lambda: parallel, get_device=lambda: Names(device="cpu"),
        get_resources=lambda: resources)
    return resources


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("root")
    parser.add_argument("file")
    for name in ("layers", "experts", "gpus"):
        parser.add_argument("--" + name, type=int, required=True)
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--redundant", type=int, default=0)
    parser.add_argument("--a2a", default="deepep")
    arguments = parser.parse_args()
    resources = surround(arguments)
    location = importlib.import_module("sglang.srt.eplb.expert_location")
    dispatch = importlib.import_module("sglang.srt.eplb.expert_location_dispatch")

    class Model:
        @classmethod
        def get_model_config_for_expert_location(cls, _):
            return location.ModelConfigForExpertLocation(
                num_layers=arguments.layers, num_logical_experts=arguments.experts,
                num_groups=None)

    stubs.module("sglang.srt.model_loader", get_model_architecture=lambda _: (Model, "Model"))
    experts = arguments.experts
    shape = (arguments.layers, experts + arguments.redundant)
    for rank in range(arguments.gpus):
        metadata = location.compute_initial_expert_location_metadata(
            Names(hf_config=None), moe_ep_rank=rank)
        slots = metadata.physical_to_logical_map
        assert tuple(slots.shape) == shape, (tuple(slots.shape), shape)
        resources.expert_location_metadata = metadata
        ids = torch.arange(experts, dtype=torch.int32).view(-1, 1)
        for layer in range(arguments.layers):
            information = dispatch.ExpertLocationDispatchInfo.init_new(layer)
            chosen = dispatch.topk_ids_logical_to_physical(ids.clone(), information)
            held = slots[layer][chosen.long()].view(-1)
            assert torch.equal(held, ids.view(-1).long()), f"layer {layer}, rank {rank}"
    print(f"ACCEPTED by SGLang: {shape[0]} layers, {shape[1]} slots, {experts} experts, "
          f"{arguments.gpus} ranks, dispatch over {arguments.a2a}")


main()
