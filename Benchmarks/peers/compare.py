#!/usr/bin/env python3
"""Colocate and its peers on the same instances, with the same time limit and threads; one table as Markdown and CSV.

    python3 -m venv venv && venv/bin/pip install -r Benchmarks/peers/requirements.txt
    swift build -c release
    venv/bin/python Benchmarks/peers/compare.py --binary .build/release/colocate --time-limit 60 --threads 2 \\
        --case instances/tiny-16x8.npy:4 --case instances/synthetic-8-95-24.npy:2 --out Benchmarks/results/peers

The peers get their best chance: the aggregated model (one binary for each layer, expert and GPU; one continuous variable in [0, 1] for each pair of
experts with weight), symmetry of GPU labels broken in layer 0 (groups ordered by their smallest member), and a second run that starts
from Colocate's placement. Every run is a process of its own, so that a time limit that a peer overruns can be enforced (twice the limit) and
memory is given back. Crossings are recounted here from the placement, never taken from a peer's own objective.

METIS balances the whole graph and not each layer, so its partition is no placement: its label votes are made one by an assignment problem in each layer
(scipy). Gurobi runs where the model fits the size-limited licence that its package brings (2,000 variables and constraints): `:LAYERS` after a case takes its first layers.
"""

import argparse
import csv
import datetime
import json
import multiprocessing
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import time

import numpy as np


# ---------------------------------------------------------------- the problem


class Case:
    """Counts W [L-1, E, E] and P GPUs; with `layers` the first layers only."""

    def __init__(self, path, gpus, layers=None):
        self.gpus = gpus
        self.name = pathlib.Path(path).stem
        self.w = np.load(path).astype(np.int64)
        assert self.w.ndim == 3 and self.w.shape[1] == self.w.shape[2], f"{path}: expected counts [L-1, E, E]"
        if layers:
            self.w = self.w[: layers - 1]
            self.name += f", first {layers} layers"
        self.layers, self.experts = self.w.shape[0] + 1, self.w.shape[1]
        self.total = int(self.w.sum())
        assert self.experts % gpus == 0

    def crossings(self, labels):
        """Of a placement [L, E]; None where it is none."""
        labels = np.asarray(labels)
        c = self.experts // self.gpus
        if labels.shape != (self.layers, self.experts):
            return None
        for row in labels:
            if (np.bincount(row, minlength=self.gpus) != c).any():
                return None
        return int((self.w * (labels[:-1, :, None] != labels[1:, None, :])).sum())

    def canonical(self, labels):
        """GPUs of layer 0 ordered by their smallest expert, as the models demand."""
        order = {}
        for g in labels[0]:
            order.setdefault(int(g), len(order))
        return np.vectorize(order.get)(labels)


def pairs(case):
    """Boundary, from, to, weight of every pair that some token uses."""
    return [(l, i, j, int(case.w[l, i, j])) for l, i, j in zip(*np.nonzero(case.w))]


class Clock:
    def __init__(self):
        self.start = time.monotonic()
        self.best = None

    def now(self):
        return time.monotonic() - self.start


def result(labels=None, bound=None, best=None, proof=None, note="", size=None):
    return dict(
        labels=None if labels is None else np.asarray(labels).tolist(), bound=bound, time_to_best=best,
        time_to_proof=proof, note=note, size=size)


# ---------------------------------------------------------------- the aggregated model, once for all solvers

# minimise  Σ W d_lij
#   Σ_p x_lep = 1,  Σ_e x_lep = c,  d_lij ≥ x_lip - x_(l+1)jp for every p
#   layer 0: x_0,e,p = 0 for p > e, and x_0,e,p ≤ Σ_{e' < e} x_0,e',p-1 (p ≥ 1)


def rows(case):
    """Constraints over x[l, e, p] and d[k] as (terms on x, terms on d, low, high)."""
    L, E, P = case.layers, case.experts, case.gpus
    c = E // P
    infinity = float("inf")
    for l in range(L):
        for e in range(E):
            yield [((l, e, p), 1) for p in range(P)], [], 1, 1
        for p in range(P):
            yield [((l, e, p), 1) for e in range(E)], [], c, c
    for k, (l, i, j, _) in enumerate(pairs(case)):
        for p in range(P):
            yield [((l, i, p), 1), ((l + 1, j, p), -1)], [(k, -1)], -infinity, 0
    for e in range(1, E):
        for p in range(1, min(P, e + 1)):
            yield [((0, e, p), 1)] + [((0, f, p - 1), -1) for f in range(e)], [], -infinity, 0


