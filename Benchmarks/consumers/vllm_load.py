#!/usr/bin/env python3
"""Applies a placement with vLLM's own balancer: P processes over gloo, and weights that say whose
they are.

    PYTHONPATH=DIR/vllm:vllm_plugin vllm_load.py FILE --experts E --gpus P

vLLM's code that runs: the policy registry, rearrange_expert_weights_inplace, the communicator and
the commit of the maps. After the move every slot must hold the weights of the plan's expert.
"""
import argparse
import os
from types import SimpleNamespace as Names

import torch
import torch.distributed
import torch.multiprocessing


def work(rank, ranks, experts, path, port):
    os.environ["COLOCATE_PLAN"] = path
    import colocate_vllm_plugin
    import vllm.distributed.eplb.eplb_communicator as communicator
    import vllm.distributed.eplb.eplb_state as state
    import vllm.distributed.eplb.rebalance_execute as execute

    colocate_vllm_plugin.register()
    state.PIN_MEMORY = False
    communicator.is_local_first_rank = lambda: False
    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=ranks)
    group = torch.distributed.group.WORLD
    layers, slots = torch.tensor(colocate_vllm_plugin.read_plan(path)).shape
    mine = range(rank * (slots // ranks), (rank + 1) * (slots // ranks))
    start = state.EplbState.build_initial_global_physical_to_logical_map(experts, slots - experts)
    old = torch.tensor(list(start)).repeat(layers, 1)

    def mark(layer, expert, part):
        return float(expert + 1000 * layer) + 0.25 * part

    weights = [
        [torch.tensor([[mark(layer, int(old[layer, slot]), part)] * 3 for slot in mine])
         for part in range(2)]
        for layer in range(layers)]
    buffers = [torch.empty_like(weight) for weight in weights[0]]
    policy = state.EPLB_POLICIES["default"]
    new = policy.rebalance_experts(torch.ones(layers, experts), slots, 1, 1, ranks, old)
    execute.rearrange_expert_weights_inplace(
        old, new, weights, buffers, group, communicator.TorchDistNcclEplbCommunicator(group))
    maps = Names(
        physical_to_logical_map=old.clone(), physical_to_logical_map_buffer=None,
        logical_to_physical_map=torch.full((layers, experts, 1024), -1),
        logical_replica_count=torch.zeros(layers, experts, dtype=torch.long))
    state._commit_eplb_maps(maps, new)
    for layer in range(layers):
        for place, slot in enumerate(mine):
            for part in range(2):
                expected = mark(layer, int(new[layer, slot]), part)
                assert (weights[layer][part][place] == expected).all(), (layer, slot)
        back = new[layer][maps.logical_to_physical_map[layer, :, 0]]
        assert torch.equal(back, torch.arange(experts)), layer
    assert torch.equal(maps.physical_to_logical_map, new)
    assert int(maps.logical_replica_count.sum()) == layers * slots
    if rank == 0:
        print(f"ACCEPTED by vLLM: {layers} layers, {slots} slots, {experts} experts, "
              f"{ranks} ranks: weights and maps follow {policy.__name__}")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("--experts", type=int, required=True)
    parser.add_argument("--gpus", type=int, required=True)
    parser.add_argument("--port", type=int, default=29531)
    arguments = parser.parse_args()
    torch.multiprocessing.spawn(
        work, (arguments.gpus, arguments.experts, arguments.file, arguments.port),
        nprocs=arguments.gpus)
