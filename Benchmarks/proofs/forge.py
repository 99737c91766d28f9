#!/usr/bin/env python3
"""Forged certificates of every kind before both checkers.

    swift build -c release --product colocate
    python3 Benchmarks/proofs/forge.py --count 20000 --seed 1 --out Benchmarks/results/forgeries

Solves small random instances (ties, zero rows, load caps, co-activation, nodes, totals up to 2^50) with the
switches that lead to each kind of evidence, edits the certificates at random, and gives each to
`colocate check` and to `certificate_checker`. A forgery may be accepted, but only if what it claims is true of
the very problem it names: the bound of each stage is held against the optimum, found by trying every
placement layer by layer. Exits with 1 at a false bound accepted, a crash, a traceback or a check of over
ten seconds, and names the seed; else writes what was seen as a table.
"""

import argparse
import collections
import copy
import datetime
import functools
import itertools
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "Benchmarks"))
import certificate_checker as checker  # noqa: E402

OFF = ["--set", "chain=off", "--set", "assignment=off", "--set", "local-search=off"]
WAYS = {
    "as solved": [],
    "paths": [*OFF, "--set", "co-location=off"],
    "trees": [*OFF, "--set", "dolls=off", "--set", "path-evaluations=4", "--set", "path-cut-rounds=1"],
    "path prices": [*OFF, "--set", "dolls=off", "--set", "tree=off", "--set", "co-location=off", "--set", "path-evaluations=4"],
    "co-location": [*OFF, "--set", "path=off", "--set", "co-location-iterations=300", "--set", "co-location-fixing=off"],
    "fixing": [*OFF, "--set", "path=off", "--set", "co-location-iterations=120", "--set", "co-location-states=0"],
    "search on losses": [*OFF, "--set", "path=off", "--set", "co-location-iterations=120"],
    "windows": [
        *OFF[:-2], "--set", "path=off", "--set", "co-location-fixing=off", "--set", "co-location-iterations=60",
        "--set", "windows=on", "--set", "window-iterations=40", "--tree-nodes", "60", "--time-limit", "1"],
}


