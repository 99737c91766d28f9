"""Which experts the tokens of a trace use together, as bit sets with multiplicities."""

import hashlib

import numpy as np

from .reading import need


class Sets:
    """Per layer the distinct sets: `members`, a list of ascending tuples in lexicographic order,
    and `tokens`, how many have each."""

    def __init__(self, experts, layers):
        self.experts, self.layers = experts, len(layers)
        self.members = [sorted(layer) for layer in layers]
        self.weights = [[layer[s] for s in members] for layer, members in zip(layers, self.members)]
        self.loads = np.zeros((self.layers, experts), np.int64)
        for l, members in enumerate(self.members):
            for s, w in zip(members, self.weights[l]):
                self.loads[l, list(s)] += w

    def tokens(self, layer):
        """Tokens that the layer's experts serve."""
        return int(self.loads[layer].sum())

    def digest(self):
        words = [self.layers, self.experts]
        for members, weights in zip(self.members, self.weights):
            words.append(len(members))
            words += [len(s) for s in members]
            words += [e for s in members for e in s]
            words += weights
        return hashlib.sha256(np.array(words, np.int64).astype("<i8").tobytes()).hexdigest()


def read_sets(paths, experts=None):
    """The sets of all traces together."""
    parts = []
    for path in paths:
        a = np.load(path, allow_pickle=False)
        need(a.dtype.kind in "iu", f"{path}: not integers")
        need(a.ndim == 3 and a.size > 0, f"{path}: shape {a.shape}, expected a trace [tokens, layers, k]")
        need(int(a.max()) < 4096, f"{path}: an expert id out of range")
        parts.append(a.astype(np.int64))
    size = experts or max(int(a.max()) for a in parts) + 1
    need(all(int(a.max()) < size for a in parts), "an expert id out of range")
    need(len({a.shape[1] for a in parts}) == 1, "files of different numbers of layers")
    layers = []
    for l in range(parts[0].shape[1]):
        found = {}
        for a in parts:
            rows, numbers = np.unique(np.sort(a[:, l], axis=1), axis=0, return_counts=True)
            for row, n in zip(rows.tolist(), numbers.tolist()):
                s = tuple(sorted({e for e in row if e >= 0}))
                if s:
                    found[s] = found.get(s, 0) + n
        layers.append(found)
    return Sets(size, layers)
