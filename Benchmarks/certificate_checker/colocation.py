"""Multipliers of the co-location relaxation.

M = Σ_g s_g s_gᵀ over the groups' indicator vectors, which are orthogonal, of squared length 2c, with
halves that sum to c. So M - J/P = Q M Q lies between 0 and 2c·I and has trace 2c(P-1), and for every
symmetric U: <U, M> <= (ΣU)/P + 2c·(sum of the P-1 largest eigenvalues of Q U Q on the range of Q),
Q the projection on vectors whose halves sum to 0. With cuts a·m <= b at λ >= 0

    kept <= Σ_l [2c·(…) + (ΣU_l)/P - tr U_l] + Σ λ·b + Σ_x max(0, C_x),

C_x the weight of a pair minus 2U of the blocks that hold it minus (Aᵀλ)_x. U and λ are integers times
2^-q. All but the eigenvalues is exact, in Python's integers; sums of these are rounded up to
multiples of 2^-(q+20).
"""

import math
from fractions import Fraction

import numpy as np

from .cuts import CUTS
from .pairs import FREE, TOGETHER, FixedPairs
from .reading import TooLarge, array, integer, integers, members, need, optional_array, small, table
from .spectrum import upper_bound

FINER = 20
MOST_EXPERTS = 512
MOST_CUTS = 1 << 20


def matrices(p, evidence):
    """U, [L-1, 2E, 2E]."""
    n, half = p.experts, p.experts * (p.experts + 1) // 2
    sizes = {"left": half, "between": n * n, "right": half}
    blocks = {key: small(table(evidence[key], key, p.layers - 1, size), key, 52) for key, size in sizes.items()}
    upper = np.triu_indices(n)
    u = np.zeros((p.layers - 1, 2 * n, 2 * n), np.int64)
    for l in range(p.layers - 1):
        for key, at in (("left", 0), ("right", n)):
            z = np.zeros((n, n), np.int64)
            z[upper] = blocks[key][l]
            u[l, at : at + n, at : at + n] = z + np.triu(z, 1).T
        y = np.array(blocks["between"][l], np.int64).reshape(n, n)
        u[l, :n, n:] = y
        u[l, n:, :n] = y.T
    return u


def spectral_part(p, u, finer):
    """2c · (sum of the P-1 largest eigenvalues of Q U Q on the range of Q) in units of 2^-(q+20).

    E² times an entry of Q U Q is an integer. Taking σ >= 0 off every entry of the diagonal blocks
    changes the matrix outside the range of Q only, where it is 0; the largest sum on a part of the
    space is not larger than that on the whole.
    """
    n = p.experts
    exact = u.astype(object)
    for i in (0, n):
        for j in (0, n):
            block = exact[i : i + n, j : j + n]
            rows, columns = block.sum(1, keepdims=True), block.sum(0, keepdims=True)
            exact[i : i + n, j : j + n] = n * (n * block - rows - columns) + block.sum()
    norm = float(np.linalg.norm(exact.astype(np.float64)))
    if not norm < 2.0**100:
        raise TooLarge("multipliers too large for a bound")
    shift = math.ceil(norm / n)
    for i in (0, n):
        exact[i : i + n, i : i + n] -= shift
    # One rounding an entry.
    value = upper_bound(exact.astype(np.float64), p.groups - 1, 2.0**-52)
    if not abs(value) < 2.0**100:
        raise TooLarge("multipliers too large for a bound")
    return math.ceil(Fraction(value) * 2 * p.c * (1 << finer) / (n * n))


class Parts:
    """A bound in its parts: C_x of the pairs between layers [L-1, E, E] and of a layer [L, E, E], i < j (Python's integers in units of
    2^-q), and all else in units of 2^-(q+20)."""

    def __init__(self, between, inside, rest, bits):
        self.between, self.inside, self.rest, self.bits = between, inside, rest, bits


def parts(p, evidence, also=()):
    """The parts of the bound that multipliers prove; `also` are keys of the evidence beside them."""
    members(evidence, "co-location", (*also, "fraction_bits", "left", "between", "right"), tuple(CUTS))
    n, layers = p.experts, p.layers
    q = integer(evidence["fraction_bits"], "fraction_bits")
    need(0 <= q <= 40, "fraction_bits out of range")
    need(p.groups >= 2, "co-location evidence for one group")
    if n > MOST_EXPERTS:
        raise TooLarge(f"co-location evidence for {n} experts")
    u = matrices(p, evidence)
    wide = u.astype(object)
    # Objective minus 2U, by boundary for Y and by layer for Z.
    cy = p.w.astype(object) * (1 << q) - 2 * wide[:, :n, n:]
    cz = np.zeros((layers, n, n), object)
    if p.v is not None:
        cz += p.v.astype(object) * (1 << q)
    constant = 0
    for l in range(layers - 1):
        cz[l] -= 2 * wide[l, :n, :n]
        cz[l + 1] -= 2 * wide[l, n:, n:]
        constant -= int(np.trace(wide[l]))
    count = 0
    for key, (expand, least) in CUTS.items():
        for row in optional_array(evidence, key):
            count += 1
            need(count <= MOST_CUTS, "too many cuts")
            need(len(integers(row, key)) >= 2 + least, f"a malformed {key} cut")
            l, multiplier = row[:2]
            need(0 <= l < layers - 1 and multiplier >= 0, f"a malformed {key} cut")
            terms, limit = expand(p, l, row[2:])
            constant += multiplier * limit
            for a, b, coefficient in terms:
                a, b = min(a, b), max(a, b)
                amount = coefficient * multiplier
                if b < n:
                    cz[l][a, b] -= amount
                elif a >= n:
                    cz[l + 1][a - n, b - n] -= amount
                else:
                    cy[l][a, b - n] -= amount
    rest = (constant << FINER) - (-(int(wide.sum()) << FINER) // p.groups)
    rest += sum(spectral_part(p, u[l], FINER) for l in range(layers - 1))
    return Parts(cy, cz, rest, q + FINER)


def bound(p, evidence):
    found = parts(p, evidence, ("kind",))
    return (found.rest + most(found, FixedPairs(p))) >> found.bits


def most(found, pairs):
    """The most that the pairs add to the bound, in its units."""
    values, states = pairs.flat(found.between, found.inside), pairs.flat(pairs.between, pairs.inside)
    total = sum(int(x) for x in values[states == FREE] if x > 0)
    total += sum(int(x) for x in values[states == TOGETHER])
    return total << FINER