def fixed(case):
    """Variables of layer 0 that symmetry fixes at 0."""
    return {(0, e, p) for e in range(case.experts) for p in range(e + 1, case.gpus)}


def labels_of(case, value):
    return [
        [max(range(case.gpus), key=lambda p: value(l, e, p)) for e in range(case.experts)]
        for l in range(case.layers)
    ]


def run_highs(case, seconds, threads, start):
    import highspy

    clock = Clock()
    h = highspy.Highs()
    h.setOptionValue("output_flag", False)
    h.setOptionValue("time_limit", float(seconds))
    h.setOptionValue("threads", threads)
    L, E, P = case.layers, case.experts, case.gpus
    zero = fixed(case)
    x = {}
    lp = highspy.HighsLp()
    cost, upper, integral = [], [], []
    for l in range(L):
        for e in range(E):
            for p in range(P):
                x[l, e, p] = len(cost)
                cost.append(0.0)
                upper.append(0.0 if (l, e, p) in zero else 1.0)
                integral.append(highspy.HighsVarType.kInteger)
    list_of_pairs = pairs(case)
    d = []
    for *_, weight in list_of_pairs:
        d.append(len(cost))
        cost.append(float(weight))
        upper.append(1.0)
        integral.append(highspy.HighsVarType.kContinuous)
    start_, index, value, low, high = [0], [], [], [], []
    for on_x, on_d, a, b in rows(case):
        index += [x[v] for v, _ in on_x] + [d[k] for k, _ in on_d]
        value += [float(a_) for _, a_ in on_x] + [float(a_) for _, a_ in on_d]
        start_.append(len(index))
        low.append(a if a > -1e300 else -highspy.kHighsInf)
        high.append(float(b))
    lp.num_col_, lp.num_row_ = len(cost), len(low)
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = np.array(cost), np.zeros(len(cost)), np.array(upper)
    lp.row_lower_, lp.row_upper_ = np.array(low, float), np.array(high, float)
    lp.integrality_ = integral
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_, lp.a_matrix_.index_ = np.array(start_), np.array(index)
    lp.a_matrix_.value_ = np.array(value, float)
    h.passModel(lp)
    if start is not None:
        solution = highspy.HighsSolution()
        values = np.zeros(len(cost))
        for (l, e, p), at in x.items():
            values[at] = 1.0 if start[l][e] == p else 0.0
        for k, (l, i, j, _) in enumerate(list_of_pairs):
            values[d[k]] = 1.0 if start[l][i] != start[l + 1][j] else 0.0
        solution.col_value = values.tolist()
        h.setSolution(solution)
    improvements = []

    def improved(event):
        improvements.append(clock.now())

    h.cbMipImprovingSolution.subscribe(improved)
    clock = Clock()
    h.run()
    info = h.getInfo()
    optimal = h.getModelStatus() == highspy.HighsModelStatus.kOptimal
    values = h.getSolution().col_value
    found = info.primal_solution_status == 2
    return result(
        labels_of(case, lambda l, e, p: values[x[l, e, p]]) if found else None, info.mip_dual_bound,
        improvements[-1] if improvements else None, clock.now() if optimal else None, size=(len(cost), len(low)))


