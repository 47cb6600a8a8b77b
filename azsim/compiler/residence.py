"""Residence: in which form a weight lies in weight SRAM, and how large its blocks are there.

A chip that decodes at fill holds dense codes.  One that decodes at read holds the blocks of codecs
whose entries have columns and lanes, dealt out to as many lanes as its array has; a tensor with any
other codec is stored `raw` there, as on a chip that does not decode its codec, and lies dense.
"""

from __future__ import annotations

import functools
import hashlib
import itertools

import numpy as np

from azsim.codecs import block_column_bits, codec_is_read_by_column, encode_block
from azsim.compiler.block_cache import load_block, save_block
from azsim.compiler.stored import used_codec
from azsim.hardware.description import Hardware
from azsim.ir import CodecChoice, CompressedWeight

__all__ = ["BlockSizes", "encode_codes", "is_read"]

_KEPT_BLOCKS = 64


def is_read(choice: CodecChoice, hardware: Hardware) -> bool:
    """Tell whether a tensor's blocks lie in weight SRAM as they are."""
    return hardware.decoder.at == "read" and used_codec(choice, hardware).name != "raw"


def encode_codes(choice: CodecChoice, codes: np.ndarray, bits: int) -> bytes:
    """Encode one tile, (N, K) int8; the last large ones are kept, as several passes ask."""
    codes = np.ascontiguousarray(codes)
    if not codec_is_read_by_column(choice.name):
        return _encode(choice, codes, bits)
    digest = hashlib.blake2b(repr((codes.shape, bits)).encode(), digest_size=16)
    digest.update(codes.data)
    parameters = tuple(sorted(choice.parameters.items()))
    return _kept(digest.digest(), choice.name, parameters, _Codes(codes, bits))


class _Codes:
    """Codes that a cache takes along without comparing them; the digest beside them is the key."""

    def __init__(self, codes: np.ndarray, bits: int) -> None:
        self.codes: np.ndarray | None = codes
        self.bits = bits

    def __hash__(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Codes)


@functools.lru_cache(maxsize=_KEPT_BLOCKS)
def _kept(
    digest: bytes, name: str, parameters: tuple[tuple[str, int | bool], ...], matrix: _Codes
) -> bytes:
    assert matrix.codes is not None
    codes, matrix.codes = matrix.codes, None  # the cache keeps the key, but not the codes
    return _encode(CodecChoice(name, dict(parameters)), codes, matrix.bits)


def _encode(choice: CodecChoice, codes: np.ndarray, bits: int) -> bytes:
    parameters = tuple(sorted(choice.parameters.items()))
    block = load_block(choice.name, parameters, codes, bits)
    if block is None:
        columns = max(1, codes.shape[1])
        block = encode_block(choice.name, codes, bits, columns=columns, **choice.parameters)
        save_block(choice.name, parameters, codes, bits, block)
    return block


class BlockSizes:
    """Sizes of the blocks that some columns of a weight make, without encoding each.

    Parameters
    ----------
    weight : CompressedWeight
    choice : CodecChoice
        One that can be read by column.
    """

    def __init__(self, weight: CompressedWeight, choice: CodecChoice) -> None:
        self._weight = weight
        self._choice = choice
        self._sums: dict[tuple[int, int], tuple[int, np.ndarray]] = {}

    def num_bytes(self, n0: int, n1: int, k0: int, k1: int) -> int:
        """Most bytes of the block of rows [n0, n1) and columns [k0, k1)."""
        once, sums = self._of_rows(n0, n1)
        return -(-(once + int(sums[k1] - sums[k0])) // 8)

    def cut(
        self, n0: int, n1: int, low: int, high: int, most_bytes: int
    ) -> list[tuple[int, int]] | None:
        """Cut columns [low, high) into as few blocks of at most `most_bytes` as it takes.

        None if one column alone is larger.
        """
        once, sums = self._of_rows(n0, n1)
        room = 8 * most_bytes - once
        bounds = [low]
        while bounds[-1] < high:
            last = int(np.searchsorted(sums, sums[bounds[-1]] + room, side="right")) - 1
            if room < 0 or last <= bounds[-1]:
                return None
            bounds.append(min(last, high))
        return list(itertools.pairwise(bounds))

    def _of_rows(self, n0: int, n1: int) -> tuple[int, np.ndarray]:
        if (n0, n1) not in self._sums:
            block = encode_codes(self._choice, self._weight.codes[n0:n1], self._weight.bits)
            once, of_columns = block_column_bits(block)
            self._sums[n0, n1] = once, np.concatenate([[0], np.cumsum(of_columns)])
        return self._sums[n0, n1]
