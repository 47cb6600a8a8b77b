"""Before each code, how many zeros it skips: a 4-bit run and the code itself.

Payload, entry after entry::

    palette table   if flag 0 is set, see `azsim.codecs._fields`
    4 bits          run: 0 to 15 zeros
    field           code that follows them
    ...
    0 to 7 zero bits up to a whole byte

An entry stands for run + 1 weights, and the entries for exactly `count`.  A run that overflows
takes padding entries: run 15 and code 0, sixteen zeros each.  The last entry may have code 0
with any run, where the weights end with zeros; no other entry than these has code 0.

Source: Han et al., EIE, ISCA 2016, section III-B (relative indices of 4 bits, padding zeros
when an index overflows), here along the block in stream order instead of along a column.  The
end of the zeros is stored, so that a short stream cannot ask for a large array.

Hardware, a lane: a shifter of up to 12 bits, a 4-bit counter and an address adder; zeros are
skipped by address in cleared memory.  With a palette one read of a table shared by all lanes.

Cycles: one entry a cycle and lane, padding included, as ``tests/rtl/decoder.v`` does.  An entry
whose weights lie in the parts of several lanes costs a cycle in each; its bits come over the bus
once, for the first of them.
"""

from __future__ import annotations

import numpy as np

from azsim.codecs._base import HardwareCost
from azsim.codecs._bits import packed_bytes, tail_is_zero
from azsim.codecs._cost import input_window, palette_reader, total
from azsim.codecs._fields import NO_CODE, PALETTE, choose_fields, num_entries, read_fields
from azsim.codecs._steps import LaneSteps
from azsim.codecs._words import as_words, empty_words, peek, put, words_to_bytes
from azsim.errors import CodecError
from azsim.jit import kernel

ID = 2
FLAGS = PALETTE
PARAMETERS = ("palette",)

_RUN_BITS = 4
_MAX_RUN = 15

_OK, _SHORT, _BEYOND, _RANGE, _STRAY_ZERO = 0, 1, 2, 3, 4


def encode(codes: np.ndarray, bits: int, palette: bool = False) -> tuple[bytes, int]:
    """Encode (count,) int8 codes; see the package for the contract."""
    entries = int(_count_entries(codes))
    has_zero = entries > int(np.count_nonzero(codes))
    fields = choose_fields(codes, bits, entries, has_zero=has_zero, palette=palette)
    num_bits = entries * (_RUN_BITS + fields.width)
    words = empty_words(num_bits)
    _write(codes, fields.to_field, fields.width, words)
    return fields.head + words_to_bytes(words, num_bits), fields.flags


def decode(payload: np.ndarray, count: int, bits: int, flags: int) -> np.ndarray:
    """Decode to (count,) int8; see the package for the contract."""
    fields, rest = read_fields("zero_run", payload, bits, flags, zero=True)
    entry_bits = _RUN_BITS + fields.width
    available = _available(rest, count, entry_bits)
    codes = np.zeros(count, np.int8)
    words = as_words(rest)
    status, entry = _read(words, available, fields.width, fields.to_code, codes)
    if status == _RANGE:
        raise fields.fault("zero_run", "the code of entry", entry)
    if status == _STRAY_ZERO:
        raise CodecError(f"zero_run: entry {entry} has code 0, is not the last and no padding")
    _check_end(rest, count, entry_bits, status, entry)
    fields.check_use("zero_run", codes, entry)
    return codes


