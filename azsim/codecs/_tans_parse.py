"""Header of a lane_tans payload, read: kernels from bytes to contexts and frequencies."""

from __future__ import annotations

import numpy as np

from azsim.codecs._tans_fit import ALL_SAME, LEVELS, MOST_SAME, SUMS
from azsim.codecs._tans_shapes import read_shape_table
from azsim.codecs._tans_tables import MAX_SYMBOLS, read_bits, read_rice, read_table
from azsim.codecs._tans_tokens import FLAG, MASK, VALUE
from azsim.jit import kernel

__all__ = [
    "BUCKETS",
    "CODES",
    "COLUMNS",
    "CUT",
    "ENDS",
    "LANES",
    "LOG",
    "MASK_ORDER",
    "MAX_LANES",
    "MAX_LOG",
    "MIN_LOG",
    "NUM_BYTES",
    "NUM_COLUMNS",
    "OK",
    "PADDING",
    "ROOM",
    "SCHEME",
    "SCHEME_BITS",
    "STATES",
    "TABLE",
    "TABLES",
    "WHAT",
    "WORDS",
    "WORDS_BITS",
    "parse_header",
    "parse_shape",
    "table_shape",
]

MIN_LOG, MAX_LOG = 7, 10
STATES = 2048  # of all tables together
MAX_LANES = 64
SCHEME_BITS = 5  # with more bits a code there is a choice of buckets
_LISTS = 7  # dead zones, rows of the three kinds, their columns
_MOST_TABLES = STATES >> MIN_LOG
_MAX_CLASSES = 8
WORDS_BITS = 5  # of the width of what lanes have over the least
# Masks by the number of their ones: alike in frequency, so that differences are small.
MASK_ORDER = np.array([0, 1, 2, 4, 8, 3, 5, 6, 9, 10, 12, 7, 11, 13, 14, 15])
_MASK_PLACE = np.array([0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 4])
_MASK_SPREAD = np.zeros(16, np.int64)
_PLACE, _SPREAD = 4, 5  # fields of a symbol

OK, CUT, BUCKETS, COLUMNS, ROOM, CODES, TABLES, ENDS, TABLE, PADDING, WORDS = range(11)
# What `parse_header` tells in numbers.
LOG, SCHEME, LANES, NUM_COLUMNS, NUM_BYTES, WHAT = range(6)


@kernel
def table_shape(kind, masks, signed, scheme, fields):
    """Places and spreads of the symbols of a kind, and whether symbol 0 is the zero.

    That is -1 where tables are stored by frequencies only.
    """
    if kind == MASK:
        return _MASK_PLACE, _MASK_SPREAD, 0
    has_zero = -1 if kind == FLAG or signed else 0 if masks else 1
    return fields[scheme, _PLACE], fields[scheme, _SPREAD], has_zero


@kernel
def parse_shape(payload, found):
    """Fill LOG, LANES and NUM_COLUMNS; gives the position after them, or -1."""
    found[LOG] = MIN_LOG + read_bits(payload, 0, 2)  # at most MAX_LOG
    found[LANES] = read_bits(payload, 2, 6) + 1
    zeros = read_bits(payload, 8, 5)
    at = 13
    width = 0
    while read_bits(payload, at, 1) == 0 and width < 31:
        width += 1
        at += 1
    high = read_bits(payload, at + 1, width)
    if high < 0 or zeros < 0:
        return np.int64(-1)
    found[NUM_COLUMNS] = (2 * (high | np.int64(1) << width) - 1) << zeros
    return np.int64(at + 1 + width)


