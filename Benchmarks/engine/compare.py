"""Colocate's engine, Hugging Face transformers and llama.cpp on the same checkpoints.

    python compare.py --engine .build/release/colocate-engine [--work DIR] [--rounds 3]
                      [--models …] [--batches …]
                      [--peers colocate,llama.cpp,llama.cpp-f32,huggingface]
                      [--output Benchmarks/results/NAME]

One thread each, float32 weights, the same prompts, greedy decoding. `llama.cpp` is its fastest
setting here and its default (KV cache in float16, flash attention); `llama.cpp-f32` keeps
everything in float32, as the others do. In every round each peer runs once, one after the other,
in processes of their own (llama.cpp-f32 and Hugging Face, far behind, in the first round only);
the best run counts, for every peer. Writes NAME.md and NAME.csv.
"""

import argparse
import csv
import datetime
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

# model → batch → (prompt positions, new tokens, runs in a process)
TINY = {1: (64, 192, 4), 16: (64, 64, 2), 64: (64, 32, 2), 256: (64, 16, 1)}
WIDE = {1: (64, 48, 2), 16: (32, 24, 1), 64: (16, 12, 1), 256: (16, 6, 1)}
MODELS = {"tiny-olmoe-16x8": TINY, "tiny-olmoe-32x12": TINY, "wide-olmoe": WIDE}


def environment():
    """The caller's, with one thread everywhere and no setting that picks a BLAS kernel."""
    values = dict(os.environ)
    for name in list(values):
        if name.startswith(("OPENBLAS_", "MKL_", "OMP_", "GOTO_", "BLIS_")):
            del values[name]
    values.update(
        OPENBLAS_NUM_THREADS="1",
        OMP_NUM_THREADS="1",
        MKL_NUM_THREADS="1",
        HF_HUB_OFFLINE="1",
        OMPI_ALLOW_RUN_AS_ROOT="1",
        OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
    )
    return values


def call(command, core):
    """Runs a peer on one core and returns the JSON object it prints."""
    if core is not None:
        command = ["taskset", "-c", str(core), *command]
    done = subprocess.run(
        [str(part) for part in command],
        env=environment(),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout[done.stdout.index("{") :])


class Peers:
    def __init__(self, arguments, work):
        self.engine, self.work, self.core = arguments.engine, work, arguments.core

    def folder(self, model):
        """The checkpoint's folder; the wide one is made on first use."""
        if model != "wide-olmoe":
            return ROOT / "instances" / "models" / model
        folder = self.work / model
        if not (folder / "model.safetensors").exists():
            subprocess.run([sys.executable, HERE / "wide_checkpoint.py", folder], check=True)
        return folder

    def gguf(self, model):
        path = self.work / f"{model}.gguf"
        if not path.exists():
            subprocess.run(
                [sys.executable, HERE / "to_gguf.py", self.folder(model), path], check=True
            )
        return path

    def colocate(self, model, ids, new, output, repeats):
        runs = [self.colocate_once(model, ids, new, output) for _ in range(repeats)]
        return {
            part: [
                [
                    run[f"{part}_seconds"],
                    run[f"{part}_seconds"]
                    * run[f"{part}_tokens_per_second"]
                    / run[f"{part}_tokens_per_computing_second"],
                ]
                for run in runs
            ]
            for part in ("prefill", "decode")
        }

    def colocate_once(self, model, ids, new, output, *options):
        return call(
            [
                self.engine,
                "generate",
                "--model",
                self.folder(model),
                "--tokens",
                ids,
                "--new",
                new,
                "-o",
                output,
                "--json",
                *options,
            ],
            self.core,
        )

    def blas_share(self, model, ids, new, output):
        """Share of the decode steps' time inside OpenBLAS.

        From a run of its own: reading clocks costs time.
        """
        times = self.colocate_once(model, ids, new, output, "--timings")
        return times["shares"]["blas"]

    def llama(self, model, ids, new, output, repeats, *options):
        return call(
            [
                sys.executable,
                HERE / "peer_llama.py",
                self.gguf(model),
                ids,
                new,
                output,
                repeats,
                *options,
            ],
            self.core,
        )

    def llama_default(self, *arguments):
        return self.llama(*arguments, "--flash", "1", "--half-cache")

    def llama_float32(self, *arguments):
        return self.llama(*arguments, "--flash", "0")

    def huggingface(self, model, ids, new, output, repeats):
        return call(
            [
                sys.executable,
                HERE / "peer_huggingface.py",
                self.folder(model),
                ids,
                new,
                output,
                1 if len(np.load(ids)) > 1 else 2,
            ],
            self.core,
        )


