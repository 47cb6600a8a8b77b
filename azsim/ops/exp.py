"""Exp: the chip's own exponential function."""

from __future__ import annotations

from azsim.ops._elementwise import unary

OP = "Exp"
INPUTS = (1, 1)
ATTRIBUTES = ()

infer, reference, lower = unary("exp")
