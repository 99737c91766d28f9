"""The layered search over partitions, repeated from a certificate.

At fixed prices a placement loses against B the slacks of its paths' arcs, f_{l+1}(T) - value(T) -
f_l(S) - 64·w(S, T) >= 0, then sum of (λ - f(S)) at the last layer, and of every priced cut what its
partition leaves of it. From a partition of layer l on it loses at least the sum of pen(S), and at
least doll_l, which is checked first, from the last layer on.
"""

import numpy as np

from .reading import TooLarge, integers, need

MOST_STATES = 3_000_000
MOST_ARCS = 20_000_000


def check_exhausted(paths, node, target):
    """Layered search over partitions: no placement loses at most B - target."""
    p = paths.p
    dolls = integers(node["dolls"], "dolls", p.layers + 1)
    need(dolls[-1] == 0 and all(0 <= x < 1 << 60 for x in dolls), "malformed dolls")
    value, forward, backward, longest, bound = paths.evaluate(node, both=True)
    budget = bound - target
    if budget < 0:
        return
    if budget >= 1 << 60:
        raise TooLarge("a layered search inside a loss of more than 2^60/64")
    pen = [longest - f - b for f, b in zip(forward, backward)]
    masks = [[sum(1 << int(x) for x in s) for s in subset] for subset in paths.subsets]
    arcs = []
    count = 0
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
                count += len(order)
                if count > MOST_ARCS:
                    raise TooLarge(f"more than {MOST_ARCS} arcs")
                rows[int(s)] = [(int(t), int(slack[row][t]), int(reduced[row][t]), masks[l + 1][t]) for t in order]
        arcs.append(rows)
    full = (1 << p.experts) - 1
    # What a partition leaves of a priced cut is lost too.
    _, cuts = paths.prices(node)
    total = [sum(v * (len(m) // 2) for layer, v, m in cuts if layer == l) for l in range(p.layers)]
    paid = [
        sum(
            (np.isin(paths.subsets[l], m).sum(1) // 2 * v for layer, v, m in cuts if layer == l),
            np.zeros(len(paths.subsets[l]), np.int64),
        ).tolist()
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
            if len(states) > MOST_STATES:
                raise TooLarge(f"more than {MOST_STATES} partitions in a layer")
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
                if len(after) > MOST_STATES:
                    raise TooLarge(f"more than {MOST_STATES} partitions in a layer")
            states = after
            if not states:
                return False
        return bool(states)

    for k in range(p.layers - 1, -1, -1):
        if dolls[k] > dolls[k + 1]:
            need(not reaches_end(k, min(dolls[k] - 1, budget)), f"a placement loses less from layer {k} on than claimed")
    if dolls[0] <= budget:
        need(not reaches_end(0, budget), "the layered search finds a better placement")
