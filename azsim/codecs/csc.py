"""Columns of relative row indices, each lane with the rows that are its own: EIE's format.

Payload::

    palette table     if flag 0 is set, see `azsim.codecs._fields`
    32 bits           columns of the matrix
    4 bits            index bits (3 to 8)
    12 bits           lanes less one; lanes are at most the rows
    8 bits            pointer bits: as many as the largest number of entries below needs
    lanes x columns   number of entries of each column of each lane, lane after lane
    entries           lane after lane, column after column, each:
      index bits        rows of the lane that are skipped, all zero
      field             code that follows them
    0 to 7 zero bits up to a whole byte

Lane i has rows i, i + lanes, i + 2 * lanes and so on.  Where a run of zeros overflows the index,
a padding entry stands in: the largest index with code 0.  Zeros that end a column take no entry,
and no other entry has code 0.  (A form with 4 bits for the lanes had codec id 4.)

An array whose lanes are those of the block can multiply by it as it is, entry by entry: see
`column_entries`.

Source: Han et al., EIE, ISCA 2016, sections III-B and III-C: relative row indices of 4 bits,
padding zeros, column pointers, rows interleaved over the processing elements.  EIE stores
pointers of 16 bits into the entries; here their differences are stored, in as few bits as do.

Hardware, a lane: a window of one entry, a row adder, a counter of the column's entries, the
pointer adder; zeros are skipped by address in cleared memory.  With a palette one read of a
table shared by all lanes (EIE's codebook of 16 entries).

Cycles, an assumption: one entry a cycle and lane, padding included.  A lane reads one pointer a
cycle, ahead without limit: an empty column costs a cycle if its pointer is read just then, and
none if it is known already, so that a lane takes as many cycles as it has columns at least.  With
more lanes in the stream than in the hardware, lane i also takes i + lanes and so on; with fewer,
the others are idle.
"""

from __future__ import annotations

import numpy as np

from azsim.codecs._base import HardwareCost
from azsim.codecs._bits import packed_bytes, tail_is_zero
from azsim.codecs._cost import input_window, palette_reader, total
from azsim.codecs._fields import NO_CODE, PALETTE, choose_fields, num_entries, read_fields
from azsim.codecs._shape import check_range, read_shape, write_columns
from azsim.codecs._steps import LaneSteps
from azsim.codecs._words import as_words, empty_words, peek, put, words_to_bytes
from azsim.errors import CodecError
from azsim.jit import kernel

ID = 10
FLAGS = PALETTE
PARAMETERS = ("index_bits", "lanes", "palette")
MOST_LANES = 4096
WANTS_COLUMNS = True

_MIN_INDEX_BITS, _MAX_INDEX_BITS = 3, 8
_SETTINGS = 3

_OK, _BEYOND, _FAULT, _STRAY_ZERO = 0, 1, 2, 3


def encode(
    codes: np.ndarray,
    bits: int,
    *,
    columns: int,
    index_bits: int = 4,
    lanes: int = 16,
    palette: bool = False,
) -> tuple[bytes, int]:
    """Encode (count,) int8 codes; see the package for the contract."""
    check_range("csc", "index_bits", index_bits, _MIN_INDEX_BITS, _MAX_INDEX_BITS)
    check_range("csc", "lanes", lanes, 1, MOST_LANES)
    rows = codes.size // columns
    lanes = max(1, min(lanes, rows))
    by_column = np.ascontiguousarray(codes.reshape(rows, columns).T)
    counts = np.zeros((lanes, columns), np.int64)
    _count(by_column, index_bits, counts)
    entries = int(counts.sum())
    pointer_bits = int(counts.max(initial=0)).bit_length()
    has_zero = entries > int(np.count_nonzero(codes))
    fields = choose_fields(codes, bits, entries, has_zero=has_zero, palette=palette)
    num_bits = counts.size * pointer_bits + entries * (index_bits + fields.width)
    words = empty_words(num_bits)
    _write(by_column, counts, pointer_bits, index_bits, fields.to_field, fields.width, words)
    settings = (index_bits | (lanes - 1) << 4).to_bytes(2, "little") + bytes([pointer_bits])
    head = fields.head + write_columns(columns) + settings
    return head + words_to_bytes(words, num_bits), fields.flags