def prompts(model, sequences, positions, work):
    """Windows of the bundled texts as prompts [sequences, positions]."""
    source = "tiny-olmoe-16x8" if model == "wide-olmoe" else model
    folder = ROOT / "instances" / "models" / source
    text = np.concatenate(
        [np.load(folder / f"tokens.{name}.npy").ravel() for name in ("code", "kjv")]
    )
    # Spread over the texts, overlapping if need be.
    starts = np.linspace(0, len(text) - positions, sequences).astype(int)
    path = work / f"ids-{source}-{sequences}x{positions}.npy"
    np.save(path, np.stack([text[start : start + positions] for start in starts]).astype(np.int32))
    return path


def same(one, other, positions):
    """Share of sequences with the same first new token, and with the same whole continuation."""
    return np.mean(one[:, positions] == other[:, positions]), np.mean((one == other).all(1))


def measure(arguments, work, after_each):
    """One row per model, batch and peer; `after_each(rows)` after every batch."""
    peers = Peers(arguments, work)
    functions = {
        "colocate": peers.colocate,
        "llama.cpp": peers.llama_default,
        "llama.cpp-f32": peers.llama_float32,
        "huggingface": peers.huggingface,
    }
    rows = []
    for model in arguments.models:
        for batch in arguments.batches:
            positions, new, repeats = MODELS[model][batch]
            ids = prompts(model, batch, positions, work)
            times = {name: ([], []) for name in arguments.peers}
            answers = {}
            for round_ in range(arguments.rounds):
                for name in arguments.peers:
                    if name in ("llama.cpp-f32", "huggingface") and round_ > 0:
                        continue
                    output = work / f"out-{name}.npy"
                    result = functions[name](model, ids, new, output, repeats)
                    times[name][0].extend(result["prefill"])
                    times[name][1].extend(result["decode"])
                    answers[name] = np.load(output)
            blas = None
            if "colocate" in arguments.peers:
                blas = peers.blas_share(model, ids, new, work / "out-timings.npy")
            first = arguments.peers[0]
            for name in arguments.peers:
                equal = same(answers[first], answers[name], positions)
                prefill = batch * positions / np.min(times[name][0], 0)
                decode = batch * (new - 1) / np.min(times[name][1], 0)
                rows.append(
                    {
                        "model": model,
                        "batch": batch,
                        "prompt": positions,
                        "new": new,
                        "peer": name,
                        "prefill_wall": float(prefill[0]),
                        "prefill_cpu": float(prefill[1]),
                        "decode_wall": float(decode[0]),
                        "decode_cpu": float(decode[1]),
                        "runs": len(times[name][1]),
                        "first_token_equal": float(equal[0]),
                        "continuation_equal": float(equal[1]),
                        "blas_share_of_decode": blas if name == "colocate" else None,
                    }
                )
                print(
                    {
                        key: round(value, 4) if isinstance(value, float) else value
                        for key, value in rows[-1].items()
                    },
                    file=sys.stderr,
                    flush=True,
                )
            after_each(rows)
    return rows


def machine():
    model = next(
        (
            line.split(":")[1].strip()
            for line in open("/proc/cpuinfo")
            if line.startswith("model name")
        ),
        "?",
    )
    cache = (
        "".join(open("/sys/devices/system/cpu/cpu0/cache/index3/size").read().split())
        if Path("/sys/devices/system/cpu/cpu0/cache/index3/size").exists()
        else "?"
    )
    features = next(
        (line for line in open("/proc/cpuinfo") if line.startswith("flags")), ""
    ).split()
    simd = [name for name in ("avx", "avx2", "fma", "avx512f") if name in features]
    system = f"{platform.system()} {platform.release()}"
    return f"{model}, {os.cpu_count()} cores, L3 {cache}, {' '.join(simd)}; {system}"


def versions():
    from importlib.metadata import version

    return ", ".join(
        f"{name} {version(name)}" for name in ("torch", "transformers", "llama_cpp_python")
    )


