"""ReduceMean: mean along axes: a sum as a binary tree, over its number of terms."""

from __future__ import annotations

from azsim.ops._reduce import reduction

OP = "ReduceMean"
INPUTS = (1, 2)
ATTRIBUTES = ("axes", "keepdims", "noop_with_empty_axes")

infer, reference, lower = reduction("mean")
