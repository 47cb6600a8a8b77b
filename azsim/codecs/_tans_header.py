"""Header of a lane_tans payload: form, contexts, tables, lanes; see `lane_tans` for the layout."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from azsim.codecs._tans_fit import LEVELS, SUMS, rice_choice, zigzag
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
from azsim.codecs._tans_tokens import FLAG, MASK, SCHEMES, VALUE, Form, Symbols, value_symbols
from azsim.errors import CodecError
from azsim.jit import kernel

__all__ = [
    "MAX_LANES",
    "MAX_LOG",
    "MIN_LOG",
    "STATES",
    "Header",
    "Kind",
    "Side",
    "context_arrays",
    "decoder_entries",
    "read_header",
    "read_shape",
    "write_header",
]

MIN_LOG, MAX_LOG = 7, 10
STATES = 2048  # of all tables together
MAX_LANES = 64
_COLUMNS_BITS = 5
_LENGTH_BITS = 6
_MAX_LENGTH_BITS = 34
# Masks by the number of their ones: alike in frequency, so that differences are small.
_MASK_ORDER = np.array([0, 1, 2, 4, 8, 3, 5, 6, 9, 10, 12, 7, 11, 13, 14, 15])
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
    """

    kind: int
    rows: np.ndarray | None
    columns: np.ndarray | None
    ends: np.ndarray
    frequencies: np.ndarray


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


def kind_symbols(kind: int, symbols: Symbols) -> int:
    """Number of symbols of a kind."""
    return {FLAG: 2, MASK: 16, VALUE: symbols.least.size}[kind]


