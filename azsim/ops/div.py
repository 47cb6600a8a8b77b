"""Div: quotient (truncated for integer constants), with numpy's broadcasting."""

from __future__ import annotations

from azsim.ops._elementwise import binary

OP = "Div"
INPUTS = (2, 2)
ATTRIBUTES = ()

infer, reference, lower = binary("div")
