"""What is known of pairs of experts, and what follows.

Multipliers bound what placements keep by B = rest + Σ_x max C_x·x. Pairs set to the values that their C do not prefer take Σ|C_x| from
it, so a placement that keeps at least `target` does not set pairs so that Σ|C_x| > δ = B - target.

Experts that must share a group form classes, with two groups also those on opposite sides, and then a class has two sides. Two classes
are together (first sides with first sides) or apart (more than two groups), or crossed (two). A case is out where the pairs between them
would lose more than δ, where a group would have more than c experts of a layer or more load than its cap, and where a known pair says
so. With more than two groups, where only c experts of a layer may be with a class, they are. This is repeated until nothing is new.
"""

import numpy as np

from .cuts import apart_pairs
from .reading import TooLarge

FREE, APART, TOGETHER = 0, 1, 2
LIMB = 30


class FixedPairs:
    def __init__(self, p):
        self.p = p
        n, layers = p.experts, p.layers
        self.between = np.zeros((layers - 1, n, n), np.int8)
        self.inside = np.zeros((layers, n, n), np.int8)
        for l in range(layers):
            for i, j in apart_pairs(p, l):
                self.inside[l, i, j] = APART
        # Only i < j is a pair inside a layer.
        self.used = np.broadcast_to(np.triu(np.ones((n, n), bool), 1), (layers, n, n))
        self.exhausted = False
        # The experts l·E + e of each pair, in the order of `flat`.
        l, i, j = np.nonzero(np.ones((layers - 1, n, n), bool))
        k, x, y = np.nonzero(self.used)
        self.first = np.concatenate([l * n + i, k * n + x])
        self.second = np.concatenate([(l + 1) * n + j, k * n + y])

    def put(self, a, b, state):
        """Notes a pair of experts l·E + e of one layer or of neighbouring ones."""
        n = self.p.experts
        a, b = min(a, b), max(a, b)
        states = self.inside if a // n == b // n else self.between
        at = (a // n, a % n, b % n)
        if states[at] not in (FREE, state):
            self.exhausted = True
        states[at] = state

    def flat(self, between, inside):
        return np.concatenate([between.ravel(), inside[self.used]])

    def tighten(self, found, target, most, finer):
        """All conclusions from the parts of a bound for placements that keep at least `target`."""
        coefficients = self.flat(found.between, found.inside)
        sizes = np.array([abs(int(x)) << finer for x in coefficients], object)
        negative = np.array([x < 0 for x in coefficients], bool)
        while True:
            delta = found.rest + most(found, self) - (target << found.bits)
            if delta < 0:
                self.exhausted = True
            if self.exhausted:
                return
            if delta >= 1 << 74 or len(sizes) > 1 << 28:
                raise TooLarge("fixing inside a loss of more than 2^74 units")
            if not self.round(sizes, negative, delta):
                return

    def set(self, new):
        """Takes the states `new`, in the order of `flat`, where they are known. Answers whether any is new."""
        old = self.flat(self.between, self.inside)
        if ((old != FREE) & (new != FREE) & (old != new)).any():
            self.exhausted = True
        states = np.where(new != FREE, new, old)
        split = self.between.size
        self.between = states[:split].reshape(self.between.shape)
        inside = self.inside.copy()
        inside[self.used] = states[split:]
        self.inside = inside
        return bool((states != old).any())

    def classes(self, states):
        """Class and side of each expert, None where known pairs contradict each other."""
        p = self.p
        count = p.layers * p.experts
        near = [[] for _ in range(count)]
        known = (states == TOGETHER) | ((states == APART) & (p.groups == 2))
        for at in np.nonzero(known)[0]:
            v, w, flip = int(self.first[at]), int(self.second[at]), int(states[at] == APART)
            near[v].append((w, flip))
            near[w].append((v, flip))
        number, side = [-1] * count, [0] * count
        found = 0
        for start in range(count):
            if number[start] >= 0:
                continue
            number[start], todo = found, [start]
            while todo:
                v = todo.pop()
                for w, flip in near[v]:
                    if number[w] < 0:
                        number[w], side[w] = found, side[v] ^ flip
                        todo.append(w)
                    elif side[w] != side[v] ^ flip:
                        return None
            found += 1
        return np.array(number), np.array(side), found

    def rooms(self, number, side, count):
        """Classes with no room beside each other: sides alike, and crossed."""
        p = self.p
        none = [np.zeros((count, count), bool), np.zeros((count, count), bool)]
        experts = np.arange(p.layers * p.experts) // p.experts
        for l in range(p.layers):
            here = np.nonzero(experts == l)[0]
            present = np.unique(number[here])
            sizes = np.zeros((count, 2), np.int64)
            loads = np.zeros((count, 2), np.int64)
            np.add.at(sizes, (number[here], side[here]), 1)
            np.add.at(loads, (number[here], side[here]), p.loads[l])
            for crossed in (0, 1):
                for one in (0, 1):
                    other = one ^ crossed
                    a, b = sizes[present, one], sizes[present, other]
                    both = (a[:, None] > 0) & (b[None] > 0)
                    full = a[:, None] + b[None] > p.c
                    if p.caps is not None:
                        cap = min(p.caps[l], 1 << 60)
                        full |= loads[present, one][:, None] + loads[present, other][None] > cap
                    none[crossed][np.ix_(present, present)] |= both & full
        return none

    def round(self, sizes, negative, delta):
        """One round of conclusions. Answers whether anything is new."""
        p = self.p
        states = self.flat(self.between, self.inside)
        found = self.classes(states)
        if found is None:
            self.exhausted = True
            return False
        number, side, count = found
        if count > 4096:
            raise TooLarge("fixing among more than 4096 classes")
        a, b = number[self.first], number[self.second]
        same = side[self.first] == side[self.second]
        inner = a == b
        new = np.where(inner, np.where(same, TOGETHER, APART), FREE).astype(np.int8)
        a, b = np.minimum(a, b), np.maximum(a, b)
        free = (states == FREE) & ~inner
        # Two limbs of 30 bits, so that sums are exact.
        clipped = [min(int(x), delta + 1) for x in sizes[free]]
        high = np.array([x >> LIMB for x in clipped], np.int64)
        low = np.array([x & ((1 << LIMB) - 1) for x in clipped], np.int64)
        over = []
        for case in (True, False):
            # 1 loses where C < 0; the pair is 1 where the classes are together and the sides alike.
            loses = (negative[free] == same[free]) == case
            sums = np.zeros((2, count, count), np.int64)
            at = (a[free][loses], b[free][loses])
            np.add.at(sums[0], at, high[loses])
            np.add.at(sums[1], at, low[loses])
            total = sums[0] + (sums[1] >> LIMB), sums[1] & ((1 << LIMB) - 1)
            bar = delta >> LIMB, delta & ((1 << LIMB) - 1)
            over.append((total[0] > bar[0]) | ((total[0] == bar[0]) & (total[1] > bar[1])))
        no_together, no_apart = over
        crowded, crossed = self.rooms(number, side, count)
        no_together |= np.triu(crowded)
        if p.groups == 2:
            no_apart |= np.triu(crossed)
        else:
            known = (states == APART) & ~inner
            no_together[a[known], b[known]] = True
            no_together |= no_together.T
            self.company(number, no_together, no_apart)
            no_apart |= no_apart.T
        touched = np.zeros((count, count), bool)
        touched[a[~inner], b[~inner]] = True
        if (no_together & no_apart & touched).any():
            self.exhausted = True
        if self.exhausted:
            return False
        at = (a, b)
        settled = ~inner & (no_together[at] | no_apart[at])
        new[settled] = np.where(no_apart[at] == same, TOGETHER, APART)[settled]
        return self.set(new)

    def company(self, number, no_together, no_apart):
        """Where only c experts of a layer next to a member may be with a class, they are."""
        p = self.p
        n = p.experts
        near = np.zeros((no_together.shape[0], p.layers), bool)
        for l in range(p.layers):
            for k in range(max(0, l - 1), min(p.layers, l + 2)):
                near[number[l * n : (l + 1) * n], k] = True
        for l in range(p.layers):
            here = number[l * n : (l + 1) * n]
            for a in np.nonzero(near[:, l])[0]:
                may = (here == a) | ~no_together[a, here]
                if may.sum() < p.c:
                    self.exhausted = True
                if may.sum() == p.c:
                    for b in here[may]:
                        if b != a:
                            no_apart[a, b] = True
