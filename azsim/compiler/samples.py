"""Samples: about what a weight's blocks take, told from a few of them before there are tiles.

Contract: takes a weight and the chip, gives bytes and decoder cycles of a block by its number of
codes.  Some rows from all over the matrix are encoded, then four times as many, and so on: tables
count for much in a small block and for little in a large one, and lanes wait for one another.  What
a codec that is not chosen yet will take is told from counts (`azsim.compiler.stored`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from azsim.codecs import block_decode_cycles
from azsim.compiler.residence import encode_codes
from azsim.compiler.stored import estimated_bits, used_codec
from azsim.compression.scheme import AUTO
from azsim.hardware.description import Hardware
from azsim.ir import CompressedWeight

__all__ = ["Samples", "take_samples"]

_SAMPLE_CODES = (1 << 10, 1 << 12, 1 << 14, 1 << 16)
_MOST_COLS = 1024
_HEADER_BYTES = 32
_ANY_PORT = 1 << 30


@dataclass(frozen=True, eq=False)
class Samples:
    """Bytes in DRAM and decoder cycles of S blocks.

    Attributes
    ----------
    codes : ndarray of shape (S,), float64
        Of each block, ascending.
    sizes_bytes : ndarray of shape (S,), float64
    decoder_cycles : ndarray of shape (S,), float64
        If all of the block is in the decoder's FIFO.
    """

    codes: np.ndarray
    sizes_bytes: np.ndarray
    decoder_cycles: np.ndarray

    def bytes_of(self, codes: np.ndarray) -> np.ndarray:
        """Estimated bytes of blocks by their numbers of codes."""
        return self._between(codes, self.sizes_bytes)

    def cycles_of(self, codes: np.ndarray) -> np.ndarray:
        """Estimated cycles of the decoder by numbers of codes."""
        return self._between(codes, self.decoder_cycles)

    def _between(self, codes: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Straight from sample to sample, and in proportion beyond the last."""
        beyond = np.maximum(1.0, codes / self.codes[-1])
        return np.interp(codes, self.codes, values) * beyond


def take_samples(weight: CompressedWeight, hardware: Hardware) -> Samples:
    """Encode blocks of a few sizes; as many as the matrix has rows for."""
    if weight.codec.name == AUTO:
        return _counted(weight, hardware)
    outputs, inner = weight.codes.shape
    cols = min(inner, _MOST_COLS, *(weight.segments[1:2]))
    numbers = sorted({min(outputs, max(1, count // cols)) for count in _SAMPLE_CODES})
    taken = [_sample(weight, rows, cols, hardware) for rows in numbers]
    return Samples(*np.array(taken, np.float64).T)


def _sample(
    weight: CompressedWeight, rows: int, cols: int, hardware: Hardware
) -> tuple[int, int, int]:
    """Codes, bytes and decoder cycles of a block of rows that lie evenly over the matrix."""
    chosen = np.linspace(0, weight.codes.shape[0] - 1, rows).astype(int)
    codec = used_codec(weight.codec, hardware)
    block = encode_codes(codec, weight.codes[chosen, :cols], weight.bits)
    decoder = hardware.decoder
    bus_bits = 8 * decoder.bus_bytes_per_cycle
    return rows * cols, len(block), block_decode_cycles(block, decoder.lanes, bus_bits, _ANY_PORT)


def _counted(weight: CompressedWeight, hardware: Hardware) -> Samples:
    """From counts; each lane of the decoder gives a code a cycle."""
    codes = np.array([0.0, _SAMPLE_CODES[-1]])
    bytes_per_code = estimated_bits(weight, hardware) / 8
    return Samples(codes, _HEADER_BYTES + bytes_per_code * codes, codes / hardware.decoder.lanes)
