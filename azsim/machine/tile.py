"""Tiles: decoded blocks of weights, and how weight SRAM packs their codes."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from dataclasses import dataclass
from weakref import WeakValueDictionary

import numpy as np

from azsim.codecs import HEADER_BYTES, block_bytes
from azsim.errors import CodecError
from azsim.machine.engines.decoder import DecoderSizes, block_times
from azsim.machine.view import View

__all__ = ["Codes", "Tile", "digest_of", "known_tile", "one_block", "pack", "share_tile", "unpack"]

_PIECE_BYTES, _LINE_BYTES = 1 << 23, 64


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Tile:
    """A decoded block.

    Attributes
    ----------
    codes : ndarray of shape (N, K), int8
    digest : str
        See `digest_of`: the tile's identity in traces and caches.
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


class Codes:
    """Room for codes of many tiles, in few large pieces of memory.

    A product reads its tile at the pace of memory: what is multiplied one after another lies so,
    in pieces that the operating system can map with few large pages.
    """

    def __init__(self) -> None:
        self._piece, self._used = np.empty(0, np.int8), 0

    def keep(self, codes: np.ndarray, rows: int, cols: int) -> np.ndarray:
        """Return a copy of codes as a (rows, cols) matrix of int8."""
        if self._used + codes.size > self._piece.size:
            self._piece, self._used = np.empty(max(_PIECE_BYTES, codes.size), np.int8), 0
        matrix = self._piece[self._used : self._used + codes.size].reshape(rows, cols)
        self._used += -(-codes.size // _LINE_BYTES) * _LINE_BYTES
        matrix[...] = codes.reshape(rows, cols)
        return matrix


_decoded: WeakValueDictionary[tuple[Hashable, bytes], Tile] = WeakValueDictionary()


def known_tile(encoded: bytes, kind: Hashable) -> Tile | None:
    """Tile that was made of the same block and is still in use, by a trace for example.

    `kind` is what else decides whether a block may be decoded, and to what.
    """
    tile = _decoded.get((kind, encoded[:HEADER_BYTES]))
    return tile if tile is not None and tile.encoded == encoded else None


def share_tile(tile: Tile, kind: Hashable) -> Tile:
    """Let others find a tile with `known_tile` for as long as someone holds it."""
    _decoded[kind, tile.encoded[:HEADER_BYTES]] = tile
    return tile


def digest_of(codes: np.ndarray, encoded: bytes = b"") -> str:
    """Identity of a tile: hash of its shape and of the block, or of the codes where there is none.

    A block has fewer bytes than its codes.
    """
    digest = hashlib.sha256(repr(codes.shape).encode() + (b"block" if encoded else b"codes"))
    digest.update(encoded or np.ascontiguousarray(codes).data)
    return digest.hexdigest()[:24]


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
