"""What a check found to be true, in the words of `colocate check`."""


def verdict(value, bound):
    """"proved optimal", or the bound and the gap in ten-thousandths of a percent, rounded up."""
    if value == bound:
        return "proved optimal"
    parts = -(-(value - bound) * 1_000_000 // value)
    return f"bound {bound}, gap {parts // 10_000}.{parts % 10_000:04d} %"


class Report:
    def __init__(self, counts, digest, nodes, per_node, objective, cap, caps, relaxed):
        self.counts, self.digest, self.nodes, self.per_node = counts, digest, nodes, per_node
        self.objective, self.cap, self.caps, self.relaxed = objective, cap, caps, relaxed
        # (name, kind of evidence, crossings, bound, total)
        self.stages = []
        self.value = self.bound = None

    def add(self, *stage):
        self.stages.append(stage)

    def finish(self, gpus, nodes):
        """The objective's value and bound; a staged one has none, its stages are bounded alone."""
        flat, between = (p.total - p.kept(labels) for p, labels in (gpus, nodes))
        bounds = {name: bound for name, _, _, bound, _ in self.stages}
        flat_bound, between_bound = bounds.get("gpus", 0), bounds.get("nodes", 0)
        name, inter, intra = self.objective
        self.value = flat
        if name == "flat":
            self.bound = flat_bound
        elif name == "joint":
            if self.per_node == 1:
                between, flat_bound = flat, max(flat_bound, between_bound)
                between_bound = flat_bound
            most = (1 << 63) - 1
            self.value = min(most, intra * flat + (inter - intra) * between)
            self.bound = min(most, intra * flat_bound + (inter - intra) * between_bound)

    def text(self, counting):
        counts, gpus = self.counts, self.nodes * self.per_node
        name, inter, intra = self.objective
        cap = "none"
        if self.cap is not None:
            least, most = min(self.caps), max(self.caps)
            cap = f"{self.cap[0]}/{self.cap[1]} of a GPU's even share, "
            cap += (f"{least}" if least == most else f"{least} to {most}") + " tokens"
            cap += f", relaxed in {self.relaxed} of {counts.layers} layers" if self.relaxed else ""
        goal = {
            "flat": "flat",
            "staged": "staged: between nodes, then inside each",
            "joint": f"joint: {inter} between nodes, {intra} inside",
        }[name]
        lines = [
            ("model", f"{counts.layers} layers × {counts.experts} experts"),
            ("counts", counting + (", without co-activation" if counts.v is None else ", with co-activation")),
            ("sha-256", self.digest),
            ("machines", f"{gpus} GPU{'' if gpus == 1 else 's'} on {self.nodes} node{'' if self.nodes == 1 else 's'}"),
            ("load cap", cap),
            ("objective", goal),
        ]
        for stage, kind, crossings, bound, total in self.stages:
            lines.append((stage, f"crossings {crossings} of {total}"))
            lines.append(("", f"{verdict(crossings, bound)} ({kind})"))
        if self.bound is None:
            lines.append(("value", f"{self.value} crossings; each stage is proved by itself"))
        else:
            lines.append(("value", f"{self.value}, {verdict(self.value, self.bound)}"))
        return "".join(f"{name:<10} {text}\n" for name, text in lines)
