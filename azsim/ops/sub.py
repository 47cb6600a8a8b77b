"""Sub: difference, with numpy's broadcasting."""

from __future__ import annotations

from azsim.ops._elementwise import binary

OP = "Sub"
INPUTS = (2, 2)
ATTRIBUTES = ()

infer, reference, lower = binary("sub")
