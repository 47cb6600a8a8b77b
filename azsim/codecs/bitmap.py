"""A bit per weight that says whether it is there, then the non-zero ones, by value or by index.

Payload::

    palette table   if flag 0 is set, see `azsim.codecs._fields`; it has no zero
    count bits      mask: 1 for a non-zero code, in order
    0 to 7 zero bits up to a whole byte
    ones fields     the non-zero codes in order
    0 to 7 zero bits up to a whole byte

Source: the zero-value and shared-value steps of Amazon's decompression pipeline (US 11,537,853
and 11,868,867), each of which can be bypassed.  The bit layout is azsim's own.

Hardware, a lane: a 16-bit mask register, the prefix sums of its bits (15 adders), a funnel
shifter that takes up to 4 fields from the FIFO a cycle, and a crossbar from 4 fields to 16
positions; with a palette 4 reads of a table shared by all lanes, pipelined.

Cycles: a lane takes 16 positions of its mask at a time and spends a cycle for each 4 non-zeros
among them, at least one, as ``tests/rtl/decoder.v`` does; the codes are there with the last.
"""

from __future__ import annotations

import numpy as np

from azsim.codecs._base import HardwareCost
from azsim.codecs._bits import packed_bytes, popcount, tail_is_zero
from azsim.codecs._cost import input_window, palette_reader, total
from azsim.codecs._fields import NO_CODE, PALETTE, choose_fields, num_entries, read_fields
from azsim.codecs._steps import LaneSteps
from azsim.codecs._words import as_words, empty_words, peek, put, words_to_bytes
from azsim.errors import CodecError
from azsim.jit import kernel

ID = 1
FLAGS = PALETTE
PARAMETERS = ("palette",)

_GROUP = 16
_FIELDS_PER_CYCLE = 4

# What _read answers with, beside the index of the offending non-zero.
_OK, _ZERO, _FAULT = 0, 1, 2


def encode(codes: np.ndarray, bits: int, palette: bool = False) -> tuple[bytes, int]:
    """Encode (count,) int8 codes; see the package for the contract."""
    mask = np.packbits(codes != 0, bitorder="little")
    ones = int(popcount(mask))
    fields = choose_fields(codes, bits, ones, has_zero=False, palette=palette)
    words = empty_words(ones * fields.width)
    _write(codes, fields.to_field, fields.width, words)
    body = mask.tobytes() + words_to_bytes(words, ones * fields.width)
    return fields.head + body, fields.flags


def decode(payload: np.ndarray, count: int, bits: int, flags: int) -> np.ndarray:
    """Decode to (count,) int8; see the package for the contract."""
    fields, rest = read_fields("bitmap", payload, bits, flags, zero=False)
    mask = _mask(rest, count)
    ones = int(popcount(mask))
    packed = rest[mask.size :]
    _check_size(packed.size, ones, fields.width)
    if not tail_is_zero(packed, ones * fields.width):
        raise CodecError("bitmap: padding bits after the last non-zero are not zero")
    codes = np.empty(packed_bytes(count, 1) * 8, np.int8)
    status, where = _read(mask, as_words(packed), fields.width, fields.to_code, codes)
    if status == _ZERO:
        raise CodecError(f"bitmap: non-zero {where} is zero")
    if status == _FAULT:
        raise fields.fault("bitmap", "non-zero", where)
    codes = codes[:count]
    fields.check_use("bitmap", codes, ones)
    return codes


def lane_steps(payload: np.ndarray, count: int, bits: int, flags: int, lanes: int) -> LaneSteps:
    """Cycles of 16 positions, from the mask; see the package for the contract."""
    fields, rest = read_fields("bitmap", payload, bits, flags, zero=False)
    mask = _mask(rest, count)
    ones = int(popcount(mask))
    _check_size(rest.size - mask.size, ones, fields.width)
    share = max(1, -(-count // lanes))
    most = lanes * -(-share // _GROUP) + ones // _FIELDS_PER_CYCLE
    first = np.zeros(lanes + 1, np.int64)
    steps = np.zeros((2, most), np.int32)
    _fill_steps(as_words(mask), count, share, fields.width, first, steps)
    return LaneSteps.of_block(payload, first, *steps[:, : first[-1]].copy())


def parameters_of(payload: np.ndarray, count: int, flags: int) -> dict[str, int | bool]:
    """Parameters of a block; see the package for the contract."""
    return {"palette": bool(flags & PALETTE)}


def hardware_cost(payload: np.ndarray, bits: int, flags: int, lanes: int) -> HardwareCost:
    """Window of 4 fields, mask and prefix sums, crossbar of 4 inputs for each of 16 outputs."""
    entries = num_entries(payload, flags)
    expander = HardwareCost(
        register_bits=_GROUP,
        multiplexers=_GROUP * bits * _FIELDS_PER_CYCLE,
        adders=_GROUP - 1,
    )
    window = input_window(_FIELDS_PER_CYCLE * bits)
    parts = [window, expander, palette_reader(entries, _FIELDS_PER_CYCLE)]
    return total(lanes, parts, table_bits=8 * entries)


def _check_size(size: int, ones: int, width: int) -> None:
    """Check how many bytes come after the mask."""
    needed = packed_bytes(ones, width)
    if size != needed:
        raise CodecError(f"bitmap: {size} bytes after the mask, its {ones} ones take {needed}")


def _mask(rest: np.ndarray, count: int) -> np.ndarray:
    size = packed_bytes(count, 1)
    if rest.size < size:
        raise CodecError(
            f"bitmap: {rest.size} bytes of payload, the mask of {count} codes takes {size}"
        )
    mask = rest[:size]
    if not tail_is_zero(mask, count):
        raise CodecError("bitmap: padding bits after the mask are not zero")
    return mask


@kernel
def _write(codes, to_field, width, words):
    position = 0
    for i in range(codes.shape[0]):
        if codes[i] != 0:
            position = put(words, position, width, to_field[np.uint8(codes[i])])


@kernel
def _read(mask, words, width, to_code, codes):
    """Fill `codes`, 8 for each byte of the mask."""
    select = (np.uint64(1) << np.uint64(width)) - np.uint64(1)
    step = np.uint64(width)
    taken = 0
    for byte in range(mask.shape[0]):
        ones = np.int64(mask[byte])
        # Eight fields of at most 8 bits: one look serves the whole byte.
        fields = peek(words, taken * width)
        before = taken
        bad = False
        for i in range(8):
            present = (ones >> i) & 1
            field = fields & select
            code = np.int64(to_code[field]) * present
            codes[8 * byte + i] = code
            bad |= (present != 0) & ((code & 255) == 0)
            fields >>= step * np.uint64(present)
            taken += present
        if bad:
            for i in range(before, taken):
                code = to_code[peek(words, i * width) & select]
                if (code & 255) == 0:
                    return (_FAULT if code == NO_CODE else _ZERO), i
    return _OK, 0


@kernel
def _fill_steps(mask, count, share, width, first, steps):
    """Steps of all lanes: bits in row 0, codes in row 1."""
    step = 0
    for lane in range(first.shape[0] - 1):
        stop = min((lane + 1) * share, count)
        for start in range(lane * share, stop, _GROUP):
            size = min(_GROUP, stop - start)
            group = peek(mask, start) & ((np.uint64(1) << np.uint64(size)) - np.uint64(1))
            steps[0, step] = size
            ones = 0
            while group != 0:
                if ones > 0 and ones % _FIELDS_PER_CYCLE == 0:
                    step += 1
                steps[0, step] += width
                group &= group - np.uint64(1)
                ones += 1
            steps[1, step] = size
            step += 1
        first[lane + 1] = step
