"""LessOrEqual: a <= b; no number compares with NaN."""

from __future__ import annotations

from azsim.ops._compare import comparison

OP = "LessOrEqual"
INPUTS = (2, 2)
ATTRIBUTES = ()
TYPES = ("bool",)

infer, reference, lower = comparison("less_equal")
