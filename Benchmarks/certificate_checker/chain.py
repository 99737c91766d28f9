"""A value function of the chain of partitions, checked against all pairs of neighbours."""

import itertools
import math

import numpy as np

from .reading import Refused, TooLarge, array, integers, members, need, small

MOST_PARTITIONS = 60_000


def partitions(p, layer):
    """All partitions in the certificate's order, [n, P, c] expert numbers."""
    count = math.factorial(p.experts) // (math.factorial(p.c) ** p.groups * math.factorial(p.groups))
    if count > MOST_PARTITIONS:
        raise TooLarge(f"more than {MOST_PARTITIONS} partitions a layer")
    found = []
    loads = [int(x) for x in p.loads[layer]]

    def form(free, groups):
        if not free:
            found.append(groups)
            return
        first, rest = free[0], free[1:]
        for others in itertools.combinations(rest, p.c - 1):
            group = (first,) + others
            if p.caps is None or sum(loads[e] for e in group) <= p.caps[layer]:
                form([x for x in rest if x not in others], groups + [group])

    form(list(range(p.experts)), [])
    return np.array(found, dtype=np.int64).reshape(len(found), p.groups, p.c)


def bound(p, evidence):
    members(evidence, "chain", ("kind", "values"))
    values = array(evidence["values"], "values", p.layers)
    if p.groups > 10:
        raise TooLarge(f"chain evidence for {p.groups} groups")
    shared = partitions(p, 0) if p.caps is None else None
    before = last = None
    for l in range(p.layers):
        states = shared if shared is not None else partitions(p, l)
        row = small([integers(values[l], "values", len(states))], "values", 60)[0]
        need(row and min(row) >= 0, f"layer {l}: a negative value, or none")
        # Values are below 2^60 and what two layers can keep at most 2^56.
        f = np.array(row, np.int64)
        inside = np.zeros(len(states), np.int64)
        if p.v is not None:
            for a, b in itertools.combinations(range(p.c), 2):
                inside += p.v[l][states[:, :, a], states[:, :, b]].sum(1)
        if l == 0:
            need((f >= inside).all(), "layer 0: a value is too small")
        else:
            check_step(p, l, before, states, last, f, inside)
        before, last = states, f
    return int(last.max())


def check_step(p, l, before, states, f0, f1, inside):
    """f1[b] >= f0[a] + θ(a, b) + inside[b] for all a, b."""

    def groups(list_of_states):
        """Indicators of the distinct groups, and which of them each state has."""
        n = len(list_of_states)
        flat = list_of_states.reshape(n * p.groups, p.c)
        distinct, place = np.unique(flat, axis=0, return_inverse=True)
        x = np.zeros((len(distinct), p.experts), np.int64)
        np.put_along_axis(x, distinct, 1, axis=1)
        return x, place.reshape(n, p.groups)

    xa, pa = groups(before)
    xb, pb = groups(states)
    if p.groups > 6 or len(pa) * len(pb) * math.factorial(p.groups) > 4e11:
        raise TooLarge(f"{len(pa)} × {len(pb)} partitions of {p.groups} groups")
    table = xa @ p.w[l - 1] @ xb.T
    orders = list(itertools.permutations(range(p.groups)))
    for a in range(len(pa)):
        rows = table[pa[a]]
        parts = [rows[g][pb] for g in range(p.groups)]
        best = None
        for order in orders:
            matched = sum(parts[g][:, order[g]] for g in range(p.groups))
            best = matched if best is None else np.maximum(best, matched)
        if not (f1 >= f0[a] + best + inside).all():
            raise Refused(f"layer {l}: a value is too small")