def table(rows, arguments, clock):
    """Tokens per second by wall or CPU time, one line per model, batch and kind."""
    number = lambda value: f"{value:,.0f}" if value >= 10 else f"{value:.1f}"
    lines = [
        "| model | batch | prompt + new | | "
        + " | ".join(arguments.peers)
        + " | ÷ llama.cpp | BLAS |",
        "|---|---|---|---|" + "---:|" * (len(arguments.peers) + 2),
    ]
    for model in arguments.models:
        for batch in arguments.batches:
            cell = {
                row["peer"]: row for row in rows if row["model"] == model and row["batch"] == batch
            }
            if not cell:
                continue
            size = "{prompt} + {new}".format(**next(iter(cell.values())))
            for kind in ("decode", "prefill"):
                rates = {name: row[f"{kind}_{clock}"] for name, row in cell.items()}
                ratio = share = ""
                if {"colocate", "llama.cpp"} <= rates.keys():
                    ratio = f"{rates['colocate'] / rates['llama.cpp']:.2f}"
                if kind == "decode" and "colocate" in cell:
                    share = f"{cell['colocate']['blas_share_of_decode']:.0%}"
                lines.append(
                    f"| {model} | {batch} | {size} | {kind} | "
                    + " | ".join(number(rates[name]) for name in arguments.peers)
                    + f" | {ratio} | {share} |"
                )
    return lines


def report(rows, arguments, begin):
    lines = [
        "# Engine: one thread, float32 weights, against llama.cpp and Hugging Face",
        "",
        f"{begin:%Y-%m-%d %H:%M} UTC; {machine()}. {versions()}.",
        f"Load average {arguments.load_before} before, {os.getloadavg()[0]:.1f} after. "
        f"Best of {arguments.rounds} interleaved rounds (llama.cpp-f32 and Hugging Face: one), "
        "all sequences of a batch together. "
        "Command: `" + " ".join(["compare.py", *arguments.shown]) + "`.",
        "",
        "## Tokens per second of CPU time",
        "",
        "What the programs need, whatever else the machine does.",
        "",
        *table(rows, arguments, "cpu"),
        "",
        "## Tokens per second of wall time",
        "",
        *table(rows, arguments, "wall"),
        "",
        "llama.cpp: its defaults (KV cache in float16, flash attention), its fastest setting here; "
        "llama.cpp-f32: everything in float32, as Colocate and Hugging Face compute. "
        "BLAS: share of the decode steps' time inside OpenBLAS, from a run of its own with "
        "`--timings`.",
    ]
    for name in arguments.peers[1:]:
        mine = [row for row in rows if row["peer"] == name]
        batches = [row["batch"] for row in mine]
        first, whole = (
            np.average([row[key] for row in mine], weights=batches)
            for key in ("first_token_equal", "continuation_equal")
        )
        lines.append(
            f"{name} gives the same first new token as {arguments.peers[0]} in {first:.1%} of the "
            f"sequences and the same whole continuation in {whole:.1%}; the others part "
            "at near ties."
        )
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--engine", default=ROOT / ".build" / "release" / "colocate-engine")
    parser.add_argument(
        "--work", default="/tmp/colocate-bench", help="folder for converted checkpoints"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 16, 64, 256])
    parser.add_argument("--peers", default="colocate,llama.cpp,llama.cpp-f32,huggingface")
    parser.add_argument("--core", type=int, help="pin every peer to this core")
    parser.add_argument("--output", help="path of the tables, without extension")
    arguments = parser.parse_args()
    arguments.peers = arguments.peers.split(",")
    arguments.shown = [
        text if not Path(text).is_absolute() else Path(text).name for text in sys.argv[1:]
    ]
    arguments.load_before = f"{os.getloadavg()[0]:.1f}"
    work = Path(arguments.work)
    work.mkdir(parents=True, exist_ok=True)
    begin = datetime.datetime.now(datetime.timezone.utc)

    def write(rows):
        if not arguments.output:
            return
        path = Path(arguments.output)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".md").write_text(report(rows, arguments, begin))
        with open(path.with_suffix(".csv"), "w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            for row in rows:
                writer.writerow(
                    {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()}
                )

    rows = measure(arguments, work, write)
    print(report(rows, arguments, begin))


if __name__ == "__main__":
    main()
