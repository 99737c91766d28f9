"""Multipliers of the co-location relaxation that fix pairs one after the other, and a search over what they leave (`pairs`, `losses`)."""

from . import losses
from .colocation import FINER, most, parts
from .pairs import FixedPairs
from .reading import array, integer, members, need

MOST_STEPS = 1 << 10


def bound(p, evidence, incumbent):
    members(evidence, "fixing", ("kind", "steps"), ("search",))
    return steps_bound(p, evidence, incumbent, FixedPairs(p))


def steps_bound(p, evidence, incumbent, pairs):
    """What no placement with the known pairs exceeds: the incumbent, or the least bound of the steps on better ones."""
    steps = array(evidence["steps"], "steps")
    need(1 <= len(steps) <= MOST_STEPS, "steps of fixing out of range")
    start = evidence.get("search")
    need(start is None or 0 <= integer(start, "search") < p.layers, f"a search from layer {start} of {p.layers}")
    # What placements keep are multiples of `step`: a better one keeps at least the next.
    target = (incumbent // p.step + 1) * p.step if incumbent >= 0 else 0
    least = p.total
    for step in steps:
        found = parts(p, step)
        pairs.tighten(found, target, most, FINER)
        if pairs.exhausted:
            return incumbent
        total = found.rest + most(found, pairs)
        least = min(least, total >> found.bits)
    if start is not None:
        losses.check(p, found, pairs, total - (target << found.bits), target, FINER, start)
        return incumbent
    return max(incumbent, least)
