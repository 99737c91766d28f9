#!/usr/bin/env python3
"""Checks a Colocate certificate with numpy, from the formulas of the bounds. Shares no code with the solver.

    python3 Benchmarks/check_certificate.py CERTIFICATE COUNTS.npy [COUNTS.npy ...]
    python3 Benchmarks/check_certificate.py --top-k first CERTIFICATE TRACE.npy

Prints one line a stage and exits with 0 where everything holds, 1 where something does not, 3 where evidence is too large for Python.
Path, tree, chain and assignment evidence is checked in exact integers. For co-location evidence everything but eigenvalues is exact; these
come from LAPACK in doubles, with the margin that `spectral_sum` derives.
"""

import argparse
import hashlib
import itertools
import json
import math
import sys
from fractions import Fraction

import numpy as np


class Refused(Exception):
    """Something in the certificate is not true."""


class TooLarge(Exception):
    """Evidence that this checker would need too long for."""


def need(condition, message):
    if not condition:
        raise Refused(message)


# ---------------------------------------------------------------- counts


def read_counts(paths, kind, top_k, experts, coactivation):
    """W [L-1, E, E], loads [L, E], V [L, E, E] or None."""
    parts = []
    for path in paths:
        a = np.load(path)
        need(a.dtype.kind in "iu", f"{path}: not integers")
        a = a.astype(np.int64)
        counts = kind == "counts" or (kind is None and a.ndim == 3 and a.shape[1] == a.shape[2])
        if counts:
            loads = np.concatenate([a.sum(2), a[-1:].sum(1)])
            parts.append((a, loads, None))
        else:
            parts.append(count_trace(a, top_k, experts, coactivation))
    size = max(p[0].shape[1] for p in parts)

    def grown(x):
        return np.pad(x, [(0, 0)] + [(0, size - n) for n in x.shape[1:]])

    total = [grown(x) if x is not None else None for x in parts[0]]
    for part in parts[1:]:
        for index, x in enumerate(part):
            if x is not None:
                total[index] = total[index] + grown(x)
    return total


def count_trace(a, top_k, experts, coactivation):
    if a.ndim == 2:
        a = a[:, :, None]
    if top_k == "first":
        a = a[:, :, :1]
    tokens, layers, k = a.shape
    size = experts or int(a.max()) + 1
    w = np.zeros((layers - 1, size, size), np.int64)
    loads = np.zeros((layers, size), np.int64)
    v = np.zeros((layers, size, size), np.int64)
    for l in range(layers):
        for x in range(k):
            ok = a[:, l, x] >= 0
            np.add.at(loads[l], a[ok, l, x], 1)
            for y in range(k):
                if l + 1 < layers:
                    both = ok & (a[:, l + 1, y] >= 0)
                    np.add.at(w[l], (a[both, l, x], a[both, l + 1, y]), 1)
                if x != y:
                    both = ok & (a[:, l, y] >= 0) & (a[:, l, x] != a[:, l, y])
                    np.add.at(v[l], (a[both, l, x], a[both, l, y]), 1)
    return w, loads, v if coactivation and k > 1 else None


