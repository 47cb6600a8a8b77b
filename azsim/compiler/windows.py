"""Which elements of which buffers steps touch, for the passes that rewrite steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from azsim.ops.lowering import Access, Loop, Step
from azsim.ops.steps import windows

__all__ = ["all_windows", "elements", "flat_elements", "inner_steps"]


def elements(access: Access) -> np.ndarray:
    """Offsets in the buffer of a window's elements, (rows, cols) int64, in the first round."""
    rows, cols = np.arange(access.rows)[:, None], np.arange(access.cols)
    return access.offset + rows * access.row_stride + cols * access.col_stride


def flat_elements(access: Access) -> np.ndarray:
    """`elements` row after row."""
    return elements(access).reshape(-1)


def inner_steps(steps: Iterable[Step]) -> Iterator[Step]:
    """Steps in program order, those of loops once in their place."""
    for step in steps:
        if isinstance(step, Loop):
            yield from inner_steps(step.body)
        else:
            yield step


def all_windows(step: Step) -> Iterator[Access]:
    """Windows of a step, or of those in a loop."""
    for inner in inner_steps([step]):
        yield from windows(inner).values()
