"""Header of a lane_tans payload: form, contexts, tables, lanes; see `lane_tans` for the layout."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from azsim.codecs._tans_fit import ALL_SAME, LEVELS, MOST_SAME, SUMS, rice_choice, zigzag
from azsim.codecs._tans_shapes import read_shape_table, write_shape_table
from azsim.codecs._tans_tables import (
    MAX_SYMBOLS,
    build_decoder,
    read_bits,
    read_rice,
    read_table,
    write_bits,
    write_rice,
    write_table,
)
from azsim.codecs._tans_tokens import (
    FLAG,
    MASK,
    SCHEMES,
    VALUE,
    Form,
    Symbols,
    value_tables,
)
from azsim.errors import CodecError
from azsim.jit import kernel

__all__ = [
    "MASK_ORDER",
    "MAX_LANES",
    "MAX_LOG",
    "MIN_LOG",
    "OK",
    "STATES",
    "Header",
    "Kind",
    "Side",
    "context_arrays",
    "decoder_entries",
    "fill_entries",
    "parse_header",
    "read_header",
    "read_shape",
    "table_shape",
    "write_header",
]

MIN_LOG, MAX_LOG = 7, 10
STATES = 2048  # of all tables together
MAX_LANES = 64
SCHEME_BITS = 5  # with more bits a code there is a choice of buckets
_LISTS = 7  # dead zones, rows of the three kinds, their columns
_MOST_TABLES = STATES >> MIN_LOG
_MAX_CLASSES = 8
_WORDS_BITS = 5
# Masks by the number of their ones: alike in frequency, so that differences are small.
MASK_ORDER = np.array([0, 1, 2, 4, 8, 3, 5, 6, 9, 10, 12, 7, 11, 13, 14, 15])
_MASK_PLACE = np.array([0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 4])
_MASK_SPREAD = np.zeros(16, np.int64)
_MASK_RAW = np.array([0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4])
_PLACE, _SPREAD = 4, 5  # fields of a symbol

OK, CUT, BUCKETS, COLUMNS, ROOM, CODES, TABLES, ENDS, TABLE, PADDING, WORDS = range(11)
# What `parse_header` tells in numbers.
LOG, SCHEME, LANES, NUM_COLUMNS, NUM_BYTES, WHAT = range(6)


class Kind(NamedTuple):
    """Contexts and tables of one kind of tokens.

    Attributes
    ----------
    kind : int
    rows, columns : ndarray, uint8, or None
        Stored codes.
    ends : ndarray of shape (K,), int64
        Sum at which each class ends; the last is 63.
    frequencies : ndarray of shape (K, S), int64
    numbers : ndarray of shape (K,), int64
        For writing: symbols that have levels, 0 for a table stored by its frequencies.
    levels : ndarray of shape (K, S), int64
        For writing, see `azsim.codecs._tans_shapes`.
    """

    kind: int
    rows: np.ndarray | None
    columns: np.ndarray | None
    ends: np.ndarray
    frequencies: np.ndarray
    numbers: np.ndarray
    levels: np.ndarray


class Side(NamedTuple):
    """What a payload holds before its words, except the lanes' odd bits.

    Attributes
    ----------
    form : Form
    num_columns : int
    log : int
    skip : ndarray of shape (R,), uint8
    kinds : tuple of Kind
    """

    form: Form
    num_columns: int
    log: int
    skip: np.ndarray
    kinds: tuple[Kind, ...]


class Header(NamedTuple):
    """A header that was read.

    Attributes
    ----------
    side : Side
    lane_bits, preload : ndarray of shape (lanes,), int64
    num_bytes : int
        Bytes before the words.
    """

    side: Side
    lane_bits: np.ndarray
    preload: np.ndarray
    num_bytes: int


def write_header(side: Side, bits: int, lane_bits: np.ndarray, preload: np.ndarray) -> bytes:
    """Bytes of a header, for codes of so many bits."""
    codes = side.skip.size + sum(
        each.size for kind in side.kinds for each in (kind.rows, kind.columns) if each is not None
    )
    data = np.zeros(4096 + 8 * codes + 16 * lane_bits.size, np.uint8)
    form = side.form
    scheme = form.scheme if bits > SCHEME_BITS else -1
    at = _write_shape(data, side.log - MIN_LOG, scheme, lane_bits.size, side.num_columns)
    if form.has_skip:
        at = _write_codes(data, at, side.skip, 7)
    tables = value_tables(bits, form.masks, form.signed)
    for kind in side.kinds:
        for each in (kind.rows, kind.columns):
            at = write_bits(data, at, 1, 0 if each is None else 1)
            if each is not None:
                at = _write_codes(data, at, each, 5)
        has_codes = kind.rows is not None or kind.columns is not None
        place, _, has_zero = table_shape(
            kind.kind, form.masks, form.signed, form.scheme, tables.fields
        )
        tables_of_kind = (kind.ends, kind.frequencies, kind.numbers, kind.levels)
        at = _write_tables(
            data, at, kind.kind, has_codes, side.log, *tables_of_kind, place, has_zero
        )
    at = _write_lanes(data, at, lane_bits, preload)
    return data[: (at + 7) // 8].tobytes()


@kernel
def _write_shape(data, log, scheme, lanes, columns):
    at = write_bits(data, 0, 2, log)
    at = write_bits(data, at, 6, lanes - 1)
    zeros = 0
    while columns >> zeros & 1 == 0:
        zeros += 1
    at = write_bits(data, at, 5, zeros)
    odd = ((columns >> zeros) + 1) >> 1
    width = 0
    while odd >> (width + 1):
        width += 1
    at = write_bits(data, at, width, 0)
    at = write_bits(data, at, 1, 1)
    at = write_bits(data, at, width, odd)
    return write_bits(data, at, 3, scheme) if scheme >= 0 else at


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
def _write_tables(
    data, at, kind, has_codes, log, ends, frequencies, numbers, levels, place, has_zero
):
    """Store classes and tables of a kind."""
    if has_codes:
        at = write_bits(data, at, 3, ends.shape[0] - 1)
        for i in range(ends.shape[0] - 1):
            at = write_bits(data, at, 6, ends[i])
    symbols = frequencies.shape[1]
    before = np.zeros(symbols, np.int64)
    stored = np.empty(symbols, np.int64)
    for table in range(ends.shape[0]):
        for s in range(symbols):
            stored[s] = frequencies[table, MASK_ORDER[s] if kind == MASK else s]
        if has_zero >= 0:
            at = write_bits(data, at, 1, 1 if numbers[table] > 0 else 0)
        if numbers[table] > 0:
            at = write_shape_table(data, at, levels[table], numbers[table], place, has_zero)
        else:
            at = write_table(data, at, stored, before, log)
        before[:] = stored
    return at


@kernel
def _write_lanes(data, at, lane_bits, preload):
    """Store odd bits and numbers of words."""
    lanes = lane_bits.shape[0]
    for lane in range(lanes):
        at = write_bits(data, at, 5, lane_bits[lane] & 31)
    if lanes > 1:
        least = (lane_bits >> 5).min()
        most = (lane_bits >> 5).max() - least
        width = 0
        while most >> width:
            width += 1
        at = write_bits(data, at, _WORDS_BITS, width)
        for lane in range(lanes):
            at = write_bits(data, at, width, (lane_bits[lane] >> 5) - least)
    for lane in range(lanes):
        at = write_bits(data, at, lane_bits[lane] & 31, preload[lane])
    return at


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
        width = read_bits(payload, at, _WORDS_BITS)
        at += _WORDS_BITS
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


def read_header(payload: np.ndarray, count: int, bits: int, flags: int) -> Header:
    """Read and check a header.

    Raises
    ------
    CodecError
        If it is malformed, or the words are not as many as the lanes can have.
    """
    form = Form(bool(flags & 1), bool(flags & 2), bool(flags & 4), 0, bool(flags & 8))
    tables = value_tables(bits, form.masks, form.signed)
    status, found, lists, starts, classes, all_ends, all_frequencies, lane_bits, preload = (
        parse_header(payload, count, bits, flags, tables.sizes, tables.fields)
    )
    if status != OK:
        raise CodecError(f"lane_tans: {_sentence(status, found, count, payload.size)}")
    form = form._replace(scheme=int(found[SCHEME]))
    num_columns = int(found[NUM_COLUMNS])
    rows = count // num_columns

    def codes(start: int, number: int) -> np.ndarray | None:
        return lists[start : start + number] if start else None

    skip = codes(starts[0], rows)
    kinds = []
    first = 0
    for kind in form.kinds(bits):
        number = int(classes[kind])
        symbols = {FLAG: 2, MASK: 16, VALUE: int(tables.sizes[form.scheme])}[kind]
        frequencies = np.ascontiguousarray(all_frequencies[first : first + number, :symbols])
        kinds.append(
            Kind(
                kind,
                codes(starts[1 + kind], rows),
                codes(starts[4 + kind], -(-num_columns // (16, 4, 1)[kind])),
                all_ends[kind, :number].copy(),
                frequencies,
                np.zeros(number, np.int64),
                np.zeros_like(frequencies),
            )
        )
        first += number
    return Header(
        Side(
            form,
            num_columns,
            int(found[LOG]),
            np.zeros(rows, np.uint8) if skip is None else skip,
            tuple(kinds),
        ),
        lane_bits,
        preload,
        int(found[NUM_BYTES]),
    )


def _sentence(status: int, found: np.ndarray, count: int, size: int) -> str:
    """What is wrong with a header."""
    what = int(found[WHAT])
    return {
        CUT: f"truncated, the header does not end in {size} bytes",
        BUCKETS: f"buckets {SCHEMES[found[SCHEME] & 7]} are too many for a table",
        COLUMNS: f"{count} codes are not rows of {found[NUM_COLUMNS]} columns",
        ROOM: f"truncated, {what} codes do not fit the payload",
        CODES: "row or column codes are truncated or out of range",
        TABLES: f"more than {STATES} states in all tables",
        ENDS: "the sums at which classes end are not in ascending order",
        TABLE: "a table is truncated or does not add up",
        PADDING: "padding bits after the header are not zero",
        WORDS: f"{what} bytes after the header are not the words of {found[LANES]} lanes",
    }[status]


def read_shape(payload: np.ndarray) -> tuple[int, int]:
    """Number of columns and of lanes.

    Raises
    ------
    CodecError
        If the payload is shorter than that.
    """
    found = np.zeros(6, np.int64)
    if parse_shape(payload, found) < 0:
        raise CodecError(f"lane_tans: {_sentence(CUT, found, 0, payload.size)}")
    return int(found[NUM_COLUMNS]), int(found[LANES])


def _write_codes(data: np.ndarray, at: int, codes: np.ndarray, centre_bits: int) -> int:
    _, centre, k = rice_choice(np.bincount(codes, minlength=1 << centre_bits))
    at = write_bits(data, at, centre_bits, centre)
    at = write_bits(data, at, 3, k)
    return _put_codes(data, at, codes, centre, k)


@kernel
def _put_codes(data, position, codes, centre, k):
    if k == ALL_SAME:
        return position
    for i in range(codes.shape[0]):
        position = write_rice(data, position, k, zigzag(np.int64(codes[i]) - centre))
    return position


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


def decoder_entries(side: Side, symbols: Symbols) -> np.ndarray:
    """Entries of all tables, (tables, L) int64; the fields are those that `decode_lanes` reads."""
    fields = np.stack(symbols[1:])
    found = [np.zeros((kind.ends.size, 1 << side.log), np.int64) for kind in side.kinds]
    inline = side.kinds[-1].kind == MASK
    for kind, entries in zip(side.kinds, found, strict=True):
        fill_entries(kind.frequencies, side.log, kind.kind, inline, fields, entries)
    return np.concatenate(found)


@kernel
def fill_entries(frequencies, log, kind, inline, fields, entries):
    """Fill the (K, L) entries of (K, S) frequencies; `fields` are least, raw bits, signs."""
    size = 1 << log
    symbol = np.empty(size, np.int64)
    num_bits = np.empty(size, np.int64)
    base = np.empty(size, np.int64)
    of_symbol = np.empty(MAX_SYMBOLS, np.int64)
    for s in range(frequencies.shape[1]):
        of_symbol[s] = s << 28 | 1 << 34
        if kind == VALUE:
            of_symbol[s] |= fields[1, s] << 14 | fields[2, s] << 18
            of_symbol[s] |= fields[3, s] << 19 | fields[0, s] << 20
        elif inline and kind == MASK:
            of_symbol[s] |= _MASK_RAW[s] << 14
    for table in range(frequencies.shape[0]):
        build_decoder(frequencies[table], log, symbol, num_bits, base)
        seen = np.zeros(MAX_SYMBOLS, np.int64)
        for state in range(size):
            s = symbol[state]
            # Bit 34 is for the least state of a symbol.
            entries[table, state] = base[state] | num_bits[state] << 10 | of_symbol[s] - seen[s]
            seen[s] = 1 << 34


def context_arrays(side: Side, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row codes (3, R), column codes (3, C) and the table of each sum (3, 63)."""
    row_codes = np.zeros((3, rows), np.uint8)
    column_codes = np.zeros((3, side.num_columns), np.uint8)
    table_of = np.zeros((3, SUMS), np.int64)
    first = 0
    for kind in side.kinds:
        if kind.rows is not None:
            row_codes[kind.kind] = kind.rows
        if kind.columns is not None:
            column_codes[kind.kind, : kind.columns.size] = kind.columns
        table_of[kind.kind] = first + np.searchsorted(kind.ends, np.arange(SUMS), side="right")
        first += kind.ends.size
    return row_codes, column_codes, table_of