class Problem:
    """One level of groups: weights, loads, caps."""

    def __init__(self, w, v, loads, groups, caps):
        self.w, self.v, self.loads, self.groups, self.caps = w, v, loads, groups, caps
        self.layers, self.experts = loads.shape
        need(groups >= 1 and self.experts % groups == 0, "experts do not spread over the groups")
        self.c = self.experts // groups
        self.total = int(w.sum()) + (int(v.sum()) // 2 if v is not None else 0)

    def kept(self, labels):
        same = labels[:-1, :, None] == labels[1:, None, :]
        kept = int((self.w * same).sum())
        if self.v is not None:
            kept += int((self.v * (labels[:, :, None] == labels[:, None, :])).sum()) // 2
        return kept

    def check_feasible(self, labels):
        for l in range(self.layers):
            sizes = np.bincount(labels[l], minlength=self.groups)
            need(len(sizes) == self.groups and (sizes == self.c).all(), f"layer {l}: unequal groups")
            if self.caps is not None:
                load = np.bincount(labels[l], weights=self.loads[l].astype(float), minlength=self.groups)
                need((load <= self.caps[l]).all(), f"layer {l}: a group is over the cap")


# ---------------------------------------------------------------- assignment


def check_assignment(p, e):
    need(p.groups == p.experts, "assignment duals for groups of more than one")
    r, s = ints(e["rows"], (p.layers - 1, p.experts)), ints(e["columns"], (p.layers - 1, p.experts))
    need((r[:, :, None] + s[:, None, :] >= p.w).all(), "assignment duals miss a weight")
    return int(r.sum() + s.sum())


def ints(values, shape):
    a = np.array(values, dtype=object)
    need(a.shape == shape, f"an array of shape {a.shape}, expected {shape}")
    need(all(type(x) is int and abs(x) <= 1 << 52 for x in a.flat), "a number is out of range")
    return a.astype(np.int64)


# ---------------------------------------------------------------- chain


def partitions(p, layer):
    """All partitions in the certificate's order, [n, P, c] expert numbers."""
    found = []
    cap = None if p.caps is None else p.caps[layer]
    loads = p.loads[layer]

    def form(free, groups):
        if not free:
            found.append(groups)
            if len(found) > 60000:
                raise TooLarge("more than 60000 partitions")
            return
        first, rest = free[0], free[1:]
        for others in itertools.combinations(rest, p.c - 1):
            group = (first,) + others
            if cap is not None and loads[list(group)].sum() > cap:
                continue
            form([x for x in rest if x not in others], groups + [group])

    form(list(range(p.experts)), [])
    return np.array(found, dtype=np.int64).reshape(len(found), p.groups, p.c)


def check_chain(p, e):
    need(len(e["values"]) == p.layers, "a value function of another number of layers")
    shared = partitions(p, 0) if p.caps is None else None
    before = None
    for l in range(p.layers):
        states = shared if shared is not None else partitions(p, l)
        n = len(states)
        f = ints(e["values"][l], (n,))
        inside = np.zeros(n, np.int64)
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
    w = p.w[l - 1]
    # Indicator of each distinct group, then all overlaps.
    def groups(list_of_states):
        n = len(list_of_states)
        flat = list_of_states.reshape(n * p.groups, p.c)
        distinct, place = np.unique(flat, axis=0, return_inverse=True)
        x = np.zeros((len(distinct), p.experts), np.int64)
        np.put_along_axis(x, distinct, 1, axis=1)
        return x, place.reshape(n, p.groups)

    xa, pa = groups(before)
    xb, pb = groups(states)
    table = xa @ w @ xb.T
    if len(pa) * len(pb) * math.factorial(min(p.groups, 8)) > 4e11 or p.groups > 6:
        raise TooLarge(f"{len(pa)} × {len(pb)} partitions of {p.groups} groups")
    orders = list(itertools.permutations(range(p.groups)))
    for a in range(len(pa)):
        rows = table[pa[a]]  # [P, distinct]
        parts = [rows[g][pb] for g in range(p.groups)]  # each [n, P]
        best = None
        for order in orders:
            sum_ = parts[0][:, order[0]]
            for g in range(1, p.groups):
                sum_ = sum_ + parts[g][:, order[g]]
            best = sum_ if best is None else np.maximum(best, sum_)
        need((f1 >= f0[a] + best + inside).all(), f"layer {l}: a value is too small")


# ---------------------------------------------------------------- paths


class Paths:
    """Path prices over lists of subsets, in units of 1/64, exactly."""

    def __init__(self, p, subsets=None):
        self.p = p
        if subsets is None:
            count = math.comb(p.experts, p.c)
            if count > 40000:
                raise TooLarge(f"{count} subsets a layer")
            all_ = np.array(list(itertools.combinations(range(p.experts), p.c)), dtype=np.int64)
            subsets = []
            for l in range(p.layers):
                ok = np.ones(len(all_), bool)
                if p.caps is not None:
                    ok = p.loads[l][all_].sum(1) <= p.caps[l]
                subsets.append(all_[ok])
        self.subsets = subsets

    def empty(self):
        return any(len(s) == 0 for s in self.subsets)

    def prices(self, e):
        p = self.p
        u = ints(e["prices"], (p.layers, p.experts))
        cuts = []
        for row in e.get("cuts", []):
            layer, v, members = row[0], row[1], row[2:]
            need(0 <= layer < p.layers and v >= 0, "a malformed subset-row cut")
            need(len(members) % 2 == 1 and len(set(members)) == len(members), "an even subset-row cut")
            need(all(0 <= m < p.experts for m in members), "a subset-row cut names no expert")
            cuts.append((layer, v, members))
        return u, cuts

    def values(self, u, cuts, l):
        s = self.subsets[l]
        value = -u[l][s].sum(1)
        if self.p.v is not None:
            for a, b in itertools.combinations(range(self.p.c), 2):
                value = value + 64 * self.p.v[l][s[:, a], s[:, b]]
        for layer, v, members in cuts:
            if layer == l:
                value = value - np.isin(s, members).sum(1) // 2 * v
        return value

    def arcs(self, l, rows=None):
        """64·w(S, T), [rows, n_{l+1}]."""
        s = self.subsets[l] if rows is None else self.subsets[l][rows]
        sums = 64 * self.p.w[l][s].sum(1)  # [rows, E]
        t = self.subsets[l + 1]
        out = sums[:, t[:, 0]].copy()
        for k in range(1, self.p.c):
            out += sums[:, t[:, k]]
        return out

    def evaluate(self, e, both=False):
        u, cuts = self.prices(e)
        if self.empty():
            return None
        n = self.p.layers
        value = [self.values(u, cuts, l) for l in range(n)]
        forward = [value[0]]
        for l in range(n - 1):
            best = np.full(len(self.subsets[l + 1]), np.iinfo(np.int64).min)
            for start in range(0, len(self.subsets[l]), 512):
                rows = np.arange(start, min(start + 512, len(self.subsets[l])))
                best = np.maximum(best, (forward[l][rows, None] + self.arcs(l, rows)).max(0))
            forward.append(best + value[l + 1])
        backward = None
        if both:
            backward = [np.zeros(len(self.subsets[n - 1]), np.int64)]
            for l in range(n - 2, -1, -1):
                start = backward[0] + value[l + 1]
                parts = []
                for first in range(0, len(self.subsets[l]), 512):
                    rows = np.arange(first, min(first + 512, len(self.subsets[l])))
                    parts.append((self.arcs(l, rows) + start[None, :]).max(1))
                backward.insert(0, np.concatenate(parts))
        longest = int(forward[-1].max())
        bound = int(u.sum()) + sum(v * (len(m) // 2) for _, v, m in cuts) + self.p.groups * longest
        return value, forward, backward, longest, bound

    def deleted(self, deletions, target):
        paths = self
        for e in deletions:
            if paths.empty():
                break
            _, forward, backward, longest, bound = paths.evaluate(e, both=True)
            keep = [longest - f - b <= bound - target for f, b in zip(forward, backward)]
            paths = Paths(self.p, [s[k] for s, k in zip(paths.subsets, keep)])
        return paths


def check_tree(p, e, kept):
    target = 64 * (kept + 1)
    nodes = e["nodes"]
    stack = [(0, Paths(p))]
    seen = set()
    while stack:
        place, paths = stack.pop()
        need(0 <= place < len(nodes) and place not in seen, "the tree's nodes do not form a tree")
        seen.add(place)
        node = nodes[place]
        paths = paths.deleted(node["deletions"], target)
        if "branch" in node:
            layer, i, k = node["branch"]
            need(0 <= layer < p.layers and 0 <= i < p.experts and 0 <= k < p.experts and i != k, "a malformed branch")
            need(len(node["children"]) == 2 and min(node["children"]) > place, "a malformed branch")
            s = paths.subsets[layer]
            a, b = (s == i).any(1), (s == k).any(1)
            for child, keep in zip(node["children"], (a == b, ~(a & b))):
                subsets = list(paths.subsets)
                subsets[layer] = s[keep]
                stack.append((child, Paths(p, subsets)))
        elif paths.empty():
            continue
        elif node["leaf"] == "bounded":
            bound = paths.evaluate(node)[4]
            need(bound < target, f"a leaf has a bound of {bound}/64, not below {target}/64")
        else:
            need(node["leaf"] == "exhausted", "a leaf of no known kind")
            check_exhausted(paths, node, target)


def check_exhausted(paths, node, target):
    """Layered search over partitions: no placement loses at most B - target."""
    p = paths.p
    value, forward, backward, longest, bound = paths.evaluate(node, both=True)
    budget = bound - target
    dolls = node["dolls"]
    need(len(dolls) == p.layers + 1 and dolls[-1] == 0 and min(dolls) >= 0, "malformed dolls")
    if budget < 0:
        return
    pen = [longest - f - b for f, b in zip(forward, backward)]
    masks = [[sum(1 << int(x) for x in s) for s in subset] for subset in paths.subsets]
    arcs = []
    for l in range(p.layers - 1):
        rows = {}
        near = np.nonzero(pen[l] <= budget)[0]
        for start in range(0, len(near), 256):
            part = near[start : start + 256]
            slack = forward[l + 1][None] - value[l + 1][None] - forward[l][part, None] - paths.arcs(l, part)
            reduced = slack + pen[l + 1][None] - pen[l][part, None]
            for row, s in enumerate(part):
                ok = np.nonzero(reduced[row] <= budget)[0]
                order = ok[np.argsort(reduced[row][ok], kind="stable")]
                rows[int(s)] = [(int(t), int(slack[row][t]), int(reduced[row][t]), masks[l + 1][t]) for t in order]
        arcs.append(rows)
    full = (1 << p.experts) - 1
    # What a partition leaves of a priced cut is lost too.
    _, cuts = paths.prices(node)
    total = [sum(v * (len(m) // 2) for layer, v, m in cuts if layer == l) for l in range(p.layers)]
    paid = [
        sum((np.isin(paths.subsets[l], m).sum(1) // 2 * v for layer, v, m in cuts if layer == l), np.zeros(len(paths.subsets[l]), np.int64)).tolist()
        for l in range(p.layers)
    ]

    unions = []
    for rows in arcs:
        unions.append({s: 0 for s in rows})
        for s, row in rows.items():
            for _, _, _, mask in row:
                unions[-1][s] |= mask

    def cut_loss(l, chosen):
        return total[l] - sum(paid[l][s] for s in chosen)

    def start(k, limit):
        holding = [[] for _ in range(p.experts)]
        for s in np.nonzero(pen[k] <= limit)[0]:
            holding[int(paths.subsets[k][s].min())].append((int(pen[k][s]), int(s)))
        for row in holding:
            row.sort()
        states = {}

        def cover(free, left, chosen):
            if len(states) > 3_000_000:
                raise TooLarge("more than 3 million partitions in a layer")
            if free == 0:
                lost = cut_loss(k, chosen)
                if lost <= left:
                    states[tuple(sorted(chosen))] = lost
                return
            for cost, s in holding[(free & -free).bit_length() - 1]:
                if cost > left:
                    break
                if masks[k][s] & ~free == 0:
                    cover(free & ~masks[k][s], left - cost, chosen + [s])

        cover(full, limit, [])
        return states

    def reaches_end(k, limit):
        if limit < 0 or dolls[k + 1] > limit:
            return False
        states = start(k, limit)
        for l in range(k, p.layers - 1):
            after = {}
            for state, lost in states.items():
                spare = limit - lost - sum(int(pen[l][s]) for s in state)
                # Groups with few arcs first; `later[g]`: experts that the groups from g on can hold.
                order = sorted(state, key=lambda s: len(arcs[l][s]))
                later = [0]
                for s in reversed(order):
                    later.insert(0, later[0] | unions[l][s])

                def extend(g, used, lost, spare, chosen):
                    if g == len(order):
                        cut = cut_loss(l + 1, chosen)
                        if cut > spare:
                            return
                        lost += cut
                        key = tuple(sorted(chosen))
                        if after.get(key, lost + 1) > lost:
                            after[key] = lost
                        return
                    due = full & ~used & ~later[g + 1]
                    for t, loss, reduced, mask in arcs[l][order[g]]:
                        if reduced > spare:
                            break
                        if mask & used == 0 and due & ~mask == 0 and lost + loss + dolls[l + 1] <= limit:
                            extend(g + 1, used | mask, lost + loss, spare - reduced, chosen + [t])

                extend(0, 0, lost, spare, [])
                if len(after) > 3_000_000:
                    raise TooLarge("more than 3 million partitions in a layer")
            states = after
            if not states:
                return False
        return bool(states)

    for k in range(p.layers - 1, -1, -1):
        if dolls[k] > dolls[k + 1]:
            need(not reaches_end(k, min(dolls[k] - 1, budget)), f"a placement loses less from layer {k} on than claimed")
    if dolls[0] <= budget:
        need(not reaches_end(0, budget), "the layered search finds a better placement")


# ---------------------------------------------------------------- co-location


def spectral_sum(u, k, unit):
    """Upper bound on the sum of the k largest eigenvalues of Q U Q on the range of Q, U = u·unit.

    Let A be Q U Q - κ(1 1ᵀ)/E on the diagonal blocks, κ = ‖Q U Q‖_F: outside Q's range its eigenvalues are -κ, and taking them in can only make the
    sum larger. With computed eigenpairs (d, V), A V = V D + R and VᵀV = I + F, f = ‖F‖ < 0.1:

        A - V D Vᵀ = R V⁻¹ + V D ((I+F)⁻¹ - I) Vᵀ,   so   ‖A - V D Vᵀ‖ ≤ ‖R‖/(1-f) + max|d|·f·(1+f)/(1-f),

    and the eigenvalues of V D Vᵀ differ from d by at most f·max|d| (Ostrowski). Each of the k eigenvalues of A is thus below d_i + ‖R‖/(1-f) + 3·f·max|d|.
    Norms are Frobenius norms computed in doubles, enlarged by n²·2^-50 times what entered them.
    """
    n = u.shape[0]
    e = n // 2
    a = u.astype(np.float64) * unit
    size = float(np.abs(a).max())
    for i in (0, 1):
        for j in (0, 1):
            b = a[i * e : (i + 1) * e, j * e : (j + 1) * e]
            b += b.mean() - b.mean(1, keepdims=True) - b.mean(0, keepdims=True)
    a = (a + a.T) / 2
    kappa = float(np.linalg.norm(a))
    a -= np.kron(np.eye(2), np.ones((e, e))) * (kappa / e)
    frobenius = float(np.linalg.norm(a))
    d, v = np.linalg.eigh(a)
    rounding = n * 2.0**-50
    r = float(np.linalg.norm(a @ v - v * d)) + rounding * n * frobenius
    f = float(np.linalg.norm(v.T @ v - np.eye(n))) + rounding * n
    need(f < 0.1, "eigenvectors are not orthogonal")
    off = r / (1 - f) + 3 * f * float(np.abs(d).max())
    # A differs from what it stands for by at most this in norm: centring rounds numbers up to 4·size some 2n times, n entries a row.
    off += rounding * n * (4 * size + kappa / e)
    return float(np.sort(d)[::-1][:k].sum()) + k * off


def check_colocation(p, e):
    E, L, P, c = p.experts, p.layers, p.groups, p.c
    q = e["fraction_bits"]
    need(type(q) is int and 0 <= q <= 40, "fraction_bits is out of range")
    need(P >= 2, "co-location evidence for one group")
    upper = np.triu_indices(E)
    half = E * (E + 1) // 2
    left, between, right = (ints(e[key], (L - 1, n)) for key, n in (("left", half), ("between", E * E), ("right", half)))
    u = np.zeros((L - 1, 2 * E, 2 * E), np.int64)
    for l in range(L - 1):
        for block, at in ((left[l], 0), (right[l], E)):
            z = np.zeros((E, E), np.int64)
            z[upper] = block
            u[l, at : at + E, at : at + E] = z + np.triu(z, 1).T
        y = between[l].reshape(E, E)
        u[l, :E, E:] = y
        u[l, E:, :E] = y.T
    # Objective minus 2U, by boundary for Y and by layer for Z.
    cy = p.w.astype(object) * (1 << q) - 2 * u[:, :E, E:].astype(object)
    cz = np.zeros((L, E, E), object)
    if p.v is not None:
        cz += p.v.astype(object) * (1 << q)
    for l in range(L - 1):
        cz[l] -= 2 * u[l, :E, :E].astype(object)
        cz[l + 1] -= 2 * u[l, E:, E:].astype(object)
    constant = -int(sum(int(np.trace(m)) for m in u))

    def subtract(l, a, b, amount):
        a, b = min(a, b), max(a, b)
        if b < E:
            cz[l][a, b] -= amount
        elif a >= E:
            cz[l + 1][a - E, b - E] -= amount
        else:
            cy[l][a, b - E] -= amount

    def apply(l, multiplier, terms, limit):
        nonlocal constant
        for a, b, coefficient in terms:
            need(0 <= a < 2 * E and 0 <= b < 2 * E and a != b, "a cut names no pair of nodes")
            subtract(l, a, b, coefficient * multiplier)
        constant += multiplier * limit

    for key, least in (("partition", 1), ("crowd", 1), ("company", 4), ("load", 3), ("load_pair", 4), ("load_product", 3)):
        for row in e[key]:
            need(len(row) >= 2 + least and all(type(x) is int for x in row), f"a malformed {key} cut")
            l, multiplier, rest = row[0], row[1], row[2:]
            need(0 <= l < L - 1 and multiplier >= 0, f"a malformed {key} cut")
            terms, limit = CUTS[key](p, l, rest)
            apply(l, multiplier, terms, limit)
    bound = Fraction(constant)
    for l in range(L - 1):
        bound += sum(int(x) for x in cy[l].flat if x > 0)
    for l in range(L):
        apart = apart_pairs(p, l)
        bound += sum(int(cz[l][i, j]) for i in range(E) for j in range(i + 1, E) if cz[l][i, j] > 0 and (i, j) not in apart)
    bound += Fraction(int(u.sum()), P)
    bound /= 1 << q
    for l in range(L - 1):
        bound += Fraction(2 * c * spectral_sum(u[l], P - 1, 2.0**-q)) * (1 + Fraction(1, 1 << 50))
    return min(math.floor(bound), p.total)


def apart_pairs(p, l):
    """Pairs of a layer that exceed the cap together with the smallest company."""
    if p.caps is None or p.c < 2:
        return set()
    load = p.loads[l]
    order = sorted(range(p.experts), key=lambda i: load[i])
    found = set()
    for i in range(p.experts):
        for j in range(i + 1, p.experts):
            company = [x for x in order if x not in (i, j)][: p.c - 2]
            if load[i] + load[j] + sum(load[x] for x in company) > p.caps[l]:
                found.add((i, j))
    return found


def distinct(p, nodes):
    need(len(set(nodes)) == len(nodes) and all(0 <= x < 2 * p.experts for x in nodes), "a cut names a node twice, or none")


def cut_partition(p, l, row):
    n = row[0]
    s, t = row[1 : 1 + n], row[1 + n :]
    need(1 <= n and len(s) == n and t, "an empty side of a 2-partition inequality")
    distinct(p, s + t)
    terms = [(a, b, 1) for a in s for b in t]
    terms += [(a, b, -1) for side in (s, t) for a, b in itertools.combinations(side, 2)]
    return terms, min(len(s), len(t))


def cut_crowd(p, l, nodes):
    distinct(p, nodes)
    a, r = divmod(len(nodes), p.groups)
    return [(x, y, -1) for x, y in itertools.combinations(nodes, 2)], -(p.groups * (a * (a - 1) // 2) + r * a)


def cut_company(p, l, row):
    i, k, half, n = row[:4]
    first, second = row[4 : 4 + n], row[4 + n :]
    need(half in (0, 1) and n >= 0 and len(first) == n, "a malformed company cut")
    distinct(p, [i, k] + first + second)
    need(all(half * p.experts <= j < (half + 1) * p.experts for j in first + second), "company of another layer")
    lead = p.c - (p.experts - len(first) - len(second))
    return [(i, k, lead)] + [(i, j, -1) for j in first] + [(k, j, -1) for j in second], 0


def load_range(p, l):
    need(p.caps is not None, "a load cut without a cap")
    total = int(p.loads[l].sum())
    high = min(p.caps[l], total)
    return max(0, total - (p.groups - 1) * high), high, total


def cut_load(p, l, row):
    node, half, at_most = row
    need(half in (0, 1) and 0 <= node < 2 * p.experts, "a malformed load cut")
    low, high, _ = load_range(p, l + half)
    sign, limit = (1, high) if at_most == 1 else (-1, -low)
    terms = []
    for j in range(p.experts):
        t = int(p.loads[l + half][j])
        if half * p.experts + j == node:
            limit -= sign * t
        else:
            terms.append((node, half * p.experts + j, sign * t))
    return terms, limit


def cut_load_pair(p, l, row):
    i, k, half, relation = row
    need(half in (0, 1) and relation in (0, 1, 2), "a malformed load-pair cut")
    distinct(p, [i, k])
    low, high, total = load_range(p, l + half)
    if relation == 0:
        si, sk, pair, limit = 1, -1, high - low, high - low
    elif relation == 1:
        limit = min(2 * high, total - (p.groups - 2) * low)
        si, sk, pair = 1, 1, limit - 2 * high
    else:
        limit = -max(2 * low, total - (p.groups - 2) * high)
        si, sk, pair = -1, -1, limit + 2 * low
    terms = [(i, k, pair)]
    for j in range(p.experts):
        t, node = int(p.loads[l + half][j]), half * p.experts + j
        for end, sign in ((i, si), (k, sk)):
            if node == end:
                limit -= sign * t
            else:
                terms.append((end, node, sign * t))
    return terms, limit


def cut_load_product(p, l, row):
    first, second, at_most = row
    need(first in (0, 1) and second in (0, 1) and first <= second, "a malformed load-product cut")

    def extreme(layer):
        low, high, total = load_range(p, layer)
        need(high * p.groups >= total, "a cap that no placement meets")
        rest, out = total - p.groups * low, []
        for _ in range(p.groups):
            more = min(rest, high - low)
            rest -= more
            out.append(low + more)
        return out, total

    (a, total), (b, _) = extreme(l + first), extreme(l + second)
    sign = 1 if at_most == 1 else -1
    if first == second and sign < 0:
        limit = -((total * total + p.groups - 1) // p.groups)
    else:
        limit = sign * sum(x * y for x, y in zip(a, b if sign > 0 else b[::-1]))
    terms = []
    for i in range(p.experts):
        for j in range(p.experts):
            product = int(p.loads[l + first][i]) * int(p.loads[l + second][j])
            if first != second:
                terms.append((i, p.experts + j, sign * product))
            elif i == j:
                limit -= sign * product
            elif i < j:
                terms.append((first * p.experts + i, first * p.experts + j, sign * 2 * product))
    return terms, limit


CUTS = {
    "partition": cut_partition,
    "crowd": cut_crowd,
    "company": cut_company,
    "load": cut_load,
    "load_pair": cut_load_pair,
    "load_product": cut_load_product,
}


# ---------------------------------------------------------------- the certificate


def caps_of(cap, loads, gpus, certificate):
    """Tokens a GPU may get, per layer. A relaxed cap is taken from the placement: the smallest that both the ratio and the placement allow is not needed
    for validity, since a looser cap bounds more placements; see the message."""
    if cap is None:
        return None
    ratio = [int(t) * cap["numerator"] // (cap["denominator"] * gpus) for t in loads.sum(1)]
    if not cap["relaxed_to_feasible"]:
        return ratio
    raise TooLarge("a relaxed load cap needs the smallest feasible cap of each layer, a packing problem: use colocate check")


def reduced(w, v, loads, caps):
    """The same problem in the largest unit: the greatest common divisor of weights and co-activations, and that of the loads."""
    unit = math.gcd(*(int(np.gcd.reduce(a, axis=None)) for a in (w, v) if a is not None)) or 1
    load_unit = int(np.gcd.reduce(loads, axis=None)) or 1
    return (
        unit,
        w // unit,
        None if v is None else v // unit,
        loads // load_unit,
        None if caps is None else [cap // load_unit for cap in caps],
    )


def check(certificate, w, loads, v):
    need(certificate["format"] == "colocate-certificate" and certificate["version"] == 1, "not a certificate of version 1")
    need(certificate["objective"]["name"] in ("flat", "staged", "joint"), "an unknown objective")
    L, E, N, G = (certificate[k] for k in ("layers", "experts", "nodes", "gpus_per_node"))
    need(loads.shape == (L, E), f"counts for {loads.shape}, expected {(L, E)}")
    words = [np.array([L, E], np.int64), w.ravel(), loads.ravel()] + ([v.ravel()] if v is not None else [])
    digest = hashlib.sha256(np.concatenate(words).astype("<i8").tobytes()).hexdigest()
    need(digest == certificate["counts_sha256"], "the digest of the counts is another one")
    assignment = ints(certificate["assignment"], (L, E))
    need((0 <= assignment).all() and (assignment < N * G).all(), "a GPU that does not exist")
    caps = caps_of(certificate["load_cap"], loads, N * G, certificate)
    # Evidence is for reduced counts; what is claimed is in the unit of the counts.
    unit, w, v, loads, caps = reduced(w, v, loads, caps)
    gpus = Problem(w, v, loads, N * G, caps)
    gpus.check_feasible(assignment)
    need(certificate["stages"], "no stage")
    names = [stage["name"] for stage in certificate["stages"]]
    need(len(set(names)) == len(names), "a stage occurs twice")
    for stage in certificate["stages"]:
        name = stage["name"]
        if name == "gpus":
            p, labels = gpus, assignment
        elif name == "nodes":
            p = Problem(w, v, loads, N, None if caps is None else [x * G for x in caps])
            labels = assignment // G
        else:
            need(name.startswith("node ") and name[5:].isdigit() and int(name[5:]) < N, f"no such stage: {name}")
            node = int(name[5:])
            members = np.stack([np.nonzero(assignment[l] // G == node)[0] for l in range(L)])
            p = Problem(
                np.stack([w[l][np.ix_(members[l], members[l + 1])] for l in range(L - 1)]),
                None if v is None else np.stack([v[l][np.ix_(m, m)] for l, m in enumerate(members)]),
                np.take_along_axis(loads, members, 1), G, caps)
            labels = np.take_along_axis(assignment, members, 1) - node * G
        kept = p.kept(labels)
        need(kept * unit == stage["kept"], f"{name}: keeps {kept * unit}, {stage['kept']} claimed")
        e = stage["evidence"]
        kind = e["kind"]
        slack = 0
        if kind == "one-group":
            need(p.groups == 1, f"{name}: more than one group")
            bound = p.total
        elif kind == "assignment":
            bound = check_assignment(p, e)
        elif kind == "chain":
            bound = check_chain(p, e)
        elif kind == "path":
            bound = min(p.total, Paths(p).evaluate(e)[4] >> 6)
        elif kind == "tree":
            check_tree(p, e, kept)
            bound = kept
        elif kind == "co-location":
            # Another margin may fall on the other side of an integer.
            slack = 1
            bound = check_colocation(p, e)
        else:
            raise Refused(f"{name}: unknown evidence {kind}")
        kept, bound, total = kept * unit, bound * unit, p.total * unit
        need(abs(stage["kept_bound"] - bound) <= slack * unit, f"{name}: bound {stage['kept_bound']} claimed, {bound} found")
        need(stage["kept_bound"] >= kept, f"{name}: a bound below what the placement keeps")
        crossings, lowest = total - kept, total - stage["kept_bound"]
        gap = 0 if crossings == 0 else (crossings - lowest) / crossings
        print(f"{name}: crossings {crossings} of {total}, " + ("proved optimal" if crossings == lowest else f"bound {lowest}, gap {100 * gap:.4f} %") + f" ({kind})")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("certificate")
    parser.add_argument("counts", nargs="+")
    parser.add_argument("--as", dest="kind", choices=["trace", "counts"])
    parser.add_argument("--top-k", choices=["pairs", "first"], default="pairs")
    parser.add_argument("--experts", type=int)
    parser.add_argument("--coactivation", action="store_true")
    options = parser.parse_args()
    sys.setrecursionlimit(10000)
    try:
        with open(options.certificate) as file:
            certificate = json.load(file)
        w, loads, v = read_counts(options.counts, options.kind, options.top_k, options.experts, options.coactivation)
        check(certificate, w, loads, v)
    except TooLarge as error:
        print(f"too large for this checker: {error}", file=sys.stderr)
        return 3
    except (Refused, KeyError, TypeError, ValueError, IndexError) as error:
        print(f"refused: {error if isinstance(error, Refused) else f'malformed ({type(error).__name__}: {error})'}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