def decode(payload: np.ndarray, count: int, bits: int, flags: int) -> np.ndarray:
    """Decode to (count,) int8; see the package for the contract."""
    fields, rest = read_fields("csc", payload, bits, flags, zero=True)
    rows, columns, index_bits, pointer_bits, counts, rest = _read_counts(rest, count)
    entries = int(counts.sum())
    num_bits = counts.size * pointer_bits + entries * (index_bits + fields.width)
    _check_size(rest.size, entries, num_bits)
    if not tail_is_zero(rest, num_bits):
        raise CodecError("csc: padding bits after the last entry are not zero")
    by_column = np.zeros((columns, rows), np.int8)
    start = counts.size * pointer_bits
    status, entry = _read(
        as_words(rest), start, counts, index_bits, fields.width, fields.to_code, by_column
    )
    if status == _BEYOND:
        raise CodecError(f"csc: entry {entry} runs past the end of its column")
    if status == _FAULT:
        raise fields.fault("csc", "the code of entry", entry)
    if status == _STRAY_ZERO:
        raise CodecError(f"csc: entry {entry} has code 0 and is no padding")
    fields.check_use("csc", by_column, entries)
    return np.ascontiguousarray(by_column.T).reshape(-1)


def lane_steps(payload: np.ndarray, count: int, bits: int, flags: int, lanes: int) -> LaneSteps:
    """An entry a step, and empty columns; see the package for the contract."""
    fields, rest = read_fields("csc", payload, bits, flags, zero=True)
    rows, _, index_bits, pointer_bits, counts, rest = _read_counts(rest, count)
    entries = int(counts.sum())
    start = counts.size * pointer_bits
    _check_size(rest.size, entries, start + entries * (index_bits + fields.width))
    first = np.zeros(lanes + 1, np.int64)
    steps = np.zeros((2, entries + counts.size), np.int32)
    status, entry = _fill_steps(
        as_words(rest), start, counts, index_bits, fields.width, rows, first, steps
    )
    if status != _OK:
        raise CodecError(f"csc: entry {entry} runs past the end of its column")
    return LaneSteps.of_block(payload, first, *steps[:, : first[-1]].copy())


def column_entries(payload: np.ndarray, count: int, bits: int, flags: int) -> np.ndarray:
    """Entries of each column of each lane, (lanes, columns) int64, padding included."""
    _, rest = read_fields("csc", payload, bits, flags, zero=True)
    return _read_counts(rest, count)[4]


def column_bits(payload: np.ndarray, count: int, bits: int, flags: int) -> tuple[int, np.ndarray]:
    """Bits that are stored once, and those of each column; see the package for the contract."""
    fields, rest = read_fields("csc", payload, bits, flags, zero=True)
    _, _, index_bits, pointer_bits, counts, after = _read_counts(rest, count)
    of_columns = len(counts) * pointer_bits + counts.sum(axis=0) * (index_bits + fields.width)
    return 8 * (payload.size - after.size), of_columns


def parameters_of(payload: np.ndarray, count: int, flags: int) -> dict[str, int | bool]:
    """Parameters of a block; see the package for the contract."""
    rest = payload[1 + num_entries(payload, flags) :] if flags & PALETTE else payload
    _, columns, (low, high, _), _ = read_shape("csc", rest, count, _SETTINGS)
    return {
        "columns": columns,
        "index_bits": low & 15,
        "lanes": (low >> 4 | high << 4) + 1,
        "palette": bool(flags & PALETTE),
    }


def hardware_cost(payload: np.ndarray, bits: int, flags: int, lanes: int) -> HardwareCost:
    """Windows of an entry and of a pointer, row adder, entry counter, end-of-column check."""
    entries = num_entries(payload, flags)
    walker = HardwareCost(register_bits=3 * 16, adders=2, comparators=2)
    parts = [
        input_window(_MAX_INDEX_BITS + bits),
        input_window(16),
        walker,
        palette_reader(entries, 1),
    ]
    return total(lanes, parts, table_bits=8 * entries)


def _check_size(size: int, entries: int, num_bits: int) -> None:
    """Check how many bytes pointers and entries take."""
    needed = packed_bytes(num_bits, 1)
    if size != needed:
        raise CodecError(
            f"csc: {size} bytes of pointers and entries, {entries} entries make {needed}"
        )


def _read_counts(rest: np.ndarray, count: int) -> tuple[int, int, int, int, np.ndarray, np.ndarray]:
    """Rows, columns, index bits, pointer bits, entries (lanes, columns), and pointers and rest."""
    rows, columns, settings, rest = read_shape("csc", rest, count, _SETTINGS)
    low, high, pointer_bits = settings
    index_bits, lanes = low & 15, (low >> 4 | high << 4) + 1
    if not _MIN_INDEX_BITS <= index_bits <= _MAX_INDEX_BITS:
        allowed = f"{_MIN_INDEX_BITS} to {_MAX_INDEX_BITS}"
        raise CodecError(f"csc: index of {index_bits} bits, allowed: {allowed}")
    if lanes > max(1, rows):
        raise CodecError(f"csc: {lanes} lanes for {rows} rows")
    most = rows.bit_length()
    if pointer_bits > most:
        raise CodecError(f"csc: pointers of {pointer_bits} bits, {rows} rows need {most} at most")
    if lanes * columns * pointer_bits > 8 * rest.size:
        raise CodecError(
            f"csc: {rest.size} bytes do not hold {lanes * columns} pointers of {pointer_bits} bits"
        )
    counts = np.zeros((lanes, columns), np.int64)
    if pointer_bits:
        _read_pointers(as_words(rest), pointer_bits, counts)
    if int(counts.max()).bit_length() != pointer_bits:
        raise CodecError(f"csc: pointers of {pointer_bits} bits, fewer would do")
    return rows, columns, index_bits, pointer_bits, counts, rest