@kernel
def parse_header(payload, count, bits, flags, sizes, fields):  # noqa: C901
    """Read and check a header.

    Parameters
    ----------
    payload : ndarray of shape (n,), uint8
    count, bits, flags : int
    sizes, fields : ndarray
        See `azsim.codecs._tans_tokens.value_tables`.

    Returns
    -------
    status : int
    found : ndarray of shape (6,), int64
        LOG to NUM_BYTES, and a number for the sentence of a bad status.
    lists, starts : ndarray
        Stored codes: each of 7 lists from where it starts, or a single 0 at 0 if it is not stored.
    classes : ndarray of shape (3,), int64
    ends : ndarray of shape (3, 8), int64
    frequencies : ndarray of shape (16, 64), int64
        Of the tables of all kinds in order.
    lane_bits, preload : ndarray of shape (lanes,), int64
    """
    found = np.zeros(6, np.int64)
    lists = np.zeros(1, np.uint8)
    starts = np.zeros(_LISTS, np.int64)
    classes = np.zeros(3, np.int64)
    ends = np.full((3, _MAX_CLASSES), SUMS, np.int64)
    frequencies = np.zeros((_MOST_TABLES, MAX_SYMBOLS), np.int64)
    lane_bits = np.zeros(1, np.int64)
    preload = np.zeros(1, np.int64)
    at = parse_shape(payload, found)
    if bits > SCHEME_BITS and at >= 0:
        found[SCHEME] = read_bits(payload, at, 3)
        at = at + 3 if found[SCHEME] >= 0 else np.int64(-1)
    columns, log, lanes = found[NUM_COLUMNS], found[LOG], found[LANES]
    status = OK
    if at < 0:
        status = CUT
    elif sizes[found[SCHEME]] == 0:
        status = BUCKETS
    elif columns > count or count % columns:
        status = COLUMNS
    if status != OK:
        return status, found, lists, starts, classes, ends, frequencies, lane_bits, preload
    rows = count // columns
    if flags & 8:
        limit = (1 << (bits - 1)) - 1
        status, at, codes = _read_list(payload, at, rows, 7, limit, found)
        starts[0] = lists.shape[0]
        lists = np.concatenate((lists, codes))
    for kind in range(3):
        if status != OK or not _has_kind(kind, bits, flags):
            continue
        for part in range(2):
            there = read_bits(payload, at, 1)
            at += 1
            if status == OK and there == 1:
                number = -(-columns // (16 >> 2 * kind)) if part else rows
                status, at, codes = _read_list(payload, at, number, 5, LEVELS, found)
                starts[1 + kind + 3 * part] = lists.shape[0]
                lists = np.concatenate((lists, codes))
        number = 1
        if status == OK and starts[1 + kind] + starts[4 + kind] > 0:
            status, at, number = _read_ends(payload, at, ends[kind])
        if status == OK and (classes.sum() + number) << log > STATES:
            status = TABLES
        if status == OK:
            first = classes.sum()
            classes[kind] = number
            symbols = 2 if kind == FLAG else 16 if kind == MASK else sizes[found[SCHEME]]
            shape = table_shape(kind, (flags >> 1) & 1, (flags >> 2) & 1, found[SCHEME], fields)
            tables = frequencies[first : first + number, :symbols]
            at = _read_tables(payload, at, kind == MASK, shape, log, tables)
            status = TABLE if at < 0 else OK
    if status == OK:
        status, at, lane_bits = _read_lanes(payload, at, lanes, found)
    if status == OK:
        preload = np.zeros(lanes, np.int64)
        for lane in range(lanes):
            preload[lane] = read_bits(payload, at, lane_bits[lane] & 31)
            at += lane_bits[lane] & 31
        found[NUM_BYTES] = (at + 7) >> 3
        status, lane_bits = _count_words(payload, at, lane_bits, found)
    return status, found, lists, starts, classes, ends, frequencies, lane_bits, preload


@kernel
def _has_kind(kind, bits, flags):
    """Whether there are tokens of a kind."""
    if kind == VALUE:
        return bits > 2 or flags & 2 == 0
    return flags >> kind & 1 == 1


@kernel
def _read_list(payload, at, number, width, limit, found):
    """Status, position, and stored codes of which each is below `limit`."""
    centre = read_bits(payload, at, width)
    k = read_bits(payload, at + width, 3)
    at += width + 3
    found[WHAT] = number
    codes = np.zeros(1, np.uint8)
    if k < 0:
        return CUT, at, codes
    # Room for what a payload can hold, not for what its header promises.
    if number > (MOST_SAME if k == ALL_SAME else 8 * payload.shape[0] - at):
        return ROOM, at, codes
    codes = np.zeros(number, np.uint8)
    at = _read_codes(payload, at, centre, k, limit, codes)
    return CODES if at < 0 else OK, at, codes


@kernel
def _read_ends(payload, at, ends):
    """Fill where classes end; gives the status, the position and the number of classes."""
    number = read_bits(payload, at, 3) + 1
    at += 3
    status = OK if number > 0 else CUT
    before = np.int64(0)
    for i in range(number - 1):
        end = read_bits(payload, at, 6)
        at += 6
        if end < 0:
            return CUT, at, number
        if end <= before or end >= SUMS:
            status = ENDS
        ends[i] = end
        before = end
    return status, at, number


@kernel
def _read_tables(payload, at, is_mask, shape, log, frequencies):
    """Fill the (K, S) frequencies of a kind; gives the position after the tables, or -1."""
    place, spread, has_zero = shape
    symbols = frequencies.shape[1]
    before = np.zeros(symbols, np.int64)
    stored = np.zeros(symbols, np.int64)
    for table in range(frequencies.shape[0]):
        is_shape = np.int64(0)
        if has_zero >= 0:
            is_shape = read_bits(payload, at, 1)
            at += 1
        if is_shape == 1:
            at = read_shape_table(payload, at, place, spread, has_zero, log, stored)
        elif is_shape == 0:
            at = read_table(payload, at, before, log, stored)
        else:
            at = np.int64(-1)
        if at < 0:
            break
        for s in range(symbols):
            frequencies[table, MASK_ORDER[s] if is_mask else s] = stored[s]
        before[:] = stored
    return at


@kernel
def _read_lanes(payload, at, lanes, found):
    """Status, position, and of each lane its odd bits and 32 for each word over the least."""
    lane_bits = np.zeros(lanes, np.int64)
    width = np.int64(0)
    for lane in range(lanes):
        lane_bits[lane] = read_bits(payload, at, 5)
        at += 5
    if lanes > 1:
        width = read_bits(payload, at, WORDS_BITS)
        at += WORDS_BITS
        if width < 0:
            return CUT, at, lane_bits
        for lane in range(lanes):
            lane_bits[lane] += read_bits(payload, at, width) << 5
            at += width
    if at > 8 * payload.shape[0]:
        return CUT, at, lane_bits
    return OK, at, lane_bits


@kernel
def _count_words(payload, at, lane_bits, found):
    """Status, and all bits of each lane: the words that there are, less those over the least."""
    if at > 8 * payload.shape[0]:
        return CUT, lane_bits
    if read_bits(payload, at, -at & 7) != 0:
        return PADDING, lane_bits
    rest = payload.shape[0] - found[NUM_BYTES]
    shared = rest // 4 - (lane_bits >> 5).sum()
    found[WHAT] = rest
    if rest % 4 or shared < 0 or shared % lane_bits.shape[0]:
        return WORDS, lane_bits
    return OK, lane_bits + (shared // lane_bits.shape[0] << 5)


@kernel
def _read_codes(data, position, centre, k, limit, codes):
    if k == ALL_SAME:
        codes[:] = min(centre, 255)
        return position if centre < limit else np.int64(-1)
    for i in range(codes.shape[0]):
        value, position = read_rice(data, position, k)
        if value < 0:
            return np.int64(-1)
        code = centre + (value >> 1 if value & 1 == 0 else -((value + 1) >> 1))
        if code < 0 or code >= limit:
            return np.int64(-1)
        codes[i] = code
    return position
