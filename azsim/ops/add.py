"""Add: sum, with numpy's broadcasting."""

from __future__ import annotations

from azsim.ops._elementwise import binary

OP = "Add"
INPUTS = (2, 2)
ATTRIBUTES = ()

infer, reference, lower = binary("add")
