"""Kernels that read and write bit fields; bits fill a byte from the least significant one.

A caller makes sure that every field lies inside the array: nothing is checked here.
"""

from __future__ import annotations

import numpy as np

from azsim.jit import kernel

__all__ = ["packed_bytes", "popcount", "read_field", "tail_is_zero", "write_field"]


def packed_bytes(count: int, width: int) -> int:
    """Bytes that `count` fields of `width` bits take."""
    return (count * width + 7) // 8


def tail_is_zero(data: np.ndarray, position: int) -> bool:
    """Tell whether the bits from `position` to the end of its byte are zero."""
    return position % 8 == 0 or int(data[position // 8]) >> position % 8 == 0


@kernel
def read_field(data, position, width):
    """Unsigned field of at most 16 bits that starts at bit `position` of (n,) uint8."""
    byte = position >> 3
    shift = position & 7
    value = np.int64(data[byte]) >> shift
    got = 8 - shift
    while got < width:
        byte += 1
        value |= np.int64(data[byte]) << got
        got += 8
    return value & ((1 << width) - 1)


@kernel
def write_field(data, position, width, value):
    """Write the low `width` (1 to 16) bits of `value` at bit `position`, which must be zero."""
    byte = position >> 3
    shift = position & 7
    field = (np.int64(value) & ((1 << width) - 1)) << shift
    left = width + shift
    while left > 0:
        data[byte] = np.uint8(data[byte] | (field & 255))
        field >>= 8
        byte += 1
        left -= 8


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
