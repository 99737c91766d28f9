"""What placements keep as a sum over windows of two layers, each bounded by a search tree.

Window w has layers w and w+1, all of W_w, and of the pairs of an inner layer l the weights S_l where l is its first layer and V_l - S_l
where it is its second; an end layer has all of V. Added over the windows that is what a placement keeps, so it keeps at most the sum of
the windows' bounds. Weights are in units of 2^-bits. P·c(c-1)/2 pairs of a layer share a group, so a constant may be added to the weights
of its pairs, which makes none negative. A tree branches on two experts being together or apart; the largest bound of its leaves holds.
"""

import numpy as np

from . import fixing
from .pairs import APART, TOGETHER, FixedPairs
from .problem import Problem
from .reading import TooLarge, array, integer, integers, members, need, small, table


def window(p, w, bits, shares):
    """A window as a problem, and what its raised weights add to every placement."""
    n = p.experts
    blocks, constant = [], 0
    for l in (w, w + 1):
        own = np.zeros((n, n), object) if p.v is None else p.v[l].astype(object) * (1 << bits)
        if 0 < l < p.layers - 1:
            share = np.zeros((n, n), object)
            share[np.triu_indices(n, 1)] = shares[l - 1]
            share = share + share.T
            own = share if l == w else own - share
        least = min((int(x) for x in own[np.triu_indices(n, 1)]), default=0)
        own = own - least
        np.fill_diagonal(own, 0)
        need(int(own.sum()) < 1 << 60, "weights of a window beyond 2^60")
        constant -= least * (p.groups * p.c * (p.c - 1) // 2)
        blocks.append(own.astype(np.int64))
    caps = None if p.caps is None else p.caps[w : w + 2]
    return Problem(p.w[w : w + 1] << bits, np.stack(blocks), p.loads[w : w + 2], p.groups, caps), constant


def tree_bound(p, tree):
    members(tree, "tree", ("best", "nodes"))
    best = integer(tree["best"], "best")
    need(-1 <= best < 1 << 60, "best out of range")
    nodes = array(tree["nodes"], "nodes")
    need(nodes, "a tree without nodes")
    parents = [0] * len(nodes)
    for place, node in enumerate(nodes):
        need(type(node) is dict, "a node: expected an object")
        if node.get("branch") is None:
            continue
        members(node, "node", ("branch", "children"))
        for child in integers(node["children"], "children", 2):
            need(place < child < len(nodes), f"node {place} names node {child} as a child")
            parents[child] += 1
    need(all(x == 1 for x in parents[1:]), "a node that is not the child of just one")
    todo, bound = [(0, FixedPairs(p))], best
    while todo:
        place, pairs = todo.pop()
        node = nodes[place]
        if node.get("branch") is not None:
            a, b = integers(node["branch"], "branch", 2)
            need(0 <= a < 2 * p.experts and 0 <= b < 2 * p.experts and a != b, "a branch that names no pair of experts")
            for child, state in zip(node["children"], (TOGETHER, APART)):
                known = FixedPairs(p)
                known.between, known.inside, known.exhausted = pairs.between.copy(), pairs.inside.copy(), pairs.exhausted
                known.put(a, b, state)
                todo.append((child, known))
        elif not pairs.exhausted:
            members(node, "leaf", ("steps",), ("search",))
            if array(node["steps"], "steps"):
                bound = max(bound, fixing.steps_bound(p, node, best, pairs))
            else:
                bound = max(bound, p.total)
    return bound


def bound(p, evidence):
    members(evidence, "windows", ("kind", "fraction_bits", "shares", "trees"))
    bits = integer(evidence["fraction_bits"], "fraction_bits")
    need(0 <= bits <= 20 and p.total <= 1 << 56 >> bits, "fraction_bits out of range")
    need(p.layers >= 2, "windows of one layer")
    shares = small(table(evidence["shares"], "shares", p.layers - 2, p.experts * (p.experts - 1) // 2), "shares", 55)
    trees = array(evidence["trees"], "trees", p.layers - 1)
    if p.groups < 2:
        raise TooLarge("windows of one group")
    total = 0
    for w, tree in enumerate(trees):
        part, constant = window(p, w, bits, shares)
        total += tree_bound(part, tree) - constant
    return min(p.total, total >> bits)
