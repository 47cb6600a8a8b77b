"""Golomb-Rice code of Arm's Ethos-U: palette, zero runs beside the weights, slices.

Payload, flag 0 clear: one stream that an Ethos-U decodes, and `ethos-u-vela`'s ``mlw_codec``::

    slices         see `azsim.codecs._rice_stream`
    3 one bits     end of the stream
    one bits       up to a multiple of 16 bytes

Payload, flag 0 set (``streams`` of 2 to 16)::

    8 bits         streams less one
    32 bits each   bytes of each stream, little endian
    streams        as above; stream i has codes ``[i * n, (i + 1) * n)``, n = ceil(count / streams)

An encoder is free to cut slices and to choose palettes, so a block has many forms.  This one
goes by the rules of thumb of Arm's encoder, and also changes the divisor of zero runs a weight
late, as that one does (`azsim.codecs._rice_plan`): sizes are Arm's within 0.1 % on the tensors
that were compared.  With ``counted: true`` it changes divisors in time, and takes the smallest
of up to four forms: palette and zero runs by Arm's rules or by counted bits, with Arm's cuts
between palettes or with one palette; those that are the same, or longer by 2 % before they are
written, are left out.

Source: the weight stream of the Arm Ethos-U, as the decoder that Arm published with the Vela
compiler reads it (ethos-u-vela, mlw_codec; the format, none of its code).  Golomb, 1966; Rice,
1971.

Hardware, one decoder: 12 first digits, 12 second ones and 12 digits of runs a cycle, each with
prefix sums that find the ends; shifters for up to 12 remainders of each kind, a palette of 32
entries of 9 bits with 12 read ports, and an expander that puts zeros between the weights.

Cycles, an assumption: a chunk or a slice header a cycle; the expander gives up to 32 weights a
cycle, and no chunk is taken while 64 or more wait for it.  Arm publishes 8 weights a cycle at up
to 50 % zeros, and 32 from 90 % on.  A lane is a whole decoder here: one stream keeps one lane busy,
however many there are.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from azsim.codecs import _rice_stream as stream
from azsim.codecs._base import HardwareCost
from azsim.codecs._cost import total
from azsim.codecs._rice_expand import expand
from azsim.codecs._rice_plan import (
    MAX_SLICE,
    NO_DIVISOR,
    W_SETTINGS,
    Z_SETTINGS,
    Section,
    plan_section,
    search,
    section_starts,
    split_values,
    w_cost_table,
)
from azsim.codecs._shape import check_range
from azsim.codecs._steps import LaneSteps
from azsim.codecs._words import as_words, empty_words, put, words_to_bytes
from azsim.errors import CodecError

ID = 8
FLAGS = 1
PARAMETERS = ("counted", "streams")
CANONICAL = False

_STREAMS = 1
_MAX_STREAMS = 16
_ALIGN_BITS = 128
_END_BITS = 3
_HEAD_BITS = 36 + 32 * 9
_WEIGHTS_PER_CYCLE = 32
_WAITING = 64
_MAX_LIMIT = 127
_DIGITS = 12
_DOUBT = 0.02  # by which the search may be wrong about the bits of a form
_NO_BREAKS = np.zeros(0, np.int64)
_NO_EVENTS = np.zeros((2, 0), np.int64)

_FAULTS = {
    stream.TRUNCATED: "is truncated",
    stream.BAD_HEADER: "has a slice header with a value that is not used",
    stream.BAD_VALUE: "has a weight out of range",
    stream.BAD_COUNT: "has another number of weights than the header says",
    stream.BAD_DIGITS: "has digits after the last weight or run of a slice",
}


def encode(
    codes: np.ndarray, bits: int, streams: int = 1, counted: bool = False
) -> tuple[bytes, int]:
    """Encode (count,) int8 codes; see the package for the contract."""
    check_range("rice", "streams", streams, 1, _MAX_STREAMS)
    if streams == 1:
        return _encode_stream(codes, counted), 0
    share = max(1, -(-codes.size // streams))
    parts = [_encode_stream(codes[i * share : (i + 1) * share], counted) for i in range(streams)]
    sizes = b"".join(len(part).to_bytes(4, "little") for part in parts)
    return bytes([streams - 1]) + sizes + b"".join(parts), _STREAMS


def decode(payload: np.ndarray, count: int, bits: int, flags: int) -> np.ndarray:
    """Decode to (count,) int8; see the package for the contract."""
    codes = np.zeros(count, np.int8)
    _decode(payload, bits, flags, codes)
    return codes


def lane_steps(payload: np.ndarray, count: int, bits: int, flags: int, lanes: int) -> LaneSteps:
    """Slice headers, chunks and zeros that wait; see the package for the contract."""
    events = _decode(payload, bits, flags, np.zeros(count, np.int8))
    streams = _streams(payload, flags)
    share = max(1, -(-count // len(streams)))
    parts = []
    for i, data in enumerate(streams):
        limits = np.empty((2, events[i]), np.int64)
        codes = np.zeros(min(share, max(0, count - i * share)), np.int8)
        stream.read_stream(as_words(data), 8 * data.size, _MAX_LIMIT, codes, limits)
        steps = np.zeros((2, events[i] + codes.size // _WEIGHTS_PER_CYCLE + 1), np.int32)
        num = expand(*limits, _WEIGHTS_PER_CYCLE, _WAITING, steps)
        parts.append(steps[:, :num])
    first = np.zeros(lanes + 1, np.int64)
    order = [i for lane in range(lanes) for i in range(lane, len(parts), lanes)]
    for lane in range(lanes):
        first[lane + 1] = first[lane] + sum(part.shape[1] for part in parts[lane::lanes])
    return LaneSteps.of_block(payload, first, *np.concatenate([parts[i] for i in order], axis=1))


def parameters_of(payload: np.ndarray, count: int, flags: int) -> dict[str, int | bool]:
    """Parameters of a block; see the package for the contract."""
    return {"streams": len(_streams(payload, flags))}


def hardware_cost(payload: np.ndarray, bits: int, flags: int, lanes: int) -> HardwareCost:
    """As many decoders as there are streams, at most `lanes`.

    Each: prefix sums of 3 x 12 digits, 2 x 12 remainder shifters of 5 stages on 9 bits, palette
    of 32 x 9 bits with 12 ports, and a crossbar of 12 weights to 32 places.
    """
    decoders = min(lanes, len(_streams(payload, flags)))
    one = HardwareCost(
        table_bits=32 * 9,
        register_bits=256 + 2 * _DIGITS * 9,
        multiplexers=2 * _DIGITS * 9 * 5
        + _DIGITS * 9 * 31
        + _WEIGHTS_PER_CYCLE * 8 * (_DIGITS - 1),
        adders=3 * _DIGITS + 2 * _DIGITS,
        comparators=_DIGITS + 4,
    )
    return total(decoders, [one])


class _Plan(NamedTuple):
    """A section that is ready to be written."""

    section: Section
    weights: np.ndarray
    runs: np.ndarray
    slices: list[tuple[int, int, int, int]]
    bits: int  # as the search counts them, and the palette's


def _encode_stream(codes: np.ndarray, counted: bool) -> bytes:
    """Stream of (count,) int8 codes."""
    starts = section_starts(codes).tolist()
    if not counted:
        sections = [(part, plan_section(part, by_bits=False)) for part in _split(codes, starts)]
        return _join([_write(_plan(*each, late=1)) for each in sections])
    forms: list[list[_Plan]] = []
    for cuts in [[0], starts] if len(starts) > 1 else [[0]]:
        parts = _split(codes, cuts)
        by_bits = [plan_section(part, by_bits=True) for part in parts]
        by_rules = [plan_section(part, by_bits=False) for part in parts]
        ways = [by_bits]
        if not all(map(_is_same, by_bits, by_rules)):
            ways.append(by_rules)
        forms += [
            [_plan(part, section, late=0) for part, section in zip(parts, way, strict=True)]
            for way in ways
        ]
    sizes = [sum(plan.bits for plan in form) for form in forms]
    written = [
        _join([_write(plan) for plan in form])
        for form, size in zip(forms, sizes, strict=True)
        if size <= min(sizes) * (1 + _DOUBT)
    ]
    return min(written, key=len)


def _is_same(one: Section, other: Section) -> bool:
    return one.zero_runs == other.zero_runs and np.array_equal(one.palette, other.palette)


def _split(codes: np.ndarray, starts: list[int]) -> list[np.ndarray]:
    ends = [*starts[1:], codes.size]
    return [codes[start:end] for start, end in zip(starts, ends, strict=True)]


def _join(parts: list[tuple[np.ndarray, int]]) -> bytes:
    """Stream of the words of sections and their bits."""
    used = sum(size for _, size in parts) + _END_BITS
    words = empty_words(-(-used // _ALIGN_BITS) * _ALIGN_BITS)
    position = 0
    for part, size in parts:
        _append(words, position, part, size)
        position += size
    while position % _ALIGN_BITS or position < used:
        position = int(put(words, position, 1, 1))
    return words_to_bytes(words, position)


def _append(words: np.ndarray, position: int, part: np.ndarray, size: int) -> None:
    """Put the first `size` bits of `part` at `position`."""
    whole = (size + 63) // 64
    index, shift = position // 64, np.uint64(position % 64)
    words[index : index + whole] |= part[:whole] << shift
    if shift:
        words[index + 1 : index + 1 + whole] |= part[:whole] >> (np.uint64(64) - shift)


def _plan(codes: np.ndarray, section: Section, *, late: int) -> _Plan:
    """Slices of a section."""
    if not codes.size:
        return _Plan(section, codes, codes, [], 0)
    weights = np.zeros(codes.size, np.int32)
    runs = np.zeros(codes.size + 1, np.int32)
    num = int(split_values(codes, section.to_index, section.zero_runs, weights, runs))
    weights, runs = weights[:num], runs[: num + 1]
    slices, bits = _slices(weights, runs, section, late)
    return _Plan(section, weights, runs, slices, bits + section.palette.size * section.palette_bits)


def _write(plan: _Plan) -> tuple[np.ndarray, int]:
    """Words of all slices of a section, and their bits."""
    section, weights, runs, slices, _ = plan
    room = sum(
        _HEAD_BITS + int(stream.slice_bits(*_of_slice(weights, runs, section, i, part)))
        for i, part in enumerate(slices)
    )
    words = empty_words(room)
    position = 0
    for i, part in enumerate(slices):
        wdiv, trunc = W_SETTINGS[part[2]]
        zdiv = Z_SETTINGS[part[3]] if section.zero_runs else NO_DIVISOR
        position = stream.write_head(
            words,
            position,
            zdiv,
            part[1] - part[0],
            wdiv,
            trunc,
            section.palette,
            section.palette_bits,
            section.direct,
            i == 0,
        )
        values = _of_slice(weights, runs, section, i, part)
        position = int(stream.write_slice(words, position, *values))
    return words, position


def _of_slice(
    weights: np.ndarray, runs: np.ndarray, section: Section, i: int, part: tuple[int, int, int, int]
) -> tuple[np.ndarray, np.ndarray, int, int, int, int]:
    """Arguments of the kernels for slice i, which is (start, stop, setting of both kinds)."""
    start, stop, setting, z_setting = part
    wdiv, trunc = W_SETTINGS[setting]
    zdiv = Z_SETTINGS[z_setting] if section.zero_runs else NO_DIVISOR
    return (
        weights[start:stop],
        runs[start + (i > 0) : stop + 1],
        wdiv,
        trunc,
        section.fixed_bits,
        zdiv,
    )


def _slices(
    weights: np.ndarray, runs: np.ndarray, section: Section, late: int
) -> tuple[list[tuple[int, int, int, int]], int]:
    """Start, stop and both settings of each slice of a section, and the bits of all values."""
    costs = w_cost_table(section.fixed_bits)
    w_settings, w_ends, bits = _search(weights, costs, True, _NO_BREAKS)
    z_settings, z_ends = np.zeros(1, np.int64), np.array([weights.size])
    if section.zero_runs:
        # Run i + 1 follows weight i, so a change ahead of run e belongs after weight e - 1.
        free = w_ends + 1 - 2 * late
        z_settings, z_ends, z_bits = _search(runs, costs[:, : len(Z_SETTINGS)], False, free)
        bits += z_bits
        z_ends = z_ends - 1 + late
    slices = []
    start = 0
    while start < weights.size:
        w = int(np.searchsorted(w_ends, start, side="right"))
        z = int(np.searchsorted(z_ends, start, side="right"))
        stop = min(int(w_ends[w]), int(z_ends[z]), start + MAX_SLICE)
        slices.append((start, stop, int(w_settings[w]), int(z_settings[z])))
        start = stop
    return slices, bits


def _search(
    values: np.ndarray, costs: np.ndarray, is_weight: bool, free: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    settings = np.zeros(values.size, np.int64)
    ends = np.zeros(values.size, np.int64)
    parts, bits = search(values, np.ascontiguousarray(costs), is_weight, free, settings, ends)
    return settings[:parts], ends[:parts], int(bits)


def _streams(payload: np.ndarray, flags: int) -> list[np.ndarray]:
    """Payload of each stream."""
    if not flags & _STREAMS:
        return [payload]
    num = int(payload[0]) + 1 if payload.size else 0
    at = 1 + 4 * num
    if payload.size < at or not 2 <= num <= _MAX_STREAMS:
        raise CodecError(f"rice: {payload.size} bytes of payload do not hold 2 to 16 streams")
    sizes = payload[1:at].view("<u4").tolist()
    if at + sum(sizes) != payload.size:
        raise CodecError(
            f"rice: streams of {sum(sizes)} bytes, the payload has {payload.size - at}"
        )
    ends = np.cumsum([at, *sizes]).tolist()
    return [payload[start:end] for start, end in itertools.pairwise(ends)]


def _decode(payload: np.ndarray, bits: int, flags: int, codes: np.ndarray) -> list[int]:
    """Fill (count,) int8, zeros ahead, and return the chunks and headers of each stream."""
    streams = _streams(payload, flags)
    share = max(1, -(-codes.size // len(streams)))
    limit = (1 << (bits - 1)) - 1
    events = []
    for i, data in enumerate(streams):
        part = codes[i * share : (i + 1) * share]
        status, position, chunks, slices = stream.read_stream(
            as_words(data), 8 * data.size, limit, part, _NO_EVENTS
        )
        if status != stream.OK:
            raise CodecError(f"rice: stream {i} {_FAULTS[status]}")
        if data.size != -(-position // _ALIGN_BITS) * (_ALIGN_BITS // 8):
            raise CodecError(f"rice: stream {i} ends elsewhere than at its last 16 bytes")
        tail = data[position // 8 :]
        if (
            int(tail[0] if tail.size else 0xFF) >> position % 8 != 0xFF >> position % 8
            or (tail[1:] != 0xFF).any()
        ):
            raise CodecError(f"rice: stream {i} is not filled up with ones")
        events.append(chunks + slices)
    return events
