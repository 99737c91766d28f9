"""Inequalities a·m <= b between the pairs of a boundary's vertices, m_ab = 1 where a and b share a
group. Vertices 0 .. E-1 are experts of layer l, E .. 2E-1 of layer l+1. Each function answers the
terms (a, b, coefficient) and the limit; all numbers are Python's.
"""

import itertools

from .reading import need

MOST_VERTICES = 64


def _distinct(p, vertices):
    need(len(set(vertices)) == len(vertices) and all(0 <= x < 2 * p.experts for x in vertices), "a cut names a vertex twice, or none")


def _loads(p, l):
    return [int(x) for x in p.loads[l]]


def partition(p, l, row):
    """Grötschel and Wakabayashi: Σ_{S×T} m - Σ_{pairs of S} m - Σ_{pairs of T} m <= min(|S|, |T|)."""
    n = row[0]
    need(1 <= n < len(row), "an empty side of a 2-partition inequality")
    s, t = row[1 : 1 + n], row[1 + n :]
    need(t and len(s) + len(t) <= MOST_VERTICES, "a malformed 2-partition inequality")
    _distinct(p, s + t)
    terms = [(a, b, 1) for a in s for b in t]
    terms += [(a, b, -1) for side in (s, t) for a, b in itertools.combinations(side, 2)]
    return terms, min(len(s), len(t))


