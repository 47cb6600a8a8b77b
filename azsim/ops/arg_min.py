"""ArgMin: place of the smallest element along one axis, the first one of equals."""

from __future__ import annotations

from azsim.ops._arg import arg

OP = "ArgMin"
INPUTS = (1, 1)
ATTRIBUTES = ("axis", "keepdims", "select_last_index")
TYPES = ("int64",)

infer, reference, lower = arg("min")
