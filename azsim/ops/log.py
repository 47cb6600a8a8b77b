"""Log: the chip's own natural logarithm."""

from __future__ import annotations

from azsim.ops._elementwise import unary

OP = "Log"
INPUTS = (1, 1)
ATTRIBUTES = ()

infer, reference, lower = unary("log")
