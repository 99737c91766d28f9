#!/usr/bin/env python3
"""Checks a Colocate certificate with numpy, from the formulas of the bounds. Shares no code with the solver.

    python3 Benchmarks/check_certificate.py CERTIFICATE COUNTS.npy [COUNTS.npy ...]
    python3 Benchmarks/check_certificate.py --top-k first CERTIFICATE TRACE.npy

Prints what was proved, in the words of `colocate check`, and exits with 0 where everything holds, with 2
where something does not (one line says what), with 3 where evidence is too large for Python or the time
limit. Everything is checked in exact integers but eigenvalues, which come from LAPACK in doubles with the
margin that certificate_checker/spectrum.py derives; no claim is accepted by a tolerance.
"""

import argparse
import signal
import sys

from certificate_checker import Refused, TooLarge, check, check_destinations, read_counts, read_json, read_sets


def stop(number, frame):
    raise TooLarge("not checked within the time limit")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("certificate")
    parser.add_argument("counts", nargs="+")
    parser.add_argument("--as", dest="kind", choices=["trace", "counts"])
    parser.add_argument("--top-k", choices=["pairs", "first"], default="pairs")
    parser.add_argument("--experts", type=int)
    parser.add_argument("--coactivation", action="store_true")
    parser.add_argument("--time-limit", type=float, default=600, help="seconds that the check may take")
    options = parser.parse_args()
    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(options.time_limit, 0.001))
    try:
        certificate = read_json(options.certificate)
        if isinstance(certificate, dict) and certificate.get("format") == "colocate-destination-certificate":
            print(check_destinations(certificate, read_sets(options.counts, options.experts)), end="")
            return 0
        counts, how = read_counts(options.counts, options.kind, options.top_k, options.experts, options.coactivation)
        print(check(certificate, counts).text(how), end="")
    except (TooLarge, MemoryError) as error:
        print(f"too large for this checker: {str(error) or 'out of memory'}", file=sys.stderr)
        return 3
    except (Refused, OSError, EOFError, ValueError) as error:
        print(f"refused: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
