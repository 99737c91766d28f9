#!/usr/bin/env python3
"""How far the proofs reach: Colocate alone on a list of cases, one table as Markdown and CSV.

    swift build -c release --product colocate
    python3 Benchmarks/proofs/run.py --out Benchmarks/results/proofs                    # every case of cases.csv
    python3 Benchmarks/proofs/run.py --only gpt-oss --out /tmp/proofs                   # those whose instance contains a word
    python3 Benchmarks/proofs/run.py --checker venv/bin/python --out ...                # and the numpy checker on every certificate
    python3 Benchmarks/proofs/run.py --before old.csv --out ...                         # and an earlier table's figures beside

Each case is a process of its own: the wall and processor time are the operating system's, the memory is its peak. `--threads` holds for all.
With certificates every answer that has one is put before `colocate check` and, where a Python with numpy is named, before
`Benchmarks/check_certificate.py`; the columns say what they answered. Only the standard library is needed here.
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
    "instance", "topology", "cap", "limit", "crossings", "share", "bound", "gap", "status", "method",
    "seconds", "cpu", "memory_mb", "tree_nodes", "check", "numpy",
]  # fmt: skip
BEFORE = ["status", "gap", "seconds"]


def solve(case, options, scratch):
    instance = ROOT / "instances" / f"{case['instance']}.npy"
    if case["instance"].startswith("generate "):
        # generate LAYERS EXPERTS TOKENS
        layers, experts, tokens = case["instance"].split()[1:]
        instance = scratch / "generated.npy"
        made = run([str(options.binary), "generate", "--layers", layers, "--experts", experts, "--tokens", tokens, "--counts", "-o", str(instance)])
        assert made[0] == 0, made[2]
    nodes, per_node = (int(n) for n in case["topology"].split("x"))
    certificate = scratch / "certificate.json"
    certificate.unlink(missing_ok=True)
    arguments = [
        str(options.binary), "solve", str(instance), "--gpus", str(nodes * per_node), "--nodes", str(nodes),
        "--time-limit", case["limit"], "--threads", str(options.threads), "--json", "--quiet",
        "-o", str(scratch / "plan.json"),
    ]  # fmt: skip
    if case["cap"]:
        arguments += ["--max-load", case["cap"].rstrip("r")]
        if case["cap"].endswith("r"):
            arguments += ["--relax-max-load"]
    if nodes > 1:
        arguments += ["--objective", "staged"]
    if options.certificates:
        arguments += ["--certificate", str(certificate)]
    code, text, message, wall, cpu, memory = run(arguments)
    # 4: a limit came before the proof.
    if code not in (0, 4):
        yield {**case, "status": f"exit {code}: {message.strip()[:200]}", "seconds": f"{wall:.1f}"}
        return
    outcome = json.loads(text)
    verdicts = {"check": "", "numpy": ""}
    if certificate.exists():
        code = run([str(options.binary), "check", str(certificate), str(instance)], options.check_limit)[0]
        verdicts["check"] = {0: "accepted", -9: "not in time"}.get(code, "REFUSED")
        if options.checker:
            code = run([options.checker, str(HERE.parent / "check_certificate.py"), str(certificate), str(instance)], options.check_limit)[0]
            verdicts["numpy"] = {0: "accepted", 3: "too large", -9: "not in time"}.get(code, "REFUSED")
    for stage in outcome["stages"]:
        name = case["instance"] if len(outcome["stages"]) == 1 else f"{case['instance']}, {stage['name']}"
        yield {
            **case, **verdicts, "instance": name, "crossings": stage["value"], "bound": stage["bound"],
            "share": f"{100 * stage['value'] / outcome['crossings']['total']:.4f} %",
            "gap": "-" if stage["gap"] is None else f"{100 * stage['gap']:.4f} %", "status": stage["status"],
            "method": stage["bound_method"], "seconds": f"{stage['seconds']:.1f}", "cpu": f"{cpu:.1f}",
            "memory_mb": f"{memory:.0f}", "tree_nodes": stage.get("tree_nodes", stage.get("nodes")),
        }  # fmt: skip


def beside(rows, path):
    """Gives each row the status, gap and seconds of the same case in an earlier table."""
    key = lambda row: (row["instance"], row["topology"], row["cap"], row["limit"])  # noqa: E731
    with open(path) as file:
        earlier = {key(row): row for row in csv.DictReader(file)}
    for row in rows:
        for column in BEFORE:
            row[f"before: {column}"] = earlier.get(key(row), {}).get(column, "")


def write(rows, options):
    columns = COLUMNS
    if options.before:
        beside(rows, options.before)
        columns = COLUMNS + [f"before: {column}" for column in BEFORE]
    with open(f"{options.out}.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    with open("/proc/cpuinfo") as file:
        processor = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), platform.machine())
    version = run([str(options.binary), "--version"])[1].strip()
    with open(f"{options.out}.md", "w") as file:
        file.write(f"# Proofs, {datetime.date.today()}\n\n")
        file.write(f"{version}, {options.threads} threads, {processor} ({os.cpu_count()} cores). gap = (crossings − bound) / crossings.\n")
        file.write("`r` after a cap: relaxed where a layer cannot meet it. Processor time and memory are of the whole run.\n\n")
        file.write("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|\n")
        for row in rows:
            file.write("| " + " | ".join(str(row.get(column, "")) for column in columns) + " |\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / ".build/release/colocate")
    parser.add_argument("--cases", type=pathlib.Path, default=HERE / "cases.csv")
    parser.add_argument("--only", default="", help="run the cases whose instance:topology contains this")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-certificates", dest="certificates", action="store_false")
    parser.add_argument("--check-limit", type=float, default=120, help="seconds for each check of a certificate")
    parser.add_argument("--before", help="an earlier table (CSV) whose figures stand beside")
    parser.add_argument("--checker", help="a Python with numpy")
    parser.add_argument("--out", required=True, help="path of the tables, without extension")
    options = parser.parse_args()
    for read in filter(None, (options.cases, options.before)):
        if pathlib.Path(f"{options.out}.csv").resolve() == pathlib.Path(read).resolve():
            parser.error(f"--out would write over {read}, which is read: choose another name")
    rows = []
    with open(options.cases) as file, tempfile.TemporaryDirectory() as scratch:
        for case in csv.DictReader(file):
            if options.only not in f"{case['instance']}:{case['topology']}":
                continue
            for row in solve(case, options, pathlib.Path(scratch)):
                rows.append(row)
                print("  ".join(str(row.get(column, "")) for column in COLUMNS), file=sys.stderr, flush=True)
            write(rows, options)


if __name__ == "__main__":
    main()
