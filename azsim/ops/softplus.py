"""Softplus: ``log(1 + exp(x))``, the chip's own function; above 20 it is x itself."""

from __future__ import annotations

from azsim.ops._elementwise import unary

OP = "Softplus"
INPUTS = (1, 1)
ATTRIBUTES = ()

infer, reference, lower = unary("softplus")
