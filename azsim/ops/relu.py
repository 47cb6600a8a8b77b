"""Relu: what is not above zero becomes +0."""

from __future__ import annotations

from azsim.ops._elementwise import unary

OP = "Relu"
INPUTS = (1, 1)
ATTRIBUTES = ()

infer, reference, lower = unary("relu")
