#!/usr/bin/env python3
"""Lets every stack's own loader judge what `colocate convert` writes.

    fetch.sh DIR
    run.py DIR --colocate .build/release/colocate [--ascend eplb_utils.py] [--deepep refs.py]
           [--output results.md]
    run.py --only PyYAML --colocate .build/release/colocate       # needs PyYAML alone, a second

Plans of several sizes, dense layers among them, with and without replicas; exit code 1 where a
loader does not accept one, or where DeepEP's dispatch counts something else than `evaluate`.
"""
import argparse
import datetime
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version

HERE = os.path.dirname(os.path.abspath(__file__))
# Hidden layers, MoE layers, experts, GPUs, redundant experts.
SHAPES = [
    (6, [1, 2, 4, 5], 16, 4, 0),
    (6, [1, 2, 4, 5], 16, 4, 4),
    (4, [0, 1, 2, 3], 8, 2, 0),
    (61, list(range(3, 61)), 256, 8, 0),
    (61, list(range(3, 61)), 256, 8, 32),
]


def write_plan(path, layers, experts, gpus, redundant, seed):
    generator = random.Random(seed)
    slots = []
    for _ in layers:
        row = list(range(experts)) + generator.sample(range(experts), redundant)
        # No GPU holds an expert twice: vLLM-Ascend would miscount its slots.
        held = len(row) // gpus
        while True:
            generator.shuffle(row)
            if all(len(set(row[g:g + held])) == held for g in range(0, len(row), held)):
                break
        slots.append(row)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(slots, file)


def judges(directory, ascend, folder, shape):
    """Name, command and environment of every judge that can hold such a plan."""
    hidden, layers, experts, gpus, redundant = shape
    sizes = ["--experts", experts, "--gpus", gpus]
    sglang = ["sglang_load.py", f"{directory}/sglang", f"{folder}/sglang.json", *sizes,
              "--layers", hidden, "--redundant", redundant]
    path = {"PYTHONPATH": os.pathsep.join([f"{directory}/vllm", f"{HERE}/vllm_plugin"])}
    yield "SGLang 0.5.23, DeepEP", "sglang", [*sglang, "--a2a", "deepep"], {}
    yield "SGLang 0.5.23, no a2a", "sglang", [*sglang, "--a2a", "none"], {}
    if len(layers) < 10:
        for kind, name in (("vllm", "plan.jsonl"), ("vllm-map", "map.json")):
            yield f"vLLM 0.33.0, {kind}", kind, ["vllm_load.py", f"{folder}/{name}", *sizes], path
    if redundant == 0:
        yield "LMDeploy 0.18.0", "lmdeploy", [
            "lmdeploy_load.py", f"{directory}/lmdeploy", f"{folder}/lmdeploy.json", "--gpus", gpus,
            "--map", f"{folder}/all.json"], {}
    yield "PyYAML (TensorRT-LLM's rules)", "tensorrt-llm", [
        "yaml_load.py", f"{folder}/plan.yaml", "--map", f"{folder}/map.json", "--layers",
        ",".join(map(str, layers))], {}
    if ascend:
        yield "vLLM-Ascend 0.23.0", "vllm-ascend", [
            "ascend_load.py", ascend, f"{folder}/ascend.json", *sizes], {}


def convert(colocate, folder, shape):
    """Writes the plan in every format."""
    hidden, layers, experts, gpus, redundant = shape

    def run(source, *arguments):
        subprocess.run(
            [colocate, "convert", f"{folder}/{source}", "--gpus", str(gpus), "--quiet",
             *map(str, arguments)], check=True)

    moe = ["--moe-layers", ",".join(map(str, layers)), "--hidden-layers", hidden]
    for kind, name in (
            ("sglang", "sglang.json"), ("tensorrt-llm", "plan.yaml"), ("vllm", "plan.jsonl"),
            ("vllm-map", "map.json"), ("vllm-ascend", "ascend.json")):
        run("random.json", *moe, "--to", kind, "-o", f"{folder}/{name}")
    if redundant == 0:
        run("random.json", *moe, "--to", "lmdeploy", "-o", f"{folder}/lmdeploy.json")
        # LMDeploy's file has a row for every hidden layer: read it back as it packs them.
        run("lmdeploy.json", "--from", "lmdeploy", "--to", "vllm-map", "-o", f"{folder}/all.json")
        with open(f"{folder}/all.json", encoding="utf-8") as file:
            packed = json.load(file)
        with open(f"{folder}/map.json", encoding="utf-8") as file:
            assert [packed[layer] for layer in layers] == json.load(file)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", nargs="?", default=".")
    parser.add_argument("--colocate", required=True)
    parser.add_argument("--ascend", help="vllm_ascend/eplb/core/eplb_utils.py")
    parser.add_argument("--deepep", help="deep_ep/utils/refs.py")
    parser.add_argument("--only", default="", help="judges whose names start so")
    parser.add_argument("--output")
    arguments = parser.parse_args()
    directory = os.path.abspath(arguments.directory)
    rows, failed = [], 0
    for seed, shape in enumerate(SHAPES):
        with tempfile.TemporaryDirectory() as folder:
            write_plan(f"{folder}/random.json", *shape[1:], seed)
            convert(os.path.abspath(arguments.colocate), folder, shape)
            for name, _, command, environment in judges(
                    directory, arguments.ascend, folder, shape):
                if not name.startswith(arguments.only):
                    continue
                start = time.monotonic()
                result = subprocess.run(
                    [sys.executable, *map(str, command)], cwd=HERE, text=True,
                    capture_output=True, env={**os.environ, **environment}, timeout=600)
                lines = [line for line in result.stdout.splitlines() if "ACCEPTED" in line]
                accepted = result.returncode == 0 and len(lines) == 1
                failed += not accepted
                verdict = lines[0] if accepted else f"REFUSED: {result.stderr[-300:]}"
                print(f"{name}: {verdict}", flush=True)
                hidden, layers, experts, gpus, redundant = shape
                rows.append(
                    f"| {name} | {len(layers)} of {hidden} | {experts} + {redundant} | {gpus} | "
                    f"{'accepted' if accepted else 'REFUSED'} | "
                    f"{time.monotonic() - start:.0f} s |")
    dispatch = []
    if arguments.deepep:
        result = subprocess.run(
            [sys.executable, f"{HERE}/deepep_destinations.py", arguments.deepep, "--colocate",
             arguments.colocate], text=True, capture_output=True, timeout=600)
        dispatch = [line for line in result.stdout.splitlines() if line.startswith("DeepEP")]
        failed += result.returncode != 0
        print(result.stdout + result.stderr[-300:], flush=True)
    print(f"{len(rows) - sum('REFUSED' in row for row in rows)} of {len(rows)} accepted")
    if arguments.output:
        with open(arguments.output, "w", encoding="utf-8") as file:
            file.write(report(rows, dispatch))
    sys.exit(1 if failed or not rows else 0)


def torch_version():
    try:
        return f"torch {version('torch')}"
    except PackageNotFoundError:
        return "no torch"


def report(rows, dispatch):
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    return "\n".join([
        "# What `colocate convert` writes, judged by the stacks' own loaders", "",
        f"{now}; Python {platform.python_version()}, {torch_version()}, on a CPU. "
        "Command: `Benchmarks/consumers/run.py`.", "",
        "| judge | MoE layers | experts + redundant | GPUs | | time |",
        "|---|---|---|---:|---|---:|", *rows, "", *[f"* {line}" for line in dispatch], ""])


if __name__ == "__main__":
    main()
