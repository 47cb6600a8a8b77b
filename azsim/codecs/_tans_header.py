"""Header of a lane_tans payload: form, contexts, tables, lanes; see `lane_tans` for the layout."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from azsim.codecs._tans_fit import ALL_SAME, SUMS, rice_choice, zigzag
from azsim.codecs._tans_parse import (
    BUCKETS,
    CODES,
    COLUMNS,
    CUT,
    ENDS,
    LANES,
    LOG,
    MASK_ORDER,
    MIN_LOG,
    NUM_BYTES,
    NUM_COLUMNS,
    OK,
    PADDING,
    ROOM,
    SCHEME,
    SCHEME_BITS,
    STATES,
    TABLE,
    TABLES,
    WHAT,
    WORDS,
    WORDS_BITS,
    parse_header,
    parse_shape,
    table_shape,
)
from azsim.codecs._tans_shapes import write_shape_table
from azsim.codecs._tans_tables import (
    MAX_SYMBOLS,
    build_decoder,
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
    "Header",
    "Kind",
    "Side",
    "context_arrays",
    "decoder_entries",
    "fill_entries",
    "read_header",
    "read_shape",
    "write_header",
]

_MASK_RAW = np.array([0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4])


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
        at = write_bits(data, at, WORDS_BITS, width)
        for lane in range(lanes):
            at = write_bits(data, at, width, (lane_bits[lane] >> 5) - least)
    for lane in range(lanes):
        at = write_bits(data, at, lane_bits[lane] & 31, preload[lane])
    return at


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