def write_header(side: Side, lane_bits: np.ndarray, preload: np.ndarray) -> bytes:
    """Bytes of a header."""
    codes = side.skip.size + sum(
        each.size for kind in side.kinds for each in (kind.rows, kind.columns) if each is not None
    )
    data = np.zeros(4096 + 8 * codes + 16 * lane_bits.size, np.uint8)
    at = write_bits(data, 0, 2, side.log - MIN_LOG)
    at = write_bits(data, at, 3, side.form.scheme)
    at = write_bits(data, at, 6, lane_bits.size - 1)
    width = side.num_columns.bit_length()
    at = write_bits(data, at, _COLUMNS_BITS, width)
    at = write_bits(data, at, width, side.num_columns)
    if side.form.has_skip:
        at = _write_codes(data, at, side.skip, 7)
    for kind in side.kinds:
        for each in (kind.rows, kind.columns):
            at = write_bits(data, at, 1, 0 if each is None else 1)
            if each is not None:
                at = _write_codes(data, at, each, 5)
        at = write_bits(data, at, 3, kind.ends.size - 1)
        for end in kind.ends[:-1]:
            at = write_bits(data, at, 6, int(end))
        before = np.zeros(kind.frequencies.shape[1], np.int64)
        stored = kind.frequencies
        if kind.kind == MASK:
            stored = np.ascontiguousarray(stored[:, _MASK_ORDER])
        for frequencies in stored:
            at = write_table(data, at, frequencies, before, side.log)
            before = frequencies
    least = int(lane_bits.min())
    over = lane_bits - least
    for value, values in ((least, [least]), (int(over.max()), over)):
        width = value.bit_length()
        at = write_bits(data, at, _LENGTH_BITS, width)
        for each in values:
            at = write_bits(data, at, width, int(each))
    for each, size in zip(preload, lane_bits & 31, strict=True):
        at = write_bits(data, at, int(size), int(each))
    return data[: (at + 7) // 8].tobytes()


def read_header(payload: np.ndarray, count: int, bits: int, flags: int) -> Header:
    """Read and check a header.

    Raises
    ------
    CodecError
        If it is malformed, or the words are not as many as it says.
    """
    reader = _Reader(payload)
    log = MIN_LOG + reader.take(2)  # at most MAX_LOG
    form = Form(bool(flags & 1), bool(flags & 2), bool(flags & 4), reader.take(3), bool(flags & 8))
    lanes = reader.take(6) + 1
    num_columns = reader.take(reader.take(_COLUMNS_BITS))
    symbols = value_symbols(bits, form)
    if symbols is None:
        raise CodecError(f"lane_tans: buckets {SCHEMES[form.scheme]} are too many for a table")
    if num_columns < 1 or count % num_columns:
        raise CodecError(f"lane_tans: {count} codes are not rows of {num_columns} columns")
    rows = count // num_columns
    limit = (1 << (bits - 1)) - 1
    skip = np.zeros(rows, np.uint8)
    if form.has_skip:
        skip = reader.codes(rows, 7, limit)
    kinds = []
    left = STATES >> log
    for kind in form.kinds(bits):
        columns = -(-num_columns // (16, 4, 1)[kind])
        has_rows = reader.take(1)
        row_codes = reader.codes(rows, 5, LEVELS) if has_rows else None
        has_columns = reader.take(1)
        column_codes = reader.codes(columns, 5, LEVELS) if has_columns else None
        number = reader.take(3) + 1
        left -= number
        if left < 0:
            raise CodecError(f"lane_tans: more than {STATES} states in all tables")
        ends = [reader.take(6) for _ in range(number - 1)] + [SUMS]
        if any(a >= b for a, b in zip([0, *ends], ends, strict=False)):
            raise CodecError("lane_tans: the sums at which classes end are not in ascending order")
        tables = reader.tables(number, kind_symbols(kind, symbols), log)
        if kind == MASK:
            stored = tables.copy()
            tables[:, _MASK_ORDER] = stored
        kinds.append(Kind(kind, row_codes, column_codes, np.array(ends, np.int64), tables))
    least = reader.take(reader.length())
    width = reader.length()
    lane_bits = np.array([least + reader.take(width) for _ in range(lanes)], np.int64)
    preload = np.array([reader.take(int(size) & 31) for size in lane_bits], np.int64)
    num_bytes = reader.end()
    words = int((lane_bits >> 5).sum())
    if payload.size != num_bytes + 4 * words:
        raise CodecError(
            f"lane_tans: {payload.size - num_bytes} bytes after the header, "
            f"the lanes take {words} words"
        )
    return Header(Side(form, num_columns, log, skip, tuple(kinds)), lane_bits, preload, num_bytes)


def read_shape(payload: np.ndarray) -> tuple[int, int]:
    """Number of columns and of lanes.

    Raises
    ------
    CodecError
        If the payload is shorter than that.
    """
    reader = _Reader(payload)
    reader.take(2)
    reader.take(3)
    lanes = reader.take(6) + 1
    return reader.take(reader.take(_COLUMNS_BITS)), lanes


class _Reader:
    """Position in a payload."""

    def __init__(self, payload: np.ndarray) -> None:
        self._payload = payload
        self._at = 0

    def take(self, width: int) -> int:
        value = int(read_bits(self._payload, self._at, width))
        if value < 0:
            raise CodecError(f"lane_tans: truncated, the header ends after byte {self._at // 8}")
        self._at += width
        return value

    def length(self) -> int:
        width = self.take(_LENGTH_BITS)
        if width > _MAX_LENGTH_BITS:
            raise CodecError(
                f"lane_tans: lane length of {width} bits, allowed: at most {_MAX_LENGTH_BITS}"
            )
        return width

    def codes(self, number: int, centre_bits: int, limit: int) -> np.ndarray:
        centre = self.take(centre_bits)
        k = self.take(3)
        if number > 8 * self._payload.size - self._at:
            raise CodecError(f"lane_tans: truncated, {number} codes do not fit the payload")
        found = np.zeros(number, np.uint8)
        self._at = int(_read_codes(self._payload, self._at, centre, k, limit, found))
        if self._at < 0:
            raise CodecError("lane_tans: row or column codes are truncated or out of range")
        return found

    def tables(self, number: int, symbols: int, log: int) -> np.ndarray:
        found = np.zeros((number, symbols), np.int64)
        before = np.zeros(symbols, np.int64)
        for frequencies in found:
            self._at = int(read_table(self._payload, self._at, before, log, frequencies))
            if self._at < 0:
                raise CodecError("lane_tans: a table is truncated or does not add up")
            before = frequencies
        return found

    def end(self) -> int:
        if self.take(-self._at % 8):
            raise CodecError("lane_tans: padding bits after the header are not zero")
        return self._at // 8


def _write_codes(data: np.ndarray, at: int, codes: np.ndarray, centre_bits: int) -> int:
    _, centre, k = rice_choice(np.bincount(codes, minlength=1 << centre_bits))
    at = write_bits(data, at, centre_bits, centre)
    at = write_bits(data, at, 3, k)
    return _put_codes(data, at, codes, centre, k)


@kernel
def _put_codes(data, position, codes, centre, k):
    for i in range(codes.shape[0]):
        position = write_rice(data, position, k, zigzag(np.int64(codes[i]) - centre))
    return position


@kernel
def _read_codes(data, position, centre, k, limit, codes):
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
    return np.concatenate(
        [
            _entries(
                kind.frequencies,
                side.log,
                kind.kind,
                side.kinds[-1].kind == MASK,
                *symbols[1:],
                _MASK_RAW,
            )
            for kind in side.kinds
        ]
    )


@kernel
def _entries(frequencies, log, kind, inline, least, raw_bits, has_sign, negative, mask_raw):
    size = 1 << log
    found = np.empty((frequencies.shape[0], size), np.int64)
    symbol = np.empty(size, np.int64)
    num_bits = np.empty(size, np.int64)
    base = np.empty(size, np.int64)
    for table in range(frequencies.shape[0]):
        build_decoder(frequencies[table], log, symbol, num_bits, base)
        seen = np.zeros(MAX_SYMBOLS, np.int64)
        for state in range(size):
            s = symbol[state]
            entry = base[state] | num_bits[state] << 10 | s << 28
            if seen[s] == 0:
                entry |= 1 << 34
                seen[s] = 1
            if kind == VALUE:
                entry |= raw_bits[s] << 14 | has_sign[s] << 18 | negative[s] << 19 | least[s] << 20
            elif inline and kind == MASK:
                entry |= mask_raw[s] << 14
            found[table, state] = entry
    return found


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
