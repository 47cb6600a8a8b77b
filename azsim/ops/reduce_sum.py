"""ReduceSum: sum along axes, as a binary tree (`azsim.arith.tree_sum`)."""

from __future__ import annotations

from azsim.ops._reduce import reduction

OP = "ReduceSum"
INPUTS = (1, 2)
ATTRIBUTES = ("axes", "keepdims", "noop_with_empty_axes")

infer, reference, lower = reduction("sum")