def run_scip(case, seconds, threads, start):
    import pyscipopt

    m = pyscipopt.Model()
    m.hideOutput()
    m.setParam("limits/time", float(seconds))
    L, E, P = case.layers, case.experts, case.gpus
    zero = fixed(case)
    x = {
        (l, e, p): m.addVar(vtype="B", ub=0 if (l, e, p) in zero else 1)
        for l in range(L) for e in range(E) for p in range(P)
    }
    list_of_pairs = pairs(case)
    d = [m.addVar(vtype="C", lb=0, ub=1, obj=weight) for *_, weight in list_of_pairs]
    count = 0
    for on_x, on_d, a, b in rows(case):
        left = pyscipopt.quicksum([f * x[v] for v, f in on_x] + [f * d[k] for k, f in on_d])
        m.addCons(left == b if a == b else left <= b)
        count += 1
    times = []

    class Improved(pyscipopt.Eventhdlr):
        def eventinit(self):
            self.model.catchEvent(pyscipopt.SCIP_EVENTTYPE.BESTSOLFOUND, self)

        def eventexec(self, event):
            times.append(clock.now())

    m.includeEventhdlr(Improved(), "improved", "times of incumbents")
    if start is not None:
        s = m.createSol()
        for (l, e, p), v in x.items():
            m.setSolVal(s, v, 1 if start[l][e] == p else 0)
        for k, (l, i, j, _) in enumerate(list_of_pairs):
            m.setSolVal(s, d[k], 1 if start[l][i] != start[l + 1][j] else 0)
        m.addSol(s)
    clock = Clock()
    m.optimize()
    found = m.getNSols() > 0
    best = m.getBestSol() if found else None
    return result(
        labels_of(case, lambda l, e, p: m.getSolVal(best, x[l, e, p])) if found else None, m.getDualbound(),
        times[-1] if times else None, clock.now() if m.getStatus() == "optimal" else None,
        note="one thread", size=(len(x) + len(d), count))


def run_cpsat(case, seconds, threads, start):
    from ortools.sat.python import cp_model

    m = cp_model.CpModel()
    L, E, P = case.layers, case.experts, case.gpus
    zero = fixed(case)
    x = {(l, e, p): m.new_bool_var("") for l in range(L) for e in range(E) for p in range(P)}
    for v in zero:
        m.add(x[v] == 0)
    c = E // P
    for l in range(L):
        for e in range(E):
            m.add_exactly_one(x[l, e, p] for p in range(P))
        for p in range(P):
            m.add(sum(x[l, e, p] for e in range(E)) == c)
    for e in range(1, E):
        for p in range(1, min(P, e + 1)):
            m.add_bool_or([x[0, e, p].negated()] + [x[0, f, p - 1] for f in range(e)])
    list_of_pairs = pairs(case)
    d = [m.new_bool_var("") for _ in list_of_pairs]
    for k, (l, i, j, _) in enumerate(list_of_pairs):
        for p in range(P):
            m.add_bool_or(d[k], x[l, i, p].negated(), x[l + 1, j, p])
    m.minimize(sum(weight * d[k] for k, (*_, weight) in enumerate(list_of_pairs)))
    if start is not None:
        for (l, e, p), v in x.items():
            m.add_hint(v, int(start[l][e] == p))
        for k, (l, i, j, _) in enumerate(list_of_pairs):
            m.add_hint(d[k], int(start[l][i] != start[l + 1][j]))
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = seconds
    solver.parameters.num_workers = threads

    class Improved(cp_model.CpSolverSolutionCallback):
        def on_solution_callback(self):
            clock.best = clock.now()

    clock = Clock()
    status = solver.solve(m, Improved())
    found = status in (cp_model.OPTIMAL, cp_model.FEASIBLE)
    return result(
        labels_of(case, lambda l, e, p: solver.value(x[l, e, p])) if found else None, solver.best_objective_bound,
        clock.best, clock.now() if status == cp_model.OPTIMAL else None,
        size=(len(x) + len(d), len(m.proto.constraints)))


