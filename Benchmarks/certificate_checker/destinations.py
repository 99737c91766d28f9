"""A certificate about destinations: prices of experts, checked group by group.

A placement of E experts into P groups of c has every expert once, so with prices u and cover(S), the
tokens that have an expert in S,

    Σ_tokens λ = Σ_groups cover(S) = Σ u + Σ_groups rc(S),     rc(S) = cover(S) − Σ_{i in S} u_i,

and Σ λ ≥ Σ u + P · min rc for any prices. Where that is below what is claimed, a placement that is
better than the claim has groups whose rc − min rc add up to no more than what is missing; exact cover
shows that there is none. Every group of c experts is looked at, one after the other: where these are
more than MOST_LOOKED_AT, or MOST_WORK with the sets that each meets, the evidence is too large for
this checker.

A claim about two groups of at most MOST_HALF experts comes without prices: for each choice among half of
the experts all choices among the others are looked at at once.
"""

import itertools
import math

import numpy as np

from .certificate import read_caps, read_placement
from .reading import TooLarge, array, integer, integers, members, need, small, table, text
from .report import verdict

SCALE = 256
MOST_LOOKED_AT, MOST_WORK = 1_000_000, 4_000_000_000
MOST_GROUPS = 3_000_000
MOST_HALF = 16
# A token's parts: those of up to eight experts come out even.
SHARE = 840
MOST_STEPS = 20_000_000
KEYS = ("format", "version", "layers", "experts", "nodes", "gpus_per_node", "objective", "sets_sha256", "assignment", "claims")