def crowd(p, l, row):
    """Pigeonhole: aP + r vertices have at least P·a(a-1)/2 + r·a pairs that share a group."""
    need(len(row) <= MOST_VERTICES, "a crowd of too many vertices")
    _distinct(p, row)
    a, r = divmod(len(row), p.groups)
    return [(x, y, -1) for x, y in itertools.combinations(row, 2)], -(p.groups * (a * (a - 1) // 2) + r * a)


def company(p, l, row):
    """(c - |rest|)·m_ik <= Σ_{first} m_ij + Σ_{second} m_kj: whoever shares i's group shares k's."""
    i, k, half, n = row[:4]
    need(half in (0, 1) and 0 <= n <= len(row) - 4, "a malformed company cut")
    first, second = row[4 : 4 + n], row[4 + n :]
    _distinct(p, [i, k] + first + second)
    need(all(half * p.experts <= j < (half + 1) * p.experts for j in first + second), "company of another layer")
    lead = p.c - (p.experts - len(first) - len(second))
    return [(i, k, lead)] + [(i, j, -1) for j in first] + [(k, j, -1) for j in second], 0


def load_range(p, l):
    """The least and the most load of a group, and the layer's load."""
    need(p.caps is not None, "a load cut without a cap")
    total = sum(_loads(p, l))
    high = min(p.caps[l], total)
    return max(0, total - (p.groups - 1) * high), high, total


def load(p, l, row):
    """The load of a vertex's group is at most the cap, or at least what the others cannot take."""
    need(len(row) == 3, "a malformed load cut")
    vertex, half, at_most = row
    need(half in (0, 1) and at_most in (0, 1), "a malformed load cut")
    _distinct(p, [vertex])
    low, high, _ = load_range(p, l + half)
    sign, limit = (1, high) if at_most else (-1, -low)
    terms = []
    for j, t in enumerate(_loads(p, l + half)):
        if half * p.experts + j == vertex:
            limit -= sign * t
        else:
            terms.append((vertex, half * p.experts + j, sign * t))
    return terms, limit


def load_pair(p, l, row):
    """Loads x, y of the groups of i and k: x - y, x + y and -(x + y) by whether m_ik is 0 or 1."""
    need(len(row) == 4, "a malformed load-pair cut")
    i, k, half, relation = row
    need(half in (0, 1) and relation in (0, 1, 2), "a malformed load-pair cut")
    _distinct(p, [i, k])
    low, high, total = load_range(p, l + half)
    if relation == 0:
        si, sk, apart, together = 1, -1, high - low, 0
    elif relation == 1:
        si, sk, apart, together = 1, 1, min(2 * high, total - (p.groups - 2) * low), 2 * high
    else:
        si, sk, apart, together = -1, -1, -max(2 * low, total - (p.groups - 2) * high), -2 * low
    limit = apart
    terms = [(i, k, apart - together)]
    for j, t in enumerate(_loads(p, l + half)):
        vertex = half * p.experts + j
        for end, sign in ((i, si), (k, sk)):
            if vertex == end:
                limit -= sign * t
            else:
                terms.append((end, vertex, sign * t))
    return terms, limit


def load_product(p, l, row):
    """Σ_g x_g·y_g of the loads in two layers, or one: like sorted extremes have the largest."""
    need(len(row) == 3, "a malformed load-product cut")
    first, second, at_most = row
    need(first in (0, 1) and second in (0, 1) and first <= second and at_most in (0, 1), "a malformed load-product cut")

    def extreme(layer):
        low, high, total = load_range(p, layer)
        rest, out = total - p.groups * low, []
        for _ in range(p.groups):
            more = min(rest, high - low)
            rest -= more
            out.append(low + more)
        need(rest == 0, "a cap that no placement meets")
        return out, total

    (a, total), (b, _) = extreme(l + first), extreme(l + second)
    sign = 1 if at_most else -1
    if first == second and not at_most:
        limit = -((total * total + p.groups - 1) // p.groups)
    else:
        limit = sign * sum(x * y for x, y in zip(a, b if at_most else b[::-1]))
    terms = []
    for i, x in enumerate(_loads(p, l + first)):
        for j, y in enumerate(_loads(p, l + second)):
            if first == second and i == j:
                limit -= sign * x * y
            elif x * y:
                terms.append((first * p.experts + i, second * p.experts + j, sign * x * y))
    return terms, limit


def hypermetric(p, l, row):
    """For integers b each group's sum β has (β - k)(β - k - 1) >= 0; over the P groups, k = ⌊Σb/P⌋:
    -Σ_{i<j} b_i·b_j·m_ij <= (Σb² + P·k(k+1) - (2k+1)·Σb) / 2."""
    need(len(row) % 2 == 0 and len(row) <= 2 * MOST_VERTICES, "a malformed hypermetric cut")
    vertices, b = row[::2], row[1::2]
    need(all(0 < abs(x) <= 1 << 10 for x in b), "weights of a hypermetric cut out of range")
    _distinct(p, vertices)
    k = sum(b) // p.groups
    limit = (sum(x * x for x in b) + p.groups * k * (k + 1) - (2 * k + 1) * sum(b)) // 2
    pairs = itertools.combinations(zip(vertices, b), 2)
    return [(i, j, -x * y) for (i, x), (j, y) in pairs], limit


def _cover(p, l, half, members):
    """The loads of a layer of which no group within the cap holds these experts: they exceed it
    with the lightest others that fill it up."""
    need(p.caps is not None and half in (0, 1), "a malformed cover")
    need(2 <= len(members) <= p.c and all(j // p.experts == half for j in members), "a malformed cover")
    _distinct(p, members)
    loads = _loads(p, l + half)
    inside = {j - half * p.experts for j in members}
    others = sorted(load for j, load in enumerate(loads) if j not in inside)
    total = sum(loads[j] for j in inside) + sum(others[: p.c - len(members)])
    need(total > p.caps[l + half], "a cover that a group within the cap holds")
    return loads, inside


def cover(p, l, row):
    """A vertex's group holds at most |C| - 1 of C and the experts as heavy as each of C."""
    vertex, half, members = row[0], row[1], row[2:]
    _distinct(p, [vertex])
    loads, inside = _cover(p, l, half, members)
    heaviest = max(loads[j] for j in inside)
    terms, limit = [], len(members) - 1
    for j, load in enumerate(loads):
        if j in inside or load >= heaviest:
            if half * p.experts + j == vertex:
                limit -= 1
            else:
                terms.append((vertex, half * p.experts + j, 1))
    return terms, limit


def cover_pairs(p, l, row):
    """C is in two groups at least: most pairs meet with one member apart from the others."""
    half, members = row[0], row[1:]
    _cover(p, l, half, members)
    n = len(members)
    return [(i, j, 1) for i, j in itertools.combinations(members, 2)], (n - 1) * (n - 2) // 2


# The inequalities by their key in the file, with the least number of entries of a row.
CUTS = {
    "partition": (partition, 1),
    "crowd": (crowd, 1),
    "company": (company, 4),
    "load": (load, 3),
    "load_pair": (load_pair, 4),
    "load_product": (load_product, 3),
    "hypermetric": (hypermetric, 2),
    "cover": (cover, 4),
    "cover_pairs": (cover_pairs, 3),
}


def apart_pairs(p, l):
    """Pairs of a layer that exceed the cap together with the smallest company."""
    if p.caps is None or p.c < 2:
        return set()
    loads = _loads(p, l)
    order = sorted(range(p.experts), key=lambda i: loads[i])
    found = set()
    for i, j in itertools.combinations(range(p.experts), 2):
        # Of the c smallest at most two are i and j.
        others = [x for x in order[: p.c] if x not in (i, j)][: p.c - 2]
        if loads[i] + loads[j] + sum(loads[x] for x in others) > p.caps[l]:
            found.add((i, j))
    return found
