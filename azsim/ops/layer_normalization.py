"""LayerNormalization: every row less its mean, over its deviation, with scale and bias.

A row is what lies along `axis` and all axes behind it; see `azsim.arith.layer_norm`.
"""

from __future__ import annotations

from azsim.ops._norm import norm

OP = "LayerNormalization"
INPUTS = (2, 3)
ATTRIBUTES = ("axis", "epsilon", "stash_type")

infer, reference, lower = norm("layer_norm")
