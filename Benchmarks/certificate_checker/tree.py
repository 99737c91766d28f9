"""A search tree over the path relaxation, followed to its leaves."""

from .layered import check_exhausted
from .paths import Paths
from .reading import array, integers, members, need, text

LEAF = ("deletions", "leaf", "prices", "cuts")


def check_shape(nodes):
    """Every node but the root is the child of exactly one before it."""
    parents = [0] * len(nodes)
    need(nodes, "a tree without nodes")
    for place, node in enumerate(nodes):
        need(type(node) is dict, "a node of the tree: expected an object")
        if node.get("leaf") is None:
            members(node, "a branch", ("deletions", "branch", "children"))
            for child in integers(node["children"], "children", 2):
                need(place < child < len(nodes), f"node {place} of the tree names node {child} as a child")
                parents[child] += 1
        elif text(node["leaf"], "leaf") == "exhausted":
            members(node, "a leaf", LEAF + ("dolls",))
        else:
            need(node["leaf"] == "bounded", "a leaf of no known kind")
            members(node, "a leaf", LEAF)
        if node.get("leaf") is not None:
            # A leaf that its deletions have emptied is not looked into further.
            array(node["prices"], "prices")
            array(node["cuts"], "cuts")
    need(all(n == 1 for n in parents[1:]), "the tree's nodes do not form a tree")


def check(p, evidence, kept):
    """That no placement keeps more than `kept`: the next multiple of `step` is the target."""
    members(evidence, "tree", ("kind", "nodes"))
    nodes = array(evidence["nodes"], "nodes")
    check_shape(nodes)
    target = 64 * p.step * (kept // p.step + 1)
    stack = [(0, Paths(p))]
    while stack:
        place, paths = stack.pop()
        node = nodes[place]
        paths = paths.deleted(node["deletions"], target)
        if node.get("leaf") is None:
            layer, i, k = integers(node["branch"], "branch", 3)
            need(0 <= layer < p.layers and 0 <= i < p.experts and 0 <= k < p.experts and i != k, "a malformed branch")
            s = paths.subsets[layer]
            a, b = (s == i).any(1), (s == k).any(1)
            for child, keep in zip(node["children"], (a == b, ~(a & b))):
                subsets = list(paths.subsets)
                subsets[layer] = s[keep]
                stack.append((child, Paths(p, subsets)))
        elif not paths.empty():
            if node["leaf"] == "bounded":
                need(paths.evaluate(node)[4] < target, f"node {place} of the tree: a bound that is not below the target")
            else:
                check_exhausted(paths, node, target)
