"""DRAM's contents: the image's, of which only what something touches is copied.

Most of an image is blocks of weights, which are read and never written.
"""

from __future__ import annotations

import numpy as np

__all__ = ["Contents"]

_PIECE_BYTES = 1 << 16


class Contents:
    """What DRAM holds while a program runs.

    Parameters
    ----------
    memory : ndarray of uint8
        DRAM itself, which instructions read and write; valid where `touch` was told of.
    image : ndarray of uint8
        What it holds at first; as large.
    """

    def __init__(self, memory: np.ndarray, image: np.ndarray) -> None:
        self._memory, self._image = memory, image
        self._is_copied = bytearray(-(-len(memory) // _PIECE_BYTES))

    def touch(self, low: int, high: int) -> None:
        """Make bytes [low, high) of the memory valid: they are about to be read or written."""
        stop = -(-high // _PIECE_BYTES)
        piece = self._is_copied.find(0, low // _PIECE_BYTES, stop)
        while piece >= 0:
            part = slice(piece * _PIECE_BYTES, (piece + 1) * _PIECE_BYTES)
            self._memory[part] = self._image[part]
            self._is_copied[piece] = 1
            piece = self._is_copied.find(0, piece + 1, stop)

    def read(self, low: int, high: int) -> np.ndarray:
        """Bytes [low, high) as they are now, to read: the image's if none of them is copied."""
        first, stop = low // _PIECE_BYTES, -(-high // _PIECE_BYTES)
        if self._is_copied.find(1, first, stop) < 0:
            return self._image[low:high]
        self.touch(low, high)
        return self._memory[low:high]
