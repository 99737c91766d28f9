#!/usr/bin/env python3
"""Certificates of random small instances before both checkers; the numpy one shares no code with the solver.

    swift build -c release --product colocate
    venv/bin/python Benchmarks/proofs/random_instances.py --count 1000 --seed 1
    venv/bin/python Benchmarks/proofs/random_instances.py --way fixing --count 1000

Instances have ties, zero rows, several densities, load caps, one or two levels. Every certificate must be
accepted, and where it proves its placement, refused with a bound that is one crossing higher. As solved,
every answer must be proved; with `--way` the switches of `forge.py` lead to one kind of evidence, and an
instance that has another kind, or a cap that no placement meets, is counted and left out. Stops at the first
that is not as it should be, names its seed, and exits with 1.
"""

import argparse
import collections
import copy
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "Benchmarks"))
import certificate_checker as checker  # noqa: E402
from forge import WAYS  # noqa: E402


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


def accepts(binary, certificate, path):
    """Whether both checkers take a certificate; their answers in words otherwise. They must agree."""
    try:
        checker.check(certificate, checker.read_counts([path], "counts")[0])
        words = ""
    except (checker.Refused, checker.TooLarge) as error:
        words = f"{type(error).__name__}: {error}"
    file = path.with_name("checked.json")
    file.write_text(json.dumps(certificate))
    other = subprocess.run([binary, "check", file, path, "--as", "counts"], capture_output=True, text=True)
    if (other.returncode == 0) != (words == ""):
        sys.exit(f"the checkers differ: {words or 'accepted'}; {(other.stderr or other.stdout).strip()}; {certificate}")
    return words == "", words


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / ".build/release/colocate")
    parser.add_argument("--count", type=int, default=1000, help="instances; with --way, certificates of its kind")
    parser.add_argument("--seed", type=int, default=1, help="of the first instance; the next ones count on")
    parser.add_argument("--way", choices=WAYS, default="as solved", help="which kind of evidence")
    options = parser.parse_args()
    kinds = {"fixing": "fixing", "search on losses": "fixing", "windows": "windows", "co-location": "co-location",
             "trees": "tree", "paths": "path", "path prices": "path"}  # fmt: skip
    wanted = kinds.get(options.way)
    seen = collections.Counter()
    seed, done = options.seed, 0
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        counts, certificate, plan = scratch / "counts.npy", scratch / "certificate.json", scratch / "plan.json"
        while done < options.count:
            w, arguments = instance(np.random.default_rng(seed))
            np.save(counts, w)
            what = f"seed {seed} {arguments}"
            seed += 1
            certificate.unlink(missing_ok=True)
            solved = subprocess.run(
                [options.binary, "solve", counts, "--as", "counts", *arguments, *WAYS[options.way], "-q", "-o", plan, "--certificate", certificate],
                capture_output=True, text=True)  # fmt: skip
            if solved.returncode == 3 and "cap" in solved.stderr:
                seen["caps that cannot be met"] += 1
                done += wanted is None
                continue
            if wanted and solved.returncode == 4 and "no certificate" in solved.stderr:
                seen["without a bound"] += 1
                continue
            if solved.returncode not in ((0, 4) if wanted else (0,)):
                sys.exit(f"{what}: exit code {solved.returncode}, {solved.stderr.strip()}")
            proof = checker.read_json(certificate)
            if wanted and all(stage["evidence"]["kind"] != wanted for stage in proof["stages"]):
                seen["of another kind"] += 1
                continue
            done += 1
            holds, words = accepts(options.binary, proof, counts)
            if not holds:
                sys.exit(f"{what}: {words}")
            for number, stage in enumerate(proof["stages"]):
                kind = stage["evidence"]["kind"]
                seen[kind] += 1
                for family in ("hypermetric", "cover", "cover_pairs"):
                    seen[f"{kind} with {family.replace('_', ' ')} cuts"] += bool(stage["evidence"].get(family))
                if stage["kept"] != stage["kept_bound"]:
                    if wanted is None:
                        sys.exit(f"{what}: {stage['name']} is not proved")
                    continue
                seen[f"{kind}, proved and refused one better"] += 1
                better = copy.deepcopy(proof)
                better["stages"][number]["kept_bound"] -= 1
                if accepts(options.binary, better, counts)[0]:
                    sys.exit(f"{what}: a bound one crossing higher is accepted")
            if sys.stderr.isatty():
                print(f"\r{done} of {options.count}", end="", file=sys.stderr)
    print(f"{seed - options.seed} instances from seed {options.seed}, {options.way}: " + ", ".join(f"{n} {kind}" for kind, n in sorted(seen.items()) if n))


if __name__ == "__main__":
    main()
