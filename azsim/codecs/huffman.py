"""Canonical Huffman code with words of at most 12 bits, in segments that decode side by side.

Payload, all bits in one stream::

    4 bits           segments less one
    5 bits           width of a segment length: as many bits as the longest of those below needs
    table            lengths of the runs 0 to 31, only if flag 1 is set; see
                     `azsim.codecs._huffman_code`
    table            lengths of the codes -limit to limit
    segments - 1     fields: bits of each segment but the last
    segments         code words, segment after segment
    0 to 7 zero bits up to a whole byte

Segment i has codes ``[i * n, (i + 1) * n)`` with ``n = ceil(count / segments)``.  Without
`segments` there is one for each 256 codes, up to 16.

Flag 1 clear
    A word for each code.
Flag 1 set (zero runs)
    As in `azsim.codecs.zero_run`: a word for a run of 0 to 30 zeros, then one for the non-zero
    code after it; run 31 is thirty-one zeros and no code after them, and no code follows zeros
    that end the segment.  This gets below the bit that a word has at least where zeros are many.

Without `zero_runs` the encoder counts the bits of both and takes the fewer; measured on the
codes of an LSTM, runs pay from about half zeros on (2.63 bits in place of 2.81 at 75 %).  A
decoder accepts no other table than the optimal one for the codes, so that a block has one form
for each setting.

Source: Huffman, 1952; canonical form as in DEFLATE (RFC 1951); Huffman-coded weights after
pruning as in Han et al., Deep Compression, ICLR 2016, where runs of zeros have a table of their
own too.

Hardware, a lane: a 64-bit window, 12 comparators against the first code of each length, an adder
for the place in the symbol table, and a read port on that table, which all lanes share; with zero
runs a second set of limits and a second table, of which one is used a cycle.

Cycles, an assumption: one word a cycle and lane; lane i takes segments i, i + lanes and so on.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from azsim.codecs._base import HardwareCost
from azsim.codecs._bits import packed_bytes, tail_is_zero
from azsim.codecs._cost import input_window, total
from azsim.codecs._huffman_code import (
    MAX_LENGTH,
    code_words,
    fill_lookup,
    fill_steps,
    limited_lengths,
    put_lengths,
    read_lengths,
)
from azsim.codecs._shape import check_range
from azsim.codecs._steps import LaneSteps
from azsim.codecs._words import as_words, empty_words, peek, put, words_to_bytes
from azsim.errors import CodecError
from azsim.jit import kernel

ID = 7
FLAGS = 2
PARAMETERS = ("segments", "zero_runs")

_ZERO_RUNS = 2
_MAX_SEGMENTS = 16
_CODES_PER_SEGMENT = 256
_MAX_RUN = 31
_HEAD_BITS = 9

_OK, _END, _WORD, _LENGTH, _BEYOND, _ZERO = 0, 1, 2, 3, 4, 5


class _Stream(NamedTuple):
    words: np.ndarray
    end: int  # bits of the payload
    run_lengths: np.ndarray  # (32,) int64; all zero without zero runs
    code_lengths: np.ndarray  # (2**bits - 1,) int64
    starts: np.ndarray  # (segments,) int64, first bit of each segment


def encode(
    codes: np.ndarray, bits: int, segments: int | None = None, zero_runs: bool | None = None
) -> tuple[bytes, int]:
    """Encode (count,) int8 codes; see the package for the contract."""
    if segments is None:
        segments = min(_MAX_SEGMENTS, max(1, -(-codes.size // _CODES_PER_SEGMENT)))
    check_range("huffman", "segments", segments, 1, _MAX_SEGMENTS)
    forms = [
        _encode_form(codes, bits, segments, runs)
        for runs in ((False, True) if zero_runs is None else (bool(zero_runs),))
    ]
    lengths, runs, sizes, num_bits = min(forms, key=lambda form: form[3])
    return _write_form(codes, lengths, runs, sizes, num_bits), _ZERO_RUNS if runs else 0


def decode(payload: np.ndarray, count: int, bits: int, flags: int) -> np.ndarray:
    """Decode to (count,) int8; see the package for the contract."""
    codes = np.zeros(count, np.int8)
    _decode(payload, count, bits, flags, codes)
    return codes


def lane_steps(payload: np.ndarray, count: int, bits: int, flags: int, lanes: int) -> LaneSteps:
    """A word a step; see the package for the contract."""
    num_words = _decode(payload, count, bits, flags, np.zeros(count, np.int8))
    stream = _open(payload, bits, flags)
    run_table, _ = fill_lookup(stream.run_lengths)
    code_table, _ = fill_lookup(stream.code_lengths)
    first = np.zeros(lanes + 1, np.int64)
    steps = np.zeros((2, num_words.sum()), np.int32)
    share = -(-count // num_words.size)
    most = _MAX_RUN if flags & _ZERO_RUNS else -1
    words = stream.words, stream.starts, num_words
    fill_steps(*words, share, count, most, run_table, code_table, first, steps)
    return LaneSteps.of_block(payload, first, *steps)


def parameters_of(payload: np.ndarray, count: int, flags: int) -> dict[str, int | bool]:
    """Parameters of a block; see the package for the contract."""
    return {"segments": _segments(payload), "zero_runs": bool(flags & _ZERO_RUNS)}


def hardware_cost(payload: np.ndarray, bits: int, flags: int, lanes: int) -> HardwareCost:
    """Limits and offsets of 12 lengths, symbol tables, and a read port and comparators a lane."""
    tables = [((1 << bits) - 1, bits)]
    if flags & _ZERO_RUNS:
        tables.append((_MAX_RUN + 1, _MAX_RUN.bit_length()))
    lane = HardwareCost(
        multiplexers=sum((symbols - 1) * width for symbols, width in tables) + 2 * 8 * MAX_LENGTH,
        adders=1 + len(tables),
        comparators=MAX_LENGTH,
    )
    per_length = MAX_LENGTH * (MAX_LENGTH + 8)
    table_bits = sum(symbols * width + per_length for symbols, width in tables)
    return total(lanes, [input_window(MAX_LENGTH), lane], table_bits=table_bits)


def _segments(payload: np.ndarray) -> int:
    if not payload.size:
        raise CodecError("huffman: no payload")
    return (int(payload[0]) & 15) + 1


def _encode_form(
    codes: np.ndarray, bits: int, segments: int, runs: bool
) -> tuple[np.ndarray, bool, np.ndarray, int]:
    """Lengths of runs and codes one after the other, the form, bits of segments, bits in all."""
    counts = np.zeros((2, 256), np.int64)
    share = max(1, -(-codes.size // segments))
    limit = (1 << (bits - 1)) - 1
    _count_symbols(codes, limit, share, runs, counts)
    of_codes = limited_lengths(counts[1, : 2 * limit + 1])
    of_runs = limited_lengths(counts[0, : _MAX_RUN + 1])
    sizes = np.zeros(segments, np.int64)
    _measure(codes, limit, share, runs, of_runs, of_codes, sizes)
    lengths = np.concatenate([of_runs, of_codes])
    num_bits = _HEAD_BITS + int(sizes.sum()) + (segments - 1) * _length_bits(sizes)
    num_bits += int(put_lengths(np.zeros(0, np.uint64), 0, of_codes, True))
    if runs:
        num_bits += int(put_lengths(np.zeros(0, np.uint64), 0, of_runs, True))
    return lengths, runs, sizes, num_bits


def _length_bits(sizes: np.ndarray) -> int:
    return int(sizes[:-1].max(initial=0)).bit_length()


def _write_form(
    codes: np.ndarray, lengths: np.ndarray, runs: bool, sizes: np.ndarray, num_bits: int
) -> bytes:
    of_runs, of_codes = lengths[: _MAX_RUN + 1], lengths[_MAX_RUN + 1 :]
    words = empty_words(num_bits)
    width = _length_bits(sizes)
    position = put(words, 0, _HEAD_BITS, (sizes.size - 1) | width << 4)
    if runs:
        position = put_lengths(words, position, of_runs, False)
    position = put_lengths(words, position, of_codes, False)
    for size in sizes[:-1]:
        position = put(words, position, width, size)
    run_words, _ = code_words(of_runs)
    code_bits, _ = code_words(of_codes)
    limit = of_codes.size // 2
    share = max(1, -(-codes.size // sizes.size))
    _write(codes, limit, share, runs, run_words, of_runs, code_bits, of_codes, words, position)
    return words_to_bytes(words, num_bits)


def _open(payload: np.ndarray, bits: int, flags: int) -> _Stream:
    """Read everything ahead of the code words."""
    segments = _segments(payload)
    words = as_words(payload)
    end = 8 * payload.size
    width = int(words[0]) >> 4 & 31
    position = _HEAD_BITS
    run_lengths = np.zeros(_MAX_RUN + 1, np.int64)
    code_lengths = np.zeros((1 << bits) - 1, np.int64)
    if flags & _ZERO_RUNS:
        position = int(read_lengths(words, position, end, run_lengths))
    if position >= 0:
        position = int(read_lengths(words, position, end, code_lengths))
    if position < 0:
        raise CodecError("huffman: table of lengths is malformed")
    starts = np.zeros(segments, np.int64)
    if position + (segments - 1) * width > end:
        raise CodecError(f"huffman: {payload.size} bytes do not hold {segments - 1} lengths")
    start = position + (segments - 1) * width
    for i in range(segments - 1):
        starts[i] = start
        start += int(peek(words, position)) & ((1 << width) - 1)
        position += width
    starts[-1] = start
    if start > end:
        raise CodecError("huffman: segments are longer than the payload")
    if _length_bits(np.diff(starts, append=start)) != width:
        raise CodecError(f"huffman: segment lengths of {width} bits, fewer would do")
    return _Stream(words, end, run_lengths, code_lengths, starts)


def _decode(
    payload: np.ndarray, count: int, bits: int, flags: int, codes: np.ndarray
) -> np.ndarray:
    """Fill (count,) int8 and return the number of words of each segment."""
    stream = _open(payload, bits, flags)
    runs = bool(flags & _ZERO_RUNS)
    run_table, runs_fit = fill_lookup(stream.run_lengths)
    code_table, codes_fit = fill_lookup(stream.code_lengths)
    if not (runs_fit and codes_fit):
        raise CodecError("huffman: lengths make no code")
    if count > (_MAX_RUN if runs else 1) * stream.end:
        raise CodecError(f"huffman: {payload.size} bytes of payload cannot hold {count} codes")
    counts = np.zeros((2, 256), np.int64)
    num_words = np.zeros(stream.starts.size, np.int64)
    read = _read_runs if runs else _read_codes
    status, segment, position = read(
        stream.words,
        stream.starts,
        stream.end,
        max(1, -(-count // stream.starts.size)),
        (1 << (bits - 1)) - 1,
        run_table,
        code_table,
        counts,
        num_words,
        codes,
    )
    if status != _OK:
        what = {
            _END: "is truncated",
            _WORD: "has a word of no code",
            _LENGTH: "ends elsewhere than its length says",
            _BEYOND: "has a run past its end",
            _ZERO: "has a zero where a run belongs",
        }[status]
        raise CodecError(f"huffman: segment {segment} {what}")
    if payload.size != packed_bytes(position, 1):
        raise CodecError(f"huffman: {payload.size - packed_bytes(position, 1)} trailing bytes")
    if not tail_is_zero(payload, position):
        raise CodecError("huffman: padding bits after the last word are not zero")
    for row, lengths in zip(counts, (stream.run_lengths, stream.code_lengths), strict=True):
        if not np.array_equal(limited_lengths(row[: lengths.size]), lengths):
            raise CodecError("huffman: lengths are not the optimal ones for the codes")
    return num_words


@kernel
def _count_symbols(codes, limit, share, runs, counts):
    """Count runs in row 0 and codes in row 1; only the second row without runs."""
    if not runs:
        for i in range(codes.shape[0]):
            counts[1, np.int64(codes[i]) + limit] += 1
        return
    for start in range(0, codes.shape[0], share):
        run = 0
        for i in range(start, min(start + share, codes.shape[0])):
            if codes[i] != 0:
                counts[0, run] += 1
                counts[1, np.int64(codes[i]) + limit] += 1
                run = 0
            else:
                run += 1
                if run == _MAX_RUN:
                    counts[0, run] += 1
                    run = 0
        if run > 0:
            counts[0, run] += 1


@kernel
def _measure(codes, limit, share, runs, of_runs, of_codes, sizes):
    """Bits of each segment."""
    for segment in range(sizes.shape[0]):
        run = 0
        size = np.int64(0)
        stop = min((segment + 1) * share, codes.shape[0])
        for i in range(segment * share, stop):
            if runs and codes[i] == 0:
                run += 1
                if run == _MAX_RUN or i == stop - 1:
                    size += of_runs[run]
                    run = 0
            else:
                size += of_codes[np.int64(codes[i]) + limit]
                if runs:
                    size += of_runs[run]
                    run = 0
        sizes[segment] = size


@kernel
def _write(codes, limit, share, runs, run_words, of_runs, code_bits, of_codes, words, position):
    for start in range(0, codes.shape[0], share):
        run = 0
        stop = min(start + share, codes.shape[0])
        for i in range(start, stop):
            if runs and codes[i] == 0:
                run += 1
                if run == _MAX_RUN or i == stop - 1:
                    position = put(words, position, of_runs[run], run_words[run])
                    run = 0
                continue
            if runs:
                position = put(words, position, of_runs[run], run_words[run])
                run = 0
            symbol = np.int64(codes[i]) + limit
            position = put(words, position, of_codes[symbol], code_bits[symbol])
    return position


@kernel
def _read_codes(words, starts, end, share, limit, run_table, code_table, counts, num_words, codes):
    """Fill codes and counts; return a status, the segment and the position after the last."""
    mask = np.uint64((1 << MAX_LENGTH) - 1)
    position = starts[0]
    for segment in range(starts.shape[0]):
        if position != starts[segment]:
            return _LENGTH, segment - 1, position
        first = min(segment * share, codes.shape[0])
        stop = min(first + share, codes.shape[0])
        num_words[segment] = stop - first
        i = first
        while i < stop:
            if position > end:
                return _END, segment, position
            # Five words of 12 bits are sure to be within 64 bits.
            bits = peek(words, position)
            for _ in range(min(5, stop - i)):
                entry = np.int64(code_table[bits & mask])
                length = entry >> 8
                if length == 0:
                    return _WORD, segment, position
                symbol = entry & 255
                counts[1, symbol] += 1
                codes[i] = symbol - limit
                bits >>= np.uint64(length)
                position += length
                i += 1
    return (_OK if position <= end else _END), starts.shape[0] - 1, position


@kernel
def _read_runs(words, starts, end, share, limit, run_table, code_table, counts, num_words, codes):
    """As `_read_codes`, with zero runs; `codes` are zeros ahead."""
    mask = np.uint64((1 << MAX_LENGTH) - 1)
    position = starts[0]
    for segment in range(starts.shape[0]):
        if position != starts[segment]:
            return _LENGTH, segment - 1, position
        i = min(segment * share, codes.shape[0])
        stop = min(i + share, codes.shape[0])
        while i < stop:
            if position > end:
                return _END, segment, position
            bits = peek(words, position)
            for _ in range(2):
                entry = np.int64(run_table[bits & mask])
                length = entry >> 8
                if length == 0:
                    return _WORD, segment, position
                run = entry & 255
                if run > stop - i:
                    return _BEYOND, segment, position
                counts[0, run] += 1
                num_words[segment] += 1
                i += run
                bits >>= np.uint64(length)
                position += length
                if run < _MAX_RUN and i < stop:
                    entry = np.int64(code_table[bits & mask])
                    length = entry >> 8
                    if length == 0:
                        return _WORD, segment, position
                    symbol = entry & 255
                    if symbol == limit:
                        return _ZERO, segment, position
                    counts[1, symbol] += 1
                    num_words[segment] += 1
                    codes[i] = symbol - limit
                    bits >>= np.uint64(length)
                    position += length
                    i += 1
                if i == stop:
                    break
    return (_OK if position <= end else _END), starts.shape[0] - 1, position
