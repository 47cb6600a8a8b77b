"""A bit per weight that says whether it is there, then the non-zero ones, by value or by index.

Payload::

    count bits      mask: 1 for a non-zero code, in order
    0 to 7 zero bits up to a whole byte
    flag 0 clear:
      ones fields   the non-zero codes in order, two's complement
      0 to 7 zero bits up to a whole byte
    flag 0 set (palette):
      8 bits        number of table entries less one (at most 128 entries)
      bytes         table: the values that occur, int8, ascending
      ones fields   index of each non-zero code in the table; the width of an index is the least
                    that tells all entries apart, 0 where there is only one
      0 to 7 zero bits up to a whole byte

With ``palette: true`` the second form is taken where it is smaller, tables counted; it loses
nothing.  A decoder does not accept it where it is not smaller, so that a block has one form.

Source: the zero-value and shared-value steps of Amazon's decompression pipeline (US 11,537,853
and 11,868,867), each of which can be bypassed.  The bit layout is azsim's own.

Hardware, a lane: a 16-bit mask register, the prefix sums of its bits, a funnel shifter that
takes up to 4 fields of 8 bits from the FIFO a cycle, and a crossbar from 4 fields to 16
positions; with a palette 4 reads of a 128-byte table shared by all lanes (1,024 bits), pipelined.

Cycles, an assumption: a lane takes 16 positions of its mask at a time and spends a cycle for
each 4 non-zeros among them, at least one.  Loading the table overlaps with the mask.
"""

from __future__ import annotations

import numpy as np

from azsim.codecs._bits import (
    packed_bytes,
    popcount,
    read_field,
    signed,
    tail_is_zero,
    write_field,
)
from azsim.errors import CodecError
from azsim.jit import kernel

ID = 1
FLAGS = 1
PARAMETERS = ("palette",)

_PALETTE = 1
_MAX_ENTRIES = 128
_GROUP = 16
_FIELDS_PER_CYCLE = 4

# What _read_codes and _read_indices answer with, beside the index of the offending non-zero.
_OK, _ZERO, _RANGE, _INDEX = 0, 1, 2, 3


def encode(codes: np.ndarray, bits: int, palette: bool = False) -> tuple[bytes, int]:
    """Encode (count,) int8 codes; see the package for the contract."""
    mask = np.packbits(codes != 0, bitorder="little")
    ones = popcount(mask)
    plain_bytes = packed_bytes(ones, bits)
    if palette and ones:
        table = _values(codes)
        width = _index_bits(table.size)
        if table.size <= _MAX_ENTRIES:
            fields = np.zeros(packed_bytes(ones, width), np.uint8)
            if 1 + table.size + fields.size < plain_bytes:
                lookup = np.zeros(256, np.int64)
                lookup[table.view(np.uint8)] = np.arange(table.size)
                _write_indices(codes, lookup, width, fields)
                head = mask.tobytes() + bytes([table.size - 1]) + table.tobytes()
                return head + fields.tobytes(), _PALETTE
    fields = np.zeros(plain_bytes, np.uint8)
    _write_codes(codes, bits, fields)
    return mask.tobytes() + fields.tobytes(), 0


def decode(payload: np.ndarray, count: int, bits: int, flags: int) -> np.ndarray:
    """Decode to (count,) int8; see the package for the contract."""
    mask = _mask(payload, count)
    ones = popcount(mask)
    fields = payload[mask.size :]
    if flags & _PALETTE:
        return _decode_indices(mask, fields, ones, count, bits)
    needed = packed_bytes(ones, bits)
    if fields.size != needed:
        raise CodecError(
            f"bitmap: {fields.size} bytes after the mask, its {ones} ones take {needed}"
        )
    if not tail_is_zero(fields, ones * bits):
        raise CodecError("bitmap: padding bits after the last non-zero are not zero")
    codes = np.empty(count, np.int8)
    status, where = _read_codes(mask, fields, bits, codes)
    if status == _ZERO:
        raise CodecError(f"bitmap: non-zero {where} is zero")
    if status == _RANGE:
        raise CodecError(
            f"bitmap: non-zero {where} is {-(1 << (bits - 1))}, which is out of range "
            f"at {bits} bits"
        )
    return codes


