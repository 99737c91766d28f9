"""A certificate against its counts: every claim, and what it comes to."""

import numpy as np

from . import assignment, chain, colocation, fixing, paths, tree, windows
from .problem import Problem
from .reading import array, boolean, integer, integers, members, need, small, table, text
from .report import Report

KEYS = ("format", "version", "layers", "experts", "nodes", "gpus_per_node", "objective", "counts_sha256", "assignment", "stages")


def proved(p, evidence, kept, unit, load_unit):
    """What no placement of `p` exceeds, by the evidence, which is about divided counts and loads."""
    small_problem = p.divided(unit, load_unit) if (unit, load_unit) != (1, 1) else p
    need(type(evidence) is dict, "evidence: expected an object")
    kind = text(evidence.get("kind"), "kind")
    if kind == "one-group":
        members(evidence, kind, ("kind",))
        need(p.groups == 1, "evidence for one group, but there are more")
        found = small_problem.total
    elif kind == "assignment":
        found = assignment.bound(small_problem, evidence)
    elif kind == "chain":
        found = chain.bound(small_problem, evidence)
    elif kind == "path":
        found = paths.bound(small_problem, evidence)
    elif kind == "co-location":
        found = colocation.bound(small_problem, evidence)
    elif kind == "fixing":
        found = fixing.bound(small_problem, evidence, kept // unit)
    elif kind == "windows":
        found = windows.bound(small_problem, evidence)
    else:
        need(kind == "tree", f"unknown kind of evidence '{kind}'")
        tree.check(small_problem, evidence, kept // unit)
        found = kept // unit
    bound = min(p.total, found * unit // p.step * p.step)
    need(bound >= kept, f"evidence for at most {bound}, but the placement keeps {kept}")
    return bound


def read_objective(value):
    members(value, "objective", ("name",), ("inter_node", "intra_node"))
    name = text(value["name"], "objective")
    if name == "joint":
        members(value, "objective", ("name", "inter_node", "intra_node"))
        inter, intra = (integer(value[key], key) for key in ("inter_node", "intra_node"))
        need(0 <= intra <= inter, "joint weights out of order")
        return name, inter, intra
    members(value, "objective", ("name",))
    need(name in ("flat", "staged"), f"objective '{name}'")
    return name, 0, 0


def read_caps(certificate, counts, gpus, assigned):
    """The cap as (numerator, denominator) and its tokens in each layer, None without one."""
    cap, caps = certificate.get("load_cap"), certificate.get("caps")
    if cap is None:
        need(caps is None, "caps without a load cap")
        return None, None, 0
    members(cap, "load_cap", ("numerator", "denominator", "relaxed_to_feasible"))
    above, below = (integer(cap[key], key) for key in ("numerator", "denominator"))
    relaxed = boolean(cap["relaxed_to_feasible"], "relaxed_to_feasible")
    need(0 < below <= 10**15 and below <= above and above // 1000 <= below, "a load cap out of range")
    tokens = [counts.tokens(l) for l in range(counts.layers)]
    allowed = [min(t, t * above // (below * gpus)) for t in tokens]
    if caps is None:
        need(not relaxed, "key 'caps' is missing, which a relaxed load cap needs")
        caps = allowed
    integers(caps, "caps", counts.layers)
    for l in range(counts.layers):
        # More than all tokens is no cap, and may be written as any number.
        stated = min(caps[l], tokens[l])
        need(stated == allowed[l] or (relaxed and stated > allowed[l]), f"a cap of {caps[l]} tokens in layer {l}, expected {allowed[l]}")
        for gpu in range(gpus):
            load = int(counts.loads[l][assigned[l] == gpu].sum())
            need(load <= caps[l], f"the placement gives a GPU {load} tokens of layer {l}, expected at most {caps[l]}")
    return (above, below), caps, sum(x > y for x, y in zip(caps, allowed))


def level(name, counts, assigned, nodes, per_node, caps):
    """The problem of a stage and the placement's labels for it."""
    if caps is not None:
        # Loads are multiples of their divisor, so caps between two multiples are the lower one.
        load_unit = max(1, int(np.gcd.reduce(counts.loads.ravel())))
        caps = [cap // load_unit * load_unit for cap in caps]
    if name == "gpus":
        return Problem(counts.w, counts.v, counts.loads, nodes * per_node, caps), assigned
    if name == "nodes":
        wide = None if caps is None else [x * per_node for x in caps]
        return Problem(counts.w, counts.v, counts.loads, nodes, wide), assigned // per_node
    number = name[5:]
    need(name.startswith("node ") and number.isascii() and number.isdigit() and str(int(number[:10])) == number, f"stage '{name}'")
    node = int(number)
    need(node < nodes, f"stage '{name}': expected a number below {nodes}")
    inside = np.stack([np.nonzero(row // per_node == node)[0] for row in assigned])
    w = np.stack([counts.w[l][np.ix_(inside[l], inside[l + 1])] for l in range(counts.layers - 1)])
    v = None if counts.v is None else np.stack([counts.v[l][np.ix_(m, m)] for l, m in enumerate(inside)])
    loads = np.take_along_axis(counts.loads, inside, 1)
    labels = np.take_along_axis(assigned, inside, 1) - node * per_node
    return Problem(w, v, loads, per_node, caps), labels


def read_placement(certificate, of, what, key):
    """What every certificate begins with: the machines and the placement, held against `of`, whose
    digest stands under `key`. Answers nodes, GPUs of a node, the digest and the GPU of each expert,
    [L, E]."""
    need(integer(certificate["version"], "version") == 1, "a certificate of another version")
    if certificate.get("tool") is not None:
        text(certificate["tool"], "tool")
    layers, experts, nodes, per_node = (integer(certificate[key], key) for key in ("layers", "experts", "nodes", "gpus_per_node"))
    need((of.layers, of.experts) == (layers, experts), f"{what} for {of.layers} × {of.experts}, expected {layers} × {experts}")
    need(1 <= nodes <= 10**6 and 1 <= per_node <= 10**6, "GPUs out of range")
    gpus = nodes * per_node
    need(experts >= gpus and experts % gpus == 0, "experts do not spread over the GPUs")
    digest = of.digest()
    need(text(certificate[key], key) == digest, f"the digest of the {what} is another one")
    rows = small(table(certificate["assignment"], "assignment", layers, experts), "assignment", 40)
    assigned = np.array(rows, np.int64)
    for l, row in enumerate(assigned):
        need(((0 <= row) & (row < gpus)).all(), f"layer {l}: a GPU that does not exist")
        need((np.bincount(row, minlength=gpus) == experts // gpus).all(), f"layer {l}: unequal groups")
    return nodes, per_node, digest, assigned


def check(certificate, counts):
    """Checks every claim.

    Answers the report; raises Refused with the first thing that is not true, TooLarge where the
    evidence is beyond this checker's limits.
    """
    members(certificate, "certificate", KEYS, ("load_cap", "caps", "tool"))
    need(certificate["format"] == "colocate-certificate", "not a certificate")
    nodes, per_node, digest, assigned = read_placement(certificate, counts, "counts", "counts_sha256")
    gpus = nodes * per_node
    cap, caps, relaxed = read_caps(certificate, counts, gpus, assigned)
    report = Report(counts, digest, nodes, per_node, read_objective(certificate["objective"]), cap, caps, relaxed)
    need(array(certificate["stages"], "stages"), "no stage")
    for stage in certificate["stages"]:
        members(stage, "stage", ("name", "kept", "kept_bound", "evidence"), ("unit", "load_unit"))
        name = text(stage["name"], "name")
        need(name not in [entry[0] for entry in report.stages], f"stage '{name}' occurs twice")
        p, labels = level(name, counts, assigned, nodes, per_node, caps)
        kept, claimed = integer(stage["kept"], "kept"), integer(stage["kept_bound"], "kept_bound")
        units = [1 if stage.get(key) is None else integer(stage[key], key) for key in ("unit", "load_unit")]
        need(min(units) >= 1, "a unit below 1")
        found = p.kept(labels)
        need(kept == found, f"{name}: keeps {found}, {kept} claimed")
        need(claimed <= p.total, f"{name}: a bound of {claimed} on a total of {p.total}")
        most = proved(p, stage["evidence"], kept, *units)
        # A weaker claim is a true one.
        need(claimed >= most, f"{name}: at most {claimed} claimed, {most} proved")
        report.add(name, stage["evidence"]["kind"], p.total - kept, p.total - claimed, p.total)
    report.finish(*(level(name, counts, assigned, nodes, per_node, None) for name in ("gpus", "nodes")))
    return report