def lane_steps(payload: np.ndarray, count: int, bits: int, flags: int, lanes: int) -> LaneSteps:
    """An entry a step; see the package for the contract."""
    fields, rest = read_fields("zero_run", payload, bits, flags, zero=True)
    entry_bits = _RUN_BITS + fields.width
    available = _available(rest, count, entry_bits)
    first = np.zeros(lanes + 1, np.int64)
    steps = np.zeros((2, available + lanes), np.int32)
    share = max(1, -(-count // lanes))
    words = as_words(rest)
    status, entry = _fill_steps(words, available, entry_bits, count, share, first, steps)
    _check_end(rest, count, entry_bits, status, entry)
    return LaneSteps.of_block(payload, first, *steps[:, : first[-1]].copy())


def parameters_of(payload: np.ndarray, count: int, flags: int) -> dict[str, int | bool]:
    """Parameters of a block; see the package for the contract."""
    return {"palette": bool(flags & PALETTE)}


def hardware_cost(payload: np.ndarray, bits: int, flags: int, lanes: int) -> HardwareCost:
    """Window of an entry, address adder and an end-of-tile comparison a lane."""
    entries = num_entries(payload, flags)
    walker = HardwareCost(register_bits=16, adders=1, comparators=1)
    parts = [input_window(_RUN_BITS + bits), walker, palette_reader(entries, 1)]
    return total(lanes, parts, table_bits=8 * entries)


def _available(rest: np.ndarray, count: int, entry_bits: int) -> int:
    """Whole entries that the payload can hold."""
    available = rest.size * 8 // entry_bits
    most = available * (_MAX_RUN + 1)
    if count > most:
        raise CodecError(
            f"zero_run: {rest.size} bytes of payload hold at most {most} codes, "
            f"the header says {count}"
        )
    return available


def _check_end(rest: np.ndarray, count: int, entry_bits: int, status: int, entry: int) -> None:
    """Check how the entries ended; `entry` is the offending one, or their number."""
    if status == _SHORT:
        raise CodecError(f"zero_run: truncated, {entry} entries stand for less than {count} codes")
    if status == _BEYOND:
        raise CodecError(f"zero_run: entry {entry} runs past the end of {count} codes")
    used = entry * entry_bits
    if rest.size != packed_bytes(used, 1):
        raise CodecError(f"zero_run: {rest.size - packed_bytes(used, 1)} trailing bytes")
    if not tail_is_zero(rest, used):
        raise CodecError("zero_run: padding bits after the last entry are not zero")


@kernel
def _count_entries(codes):
    entries = 0
    run = 0
    for i in range(codes.shape[0]):
        if codes[i] != 0 or run == _MAX_RUN:
            entries += 1
            run = 0
        else:
            run += 1
    return entries + (1 if run > 0 else 0)


@kernel
def _write(codes, to_field, width, words):
    position = 0
    run = 0
    last = codes.shape[0] - 1
    for i in range(codes.shape[0]):
        if codes[i] != 0 or run == _MAX_RUN or i == last:
            entry = run | np.int64(to_field[np.uint8(codes[i])]) << _RUN_BITS
            position = put(words, position, _RUN_BITS + width, entry)
            run = 0
        else:
            run += 1


@kernel
def _read(words, available, width, to_code, codes):
    count = codes.shape[0]
    mask = (1 << width) - 1
    entry = 0
    at = 0
    while at < count:
        if entry == available:
            return _SHORT, entry
        bits = np.int64(peek(words, entry * (_RUN_BITS + width)) & np.uint64(0xFFFF))
        run = bits & _MAX_RUN
        field = np.uint64((bits >> _RUN_BITS) & mask)
        code = to_code[field]
        at += run
        if at >= count:
            return _BEYOND, entry
        if code == NO_CODE:
            return _RANGE, entry
        if code == 0 and run != _MAX_RUN and at != count - 1:
            return _STRAY_ZERO, entry
        codes[at] = code
        at += 1
        entry += 1
    return _OK, entry


@kernel
def _fill_steps(words, available, entry_bits, count, share, first, steps):
    """Steps of all lanes: bits in row 0, codes in row 1."""
    entry = step = lane = at = 0
    while at < count:
        if entry == available:
            return _SHORT, entry
        stop = at + np.int64(peek(words, entry * entry_bits) & np.uint64(_MAX_RUN)) + 1
        if stop > count:
            return _BEYOND, entry
        steps[0, step] = entry_bits
        while at < stop:
            end = min(stop, (lane + 1) * share)
            steps[1, step] = end - at
            step += 1
            if end == (lane + 1) * share:
                lane += 1
                first[lane] = step
            at = end
        entry += 1
    first[lane + 1 :] = step
    return _OK, entry
