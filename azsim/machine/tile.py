"""Tiles: decoded blocks of weights, and how weight SRAM packs their codes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from azsim.codecs import block_bytes
from azsim.errors import CodecError
from azsim.machine.engines.decoder import DecoderSizes, block_times
from azsim.machine.view import View

__all__ = ["Tile", "digest_of", "one_block", "pack", "unpack"]


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """A decoded block.

    Attributes
    ----------
    codes : ndarray of shape (N, K), int8
    digest : str
        Hash of shape and codes: the tile's identity in traces and caches.
    encoded : bytes
        The block as it lies in DRAM, for the decoder's timing.
    """

    codes: np.ndarray
    digest: str
    encoded: bytes

    def burst_times(self, sizes: DecoderSizes, offset_bytes: int, bursts: int) -> np.ndarray:
        """What the decoder makes of each burst of a transfer of this block.

        Parameters
        ----------
        sizes : DecoderSizes
        offset_bytes : int
            Where in its first burst the block begins.
        bursts : int
            Bursts of the transfer.

        Returns
        -------
        ndarray of shape (bursts, 4), int64
            See `azsim.machine.engines.decoder`.
        """
        return block_times(self.encoded, sizes, 8 * offset_bytes, bursts)


def digest_of(codes: np.ndarray) -> str:
    """Identity of a tile: hash of shape and codes."""
    digest = hashlib.blake2b(repr(codes.shape).encode(), digest_size=12)
    digest.update(np.ascontiguousarray(codes).data)
    return digest.hexdigest()


def one_block(window: bytes) -> bytes:
    """Cut the zeros that follow a block off."""
    length = block_bytes(window)
    if any(window[length:]):
        raise CodecError("block: bytes after it are not zero")
    return window[:length]


def pack(codes: np.ndarray, element_bits: int) -> np.ndarray:
    """Pack an (N, K) matrix of int8 codes to 8, 4 or 2 bits, low bits first, rows at bytes."""
    if element_bits == 8:
        return codes
    per_byte = 8 // element_bits
    rows, cols = codes.shape
    padded = np.zeros((rows, -(-cols // per_byte) * per_byte), np.uint8)
    padded[:, :cols] = codes.view(np.uint8) & ((1 << element_bits) - 1)
    groups = padded.reshape(rows, -1, per_byte)
    shifts = np.arange(per_byte, dtype=np.uint8) * element_bits
    return np.bitwise_or.reduce(groups << shifts, axis=2)


def unpack(array: np.ndarray, view: View) -> np.ndarray:
    """Inverse of `pack` for a view's memory."""
    bits = view.element_bits
    if bits == 8:
        return np.array(array, np.int8, order="C")  # a copy: the tile outlives the memory's bytes
    per_byte = 8 // bits
    pitch = view.row_stride * bits // 8
    row_bytes = -(-view.cols // per_byte)
    rows = np.stack([array[row * pitch : row * pitch + row_bytes] for row in range(view.rows)])
    shifts = np.arange(per_byte, dtype=np.uint8) * bits
    fields = (rows[:, :, None] >> shifts) & ((1 << bits) - 1)
    codes = fields.reshape(view.rows, -1)[:, : view.cols].astype(np.int16)
    return np.where(codes >= 1 << (bits - 1), codes - (1 << bits), codes).astype(np.int8)
