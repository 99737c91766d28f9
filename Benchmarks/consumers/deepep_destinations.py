#!/usr/bin/env python3
"""Lets DeepEP's own reference dispatch count what `colocate evaluate` prints.

    git show dd758caf:deep_ep/utils/refs.py > refs.py      # github deepseek-ai/DeepEP, MIT
    deepep_destinations.py refs.py --colocate .build/release/colocate

One gloo process stands for each GPU; token t starts on GPU t mod P. For every layer the reference
sends each token once to every GPU that has one of its experts. What arrives is added up for each
GPU and layer: tokens received are the destinations, experts asked for are the load. Then once more
with a process for each node, which holds the experts of all its GPUs: tokens received are the
nodes. All of it must be what `evaluate` prints, number by number.

The traces are gpt-oss-20b's bundled top-4 routes, under plans of home mode that were solved on
other sequences (by GPUs, and staged over nodes), and random ones with a preference.
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

INSTANCES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../instances")
# Tokens, layers, experts, choices, GPUs.
RANDOM = [(512, 4, 16, 4, 4), (400, 3, 32, 8, 8), (301, 5, 12, 2, 3), (256, 2, 64, 6, 2)]
# GPUs, nodes, objective.
HOME = [(4, 1, "flat"), (8, 2, "staged")]


def reference(path):
    """DeepEP's module; its two own imports are a seed and a rounded division."""
    with open(path, encoding="utf-8") as file:
        source = re.sub(r"^from \.(envs|math) import .*$", "", file.read(), flags=re.M)
    module = types.ModuleType("refs")
    module.get_global_seed = lambda: 0
    module.ceil_div = lambda a, b: -(-a // b)
    exec(compile(source, path, "exec"), module.__dict__)
    return module


def rank(me, ranks, refs, trace, plan, port, output):
    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=me, world_size=ranks)
    torch.set_num_threads(1)
    deepep = reference(refs)
    ids = numpy.load(trace).astype(numpy.int64)
    tokens, layers, choices = ids.shape
    with open(plan, encoding="utf-8") as file:
        assignment = numpy.array(json.load(file)["assignment"])
    experts = assignment.shape[1]
    mine = ids[numpy.arange(me, tokens, ranks)]
    counted = numpy.zeros((2, layers), dtype=numpy.int64)
    for layer in range(layers):
        # DeepEP's experts are slots, as many on each rank, in order: of GPUs or of whole nodes.
        slot = numpy.empty(experts, dtype=numpy.int64)
        slot[numpy.argsort(assignment[layer], kind="stable")] = numpy.arange(experts)
        received, indices, *_ = deepep.dispatch(
            torch.zeros(len(mine), 1), torch.from_numpy(slot[mine[:, layer]]),
            torch.zeros(len(mine), choices), -(-tokens // ranks), experts)
        counted[:, layer] = len(received), int((indices >= 0).sum())
    parts = [torch.zeros((2, layers), dtype=torch.int64) for _ in range(ranks)]
    torch.distributed.all_gather(parts, torch.from_numpy(counted))
    if me == 0:
        table = torch.stack(parts)
        with open(output, "w", encoding="utf-8") as file:
            json.dump({"received": table[:, 0].tolist(), "load": table[:, 1].tolist()}, file)
    torch.distributed.destroy_process_group()


def count(ranks, refs, trace, plan, port):
    """What the reference delivers, to each rank in each layer: tokens, and experts asked for."""
    with tempfile.TemporaryDirectory() as folder:
        output = f"{folder}/counted.json"
        torch.multiprocessing.spawn(
            rank, (ranks, refs, trace, plan, port, output), nprocs=ranks)
        with open(output, encoding="utf-8") as file:
            counted = json.load(file)
    return numpy.array(counted["received"]).T, numpy.array(counted["load"]).T


def make_trace(path, shape, seed):
    tokens, layers, experts, choices, _ = shape
    generator = numpy.random.default_rng(seed)
    favour = generator.gamma(1.0, size=(layers, experts)) + 0.05
    rows = numpy.stack([
        numpy.stack([generator.choice(experts, choices, replace=False, p=p / p.sum())
                     for p in favour]) for _ in range(tokens)])
    numpy.save(path, rows.astype(numpy.uint8))


def contiguous(path, layers, experts, gpus):
    row = [expert * gpus // experts for expert in range(experts)]
    with open(path, "w", encoding="utf-8") as file:
        json.dump({
            "format": "colocate-plan", "version": 1, "layers": layers, "experts": experts,
            "topology": {"nodes": 1, "gpus_per_node": gpus}, "assignment": [row] * layers}, file)


def solve(colocate, trace, plan, experts, gpus, *more):
    code = subprocess.run(
        [colocate, "solve", trace, "--gpus", str(gpus), "--experts", str(experts), "--quiet",
         "-o", plan, *more], check=False).returncode
    # 4: a limit came before the proof, the plan is there.
    assert code in (0, 4), code


def judge(name, colocate, refs, port, trace, plan, experts):
    """Whether `evaluate` prints what the reference counts; says so in a line."""
    result = subprocess.run(
        [colocate, "evaluate", plan, trace, "--experts", str(experts), "--json"],
        check=True, text=True, capture_output=True)
    said = json.loads(result.stdout)
    nodes, on_each = said["topology"]["nodes"], said["topology"]["gpus_per_node"]
    sent = said["destinations"]
    received, load = count(nodes * on_each, refs, trace, plan, port)
    agrees = sent["gpus_per_layer"] == received.sum(1).tolist()
    agrees &= said["load"]["per_layer"] == load.tolist()
    text = f"{received.sum()} tokens received by GPUs, evaluate says {sent['gpus']}"
    if nodes > 1:
        by_node, node_load = count(nodes, refs, trace, plan, port)
        agrees &= sent["nodes_per_layer"] == by_node.sum(1).tolist()
        agrees &= (load.reshape(len(load), nodes, on_each).sum(2) == node_load).all()
        text += f"; {by_node.sum()} by nodes, evaluate says {sent['nodes']}"
    print(
        f"DeepEP, {name}: {text}; loads of {load.size} GPUs and layers: "
        f"{'ACCEPTED' if agrees else 'REFUSED'}", flush=True)
    return bool(agrees)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("refs")
    parser.add_argument("--colocate", required=True)
    parser.add_argument("--port", type=int, default=29541)
    arguments = parser.parse_args()
    colocate, accepted = os.path.abspath(arguments.colocate), []
    with tempfile.TemporaryDirectory() as folder:
        trace, plan = f"{folder}/trace.npy", f"{folder}/plan.json"

        def agree(name, trace, experts):
            accepted.append(judge(
                name, colocate, arguments.refs, arguments.port, trace, plan, experts))

        train, test = (f"{INSTANCES}/gpt-oss-20b-{part}-top4.npy" for part in ("train", "test"))
        contiguous(plan, 24, 32, 4)
        agree("gpt-oss-20b top-4 on 4 GPUs, contiguous", test, 32)
        for gpus, nodes, objective in HOME:
            solve(colocate, train, plan, 32, gpus, "--mode", "home", "--nodes", str(nodes),
                  "--objective", objective, "--time-limit", "20")
            machines = f"{gpus} GPUs of {nodes} node{'s' if nodes > 1 else ''}"
            agree(f"gpt-oss-20b top-4 on {machines}, home mode, {objective}", test, 32)
        for seed, shape in enumerate(RANDOM):
            tokens, layers, experts, choices, gpus = shape
            make_trace(trace, shape, seed)
            for kind in ("contiguous", "solved"):
                if kind == "solved":
                    solve(colocate, trace, plan, experts, gpus, "--time-limit", "3")
                else:
                    contiguous(plan, layers, experts, gpus)
                agree(f"{tokens} tokens × {layers} layers × {choices} of {experts}, {gpus} GPUs, "
                      f"{kind}", trace, experts)
    print(f"{sum(accepted)} of {len(accepted)} accepted")
    sys.exit(0 if all(accepted) else 1)


if __name__ == "__main__":
    main()
