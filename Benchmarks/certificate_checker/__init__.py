"""Checks Colocate's certificates from the formulas of the bounds. Shares no code with the solver.

One kind of evidence a file. Numbers from a certificate are Python's integers, which never
overflow; numpy's 64-bit integers are used only where a stated bound keeps every sum inside them.
"""

from .certificate import check
from .counts import Counts, read_counts
from .destinations import check_destinations
from .reading import Refused, TooLarge, parse, read_json
from .sets import read_sets

__all__ = ["Counts", "Refused", "TooLarge", "check", "check_destinations", "parse", "read_counts", "read_json", "read_sets"]
