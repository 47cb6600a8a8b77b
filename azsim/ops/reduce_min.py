"""ReduceMin: smallest element along axes."""

from __future__ import annotations

from azsim.ops._reduce import reduction

OP = "ReduceMin"
INPUTS = (1, 2)
ATTRIBUTES = ("axes", "keepdims", "noop_with_empty_axes")

infer, reference, lower = reduction("min")
