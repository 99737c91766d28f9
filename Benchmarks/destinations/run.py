#!/usr/bin/env python3
"""Home mode on a list of cases: how many GPUs a token goes to, and how far that is proved. One table as Markdown and CSV.

    swift build -c release --product colocate
    python3 Benchmarks/destinations/run.py --out Benchmarks/results/destinations
    python3 Benchmarks/destinations/run.py --only gpt-oss --out /tmp/destinations --checker venv/bin/python

Each case is a process of its own: wall and processor time are the operating system's, memory is its peak. A cap is relaxed in
layers that cannot meet it. Every certificate goes before `colocate check` and, where a Python with numpy is named, before
`Benchmarks/check_certificate.py`. Only the standard library is needed here.
"""

import argparse
import csv
import datetime
import json
import os
import pathlib
import platform
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent))
from measured import run  # noqa: E402

COLUMNS = [
    "instance", "topology", "objective", "cap", "limit", "gpus_per_token", "nodes_per_token", "load", "value", "bound", "gap",
    "proved", "seconds", "cpu", "memory_mb", "check", "numpy",
]  # fmt: skip


def instance(name, colocate, scratch):
    if not name.startswith("generate "):
        return ROOT / "instances" / f"{name}.npy"
    # generate LAYERS EXPERTS TOKENS CHOICES
    layers, experts, tokens, choices = name.split()[1:]
    path = scratch / "generated.npy"
    code, _, message, *_ = run(
        [colocate, "generate", "--layers", layers, "--experts", experts, "--tokens", tokens, "--choices", choices, "-o", str(path)])  # fmt: skip
    if code:
        sys.exit(message)
    return path


def solve(case, options, scratch):
    trace = instance(case["instance"], options.colocate, scratch)
    plan, certificate = scratch / "plan.json", scratch / "certificate.json"
    arguments = [
        options.colocate, "solve", str(trace), "--mode", "home", "--gpus", case["gpus"], "--nodes", case["nodes"], "--objective",
        case["objective"], "--time-limit", case["limit"], "--threads", str(options.threads), "-o", str(plan), "--certificate",
        str(certificate), "--quiet",
    ]  # fmt: skip
    if case["cap"]:
        arguments += ["--max-load", case["cap"], "--relax-max-load"]
    code, _, message, wall, cpu, memory = run(arguments)
    if code not in (0, 4):
        sys.exit(f"{case}: {message}")
    found = json.loads(plan.read_text())
    layers = found["layer_bounds"]
    row = {
        "instance": case["instance"], "topology": f"{case['nodes']}x{int(case['gpus']) // int(case['nodes'])}",
        "objective": case["objective"], "cap": case["cap"], "limit": case["limit"],
        "gpus_per_token": f"{found['destinations']['gpus_per_token']:.4f}",
        "nodes_per_token": f"{found['destinations']['nodes_per_token']:.4f}" if case["nodes"] != "1" else "",
        "load": f"{found['load']['max_over_mean']:.3f}", "value": found["value"],
        "bound": "" if found["bound"] is None else found["bound"],
        "gap": "" if found["gap"] is None else f"{100 * found['gap']:.4f} %",
        "proved": f"{sum(layer['status'] == 'optimal' for layer in layers)}/{len(layers)}",
        "seconds": f"{wall:.1f}", "cpu": f"{cpu:.1f}", "memory_mb": f"{memory:.0f}",
    }  # fmt: skip
    row["check"] = verdict(run([options.colocate, "check", str(certificate), str(trace), "--time-limit", "300"], 330))
    row["numpy"] = ""
    if options.checker:
        checker = str(HERE.parent / "check_certificate.py")
        row["numpy"] = verdict(run([options.checker, checker, "--time-limit", "300", str(certificate), str(trace)], 330))
    return row


def verdict(result):
    code, _, message, *_ = result
    if code == 0:
        return "accepted"
    if code == 3 or "too large" in message:
        return "too large"
    return "not in time" if "within" in message or code == -9 else "REFUSED"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--colocate", default=str(ROOT / ".build/release/colocate"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default="", help="cases whose line contains this word")
    parser.add_argument("--checker", help="a Python with numpy")
    parser.add_argument("--out", required=True, help="where the table goes, without its date and .md, .csv")
    options = parser.parse_args()
    with open(HERE / "cases.csv", newline="") as file:
        cases = [case for case in csv.DictReader(file) if options.only in ",".join(case.values())]
    rows = []
    base = f"{options.out}-{datetime.date.today()}"
    for case in cases:
        with tempfile.TemporaryDirectory() as scratch:
            rows.append(solve(case, options, pathlib.Path(scratch)))
        print({key: rows[-1][key] for key in COLUMNS}, flush=True)
        write(base, rows, options)


def write(base, rows, options):
    version = run([options.colocate, "--version"])[1].strip()
    with open(base + ".csv", "w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows(rows)
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    with open(base + ".md", "w") as file:
        file.write(f"# Home mode: destinations, {base[-10:]}\n\n{version}, {options.threads} threads, {cpu} ({os.cpu_count()} cores).\n")
        file.write("GPUs and nodes per token are means over tokens and layers; load is the fullest GPU's of any layer over the mean; `proved` counts layers.\n")
        file.write("`check` and `numpy` are what the two checkers say of the certificate.\n\n")
        file.write("| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS) + "\n")
        for row in rows:
            file.write("| " + " | ".join(str(row[key]) for key in COLUMNS) + " |\n")


if __name__ == "__main__":
    main()
