"""Sigmoid: the chip's own logistic function."""

from __future__ import annotations

from azsim.ops._elementwise import unary

OP = "Sigmoid"
INPUTS = (1, 1)
ATTRIBUTES = ()

infer, reference, lower = unary("sigmoid")