def instance(seed):
    """Counts or a trace, the arguments that read it, and those of `solve`."""
    rng = np.random.default_rng(seed)
    experts = int(rng.choice([2, 4, 6], p=[0.1, 0.4, 0.5]))
    layers = int(rng.integers(2, 5))
    gpus = int(rng.choice([p for p in range(1, experts + 1) if experts % p == 0]))
    arguments = ["--gpus", str(gpus)]
    if gpus == 4 and rng.random() < 0.6 or gpus == 6 and rng.random() < 0.4:
        arguments += ["--nodes", "2", "--objective", str(rng.choice(["flat", "staged"]))]
    if rng.random() < 0.4:
        arguments += ["--max-load", "1.25", "--relax-max-load"]
    if rng.random() < 0.25 and experts >= 4:
        trace = np.stack([np.stack([rng.permutation(experts)[:2] for _ in range(layers)]) for _ in range(60)])
        return trace.astype(np.int32), ["--as", "trace", "--experts", str(experts), "--coactivation"], arguments
    w = rng.integers(1, int(rng.choice([1, 3, 20, 1000])) + 1, (layers - 1, experts, experts))
    w = w * (rng.random(w.shape) < rng.choice([0.15, 0.5, 1.0]))
    if rng.random() < 0.3:
        w[rng.random(w.shape[:2]) < 0.3] = 0
    if not w.any():
        w[0, 0, 0] = 1
    bits = int(rng.choice([0, 31, 41, 50]))
    if bits:
        scale = max(1, (1 << bits) // int(w.sum()))
        noise = rng.integers(0, scale, w.shape) if rng.random() < 0.5 else 0
        w = np.where(w > 0, w * scale + noise, 0)
    return w.astype(np.int64), ["--as", "counts"], arguments


def optimum(p):
    """The most that a placement keeps, by every labelled assignment of every layer."""
    base = [g for g in range(p.groups) for _ in range(p.c)]
    every = np.array(sorted(set(itertools.permutations(base))), np.int64)
    states = []
    for l in range(p.layers):
        hot = (every[:, :, None] == np.arange(p.groups)).astype(np.int64)
        if p.caps is not None:
            loads = (hot * p.loads[l][None, :, None]).sum(1)
            hot = hot[(loads <= min(p.caps[l], 1 << 62)).all(1)]
        states.append(hot)
    best = None
    for l, hot in enumerate(states):
        inside = np.zeros(len(hot), np.int64)
        if p.v is not None:
            inside = np.einsum("nig,ij,njg->n", hot, p.v[l], hot) // 2
        if best is None:
            best = inside
        else:
            left = np.einsum("nig,ij->njg", states[l - 1], p.w[l - 1]).reshape(len(states[l - 1]), -1)
            best = (best[:, None] + left @ hot.reshape(len(hot), -1).T).max(0) + inside
    return int(best.max())


class Truth:
    """Optima of the problems that certificates of one set of counts name."""

    def __init__(self, counts):
        self.counts, self.known = counts, {}

    def of(self, certificate, stage):
        from certificate_checker.certificate import level

        nodes, per_node = certificate["nodes"], certificate["gpus_per_node"]
        caps = certificate.get("caps")
        cap = certificate.get("load_cap")
        if cap is not None and caps is None:
            counts = self.counts
            caps = [counts.tokens(l) * cap["numerator"] // (cap["denominator"] * nodes * per_node) for l in range(counts.layers)]
        inside = certificate["assignment"] if stage["name"].startswith("node ") else None
        key = json.dumps([stage["name"], nodes, per_node, caps, inside])
        if key not in self.known:
            assigned = np.array(certificate["assignment"], np.int64)
            self.known[key] = optimum(level(stage["name"], self.counts, assigned, nodes, per_node, caps)[0])
        return self.known[key]


class Forger:
    NAMES = ["gpus", "nodes", "node 0", "node 1", "flat", "staged", "joint", "bounded", "exhausted", "path", "tree"]

    def __init__(self, seed):
        self.random = random.Random(seed)

    def forge(self, certificate):
        forged = copy.deepcopy(certificate)
        for _ in range(self.random.randint(1, 3)):
            if self.random.random() < 0.25:
                stages = forged.get("stages")
                if type(stages) is list and stages and type(stages[0]) is dict:
                    stage = self.random.choice(stages)
                    if type(stage) is dict and type(stage.get("kept_bound")) is int:
                        stage["kept_bound"] -= self.random.choice([1, 1, self.random.randint(1, 1 + abs(stage["kept_bound"]) // 2)])
            else:
                forged = self.edit(forged, 0)
        text = json.dumps(forged)
        if self.random.random() < 0.05:
            # A key twice: the first or the last may be the honest one.
            key = self.random.choice(["kept_bound", "kept", "gpus_per_node", "counts_sha256", "prices", "values"])
            at = text.find(f'"{key}"')
            if at > 0:
                text = text[:at] + f'"{key}": {self.random.choice([0, 1, 10**6, "[]"])}, ' + text[at:]
        return text

    def edit(self, value, depth):
        pick = self.random
        if type(value) is list and value:
            if pick.random() < 1 / 6:
                a, b = pick.randrange(len(value)), pick.randrange(len(value))
                what = pick.randrange(4)
                if what == 0:
                    del value[a]
                elif what == 1:
                    value.insert(a, copy.deepcopy(value[b]))
                elif what == 2:
                    value[a] = copy.deepcopy(value[b])
                else:
                    value[a], value[b] = value[b], value[a]
            else:
                place = pick.randrange(len(value))
                value[place] = self.edit(value[place], depth + 1)
            return value
        if type(value) is dict and value:
            key = pick.choice(list(value))
            if depth == 0 and pick.random() < 2 / 3 and "stages" in value:
                key = "stages"
            if pick.random() < 1 / 12:
                del value[key]
            else:
                value[key] = self.edit(value[key], depth + 1)
            return value
        if type(value) is int:
            return self.number(value)
        if type(value) is str:
            return pick.choice([value + "0", *self.NAMES])
        return pick.choice([None, True, 0, 1, "x"])

    def number(self, n):
        pick = self.random
        return pick.choice([
            n + 1, n + 1, n + 1, n - 1, n - 1, n - 1, n + pick.randint(-1000, 1000), 2 * n, n // 2, -n, n + (1 << pick.randrange(64)),
            n - (1 << pick.randrange(64)), pick.choice([0, 1, (1 << 63) - 1, -(1 << 63), 1 << 64, 10**30]),
            pick.choice([n + 0.5, float(n), float("nan"), float("inf"), "NaN", True, None, [n], 1e300]),
        ])  # fmt: skip


def python_verdict(text, counts):
    try:
        return "accepted", checker.check(checker.parse(text), counts)
    except checker.Refused:
        return "refused", None
    except checker.TooLarge:
        return "too large", None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / ".build/release/colocate")
    parser.add_argument("--count", type=int, default=20000, help="forgeries")
    parser.add_argument("--each", type=int, default=25, help="forgeries of each certificate")
    parser.add_argument("--every", type=int, default=1, help="give `colocate check` every so many of those that Python refuses")
    parser.add_argument("--seed", type=int, default=1, help="of the first instance; the next ones count on")
    parser.add_argument("--out", help="path of the table, without extension")
    options = parser.parse_args()
    seen = collections.defaultdict(collections.Counter)
    forgeries, seed, started = 0, options.seed, time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        data, proof, plan = scratch / "counts.npy", scratch / "proof.json", scratch / "plan.json"
        run = functools.partial(subprocess.run, capture_output=True, text=True, timeout=60)
        while forgeries < options.count:
            array, reading, arguments = instance(seed)
            np.save(data, array)
            kind = reading[1]
            experts = int(reading[3]) if kind == "trace" else None
            counts, how = checker.read_counts([data], kind, "pairs", experts, kind == "trace")
            truth = Truth(counts)
            for way, switches in WAYS.items():
                proof.unlink(missing_ok=True)
                solved = run([options.binary, "solve", data, *reading, *arguments, *switches, "-q", "--time-limit", "10", "-o", plan, "--certificate", proof])
                if not proof.exists():
                    seen[way]["no certificate"] += 1
                    if solved.returncode not in (0, 2, 4):
                        sys.exit(f"seed {seed}, {way}: solve ends with {solved.returncode}: {solved.stderr.strip()}")
                    continue
                honest = checker.read_json(proof)
                if "--nodes" in arguments and seed % 2:
                    # A joint run keeps no evidence; that of its levels bounds it.
                    honest["objective"] = {"name": "joint", "inter_node": 5, "intra_node": 2}
                    proof.write_text(json.dumps(honest))
                # What the two print of an honest certificate is the same, word for word.
                ours = run([options.binary, "check", proof, data, *reading])
                verdict, report = python_verdict(proof.read_text(), counts)
                if ours.returncode or verdict != "accepted" or ours.stdout != report.text(how):
                    sys.exit(f"seed {seed}, {way}: an honest certificate: {ours.stdout}{ours.stderr}{verdict}")
                kinds = "+".join(sorted({stage["evidence"]["kind"] for stage in honest["stages"]}))
                forger = Forger(seed * 8 + list(WAYS).index(way))
                for number in range(options.each):
                    text = forger.forge(honest)
                    proof.write_text(text)
                    forgeries += 1
                    name = f"seed {seed}, {way}, forgery {number}"
                    row = seen[kinds]
                    row["forgeries"] += 1
                    begin = time.monotonic()
                    verdict, report = python_verdict(text, counts)
                    middle = time.monotonic()
                    row["python accepts"] += verdict == "accepted"
                    row["too large"] += verdict == "too large"
                    if verdict != "accepted" and forgeries % options.every:
                        continue
                    row["by swift"] += 1
                    ours = run([options.binary, "check", proof, data, *reading])
                    slowest = max(middle - begin, time.monotonic() - middle)
                    # A warning about the instance may stand before the one line of the refusal.
                    refusals = sum("warning:" not in line for line in ours.stderr.splitlines())
                    if ours.returncode not in (0, 2) or refusals > 1 or slowest > 10:
                        sys.exit(f"{name}: exit code {ours.returncode} after {slowest:.1f} s: {ours.stderr}\n{text}")
                    row["swift accepts"] += ours.returncode == 0
                    row["verdicts differ"] += (ours.returncode == 0) != (verdict == "accepted")
                    if ours.returncode == 0 or verdict == "accepted":
                        claimed = json.loads(text)
                        for stage in claimed["stages"]:
                            if stage["kept_bound"] < truth.of(claimed, stage):
                                sys.exit(f"{name}: FALSE BOUND ACCEPTED, swift {ours.returncode}, python {verdict}\n{text}")
                        if ours.returncode == 0 and verdict == "accepted" and ours.stdout != report.text(how):
                            sys.exit(f"{name}: the checkers print different things:\n{ours.stdout}{report.text(how)}")
            seed += 1
            if sys.stderr.isatty():
                print(f"\r{forgeries} of {options.count}", end="", file=sys.stderr)
    columns = ["forgeries", "python accepts", "too large", "by swift", "swift accepts", "verdicts differ"]
    lines = [f"# Forged certificates, {datetime.date.today()}", ""]
    lines += [f"`forge.py --count {options.count} --each {options.each} --every {options.every} --seed {options.seed}`: {forgeries} forgeries of certificates of", ""]
    lines[-2] += f" {seed - options.seed} instances, {time.monotonic() - started:.0f} s. No false bound was accepted; what was accepted is true."
    lines += ["| evidence | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    total = collections.Counter()
    for name, row in sorted(seen.items()):
        if row["forgeries"]:
            total.update(row)
            lines.append(f"| {name} | " + " | ".join(str(row[column]) for column in columns) + " |")
    lines.append("| all | " + " | ".join(str(total[column]) for column in columns) + " |")
    text = "\n".join(lines) + "\n"
    if options.out:
        pathlib.Path(f"{options.out}.md").write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main()
