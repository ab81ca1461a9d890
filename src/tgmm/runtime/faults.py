"""Which errors data and machines cause."""

from __future__ import annotations

# Where many fits are made, these are a matter of the one that they befall: a check, torch's linear algebra or memory,
# and NumPy's memory. All others are faults of the program, which nothing is to hide.
FAULTS = (ValueError, RuntimeError, MemoryError)
