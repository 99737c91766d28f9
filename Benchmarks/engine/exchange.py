"""The engine's exchange time in decode steps against bare MPI_Alltoallv calls of the same counts.

    python exchange.py --engine .build/release/colocate-engine [--ranks 2] [--batches 16 64 256] [--output NAME]

Runs `generate --timings` (home mode, contiguous experts), records the routes of the tokens it made with `trace`, derives from
them how many rows every rank sends to every other in each step and layer, and replays those exchanges with mpi4py
(exchange_bare.py). The engine's time contains what the bare calls do not: telling the counts, packing and unpacking, and waiting for
the slower rank; use as many idle cores as ranks.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from compare import HERE, ROOT, environment, machine, prompts


def run(command):
    done = subprocess.run([str(part) for part in command], env=environment(), capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stderr[-2000:]}")
    return done.stdout


def rows_between_ranks(routes, ranks, experts):
    """routes [sequences, steps, layers, k] → rows [steps, layers, from, to]: a row goes once to each other rank
    that has one of its token's experts; sequence s lives on rank s mod ranks."""
    sequences, steps, layers, _ = routes.shape
    target = routes.astype(int) // (experts // ranks)
    counts = np.zeros((steps, layers, ranks, ranks), np.int32)
    for rank in range(ranks):
        goes = (target == rank).any(-1)  # [sequences, steps, layers]
        for home in range(ranks):
            if home != rank:
                counts[:, :, home, rank] = goes[home::ranks].sum(0)
    return counts


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--engine", default=ROOT / ".build" / "release" / "colocate-engine")
    parser.add_argument("--models", nargs="+", default=["tiny-olmoe-16x8", "tiny-olmoe-32x12"])
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--batches", nargs="+", type=int, default=[16, 64, 256])
    parser.add_argument("--new", type=int, default=33)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", default="/tmp/colocate-bench")
    parser.add_argument("--output")
    arguments = parser.parse_args()
    work = Path(arguments.work)
    work.mkdir(parents=True, exist_ok=True)
    mpirun = ["mpirun", "-n", arguments.ranks]
    lines = [
        f"# Exchange of decode steps, home mode, {arguments.ranks} ranks", "", machine(), "",
        "| model | batch | rows sent per step | engine: collectives + packing, µs/step | bare Alltoallv, µs/step | ratio |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for model in arguments.models:
        folder = ROOT / "instances" / "models" / model
        config = json.loads((folder / "config.json").read_text())
        layers, k = config["num_hidden_layers"], config["num_experts_per_tok"]
        for batch in arguments.batches:
            ids = prompts(model, batch, 32, work)
            tokens, trace, counts_file = (work / f"exchange-{name}.npy" for name in ("tokens", "trace", "counts"))
            common = ["--model", folder, "--mode", "home"]
            seconds = (np.inf, 0)
            for _ in range(arguments.rounds):
                figures = json.loads(run([*mpirun, arguments.engine, "generate", *common, "--tokens", ids, "--new",
                                          arguments.new, "-o", tokens, "--json", "--timings"]))
                collectives, packing = (
                    figures["shares"][part] * figures["decodeSeconds"] for part in ("collectives", "packing"))
                seconds = min(seconds, (collectives + packing, collectives))
            made = np.load(tokens)
            run([arguments.engine, "trace", *common, "--tokens", tokens, "-o", trace])
            routes = np.load(trace).reshape(batch, made.shape[1], layers, -1)
            steps = slice(32, made.shape[1] - 1)  # the decode steps' inputs
            counts = rows_between_ranks(routes[:, steps], arguments.ranks, config["num_experts"])
            np.save(counts_file, counts)
            bare = min(
                float(run([*mpirun, sys.executable, HERE / "exchange_bare.py", counts_file,
                           config["hidden_size"] + 2 * k, config["hidden_size"]]))
                for _ in range(arguments.rounds))
            n = len(counts)
            lines.append(
                f"| {model} | {batch} | {counts.sum() / n:.0f} | {seconds[0] / n * 1e6:.0f} "
                f"({seconds[1] / n * 1e6:.0f} + {(seconds[0] - seconds[1]) / n * 1e6:.0f}) | {bare / n * 1e6:.0f} "
                f"| {seconds[0] / bare:.2f} |")
            print(lines[-1], file=sys.stderr, flush=True)
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.output:
        Path(arguments.output).with_suffix(".md").write_text(text)


if __name__ == "__main__":
    main()
