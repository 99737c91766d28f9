"""The path relaxation over lists of subsets, in units of 1/64, exactly.

    kept <= B(u) = sum of u + P · (longest path under weights minus prices)

With R = 64·total + the most that prices can add to a path, path values are within ±R and losses
within 3R; R < 2^60 is checked, so numpy's 64-bit integers are exact. B is a Python integer.
"""

import itertools

import numpy as np

from .reading import TooLarge, array, integers, members, need, table

MOST_SUBSETS = 40_000
MOST_CUTS = 1 << 16
REACH = 1 << 60


class Paths:
    def __init__(self, p, subsets=None):
        self.p = p
        if subsets is None:
            if p.experts > 64 or p.subsets() > MOST_SUBSETS:
                raise TooLarge(f"{p.subsets()} subsets a layer")
            every = np.array(list(itertools.combinations(range(p.experts), p.c)), dtype=np.int64)
            subsets = []
            for l in range(p.layers):
                ok = np.ones(len(every), bool)
                if p.caps is not None:
                    ok = p.loads[l][every].sum(1) <= min(p.caps[l], 1 << 62)
                subsets.append(every[ok])
        self.subsets = subsets

    def empty(self):
        return any(len(s) == 0 for s in self.subsets)

    def prices(self, evidence):
        """u [L][E] and cuts (layer, price, members), of an object's "prices" and "cuts"."""
        p = self.p
        u = table(evidence["prices"], "prices", p.layers, p.experts)
        cuts = []
        rows = array(evidence["cuts"], "cuts")
        need(len(rows) <= MOST_CUTS, "too many cuts")
        for row in rows:
            need(len(integers(row, "cuts")) >= 3, "a malformed subset-row cut")
            layer, price, inside = row[0], row[1], row[2:]
            need(0 <= layer < p.layers and price >= 0, "a malformed subset-row cut")
            need(len(inside) % 2 == 1 and len(set(inside)) == len(inside), "a malformed subset-row cut")
            need(all(0 <= e < p.experts for e in inside), "a malformed subset-row cut")
            cuts.append((layer, price, inside))
        reach = 64 * p.total + sum(p.c * max(map(abs, row)) for row in u)
        reach += sum(price * (len(inside) // 2) for _, price, inside in cuts)
        if reach >= REACH:
            raise TooLarge("counts and prices that add up to more than 2^60/64")
        return u, cuts

    def values(self, u, cuts, l):
        s = self.subsets[l]
        value = -np.array(u[l], np.int64)[s].sum(1)
        if self.p.v is not None:
            for a, b in itertools.combinations(range(self.p.c), 2):
                value = value + 64 * self.p.v[l][s[:, a], s[:, b]]
        for layer, price, inside in cuts:
            if layer == l:
                value = value - np.isin(s, inside).sum(1) // 2 * price
        return value

    def arcs(self, l, rows):
        """64·w(S, T), [rows, n_{l+1}]."""
        sums = 64 * self.p.w[l][self.subsets[l][rows]].sum(1)
        t = self.subsets[l + 1]
        out = sums[:, t[:, 0]].copy()
        for k in range(1, self.p.c):
            out += sums[:, t[:, k]]
        return out

    def blocks(self, l, size=512):
        for start in range(0, len(self.subsets[l]), size):
            yield np.arange(start, min(start + size, len(self.subsets[l])))

    def evaluate(self, evidence, both=False):
        """Values, forward and backward potentials, λ, and B, which is a Python integer."""
        u, cuts = self.prices(evidence)
        n = self.p.layers
        value = [self.values(u, cuts, l) for l in range(n)]
        forward = [value[0]]
        for l in range(n - 1):
            best = np.full(len(self.subsets[l + 1]), np.iinfo(np.int64).min)
            for rows in self.blocks(l):
                best = np.maximum(best, (forward[l][rows, None] + self.arcs(l, rows)).max(0))
            forward.append(best + value[l + 1])
        backward = None
        if both:
            backward = [np.zeros(len(self.subsets[n - 1]), np.int64)]
            for l in range(n - 2, -1, -1):
                start = backward[0] + value[l + 1]
                parts = [(self.arcs(l, rows) + start[None, :]).max(1) for rows in self.blocks(l)]
                backward.insert(0, np.concatenate(parts))
        longest = int(forward[-1].max())
        total = sum(map(sum, u)) + sum(price * (len(inside) // 2) for _, price, inside in cuts)
        return value, forward, backward, longest, total + self.p.groups * longest

    def deleted(self, deletions, target):
        """Without the subsets that no placement of at least `target`/64 uses."""
        paths = self
        for entry in array(deletions, "deletions"):
            members(entry, "deletions", ("prices", "cuts"))
            if paths.empty():
                paths.prices(entry)
                continue
            _, forward, backward, longest, total = paths.evaluate(entry, both=True)
            budget = max(-(1 << 62), min(total - target, 1 << 62))
            keep = [longest - f - b <= budget for f, b in zip(forward, backward)]
            paths = Paths(self.p, [s[k] for s, k in zip(paths.subsets, keep)])
        return paths


def bound(p, evidence):
    members(evidence, "path", ("kind", "prices", "cuts"))
    return Paths(p).evaluate(evidence)[4] >> 6