def lane_cycles(payload: np.ndarray, count: int, bits: int, flags: int, lanes: int) -> int:
    """Cycles of the busiest lane, from the mask; see the package for the contract."""
    mask = _mask(payload, count)
    return int(_busiest(mask, count, max(1, -(-count // lanes))))


def _mask(payload: np.ndarray, count: int) -> np.ndarray:
    size = packed_bytes(count, 1)
    if payload.size < size:
        raise CodecError(
            f"bitmap: {payload.size} bytes of payload, the mask of {count} codes takes {size}"
        )
    mask = payload[:size]
    if not tail_is_zero(mask, count):
        raise CodecError("bitmap: padding bits after the mask are not zero")
    return mask


def _values(codes: np.ndarray) -> np.ndarray:
    """Non-zero values that occur, ascending, int8."""
    occurs = np.bincount(codes.view(np.uint8), minlength=256) > 0
    occurs[0] = False
    return np.sort(np.flatnonzero(occurs).astype(np.uint8).view(np.int8))


def _index_bits(entries: int) -> int:
    return (entries - 1).bit_length()


def _decode_indices(
    mask: np.ndarray, rest: np.ndarray, ones: int, count: int, bits: int
) -> np.ndarray:
    entries = int(rest[0]) + 1 if rest.size else 0
    if rest.size < 1 + entries or not entries:
        raise CodecError(f"bitmap: {rest.size} bytes after the mask do not hold the palette")
    if entries > _MAX_ENTRIES:
        raise CodecError(f"bitmap: palette of {entries} entries, allowed: {_MAX_ENTRIES}")
    table = rest[1 : 1 + entries].view(np.int8)
    limit = (1 << (bits - 1)) - 1
    if (np.diff(table.astype(np.int16)) <= 0).any():
        raise CodecError("bitmap: palette is not in ascending order")
    if (table == 0).any() or (np.abs(table.astype(np.int16)) > limit).any():
        raise CodecError(f"bitmap: palette has an entry that is zero or beyond ±{limit}")
    width = _index_bits(entries)
    fields = rest[1 + entries :]
    needed = packed_bytes(ones, width)
    if fields.size != needed:
        raise CodecError(
            f"bitmap: {fields.size} bytes after the palette, {ones} indices of {width} bits "
            f"take {needed}"
        )
    if rest.size >= packed_bytes(ones, bits):
        raise CodecError("bitmap: palette form that is not smaller than the plain one")
    if not tail_is_zero(fields, ones * width):
        raise CodecError("bitmap: padding bits after the last index are not zero")
    codes = np.empty(count, np.int8)
    used = np.zeros(entries, np.bool_)
    status, where = _read_indices(mask, fields, width, table, used, codes)
    if status == _INDEX:
        raise CodecError(f"bitmap: index of non-zero {where} is beyond {entries} palette entries")
    if not used.all():
        raise CodecError("bitmap: palette has an entry that no index uses")
    return codes


@kernel
def _write_codes(codes, bits, fields):
    position = 0
    for i in range(codes.shape[0]):
        if codes[i] != 0:
            write_field(fields, position, bits, codes[i])
            position += bits


@kernel
def _write_indices(codes, lookup, width, fields):
    if width == 0:
        return
    position = 0
    for i in range(codes.shape[0]):
        if codes[i] != 0:
            write_field(fields, position, width, lookup[np.int64(codes[i]) & 255])
            position += width


@kernel
def _read_codes(mask, fields, bits, codes):
    limit = (1 << (bits - 1)) - 1
    taken = 0
    for i in range(codes.shape[0]):
        if (np.int64(mask[i >> 3]) >> (i & 7)) & 1:
            code = signed(read_field(fields, taken * bits, bits), bits)
            if code == 0:
                return _ZERO, taken
            if code < -limit:
                return _RANGE, taken
            codes[i] = code
            taken += 1
        else:
            codes[i] = 0
    return _OK, 0


@kernel
def _read_indices(mask, fields, width, table, used, codes):
    taken = 0
    for i in range(codes.shape[0]):
        if (np.int64(mask[i >> 3]) >> (i & 7)) & 1:
            index = 0
            if width > 0:
                index = read_field(fields, taken * width, width)
            if index >= table.shape[0]:
                return _INDEX, taken
            used[index] = True
            codes[i] = table[index]
            taken += 1
        else:
            codes[i] = 0
    return _OK, 0


@kernel
def _busiest(mask, count, segment):
    busiest = 0
    for start in range(0, count, segment):
        stop = min(start + segment, count)
        cycles = 0
        for group in range(start, stop, _GROUP):
            ones = 0
            for i in range(group, min(group + _GROUP, stop)):
                ones += (np.int64(mask[i >> 3]) >> (i & 7)) & 1
            cycles += max(1, (ones + _FIELDS_PER_CYCLE - 1) // _FIELDS_PER_CYCLE)
        busiest = max(busiest, cycles)
    return busiest
