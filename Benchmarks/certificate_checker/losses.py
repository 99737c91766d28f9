"""The search over partitions that is left after fixing, repeated.

A placement that reaches the target loses at most δ over the free pairs: Σ|C_x| of those with the value that C_x does not prefer. Pairs
join experts of one layer or of neighbouring ones, so what is lost on one side of a layer depends on the other through its partition
alone. From the partitions of one layer within δ the search lists those of the next with the least loss on the way, to the last layer;
then to the first one, each start charged with the least loss of its way to the last layer. A placement that reaches the target has a start
with both within δ, and keeps no more than the most along such ways; if that is below the target for every start, there is none. Losses
are rounded down to multiples of a power of two and δ up.
"""

import numpy as np

from .pairs import APART, FREE, TOGETHER
from .reading import TooLarge, need

MOST_EXPERTS = 64
MOST_STATES = 300_000


def check(p, found, pairs, delta, target, finer, start):
    n, groups = p.experts, p.groups
    if delta < 0:
        return
    if n > MOST_EXPERTS:
        raise TooLarge(f"a search over partitions of {n} experts")
    shift = max(0, delta.bit_length() - 40)
    delta = -(-delta >> shift)

    def tables(values, states):
        """Losses where the pairs are apart, and together."""
        size = np.array([min((abs(int(x)) << finer) >> shift, delta + 1) for x in values.flat], np.int64).reshape(values.shape)
        positive = np.array([x > 0 for x in values.flat], bool).reshape(values.shape)
        apart = np.where(states == FREE, np.where(positive, size, 0), np.where(states == TOGETHER, delta + 1, 0))
        together = np.where(states == FREE, np.where(positive, 0, size), np.where(states == APART, delta + 1, 0))
        return apart, together

    between = tables(found.between, pairs.between)
    inside = tables(found.inside, pairs.inside)
    # Both halves of the symmetric tables.
    inside = [np.triu(x, 1) + np.triu(x, 1).transpose(0, 2, 1) for x in inside]
    caps = None if p.caps is None else [min(cap, 1 << 60) for cap in p.caps]

    def extensions(l, costs, lost, named):
        """Partitions of layer l with what is lost up to them and the ways to label them; costs [P, E] beside the layer before."""
        out = {}
        loads = p.loads[l]

        def assign(costs, labels, sizes, weights, lost):
            while True:
                rest = np.nonzero(labels < 0)[0]
                if not len(rest):
                    names = {}
                    key = bytes(names.setdefault(int(x), len(names)) for x in labels)
                    least, ways = out.get(key, (lost, []))
                    out[key] = min(least, lost), [*ways, labels]
                    if len(out) > MOST_STATES:
                        raise TooLarge(f"more than {MOST_STATES} partitions in a layer")
                    return
                open_ = np.repeat((sizes < p.c)[:, None], len(rest), 1)
                if caps is not None:
                    open_ &= weights[:, None] + loads[rest][None] <= caps[l]
                if not named:
                    # Of the empty groups one is as good as another.
                    open_[np.nonzero(sizes == 0)[0][1:]] = False
                part = np.where(open_, costs[:, rest], delta + 1)
                order = np.partition(part, 1, 0) if groups > 1 else part
                least = lost + int(order[0].sum())
                if least > delta:
                    return
                spread = order[1] - order[0]
                at = int(spread.argmax())
                e = int(rest[at])
                choices = [int(g) for g in np.argsort(part[:, at], kind="stable") if part[g, at] <= delta - least + order[0][at]]
                if not choices:
                    return
                for g in choices[1:] + choices[:1]:
                    # The last is done in place.
                    last = g == choices[0]
                    state = [costs, labels, sizes, weights]
                    c, b, s, w = state if last else [x.copy() for x in state]
                    cost = int(c[g, e])
                    b[e] = g
                    s[g] += 1
                    w[g] += loads[e]
                    more = inside[1][l, e] - inside[0][l, e]
                    c += inside[0][l, e][None]
                    c[g] += more
                    if not last:
                        assign(c, b, s, w, lost + cost)
                lost += cost

        assign(costs, np.full(n, -1), np.zeros(groups, np.int64), np.zeros(groups, np.int64), lost)
        return out

    def beside(l, step, key):
        """Costs of layer l's experts beside a partition of the layer before it (step 1) or after it."""
        apart, together = (x[l - 1] if step > 0 else x[l].T for x in between)
        labels = np.frombuffer(key, np.uint8)
        one = labels[None] == np.arange(groups)[:, None]
        return apart.sum(0)[None] + one.astype(np.int64) @ (together - apart)

    def within(l, key):
        """What a partition keeps inside."""
        if p.v is None:
            return 0
        labels = np.frombuffer(key, np.uint8)
        return int(p.v[l][labels[:, None] == labels[None]].sum()) // 2

    def kept(l, step, key, labels):
        """What labels of layer l keep with a partition of the layer before it (step 1) or after it."""
        same = np.frombuffer(key, np.uint8)[:, None] == labels[None]
        return int(p.w[l - 1][same].sum() if step > 0 else p.w[l].T[same].sum())

    def ends_of(states, step):
        """Of the states that get to the end within δ: the least loss of the way, and the most that is kept on it."""
        layer, arcs, here = start, [], states
        while 0 <= layer + step < p.layers:
            layer += step
            after, rows = {}, {}
            for key, lost in here.items():
                row = {}
                for to, (total, ways) in extensions(layer, beside(layer, step, key), lost, True).items():
                    row[to] = total - lost, max(kept(layer, step, key, labels) for labels in ways) + within(layer, to)
                    after[to] = min(after.get(to, total), total)
                rows[key] = row
            if len(after) > MOST_STATES:
                raise TooLarge(f"more than {MOST_STATES} partitions in a layer")
            arcs.append((here, rows))
            here = after
        ends = dict.fromkeys(here, (0, 0))
        for lost, rows in reversed(arcs):
            before = {}
            for key, row in rows.items():
                ways = [(loss + ends[to][0], more + ends[to][1]) for to, (loss, more) in row.items() if to in ends]
                ways = [way for way in ways if lost[key] + way[0] <= delta]
                if ways:
                    before[key] = min(way[0] for way in ways), max(way[1] for way in ways)
            ends = before
        return ends

    first = {key: lost for key, (lost, _) in extensions(start, np.zeros((groups, n), np.int64), 0, False).items()}
    ahead = ends_of(first, 1)
    first = {key: lost + ahead[key][0] for key, lost in first.items() if key in ahead}
    back = ends_of(first, -1)
    for key in back:
        need(ahead[key][1] + back[key][1] + within(start, key) < target, "the search over partitions finds what may be a better placement")
