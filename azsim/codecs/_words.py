"""Bit fields in 64-bit words.

Bits fill a word from the least significant one, so that the bytes of the words on a little-endian
host are those of the stream.  Two spare words at the end let a kernel look at 64 bits from any
position up to the end of the stream; positions beyond it are the caller's to prevent.
"""

from __future__ import annotations

import numpy as np

from azsim.jit import kernel

__all__ = ["as_words", "empty_words", "peek", "put", "words_to_bytes"]

_SPARE_WORDS = 2


def empty_words(num_bits: int) -> np.ndarray:
    """Zeros for `num_bits` bits, with the spare words: uint64."""
    return np.zeros((num_bits + 63) // 64 + _SPARE_WORDS, np.uint64)


def as_words(payload: np.ndarray) -> np.ndarray:
    """Copy of (n,) uint8 as words, with the spare ones: uint64."""
    words = empty_words(8 * payload.size)
    words.view(np.uint8)[: payload.size] = payload
    return words


def words_to_bytes(words: np.ndarray, num_bits: int) -> bytes:
    """Stream of the first `num_bits` bits, filled up with zeros to a whole byte."""
    return words.view(np.uint8)[: (num_bits + 7) // 8].tobytes()


@kernel
def peek(words, position):
    """64 bits from bit `position` on, uint64."""
    index = np.uint64(position >> 6)
    shift = np.uint64(position & 63)
    high = words[index + np.uint64(1)] << np.uint64(1)
    return (words[index] >> shift) | (high << (np.uint64(63) - shift))


@kernel
def put(words, position, width, value):
    """Write the low `width` (at most 63) bits of `value` where zeros are; return the next place."""
    index = np.uint64(position >> 6)
    shift = np.uint64(position & 63)
    field = np.uint64(value) & ((np.uint64(1) << np.uint64(width)) - np.uint64(1))
    words[index] |= field << shift
    words[index + np.uint64(1)] |= (field >> np.uint64(1)) >> (np.uint64(63) - shift)
    return position + width
