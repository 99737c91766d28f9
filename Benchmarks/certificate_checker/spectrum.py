"""Sums of eigenvalues from LAPACK, with a margin that what was computed proves about itself.

Let A be symmetric of order n, V and D = diag(d) its computed eigenvectors and eigenvalues,
R = A V - V D and F = VᵀV - I, f = ‖F‖_F < 1. With the polar decomposition V = Q H (Q orthogonal,
H = (VᵀV)^½, ‖H - I‖ <= f, ‖H⁻¹‖ <= (1 - f)^-½)

    Qᵀ A Q - D = (H D - D H) H⁻¹ + Qᵀ R H⁻¹,
    ‖Qᵀ A Q - D‖_F <= ε = (‖R‖_F + 2·max|d|·f) / √(1 - f),

and the sum of the k largest eigenvalues of A is at most d_(1) + … + d_(k) + √k·ε (Ky Fan: it grows
by no more than the sum of the k largest of the difference, which is at most √k times its norm).

A sum of m products in doubles, in any order, fused or not, is off by at most γ_m = m·u/(1 - m·u)
times the sum of their absolute values, u = 2^-53 (Higham, Accuracy and Stability, §3.1). So R is off
by at most γ_{n+2}·(‖A‖_F + max|d|)·‖V‖_F, F by γ_{n+1}·‖V‖_F², a norm by a factor of 1 + γ_{n²+2}.
Here u = 2^-52, twice that, for what is not named.
"""

import numpy as np

UNIT = 2.0**-52


def gamma(m):
    return m * UNIT / (1 - m * UNIT)


def upper_bound(a, count, relative):
    """The sum of the `count` largest eigenvalues of the symmetric matrix that `a` stands for, from
    above: entry by entry the two differ by at most `relative` times the magnitude of the one given.
    """
    n = len(a)
    largest = float(np.abs(a).max())
    if largest == 0:
        return 0.0
    # By a power of two, which is exact.
    scale = 2.0 ** -np.frexp(largest)[1]
    a = a * scale
    d, v = np.linalg.eigh(a)
    norm = 1 + gamma(n * n + 2)
    most = float(np.abs(d).max())
    size, length = (float(np.linalg.norm(x)) * norm for x in (a, v))
    r = float(np.linalg.norm(a @ v - v * d)) * norm + gamma(n + 2) * (size + most) * length
    f = float(np.linalg.norm(v.T @ v - np.eye(n))) * norm + gamma(n + 1) * length * length
    if not f < 0.5:
        return float("inf")
    error = (r + 2 * most * f) / np.sqrt(1 - f) + relative * size + 2.0**-900
    top = np.sort(d)[::-1][:count]
    spread = np.sqrt(count) * error
    slack = gamma(count + 8) * (float(np.abs(top).sum()) + spread)
    return float(top.sum() + spread + slack) / scale
