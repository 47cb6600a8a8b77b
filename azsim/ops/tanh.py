"""Tanh: the chip's own hyperbolic tangent."""

from __future__ import annotations

from azsim.ops._elementwise import unary

OP = "Tanh"
INPUTS = (1, 1)
ATTRIBUTES = ()

infer, reference, lower = unary("tanh")
