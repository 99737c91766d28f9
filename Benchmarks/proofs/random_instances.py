#!/usr/bin/env python3
"""Certificates of random small instances before the numpy checker, which shares no code with the solver.

    swift build -c release --product colocate
    venv/bin/python Benchmarks/proofs/random_instances.py --count 1000 --seed 1

Instances have ties, zero rows, several densities, load caps, one or two levels. Every answer must be proved and its certificate accepted; with a bound that is one
crossing higher it must be refused. Stops at the first that is not as it should be, names its seed, and exits with 1; a cap that no placement meets is counted
and left out.
"""

import argparse
import collections
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "Benchmarks"))
import certificate_checker as checker  # noqa: E402


def instance(random):
    """Counts [L-1, E, E] and the arguments of `solve`."""
    # Those of 12 experts are rare: a chain over all their partitions takes Python half a minute to check.
    experts = int(random.choice([4, 6, 8, 9, 10, 12], p=[0.15, 0.2, 0.4, 0.15, 0.08, 0.02]))
    layers = int(random.integers(2, 7))
    divisors = [p for p in range(2, experts + 1) if experts % p == 0]
    gpus = int(random.choice(divisors))
    largest = int(random.choice([1, 3, 20, 1000]))
    density = random.choice([0.15, 0.5, 1.0])
    w = random.integers(1, largest + 1, (layers - 1, experts, experts)) * (random.random((layers - 1, experts, experts)) < density)
    if random.random() < 0.3:
        w[random.random((layers - 1, experts)) < 0.3] = 0
    if not w.any():
        # Without a transition there is nothing to place; the reader says so.
        w[0, 0, 0] = 1
    arguments = ["--gpus", str(gpus)]
    if random.random() < 0.3:
        arguments += ["--max-load", str(random.choice([1.2, 1.5, 2.0]))]
    elif gpus % 2 == 0 and gpus > 2 and random.random() < 0.4:
        arguments += ["--nodes", "2", "--objective", "staged"]
    return w, arguments


def accepts(certificate, path):
    """Whether the checker takes a certificate; its answer in words otherwise."""
    try:
        checker.check(certificate, checker.read_counts([path], "counts")[0])
        return True, ""
    except (checker.Refused, checker.TooLarge) as error:
        return False, f"{type(error).__name__}: {error}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / ".build/release/colocate")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1, help="of the first instance; the next ones count on")
    options = parser.parse_args()
    seen = collections.Counter()
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        counts, certificate, plan = scratch / "counts.npy", scratch / "certificate.json", scratch / "plan.json"
        for seed in range(options.seed, options.seed + options.count):
            w, arguments = instance(np.random.default_rng(seed))
            np.save(counts, w)
            solved = subprocess.run(
                [options.binary, "solve", counts, "--as", "counts", *arguments, "-q", "-o", plan, "--certificate", certificate],
                capture_output=True, text=True)  # fmt: skip
            if solved.returncode == 2 and "cap" in solved.stderr:
                seen["cap that cannot be met"] += 1
                continue
            if solved.returncode != 0:
                sys.exit(f"seed {seed} {arguments}: exit code {solved.returncode}, {solved.stderr.strip()}")
            proof = checker.read_json(certificate)
            holds, words = accepts(proof, counts)
            if not holds:
                sys.exit(f"seed {seed} {arguments}: {words}")
            for stage in proof["stages"]:
                seen[stage["evidence"]["kind"]] += 1
                if stage["kept"] != stage["kept_bound"]:
                    sys.exit(f"seed {seed} {arguments}: {stage['name']} is not proved")
            proof["stages"][0]["kept_bound"] -= 1
            if accepts(proof, counts)[0]:
                sys.exit(f"seed {seed} {arguments}: a bound one crossing higher is accepted")
            if sys.stderr.isatty():
                print(f"\r{seed - options.seed + 1} of {options.count}", end="", file=sys.stderr)
    print(f"{options.count} instances from seed {options.seed}: " + ", ".join(f"{n} {kind}" for kind, n in sorted(seen.items())))


if __name__ == "__main__":
    main()
