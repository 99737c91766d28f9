"""The engine's exchanges in decode steps against bare MPI_Alltoallv calls of the same rows.

    python exchange.py --engine .build/release/colocate-engine [--ranks 2]
                       [--batches 16 64 256] [--output NAME]

Runs `generate --compare-exchange` several times: the ranks start each exchange together, and
after the engine's own collective the same buffers go through MPI_Alltoallv once more, alone. The
engine's time contains choosing the ranks, packing, telling the counts, unpacking and adding. A
run's figures are sums over all exchanges, so a rank that the system puts aside shows in them:
the table gives the run with the least time of each kind, and the ratios of all runs.
"""

import argparse
import datetime
import json
import os
import subprocess
import sys
from pathlib import Path

from compare import ROOT, environment, machine, prompts


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--engine", default=ROOT / ".build" / "release" / "colocate-engine")
    parser.add_argument("--models", nargs="+", default=["tiny-olmoe-16x8", "tiny-olmoe-32x12"])
    parser.add_argument("--modes", nargs="+", default=["home", "coherent"])
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--batches", nargs="+", type=int, default=[16, 64, 256])
    parser.add_argument("--new", type=int, default=17)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--work", default="/tmp/colocate-bench")
    parser.add_argument("--output")
    arguments = parser.parse_args()
    work = Path(arguments.work)
    work.mkdir(parents=True, exist_ok=True)
    lines = [
        f"# Exchanges of decode steps, {arguments.ranks} ranks, contiguous experts",
        "",
        f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC; {machine()}. "
        f"Load average {os.getloadavg()[0]:.1f} before. µs per exchange, least of "
        f"{arguments.rounds} runs.",
        "",
        "| model | mode | batch | engine, µs | bare MPI_Alltoallv, µs | ratio | ratios of the runs "
        "|",
        "|---|---|---:|---:|---:|---:|---|",
    ]
    for model in arguments.models:
        for mode in arguments.modes:
            for batch in arguments.batches:
                command = [
                    "mpirun",
                    "-n",
                    arguments.ranks,
                    arguments.engine,
                    "generate",
                    "--model",
                    ROOT / "instances" / "models" / model,
                    "--tokens",
                    prompts(model, batch, 32, work),
                    "--new",
                    arguments.new,
                    "--mode",
                    mode,
                    "--compare-exchange",
                    "--json",
                ]
                engine, bare = [], []
                for _ in range(arguments.rounds):
                    done = subprocess.run(
                        [str(part) for part in command],
                        env=environment(),
                        capture_output=True,
                        text=True,
                        stdin=subprocess.DEVNULL,
                    )
                    if done.returncode != 0:
                        sys.exit(done.stderr[-2000:])
                    figures = json.loads(done.stdout)
                    engine.append(figures["exchange_seconds"] / figures["exchange_calls"] * 1e6)
                    bare.append(figures["bare_exchange_seconds"] / figures["exchange_calls"] * 1e6)
                ratios = sorted(one / other for one, other in zip(engine, bare))
                lines.append(
                    f"| {model} | {mode} | {batch} | {min(engine):.1f} | {min(bare):.1f} | "
                    f"{min(engine) / min(bare):.2f} | "
                    + " ".join(f"{ratio:.2f}" for ratio in ratios)
                    + " |"
                )
                print(lines[-1], file=sys.stderr, flush=True)
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.output:
        Path(arguments.output).with_suffix(".md").write_text(text)


if __name__ == "__main__":
    main()