@kernel
def _fill_steps(words, start, counts, index_bits, width, rows, first, steps):
    """Steps of all lanes, bits in row 0, codes in row 1; return a status and the entry."""
    lanes, columns = counts.shape
    longest = (1 << index_bits) - 1
    entry_bits = index_bits + width
    before = np.zeros(lanes + 1, np.int64)  # entries ahead of each lane's
    for lane in range(lanes):
        before[lane + 1] = before[lane] + counts[lane].sum()
    step = 0
    for hardware_lane in range(first.shape[0] - 1):
        begin = step
        pointers = 0
        for lane in range(hardware_lane, lanes, first.shape[0] - 1):
            entry = before[lane]
            lane_rows = (rows - lane + lanes - 1) // lanes
            for column in range(columns):
                left = lane_rows
                # Pointers are read one a cycle, so so many steps have passed at least.
                if counts[lane, column] == 0 and step - begin == pointers:
                    step += 1
                pointers += 1
                for _ in range(counts[lane, column]):
                    run = np.int64(peek(words, start + entry * entry_bits)) & longest
                    if run >= left:
                        return _BEYOND, entry
                    steps[0, step] = entry_bits
                    steps[1, step] = run + 1
                    left -= run + 1
                    step += 1
                    entry += 1
                steps[1, step - 1] += left
        first[hardware_lane + 1] = step
    return _OK, 0


@kernel
def _count(by_column, index_bits, counts):
    lanes = counts.shape[0]
    longest = (1 << index_bits) - 1
    for column in range(by_column.shape[0]):
        for lane in range(lanes):
            run = entries = 0
            for row in range(lane, by_column.shape[1], lanes):
                if by_column[column, row] != 0:
                    entries += run // (longest + 1) + 1
                    run = 0
                else:
                    run += 1
            counts[lane, column] = entries


@kernel
def _write(by_column, counts, pointer_bits, index_bits, to_field, width, words):
    lanes, columns = counts.shape
    longest = (1 << index_bits) - 1
    position = 0
    for lane in range(lanes):
        for column in range(columns):
            position = put(words, position, pointer_bits, counts[lane, column])
    zero = np.int64(to_field[0])
    for lane in range(lanes):
        for column in range(columns):
            run = 0
            for row in range(lane, by_column.shape[1], lanes):
                code = by_column[column, row]
                if code == 0:
                    run += 1
                    continue
                while run > longest:
                    entry = longest | zero << index_bits
                    position = put(words, position, index_bits + width, entry)
                    run -= longest + 1
                entry = run | np.int64(to_field[np.uint8(code)]) << index_bits
                position = put(words, position, index_bits + width, entry)
                run = 0


@kernel
def _read_pointers(words, pointer_bits, counts):
    mask = (np.uint64(1) << np.uint64(pointer_bits)) - np.uint64(1)
    position = 0
    for lane in range(counts.shape[0]):
        for column in range(counts.shape[1]):
            counts[lane, column] = np.int64(peek(words, position) & mask)
            position += pointer_bits


@kernel
def _read(words, start, counts, index_bits, width, to_code, by_column):
    lanes, columns = counts.shape
    rows = by_column.shape[1]
    longest = (1 << index_bits) - 1
    mask = (1 << width) - 1
    position = start
    entry = 0
    for lane in range(lanes):
        for column in range(columns):
            row = lane
            left = counts[lane, column]
            while left > 0:
                bits = np.int64(peek(words, position) & np.uint64(0xFFFF))
                run = bits & longest
                field = np.uint64((bits >> index_bits) & mask)
                code = to_code[field]
                row += run * lanes
                left -= 1
                if row >= rows:
                    return _BEYOND, entry
                if code == NO_CODE:
                    return _FAULT, entry
                if code == 0 and (run != longest or left == 0):
                    return _STRAY_ZERO, entry
                by_column[column, row] = code
                row += lanes
                position += index_bits + width
                entry += 1
    return _OK, entry
