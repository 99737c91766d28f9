#!/usr/bin/env python3
"""Lets DeepEP's own reference dispatch count what `colocate evaluate` prints.

    git show dd758caf:deep_ep/utils/refs.py > refs.py      # github deepseek-ai/DeepEP, MIT
    deepep_destinations.py refs.py --colocate .build/release/colocate

One gloo process stands for each GPU; token t starts on GPU t mod P. For every layer the reference
sends each token once to every GPU that has one of its experts. What arrives is added up: tokens
received (destinations) and experts asked for (load), for each GPU and layer, and compared with
`evaluate` number by number. Traces are random with a preference, plans contiguous and solved.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import types

import numpy
import torch
import torch.distributed
import torch.multiprocessing

# Tokens, layers, experts, choices, GPUs.
SHAPES = [(512, 4, 16, 4, 4), (400, 3, 32, 8, 8), (300, 5, 12, 2, 3), (256, 2, 64, 6, 2)]


def reference(path):
    """DeepEP's module; its two own imports are a seed and a rounded division."""
    with open(path, encoding="utf-8") as file:
        source = re.sub(r"^from \.(envs|math) import .*$", "", file.read(), flags=re.M)
    module = types.ModuleType("refs")
    module.get_global_seed = lambda: 0
    module.ceil_div = lambda a, b: -(-a // b)
    exec(compile(source, path, "exec"), module.__dict__)
    return module


def rank(me, gpus, refs, trace, plan, port, output):
    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=me, world_size=gpus)
    torch.set_num_threads(1)
    deepep = reference(refs)
    ids = numpy.load(trace).astype(numpy.int64)
    tokens, layers, choices = ids.shape
    with open(plan, encoding="utf-8") as file:
        assignment = numpy.array(json.load(file)["assignment"])
    experts = assignment.shape[1]
    mine = ids[numpy.arange(me, tokens, gpus)]
    counted = numpy.zeros((2, layers), dtype=numpy.int64)
    for layer in range(layers):
        # DeepEP's experts are slots, E / P of them on each GPU in order.
        slot = numpy.empty(experts, dtype=numpy.int64)
        slot[numpy.argsort(assignment[layer], kind="stable")] = numpy.arange(experts)
        received, indices, *_ = deepep.dispatch(
            torch.zeros(len(mine), 1), torch.from_numpy(slot[mine[:, layer]]),
            torch.zeros(len(mine), choices), len(mine), experts)
        counted[:, layer] = len(received), int((indices >= 0).sum())
    parts = [torch.zeros((2, layers), dtype=torch.int64) for _ in range(gpus)]
    torch.distributed.all_gather(parts, torch.from_numpy(counted))
    if me == 0:
        table = torch.stack(parts)
        with open(output, "w", encoding="utf-8") as file:
            json.dump({"received": table[:, 0].tolist(), "load": table[:, 1].tolist()}, file)
    torch.distributed.destroy_process_group()


def make_trace(path, shape, seed):
    tokens, layers, experts, choices, _ = shape
    generator = numpy.random.default_rng(seed)
    favour = generator.gamma(1.0, size=(layers, experts)) + 0.05
    rows = numpy.stack([
        numpy.stack([generator.choice(experts, choices, replace=False, p=p / p.sum())
                     for p in favour]) for _ in range(tokens)])
    numpy.save(path, rows.astype(numpy.uint8))


def make_plan(path, shape, colocate, trace):
    """None: contiguous; otherwise the solver's."""
    _, layers, experts, _, gpus = shape
    if colocate is not None:
        subprocess.run(
            [colocate, "solve", trace, "--gpus", str(gpus), "--experts", str(experts),
             "--time-limit", "3", "--quiet", "-o", path], check=False)
        return
    row = [expert * gpus // experts for expert in range(experts)]
    with open(path, "w", encoding="utf-8") as file:
        json.dump({
            "format": "colocate-plan", "version": 1, "layers": layers, "experts": experts,
            "topology": {"nodes": 1, "gpus_per_node": gpus}, "assignment": [row] * layers}, file)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("refs")
    parser.add_argument("--colocate", required=True)
    parser.add_argument("--port", type=int, default=29541)
    arguments = parser.parse_args()
    colocate, failed = os.path.abspath(arguments.colocate), 0
    for seed, shape in enumerate(SHAPES):
        tokens, layers, experts, choices, gpus = shape
        for kind in ("contiguous", "solved"):
            with tempfile.TemporaryDirectory() as folder:
                trace, plan = f"{folder}/trace.npy", f"{folder}/plan.json"
                make_trace(trace, shape, seed)
                make_plan(plan, shape, colocate if kind == "solved" else None, trace)
                output = f"{folder}/counted.json"
                torch.multiprocessing.spawn(
                    rank, (gpus, arguments.refs, trace, plan, arguments.port, output),
                    nprocs=gpus)
                with open(output, encoding="utf-8") as file:
                    counted = json.load(file)
                result = subprocess.run(
                    [colocate, "evaluate", plan, trace, "--experts", str(experts), "--json"],
                    check=True, text=True, capture_output=True)
                said = json.loads(result.stdout)
                received = numpy.array(counted["received"]).sum()
                ours = said["gpus_per_token_and_layer"] * tokens * layers
                load = numpy.array(counted["load"]).T.tolist()
                agrees = abs(ours - received) < 1e-6 * received and (
                    said["load"]["per_layer"] == load)
                failed += not agrees
                print(
                    f"DeepEP, {tokens} tokens × {layers} layers × {choices} of {experts} on "
                    f"{gpus} GPUs, {kind}: {received} tokens received, evaluate says {ours:.0f}; "
                    f"loads {'alike' if load == said['load']['per_layer'] else 'DIFFER'}: "
                    f"{'ACCEPTED' if agrees else 'REFUSED'}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
