"""RMSNormalization: every row over its root mean square, times a scale.

A row is what lies along `axis` and all axes behind it; see `azsim.arith.rms_norm`.
"""

from __future__ import annotations

from azsim.ops._norm import norm

OP = "RMSNormalization"
INPUTS = (2, 2)
ATTRIBUTES = ("axis", "epsilon", "stash_type")

infer, reference, lower = norm("rms_norm")
