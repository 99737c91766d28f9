"""P = E: duals r, s with r_i + s_j >= W[i, j] bound each boundary by the sum of r and s."""

import numpy as np

from .reading import members, need, small, table


def bound(p, evidence):
    members(evidence, "assignment", ("kind", "rows", "columns"))
    need(p.groups == p.experts, "assignment duals for groups of more than one expert")
    r, s = (small(table(evidence[key], key, p.layers - 1, p.experts), key, 60) for key in ("rows", "columns"))
    # Two numbers below 2^60 and a weight of at most 2^55.
    for l in range(p.layers - 1):
        cover = np.array(r[l], np.int64)[:, None] + np.array(s[l], np.int64)[None, :]
        need((cover >= p.w[l]).all(), f"assignment duals of boundary {l} miss a weight")
    return sum(map(sum, r)) + sum(map(sum, s))