def run_gurobi(case, seconds, threads, start):
    import gurobipy

    L, E, P = case.layers, case.experts, case.gpus
    count = sum(1 for _ in rows(case))
    columns = L * E * P + len(pairs(case))
    if columns > 2000 or count > 2000:
        return result(note=f"{columns} variables, {count} constraints: over the free licence's 2000", size=(columns, count))
    env = gurobipy.Env(params={"OutputFlag": 0})
    m = gurobipy.Model(env=env)
    m.Params.TimeLimit = seconds
    m.Params.Threads = threads
    zero = fixed(case)
    x = {
        (l, e, p): m.addVar(vtype="B", ub=0 if (l, e, p) in zero else 1)
        for l in range(L) for e in range(E) for p in range(P)
    }
    list_of_pairs = pairs(case)
    d = [m.addVar(lb=0, ub=1, obj=weight) for *_, weight in list_of_pairs]
    for on_x, on_d, a, b in rows(case):
        left = gurobipy.quicksum([f * x[v] for v, f in on_x] + [f * d[k] for k, f in on_d])
        m.addConstr(left == b if a == b else left <= b)
    if start is not None:
        for (l, e, p), v in x.items():
            v.Start = int(start[l][e] == p)

    def improved(model, where):
        if where == gurobipy.GRB.Callback.MIPSOL:
            clock.best = clock.now()

    clock = Clock()
    m.optimize(improved)
    return result(
        labels_of(case, lambda l, e, p: x[l, e, p].X) if m.SolCount else None, m.ObjBound, clock.best,
        clock.now() if m.Status == gurobipy.GRB.OPTIMAL else None, size=(columns, count))


