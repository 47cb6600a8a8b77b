"""Neg: change of sign."""

from __future__ import annotations

from azsim.ops._elementwise import unary

OP = "Neg"
INPUTS = (1, 1)
ATTRIBUTES = ()

infer, reference, lower = unary("neg")
