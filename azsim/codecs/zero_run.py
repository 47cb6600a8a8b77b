"""Before each code, how many zeros it skips: a 4-bit run and the code itself.

Payload, entry after entry::

    4 bits          run: 0 to 15 zeros
    bits            code that follows them, two's complement
    ...
    0 to 7 zero bits up to a whole byte

An entry stands for run + 1 weights, and the entries for exactly `count`.  A run that overflows
takes padding entries: run 15 and code 0, sixteen zeros each.  The last entry may have code 0
with any run, where the weights end with zeros; no other entry than these has code 0.

Source: Han et al., EIE, ISCA 2016, section III-B (relative indices of 4 bits, padding zeros
when an index overflows), here along the block in stream order instead of along a column.  The
end of the zeros is stored, so that a short stream cannot ask for a large array.

Hardware, a lane: a shifter of up to 12 bits, a 4-bit counter and an address adder; zeros are
skipped by address in cleared memory.

Cycles, an assumption: one entry a cycle and lane, padding included.  An entry whose weights lie
in the parts of several lanes costs a cycle in each.
"""

from __future__ import annotations

import numpy as np

from azsim.codecs._bits import packed_bytes, read_field, signed, tail_is_zero, write_field
from azsim.errors import CodecError
from azsim.jit import kernel

ID = 2
FLAGS = 0
PARAMETERS: tuple[str, ...] = ()

_RUN_BITS = 4
_MAX_RUN = 15

_OK, _SHORT, _BEYOND, _RANGE, _STRAY_ZERO = 0, 1, 2, 3, 4


def encode(codes: np.ndarray, bits: int) -> tuple[bytes, int]:
    """Encode (count,) int8 codes; see the package for the contract."""
    payload = np.zeros(packed_bytes(_count_entries(codes), _RUN_BITS + bits), np.uint8)
    _write(codes, bits, payload)
    return payload.tobytes(), 0


def decode(payload: np.ndarray, count: int, bits: int, flags: int) -> np.ndarray:
    """Decode to (count,) int8; see the package for the contract."""
    _check_size(payload, count, bits)
    codes = np.zeros(count, np.int8)
    status, entry = _read(payload, bits, codes)
    if status == _RANGE:
        raise CodecError(
            f"zero_run: entry {entry} has code {-(1 << (bits - 1))}, which is out of range "
            f"at {bits} bits"
        )
    if status == _STRAY_ZERO:
        raise CodecError(f"zero_run: entry {entry} has code 0, is not the last and no padding")
    _check_end(payload, count, bits, status, entry)
    return codes


def lane_cycles(payload: np.ndarray, count: int, bits: int, flags: int, lanes: int) -> int:
    """Entries of the busiest lane; see the package for the contract."""
    _check_size(payload, count, bits)
    entries = np.zeros(lanes, np.int64)
    segment = max(1, -(-count // lanes))
    status, entry = _count_by_lane(payload, bits, count, segment, entries)
    _check_end(payload, count, bits, status, entry)
    return int(entries.max())


def _check_size(payload: np.ndarray, count: int, bits: int) -> None:
    most = payload.size * 8 // (_RUN_BITS + bits) * (_MAX_RUN + 1)
    if count > most:
        raise CodecError(
            f"zero_run: {payload.size} bytes of payload hold at most {most} codes, "
            f"the header says {count}"
        )


def _check_end(payload: np.ndarray, count: int, bits: int, status: int, entry: int) -> None:
    """Check how the entries ended; `entry` is the offending one, or their number."""
    if status == _SHORT:
        raise CodecError(f"zero_run: truncated, {entry} entries stand for less than {count} codes")
    if status == _BEYOND:
        raise CodecError(f"zero_run: entry {entry} runs past the end of {count} codes")
    used = entry * (_RUN_BITS + bits)
    if payload.size != packed_bytes(used, 1):
        raise CodecError(f"zero_run: {payload.size - packed_bytes(used, 1)} trailing bytes")
    if not tail_is_zero(payload, used):
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
def _write(codes, bits, payload):
    position = 0
    run = 0
    last = codes.shape[0] - 1
    for i in range(codes.shape[0]):
        if codes[i] != 0 or run == _MAX_RUN or i == last:
            write_field(payload, position, _RUN_BITS, run)
            write_field(payload, position + _RUN_BITS, bits, codes[i])
            position += _RUN_BITS + bits
            run = 0
        else:
            run += 1


@kernel
def _read(payload, bits, codes):
    limit = (1 << (bits - 1)) - 1
    width = _RUN_BITS + bits
    count = codes.shape[0]
    available = payload.shape[0] * 8 // width
    entry = 0
    at = 0
    while at < count:
        if entry == available:
            return _SHORT, entry
        field = read_field(payload, entry * width, width)
        run = field & _MAX_RUN
        code = signed(field >> _RUN_BITS, bits)
        at += run
        if at >= count:
            return _BEYOND, entry
        if code < -limit:
            return _RANGE, entry
        if code == 0 and run != _MAX_RUN and at != count - 1:
            return _STRAY_ZERO, entry
        codes[at] = code
        at += 1
        entry += 1
    return _OK, entry


@kernel
def _count_by_lane(payload, bits, count, segment, entries):
    width = _RUN_BITS + bits
    available = payload.shape[0] * 8 // width
    entry = 0
    at = 0
    while at < count:
        if entry == available:
            return _SHORT, entry
        end = at + read_field(payload, entry * width, _RUN_BITS)
        if end >= count:
            return _BEYOND, entry
        for lane in range(at // segment, end // segment + 1):
            entries[lane] += 1
        at = end + 1
        entry += 1
    return _OK, entry
