"""Abs: absolute value."""

from __future__ import annotations

from azsim.ops._elementwise import unary

OP = "Abs"
INPUTS = (1, 1)
ATTRIBUTES = ()

infer, reference, lower = unary("abs")
