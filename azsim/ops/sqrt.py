"""Sqrt: IEEE square root."""

from __future__ import annotations

from azsim.ops._elementwise import unary

OP = "Sqrt"
INPUTS = (1, 1)
ATTRIBUTES = ()

infer, reference, lower = unary("sqrt")