def run_metis(case, seconds, threads, start):
    import pymetis
    from scipy.optimize import linear_sum_assignment

    L, E, P = case.layers, case.experts, case.gpus
    clock = Clock()
    neighbours = [[] for _ in range(L * E)]
    weights = [[] for _ in range(L * E)]
    for l, i, j, weight in pairs(case):
        for a, b in ((l * E + i, (l + 1) * E + j), ((l + 1) * E + j, l * E + i)):
            neighbours[a].append(b)
            weights[a].append(weight)
    starts = np.cumsum([0] + [len(n) for n in neighbours]).tolist()
    graph = pymetis.CSRAdjacency(starts, [b for n in neighbours for b in n])
    # METIS counts edge weights in 32 bits.
    scale = max(1, 2 * case.total // (1 << 30) + 1)
    eweights = [max(1, v // scale) for n in weights for v in n]
    _, part = pymetis.part_graph(P, graph, eweights=eweights)
    raw = np.array(part).reshape(L, E)
    fullest = max(int(np.bincount(row, minlength=P).max()) for row in raw)
    labels = raw.copy()
    for _ in range(3):
        for l in range(L):
            gain = np.zeros((E, P))
            for p in range(P):
                if l > 0:
                    gain[:, p] += case.w[l - 1][labels[l - 1] == p].sum(0)
                if l + 1 < L:
                    gain[:, p] += case.w[l][:, labels[l + 1] == p].sum(1)
            _, slot = linear_sum_assignment(-np.repeat(gain, E // P, axis=1))
            labels[l] = slot // (E // P)
    return result(labels, None, clock.now(), None, note=f"up to {fullest} experts of a layer on a GPU before repair")


def run_colocate(case, seconds, threads, start, binary):
    with tempfile.TemporaryDirectory() as folder:
        plan = os.path.join(folder, "plan.json")
        counts = os.path.join(folder, "counts.npy")
        np.save(counts, case.w)
        command = [
            binary, "solve", counts, "--as", "counts", "--gpus", str(case.gpus), "--time-limit", str(seconds),
            "--threads", str(threads), "--log", "on", "-o", plan]
        clock = Clock()
        process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        best = None
        for line in process.stderr:
            # The first column of a progress line names who found a new incumbent.
            if len(line) > 2 and line[0] in "BWLPXDT" and line[1] == " " and line.rstrip().endswith("s"):
                best = clock.now()
        process.wait()
        seconds_used = clock.now()
        if not os.path.exists(plan):
            return result(note=f"exit code {process.returncode}")
        with open(plan) as file:
            document = json.load(file)
    return result(
        document["assignment"], document["bound"], best, seconds_used if document["status"] == "optimal" else None)


RUNS = {"HiGHS": run_highs, "SCIP": run_scip, "CP-SAT": run_cpsat, "Gurobi": run_gurobi, "METIS": run_metis}


def isolated(run, limit, *arguments):
    """Calls `run` in a process that is ended after `limit` seconds."""
    parent, child = multiprocessing.Pipe(duplex=False)

    def work():
        try:
            child.send(run(*arguments))
        except Exception as error:  # a peer that fails is a row of the table, not the end of it
            child.send(result(note=f"{type(error).__name__}: {error}"))

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    child.close()
    try:
        answer = parent.recv() if parent.poll(limit) else result(note=f"ended after {limit:.0f} s")
    except EOFError:
        answer = result(note="ended without an answer")
    process.terminate()
    process.join()
    return answer


# ---------------------------------------------------------------- the table


def row_of(case, solver, variant, answer):
    crossings = None if answer["labels"] is None else case.crossings(answer["labels"])
    if answer["labels"] is not None and crossings is None:
        answer["note"] = (answer["note"] + "; no placement").strip("; ")
    bound = answer["bound"]
    bound = None if bound is None or not np.isfinite(bound) or abs(bound) > 1e18 else max(0.0, float(bound))
    gap = None
    if crossings is not None and bound is not None:
        gap = 0.0 if crossings == 0 else max(0.0, (crossings - bound) / crossings)

    def share(x):
        return None if x is None else 100 * x / case.total

    return {
        "instance": case.name, "GPUs": case.gpus, "solver": solver, "variant": variant, "crossings": crossings,
        "crossings %": share(crossings), "bound %": share(bound), "gap %": None if gap is None else 100 * gap,
        "time to best s": answer["time_to_best"], "time to proof s": answer["time_to_proof"],
        "variables": answer["size"][0] if answer["size"] else None,
        "constraints": answer["size"][1] if answer["size"] else None, "note": answer["note"]}


def shown(key, value):
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}" if "%" in key else f"{value:.2f}"
    return str(value)


def machine():
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith("model name"):
                    model = line.split(":", 1)[1].strip()
                    break
    except OSError:
        pass
    return f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}"


def versions():
    from importlib.metadata import PackageNotFoundError, version

    found = []
    for name in ("highspy", "pyscipopt", "ortools", "gurobipy", "pymetis"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} not installed")
    return ", ".join(found)


def write(table, options, load):
    """The table as it is, so that an interrupted run leaves what it has."""
    out = pathlib.Path(options.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{out}.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    with open(f"{out}.md", "w") as file:
        file.write(f"# Peers, side by side, {datetime.date.today().isoformat()}\n\n")
        file.write(f"{machine()}. {options.time_limit:g} s and {options.threads} threads for each run (SCIP has one). ")
        file.write(f"Load average before the first run: {load:.1f}. {versions()}.\n\n")
        file.write("Crossings are recounted from each placement; gap = (crossings - bound) / crossings; – where there is none.\n\n")
        keys = [k for k in table[0] if k != "crossings"]
        file.write("| " + " | ".join(keys) + " |\n|" + "---|" * len(keys) + "\n")
        for row in table:
            file.write("| " + " | ".join(shown(k, row[k]) for k in keys) + " |\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True, help="the built colocate")
    parser.add_argument("--case", action="append", required=True, metavar="COUNTS.npy:P[:LAYERS]")
    parser.add_argument("--time-limit", type=float, default=60)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--solvers", default="HiGHS,SCIP,CP-SAT,Gurobi,METIS")
    parser.add_argument("--out", required=True, help="written to OUT.md and OUT.csv")
    options = parser.parse_args()
    table = []
    load = os.getloadavg()[0]
    for text in options.case:
        path, *sizes = text.split(":")
        case = Case(path, *map(int, sizes))

        def add(solver, variant, answer):
            row = row_of(case, solver, variant, answer)
            table.append(row)
            write(table, options, load)
            print("  ".join(f"{k}={shown(k, v)}" for k, v in row.items()), file=sys.stderr, flush=True)
            return row

        limit = 2 * options.time_limit + 60
        ours = isolated(run_colocate, limit, case, options.time_limit, options.threads, None, options.binary)
        row = add("Colocate", "", ours)
        start = None if row["crossings"] is None else case.canonical(np.array(ours["labels"]))
        for solver in options.solvers.split(","):
            run = RUNS[solver]
            add(solver, "", isolated(run, limit, case, options.time_limit, options.threads, None))
            if solver not in ("METIS",) and start is not None and "licence" not in table[-1]["note"]:
                add(solver, "from our placement", isolated(run, limit, case, options.time_limit, options.threads, start))
    return 0


if __name__ == "__main__":
    sys.exit(main())
