"""What stands for a code in a stream: the code itself, or its index in a palette.

This is the shared-value step (cluster index to value) of Amazon's decompression pipeline, US
11,537,853 and 11,868,867, once for all codecs: a codec that takes ``palette: true`` writes
*fields*, and this module says how wide they are and what they mean.

Plain (codec flag 0 clear)
    A field is the code in two's complement, `bits` wide; nothing is stored ahead.
Palette (codec flag 0 set)
    The payload begins with a table::

        8 bits    number of entries less one
        bytes     the values that the fields take, int8: zero first if it is one of them, the
                  others ascending

    and a field is an index into it, as wide as it takes to tell all entries apart (0 bits for
    one entry, where the codec allows it).  So a zero that is stored has index 0.

The palette is taken where table and indices are less bits than the plain fields; it loses
nothing.  A decoder refuses one that is not, or that has an entry which no field uses, so that a
block has one form.

Hardware: a table of the entries with one read port for each field that a cycle takes.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from azsim.errors import CodecError

__all__ = ["NO_CODE", "PALETTE", "Fields", "choose_fields", "num_entries", "read_fields"]

PALETTE = 1
"""Codec flag."""

NO_CODE = 256
"""What `Fields.to_code` has for a field that stands for nothing; its low byte is 0."""


class Fields(NamedTuple):
    """Meaning of the fields of one block.

    Attributes
    ----------
    head : bytes
        Table as stored; empty for plain fields.
    width : int
        Bits of a field.
    to_field : ndarray of shape (256,), uint8
        Field of each code; the index is the code as an unsigned byte.
    to_code : ndarray of shape (256,), int16
        Code of each field, or `NO_CODE`.
    bits : int
        Bits of a code.
    """

    head: bytes
    width: int
    to_field: np.ndarray
    to_code: np.ndarray
    bits: int

    @property
    def flags(self) -> int:
        """Codec flags that say this form."""
        return PALETTE if self.head else 0

    def fault(self, codec: str, what: str, where: int) -> CodecError:
        """Return the error for field number `where`, which stands for no code."""
        if self.head:
            return CodecError(
                f"{codec}: index of {what} {where} is beyond {len(self.head) - 1} palette entries"
            )
        return CodecError(
            f"{codec}: {what} {where} is {-(1 << (self.bits - 1))}, which is out of range "
            f"at {self.bits} bits"
        )

    def check_use(self, codec: str, codes: np.ndarray, num_fields: int) -> None:
        """Check that every entry is used, and the palette smaller.

        Parameters
        ----------
        codec : str
            For errors.
        codes : ndarray of int8
            All codes that were decoded.
        num_fields : int
            Fields that were read; a field that is not for a non-zero is for a zero.

        Raises
        ------
        CodecError
            If the encoder would not have made this palette.
        """
        if not self.head:
            return
        entries = len(self.head) - 1
        counts = np.bincount(codes.reshape(-1).view(np.uint8), minlength=256)
        stored_zeros = num_fields - (codes.size - counts[0])
        counts[0] = stored_zeros
        if np.count_nonzero(counts) < entries:
            raise CodecError(f"{codec}: palette has an entry that no index uses")
        if not _is_smaller(entries, self.width, num_fields, self.bits):
            raise CodecError(f"{codec}: palette form that is not smaller than the plain one")


def num_entries(payload: np.ndarray, flags: int) -> int:
    """Entries of the palette of a payload, 0 without one; for estimates of hardware."""
    return int(payload[0]) + 1 if flags & PALETTE and payload.size else 0


def choose_fields(
    codes: np.ndarray,
    bits: int,
    num_fields: int,
    *,
    has_zero: bool,
    palette: bool,
    min_width: int = 0,
) -> Fields:
    """Fields for an encoder.

    Parameters
    ----------
    codes : ndarray of shape (count,), int8
        All codes of the block.
    bits : int
        Bits of a code.
    num_fields : int
        How many fields the codec will write.
    has_zero : bool
        Whether one of them is zero.
    palette : bool
        Whether a palette is allowed.
    min_width : int
        Least width of an index; 1 where fields of no width would leave the stream unbounded.
    """
    if not palette or not num_fields:
        return _plain(bits)
    occurs = np.bincount(codes.view(np.uint8), minlength=256) > 0
    occurs[0] = False
    values = np.sort(np.flatnonzero(occurs).astype(np.uint8).view(np.int8))
    if has_zero:
        values = np.concatenate([np.zeros(1, np.int8), values])
    width = _index_bits(values.size, min_width)
    if not _is_smaller(values.size, width, num_fields, bits):
        return _plain(bits)
    return _indexed(values, width, bits)


def read_fields(
    codec: str, payload: np.ndarray, bits: int, flags: int, *, zero: bool, min_width: int = 0
) -> tuple[Fields, np.ndarray]:
    """Fields for a decoder, and the payload after the table.

    Parameters
    ----------
    codec : str
        For errors.
    payload : ndarray of shape (n,), uint8
        Whole payload.
    bits, flags : int
        From the header.
    zero : bool
        Whether the codec ever stores a zero.
    min_width : int
        As the encoder's.

    Raises
    ------
    CodecError
        If the table is malformed.
    """
    if not flags & PALETTE:
        return _plain(bits), payload
    entries = int(payload[0]) + 1 if payload.size else 0
    if payload.size < 1 + entries or not entries:
        raise CodecError(f"{codec}: {payload.size} bytes of payload do not hold the palette")
    values = payload[1 : 1 + entries].view(np.int8)
    wide = values.astype(np.int16)
    limit = (1 << (bits - 1)) - 1
    if (np.abs(wide) > limit).any():
        raise CodecError(f"{codec}: palette has an entry beyond ±{limit}")
    others = wide[1:] if wide[0] == 0 else wide
    if (np.diff(others) <= 0).any():
        raise CodecError(f"{codec}: palette is not in ascending order")
    if (others == 0).any() or (wide[0] == 0 and not zero):
        raise CodecError(f"{codec}: palette has a zero where none belongs")
    return _indexed(values, _index_bits(entries, min_width), bits), payload[1 + entries :]


def _index_bits(entries: int, min_width: int) -> int:
    return max((entries - 1).bit_length(), min_width)


def _is_smaller(entries: int, width: int, num_fields: int, bits: int) -> bool:
    return 8 * (1 + entries) + num_fields * width < num_fields * bits


@functools.cache
def _plain(bits: int) -> Fields:
    limit = (1 << (bits - 1)) - 1
    codes = np.arange(-limit, limit + 1).astype(np.int8)
    to_field = np.zeros(256, np.uint8)
    to_field[codes.view(np.uint8)] = codes.view(np.uint8) & ((1 << bits) - 1)
    to_code = np.full(256, NO_CODE, np.int16)
    to_code[to_field[codes.view(np.uint8)]] = codes
    return Fields(b"", bits, to_field, to_code, bits)


def _indexed(values: np.ndarray, width: int, bits: int) -> Fields:
    to_field = np.zeros(256, np.uint8)
    to_field[values.view(np.uint8)] = np.arange(values.size)
    to_code = np.full(256, NO_CODE, np.int16)
    to_code[: values.size] = values
    head = bytes([values.size - 1]) + values.tobytes()
    return Fields(head, width, to_field, to_code, bits)
