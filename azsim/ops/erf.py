"""Erf: the chip's own error function."""

from __future__ import annotations

from azsim.ops._elementwise import unary

OP = "Erf"
INPUTS = (1, 1)
ATTRIBUTES = ()

infer, reference, lower = unary("erf")
