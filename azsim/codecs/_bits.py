"""Sizes and checks of bit fields; bits fill a byte from the least significant one."""

from __future__ import annotations

import numpy as np

from azsim.jit import kernel

__all__ = ["packed_bytes", "popcount", "tail_is_zero"]


def packed_bytes(count: int, width: int) -> int:
    """Bytes that `count` fields of `width` bits take."""
    return (count * width + 7) // 8


def tail_is_zero(data: np.ndarray, position: int) -> bool:
    """Tell whether the bits from `position` to the end of its byte are zero."""
    return position % 8 == 0 or int(data[position // 8]) >> position % 8 == 0


@kernel
def popcount(data):
    """Number of ones in (n,) uint8."""
    total = 0
    for i in range(data.shape[0]):
        value = np.int64(data[i])
        value -= (value >> 1) & 0x55
        value = (value & 0x33) + ((value >> 2) & 0x33)
        total += (value + (value >> 4)) & 0x0F
    return total
