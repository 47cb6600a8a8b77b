"""The way of a code matrix to a lane_tans payload."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from azsim.codecs._tans_choose import best_form
from azsim.codecs._tans_fit import ABSENT, Contexts, fit_contexts, rice_choice
from azsim.codecs._tans_header import Kind, Side, context_arrays, write_header
from azsim.codecs._tans_parse import MASK_ORDER, table_shape
from azsim.codecs._tans_partition import choose_tables
from azsim.codecs._tans_stream import encode_lanes
from azsim.codecs._tans_tables import MAX_SYMBOLS
from azsim.codecs._tans_tokens import (
    MASK,
    VALUE,
    Form,
    Symbols,
    tokenize,
    value_symbols,
    value_tables,
)

__all__ = ["encode_payload"]

_Tokens = tuple[np.ndarray, np.ndarray, np.ndarray]

_BITS_PER_LANE = 4096
_NOISE_BITS_PER_LANE = 16384
_NOISE = 0.98  # of all bits of the codes, from which on they count as noise
_POPCOUNT = np.array([0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4])
_ORDER = np.argsort(MASK_ORDER)


class _Fitted(NamedTuple):
    side: Side
    tokens: _Tokens
    symbols: Symbols
    bits: float  # estimate of the payload


def encode_payload(codes: np.ndarray, bits: int, columns: int, lanes: int) -> tuple[bytes, int]:
    """Payload and flags of codes that are not all zero.

    A block gets fewer lanes where they would have less than 4,096 bits each, as a lane costs 12 to
    17; 16,384 where the codes are next to incompressible.
    """
    fitted = _fit_form(codes, bits, columns, *best_form(codes, bits, columns))
    form = fitted.side.form
    is_noise = fitted.bits > _NOISE * bits * codes.size
    share = _NOISE_BITS_PER_LANE if is_noise else _BITS_PER_LANE
    lanes = min(lanes, max(1, int(fitted.bits) // share))
    flags = form.flags | form.masks << 1 | form.signed << 2 | form.has_skip << 3
    return _write(codes, bits, fitted, lanes), int(flags)


def _fit_form(codes: np.ndarray, bits: int, columns: int, form: Form, zones: np.ndarray) -> _Fitted:
    symbols = value_symbols(bits, form)
    assert symbols is not None
    skip = zones if form.has_skip else np.zeros_like(zones)
    kinds = form.kinds(bits)
    widths = (-(-columns // 16), -(-columns // 4), columns)
    flag, mask, value = (
        np.full((skip.size, width if kind in kinds else 0), ABSENT, np.uint8)
        for kind, width in enumerate(widths)
    )
    tokens = flag, mask, value
    inline = form.masks and bits == 2
    tokenize(
        codes, columns, form.flags, form.masks, inline, form.signed, skip, symbols.of_value, tokens
    )
    contexts: list[Contexts] = []
    total = float(rice_choice(np.bincount(skip, minlength=128))[0]) + 10 if form.has_skip else 0.0
    for kind in kinds:
        raw_bits, weight = _raw_and_weight(kind, symbols, inline)
        found = fit_contexts(tokens[kind], raw_bits, weight)
        contexts.append(found)
        total += found.side_bits + float(found.histogram.sum(axis=0) @ raw_bits)
    table_bits, log, chosen = _tables(bits, form, kinds, contexts)
    return _Fitted(Side(form, columns, log, skip, chosen), tokens, symbols, total + table_bits)


def _raw_and_weight(kind: int, symbols: Symbols, inline: bool) -> tuple[np.ndarray, np.ndarray]:
    """Raw bits of each symbol of a kind, and the size that it stands for."""
    if kind == VALUE:
        raw_bits = symbols.raw_bits
        return raw_bits, symbols.least + ((1 << (raw_bits - symbols.has_sign)) - 1) / 2
    if kind == MASK:
        return _POPCOUNT * inline, _POPCOUNT.astype(np.float64)
    return np.zeros(2, np.int64), np.array([0.0, 1.0])


def _tables(
    bits: int, form: Form, kinds: tuple[int, ...], contexts: list[Contexts]
) -> tuple[float, int, tuple[Kind, ...]]:
    """Bits, size of a table (log) and all that is stored of each kind."""
    fields = value_tables(bits, form.masks, form.signed).fields
    sizes = np.array([each.histogram.shape[1] for each in contexts])
    histograms = np.zeros((len(kinds), contexts[0].histogram.shape[0], MAX_SYMBOLS), np.int64)
    shapes = np.zeros((len(kinds), 2, MAX_SYMBOLS), np.int64)
    has_zero = np.zeros(len(kinds), np.int64)
    for i, (kind, each) in enumerate(zip(kinds, contexts, strict=True)):
        stored = each.histogram[:, MASK_ORDER] if kind == MASK else each.histogram
        histograms[i, :, : sizes[i]] = stored
        *shape, has_zero[i] = table_shape(kind, form.masks, form.signed, form.scheme, fields)
        shapes[i, :, : shape[0].size] = shape
    total, log, classes, ends, frequencies, numbers, levels = choose_tables(
        histograms, sizes, shapes, has_zero
    )
    found = []
    for i, (kind, each) in enumerate(zip(kinds, contexts, strict=True)):
        number, size = classes[i], sizes[i]
        of_symbol = frequencies[i, :number, :size]
        found.append(
            Kind(
                kind,
                each.rows if each.has_rows else None,
                each.columns if each.has_columns else None,
                ends[i, :number],
                of_symbol[:, _ORDER] if kind == MASK else of_symbol,
                numbers[i, :number],
                levels[i, :number, :size],
            )
        )
    return total, int(log), tuple(found)


def _write(codes: np.ndarray, bits: int, fitted: _Fitted, lanes: int) -> bytes:
    side, tokens, symbols, _ = fitted
    tables = [table for kind in side.kinds for table in kind.frequencies]
    sizes = np.array([table.size for table in tables])
    padded = np.zeros((len(tables), MAX_SYMBOLS), np.int64)
    for row, table in zip(padded, tables, strict=True):
        row[: table.size] = table
    lane_bits, preload, stream = encode_lanes(
        codes,
        tokens,
        side.num_columns,
        lanes,
        side.skip,
        (symbols.least, symbols.raw_bits, symbols.has_sign),
        context_arrays(side, side.skip.size),
        side.log,
        padded,
        sizes,
    )
    return write_header(side, bits, lane_bits, preload) + stream.astype("<u4", copy=False).tobytes()
