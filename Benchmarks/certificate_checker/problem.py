"""One level of groups, as it follows from counts, placement and caps."""

import math

import numpy as np

from .counts import MOST, exact_sum
from .reading import need


class Problem:
    """Partition the experts of each layer into groups of c, each within the cap.

    W, V and loads are int64 with totals of at most 2^55, 2^56 and 2^55: sums of some entries are
    exact. Caps are Python integers.
    """

    def __init__(self, w, v, loads, groups, caps):
        self.w, self.v, self.loads, self.groups, self.caps = w, v, loads, groups, caps
        self.layers, self.experts = loads.shape
        need(1 <= groups <= self.experts and self.experts % groups == 0, "experts do not spread over the groups")
        self.c = self.experts // groups
        self.total = exact_sum(w) + (exact_sum(v) // 2 if v is not None else 0)
        # What a placement keeps is a multiple of this.
        both = [w.ravel()] if v is None else [w.ravel(), v.ravel()]
        self.step = max(1, int(np.gcd.reduce(np.concatenate(both))))

    def kept(self, labels):
        same = labels[:-1, :, None] == labels[1:, None, :]
        kept = exact_sum(self.w * same)
        if self.v is not None:
            kept += exact_sum(self.v * (labels[:, :, None] == labels[:, None, :])) // 2
        return kept

    def divided(self, unit, load_unit):
        """The problem with all counts divided by `unit` and all loads by `load_unit`."""
        need(unit >= 1 and self.step % unit == 0, f"counts in units of {unit}, which does not divide all of them")
        need(1 <= load_unit <= MOST, f"loads in units of {load_unit}")
        need((self.loads % load_unit == 0).all(), f"loads in units of {load_unit}, which does not divide all of them")
        v = None if self.v is None else self.v // unit
        caps = None if self.caps is None else [cap // load_unit for cap in self.caps]
        return Problem(self.w // unit, v, self.loads // load_unit, self.groups, caps)

    def subsets(self):
        """E over c."""
        return math.comb(self.experts, self.c)
