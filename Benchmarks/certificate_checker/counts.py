"""Transition counts from numpy files, exactly."""

import hashlib

import numpy as np

from .reading import need

# What W, the loads and V add up to at most; sums of some of their entries then fit into 64 bits.
MOST = 1 << 55


def exact_sum(a):
    """The sum of an array of non-negative 64-bit integers as a Python integer."""
    flat = a.ravel()
    return (int((flat >> 32).sum()) << 32) + int((flat & 0xFFFFFFFF).sum())


class Counts:
    """W [L-1, E, E], loads [L, E], and V [L, E, E] or None, all int64."""

    def __init__(self, w, loads, v):
        for name, a, most in (("transitions", w, MOST), ("loads", loads, MOST), ("co-activations", v, 2 * MOST)):
            if a is not None:
                need((a >= 0).all(), f"negative {name}")
                need(exact_sum(a) <= most, f"the {name} add up to more than 2^55")
        self.w, self.loads, self.v = w, loads, v
        self.layers, self.experts = loads.shape

    def digest(self):
        words = [np.array([self.layers, self.experts], np.int64), self.w.ravel(), self.loads.ravel()]
        if self.v is not None:
            words.append(self.v.ravel())
        return hashlib.sha256(np.concatenate(words).astype("<i8").tobytes()).hexdigest()

    def tokens(self, layer):
        return exact_sum(self.loads[layer])


def read_counts(paths, kind=None, top_k="pairs", experts=None, coactivation=False):
    """The counts of all files together, and in words how they were counted."""
    parts, kinds = [], set()
    for path in paths:
        a = np.load(path, allow_pickle=False)
        need(a.dtype.kind in "iu", f"{path}: not integers")
        need(a.ndim in (2, 3) and a.size > 0, f"{path}: shape {a.shape}, expected two or three axes")
        need(int(a.max()) < 1 << 63, f"{path}: a number beyond 2^63")
        a = a.astype(np.int64)
        found = kind or ("counts" if a.ndim == 3 and a.shape[1] == a.shape[2] else "trace")
        kinds.add(found)
        if found == "counts":
            need(a.ndim == 3 and a.shape[1] == a.shape[2], f"{path}: counts of shape {a.shape}")
            need((a >= 0).all() and exact_sum(a) <= MOST, f"{path}: counts out of range")
            parts.append((a, np.concatenate([a.sum(2), a[-1:].sum(1)]), None))
        else:
            parts.append(count_trace(a, top_k, experts, coactivation))
    size = max(part[0].shape[1] for part in parts)

    def grown(x):
        return np.pad(x, [(0, 0)] + [(0, size - n) for n in x.shape[1:]])

    total = Counts(*(None if x is None else grown(x) for x in parts[0]))
    for part in parts[1:]:
        # Two totals within the limit fit into 64 bits; the sum is checked again.
        more = Counts(*(None if x is None else grown(x) for x in part))
        need(more.layers == total.layers, "files of different numbers of layers")
        v = total.v if more.v is None else more.v if total.v is None else total.v + more.v
        total = Counts(total.w + more.w, total.loads + more.loads, v)
    how = "as given" if kinds == {"counts"} else "a token's first experts" if top_k == "first" else "all pairs of a token's experts"
    return total, how


def count_trace(a, top_k, experts, coactivation):
    if a.ndim == 2:
        a = a[:, :, None]
    if top_k == "first":
        a = a[:, :, :1]
    tokens, layers, k = a.shape
    size = experts or int(a.max()) + 1
    need(0 < size <= 4096 and int(a.max()) < size, "an expert id out of range")
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
