"""Greater: a > b, as b < a; no number compares with NaN."""

from __future__ import annotations

from azsim.ops._compare import comparison

OP = "Greater"
INPUTS = (2, 2)
ATTRIBUTES = ()
TYPES = ("bool",)

infer, reference, lower = comparison("less", swapped=True)
