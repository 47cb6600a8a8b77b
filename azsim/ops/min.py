"""Min: smallest of one or more operands, from left to right, with numpy's broadcasting."""

from __future__ import annotations

from azsim.ops._elementwise import binary

OP = "Min"
INPUTS = (1, None)
ATTRIBUTES = ()

infer, reference, lower = binary("min")
