"""Lifetimes: from when to when what a buffer holds is needed.

Rounds of a loop that is written out work in the same buffers one after another.  Between what the
last round read there and what the next one writes a buffer holds nothing that is needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from azsim.compiler.schedule import Item, accesses, extent, is_written
from azsim.compiler.windows import elements
from azsim.ops.lowering import Access

__all__ = ["lifetimes"]

_WRITE_ALL = (
    *("load", "load_gather", "mac_drain"),
    *("vector_binary", "vector_copy", "vector_fill", "vector_multiply_add", "vector_norm"),
    *("vector_quantize", "vector_reduce", "vector_softmax", "vector_unary"),
)
"""What writes every element of the windows that it writes."""


def lifetimes(items: Sequence[Item]) -> dict[str, list[tuple[int, int]]]:
    """By buffer, the first and the last item that touch each of its contents, in order.

    A content begins with an item that writes all that is ever touched of the buffer, and reads
    none of it.  The first one begins before all items (-1) if its first item does not.

    Parameters
    ----------
    items : sequence of Item
        One behind the other.
    """
    touched = _touched(items)
    found: dict[str, list[tuple[int, int]]] = {}
    for at, item in enumerate(items):
        for buffer in item.buffers:
            of_buffer = found.setdefault(buffer, [])
            if _fills(item, buffer, touched[buffer]):
                of_buffer.append((at, at))
            else:
                first = of_buffer.pop()[0] if of_buffer else -1
                of_buffer.append((first, at))
    return found


def _touched(items: Iterable[Item]) -> dict[str, tuple[int, int]]:
    """First element of each buffer that items touch, and one past the last."""
    found: dict[str, tuple[int, int]] = {}
    for item in items:
        for _, access in accesses(item):
            low, high = extent(access, {})
            before = found.get(access.buffer, (low, high))
            found[access.buffer] = min(before[0], low), max(before[1], high)
    return found


def _fills(item: Item, buffer: str, touched: tuple[int, int]) -> bool:
    """Whether an item writes all that is touched of a buffer, and reads none of it."""
    windows = [(name, access) for name, access in accesses(item) if access.buffer == buffer]
    ((name, access), *others) = windows
    is_sure = item.but_last is None and not item.once and not item.operands.get("accumulate")
    return (
        is_sure
        and not others
        and item.mnemonic in _WRITE_ALL
        and is_written(item, name)
        and not access.advance
        and _shows(access, touched)
    )


def _shows(access: Access, touched: tuple[int, int]) -> bool:
    """Whether a window shows every element of a range."""
    size = touched[1] - touched[0]
    if access.rows * access.cols < size or extent(access, {}) != touched:
        return False
    return np.unique(elements(access)).size == size
