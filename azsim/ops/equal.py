"""Equal: a == b; no number compares with NaN."""

from __future__ import annotations

from azsim.ops._compare import comparison

OP = "Equal"
INPUTS = (2, 2)
ATTRIBUTES = ()
TYPES = ("bool",)

infer, reference, lower = comparison("equal")