class Part:
    """One level of one layer: `experts` (ascending) into `groups` groups, each within `cap`."""

    def __init__(self, sets, layer, experts, groups, cap, labels):
        self.groups, self.size = groups, len(experts) // groups
        self.experts, self.cap = len(experts), cap
        self.loads = [int(sets.loads[layer, e]) for e in experts]
        place = {e: i for i, e in enumerate(experts)}
        group = dict(zip(experts, labels))
        self.constant = self.value = self.trivial = 0
        masks, weights = [], []
        for s, w in zip(sets.members[layer], sets.weights[layer]):
            own = [place[e] for e in s if e in place]
            self.value += w * len({group[e] for e in s if e in place})
            if len(own) == 1:
                self.constant += w
            elif own:
                masks.append(sum(1 << i for i in own))
                weights.append(w)
                self.trivial += w * -(-len(own) // self.size)
        self.masks, self.weights = np.array(masks, np.uint64), np.array(weights, np.int64)

    def least_bound(self):
        """What no placement is below: a token needs as many groups as its experts need room."""
        return self.constant + self.trivial

    def check(self, bound, unit, prices):
        """Refuses a bound that the prices do not prove."""
        need(unit >= 1 and not (self.weights % unit).any(), f"a unit of {unit} that does not divide every multiplicity")
        need(self.constant % unit == 0, f"a unit of {unit} that does not divide every multiplicity")
        if prices is not None:
            integers(prices, "prices", self.experts)
            small([prices], "prices", 50)
        if bound <= self.least_bound():
            return
        if self.experts > 63:
            raise TooLarge(f"{self.experts} experts")
        claimed = -(-bound // unit) - self.constant // unit
        if prices is None:
            need(not self.halves(claimed, unit), f"a placement has fewer destinations than the bound of {bound}")
            return
        groups, reduced = self.list(prices, unit)
        if not groups:
            return
        least = min(reduced)
        target = (claimed - 1) * SCALE
        priced = sum(prices) + self.groups * least
        if priced > target:
            return
        budget = target - priced
        listed = [(g, r - least) for g, r in zip(groups, reduced) if r - least <= budget]
        if len(listed) > MOST_GROUPS:
            raise TooLarge(f"{len(listed)} groups within the prices")
        need(not self.covers(listed, budget), f"a placement has fewer destinations than the bound of {bound}")

    def halves(self, claimed, unit):
        """Whether two groups can have fewer destinations than `claimed`, by every placement.

        A token costs 1, and 1 more where both groups have experts of it. `a` is what the first group has of
        the busier half of the experts, `b` what it has of the others; the busiest is in the first group. A token
        that `a` leaves whole and that has q of the others is cut by any of them on the wrong side: each pays a
        q-th of it there, and the h - |a| that pay least for the first group's side bound what `a` can lead to.
        """
        h = self.size
        weights = self.weights // unit
        total = int(weights.sum())
        if self.groups != 2 or h > MOST_HALF or total >= 1 << 31:
            raise TooLarge(f"{self.groups} groups of {h} experts, {total} tokens, without prices")
        target, full = claimed - total, (1 << h) - 1
        order = sorted(range(2 * h), key=lambda e: -self.loads[e])
        each = [self.loads[e] for e in order]
        low, high = np.zeros(len(weights), np.int64), np.zeros(len(weights), np.int64)
        for place, e in enumerate(order):
            bit = (self.masks >> np.uint64(e) & np.uint64(1)).astype(np.int64)
            part = low if place < h else high
            part |= bit << place % h
        subsets = np.arange(full + 1)
        sizes = np.array([s.bit_count() for s in range(full + 1)])
        loads = [[sum(each[k + e] for e in range(h) if s >> e & 1) for s in range(full + 1)] for k in (0, h)]

        def sums(places, tokens):
            table = np.zeros(full + 1, np.int64)
            np.add.at(table, places, tokens)
            for e in range(h):
                table = table.reshape(-1, 2, 1 << e)
                table[:, 1] += table[:, 0]
            return table.reshape(-1)

        inside = sums(low[low > 0], weights[low > 0])
        cut = (int(weights[low > 0].sum()) - inside - inside[full ^ subsets]) * SHARE
        leave = np.empty((h, full + 1), np.int64)
        for e in range(h):
            own = (high >> e & 1 == 1) & (low > 0)
            paid = sums(low[own], weights[own] * (SHARE // sizes[high[own]]))
            cut += paid
            leave[e] = paid[full ^ subsets] - paid
        leave = np.vstack([np.zeros(full + 1, np.int64), np.cumsum(np.sort(leave, 0), 0)])
        cut += leave[h - sizes, subsets]
        for a in subsets[(subsets & 1 == 1) & (cut < target * SHARE)].tolist():
            here, there = low & ~a == 0, low & a == 0
            whole = sums(high[here], weights[here]) + sums(high[there], weights[there])[full ^ subsets]
            fewer = (total - whole < target) & (sizes == h - a.bit_count())
            for b in np.flatnonzero(fewer).tolist():
                load = loads[0][a] + loads[1][b]
                if self.cap is None or max(load, sum(self.loads) - load) <= self.cap:
                    return True
        return False

    def list(self, prices, unit):
        """All groups of `size` experts within the cap, and their reduced costs in 1/SCALE units."""
        number = math.comb(self.experts, self.size)
        if number > MOST_LOOKED_AT or number * len(self.masks) > MOST_WORK:
            raise TooLarge(f"{number} groups of {self.size} experts, {len(self.masks)} sets")
        weights = self.weights // unit
        groups, reduced = [], []
        combos = itertools.combinations(range(self.experts), self.size)
        while chunk := list(itertools.islice(combos, 2048)):
            if self.cap is not None:
                chunk = [c for c in chunk if sum(self.loads[e] for e in c) <= self.cap]
                if not chunk:
                    continue
            bits = np.array([sum(1 << e for e in c) for c in chunk], np.uint64)
            cover = ((bits[:, None] & self.masks[None, :]) != 0) @ weights
            for c, mask, tokens in zip(chunk, bits.tolist(), cover.tolist()):
                groups.append(mask)
                reduced.append(tokens * SCALE - sum(prices[e] for e in c))
        return groups, reduced

    def covers(self, listed, budget):
        """Whether some of the listed groups hold every expert once within the budget."""
        of = [[] for _ in range(self.experts)]
        cheapest = [None] * self.experts
        for mask, excess in listed:
            for e in range(self.experts):
                if mask >> e & 1:
                    of[e].append((excess, mask))
                    cheapest[e] = excess if cheapest[e] is None else min(cheapest[e], excess)
        if None in cheapest:
            return False
        order = sorted(range(self.experts), key=lambda e: len(of[e]))
        for entries in of:
            entries.sort()
        steps = 0

        def search(covered, left):
            nonlocal steps
            rest = [e for e in order if not covered >> e & 1]
            if not rest:
                return True
            # A group pays for its experts: each costs a c-th of its cheapest group at the least.
            if sum(cheapest[e] for e in rest) > left * self.size:
                return False
            for excess, mask in of[rest[0]]:
                if excess > left:
                    break
                steps += 1
                if steps > MOST_STEPS:
                    raise TooLarge("exact cover")
                if not mask & covered and search(covered | mask, left - excess):
                    return True
            return False

        return search(0, budget)


def read_objective(value):
    members(value, "objective", ("mode", "name"), ("inter_node", "intra_node", "crossing_weight"))
    need(text(value["mode"], "mode") == "home" and value.get("crossing_weight") in (None, 0), "an objective that is not of destinations alone")
    name = text(value["name"], "objective")
    need(name in ("flat", "nodes", "staged", "joint"), f"objective '{name}'")
    if name != "joint":
        members(value, "objective", ("mode", "name"), ("crossing_weight",))
        return name, 1, 1
    members(value, "objective", ("mode", "name", "inter_node", "intra_node"), ("crossing_weight",))
    inter, intra = (integer(value[key], key) for key in ("inter_node", "intra_node"))
    need(0 <= intra <= inter and 1 <= inter <= 1 << 20, "weights out of order")
    return name, inter, intra


def part(sets, layer, level, gpus, nodes, per_node, caps):
    """The experts of a level, as `Part`. `gpus`: the GPU of each expert of the layer."""
    cap = None if caps is None else caps[layer]
    everyone = list(range(sets.experts))
    if level == "gpus":
        return Part(sets, layer, everyone, nodes * per_node, cap, gpus)
    if level == "nodes":
        return Part(sets, layer, everyone, nodes, None if cap is None else cap * per_node, [g // per_node for g in gpus])
    node = int(level[5:])
    own = [e for e in everyone if gpus[e] // per_node == node]
    return Part(sets, layer, own, per_node, cap, [gpus[e] for e in own])


def check_destinations(certificate, sets):
    """Checks every claim. Answers the report as text; raises Refused or TooLarge."""
    members(certificate, "certificate", KEYS, ("load_cap", "caps", "tool"))
    nodes, per_node, digest, assigned = read_placement(certificate, sets, "sets", "sets_sha256")
    layers, gpus = sets.layers, nodes * per_node
    rows = assigned.tolist()
    cap, caps, relaxed = read_caps(certificate, sets, gpus, assigned)
    need(cap is None or certificate.get("caps") is not None, "a load cap without the tokens that it allows in each layer")
    name, inter, intra = read_objective(certificate["objective"])
    if nodes == 1 or per_node == 1 or name == "flat":
        levels = ["gpus"]
    else:
        levels = {"nodes": ["nodes"], "joint": ["nodes", "gpus"], "staged": ["nodes"] + [f"node {n}" for n in range(nodes)]}[name]
    claims = {}
    for claim in array(certificate["claims"], "claims"):
        members(claim, "claim", ("layer", "level", "bound", "unit"), ("prices",))
        place = integer(claim["layer"], "layer"), text(claim["level"], "level")
        need(0 <= place[0] < layers and place[1] in levels, f"layer {place[0]}, {place[1]}: no level of the objective")
        need(place not in claims, f"layer {place[0]}, {place[1]}: claimed twice")
        claims[place] = claim
    found = {level: [0, 0, 0] for level in levels}
    for l in range(layers):
        for level in levels:
            p = part(sets, l, level, rows[l], nodes, per_node, caps)
            bound, claim = p.least_bound(), claims.get((l, level))
            if claim is not None:
                claimed = integer(claim["bound"], "bound")
                need(0 <= claimed <= p.value, f"layer {l}, {level}: a bound of {claimed}, but the placement has {p.value} destinations")
                p.check(claimed, integer(claim["unit"], "unit"), claim.get("prices"))
                bound = max(bound, claimed)
            found[level][0] += p.value
            found[level][1] += bound
            found[level][2] += bound == p.value
    return report(sets, digest, nodes, per_node, (name, inter, intra), cap, caps, relaxed, found)


def report(sets, digest, nodes, per_node, objective, cap, caps, relaxed, found):
    name, inter, intra = objective
    tokens = sum(sum(weights) for weights in sets.weights)
    inside = [found[level] for level in found if level.startswith("node ")]
    flat = found.get("gpus") or [sum(x[0] for x in inside), 0]
    between = found.get("nodes") or ([tokens, tokens] if nodes == 1 else flat)
    value, bound = flat[:2]
    if name == "nodes":
        value, bound = between[:2]
    elif name == "joint":
        value = inter * between[0] + intra * (flat[0] - between[0])
        bound = (inter - intra) * between[1] + intra * flat[1]
    elif name == "staged" and len(found) > 1:
        bound = None
    shown = "none"
    if cap is not None:
        least, most = min(caps), max(caps)
        shown = f"{cap[0]}/{cap[1]} of a GPU's even share, " + (f"{least}" if least == most else f"{least} to {most}") + " tokens"
        shown += f", relaxed in {relaxed} of {sets.layers} layers" if relaxed else ""
    goal = {
        "flat": "GPUs of a token", "nodes": "nodes of a token",
        "staged": "nodes of a token, then GPUs inside each", "joint": f"{inter} a node, {intra} a further GPU",
    }[name]  # fmt: skip
    count = nodes * per_node
    lines = [
        ("model", f"{sets.layers} layers × {sets.experts} experts"),
        ("sets", f"of {tokens} tokens, once in each layer"),
        ("sha-256", digest),
        ("machines", f"{count} GPU{'' if count == 1 else 's'} on {nodes} node{'' if nodes == 1 else 's'}"),
        ("load cap", shown),
        ("objective", f"home mode: {goal}"),
    ]
    for level, (a, b, proved) in found.items():
        lines += [(level, f"destinations {a}, layers proved {proved}"), ("", verdict(a, b))]
    lines.append(("value", f"{value} destinations; each step is proved by itself" if bound is None else f"{value}, {verdict(value, bound)}"))
    return "".join(f"{key:<10} {line}\n" for key, line in lines)
