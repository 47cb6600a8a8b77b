"""The way of a code matrix to a lane_tans payload."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from azsim.codecs._tans_choose import rank_forms, worth
from azsim.codecs._tans_fit import (
    ABSENT,
    MAX_CLASSES,
    Contexts,
    fit_contexts,
    rice_choice,
    table_choice,
)
from azsim.codecs._tans_header import (
    MAX_LOG,
    MIN_LOG,
    STATES,
    Kind,
    Side,
    context_arrays,
    write_header,
)
from azsim.codecs._tans_stream import (
    count_tokens,
    encode_lane,
    interleave,
    pack_lane,
)
from azsim.codecs._tans_tables import MAX_SYMBOLS, build_encoder
from azsim.codecs._tans_tokens import (
    MASK,
    VALUE,
    Form,
    Symbols,
    tokenize,
    value_symbols,
)

__all__ = ["encode_payload"]

_Tokens = tuple[np.ndarray, np.ndarray, np.ndarray]

_BITS_PER_LANE = 1024
_SMALL = 1 << 16  # codes for which several forms are fitted
_FORMS_OF_SMALL = 4
_POPCOUNT = np.array([0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4])


class _Fitted(NamedTuple):
    side: Side
    tokens: _Tokens
    symbols: Symbols
    bits: float  # estimate of the payload
    worth: float


def encode_payload(codes: np.ndarray, bits: int, columns: int, lanes: int) -> tuple[bytes, int]:
    """Payload and flags of codes that are not all zero.

    A block gets fewer lanes where they would have less than 1,024 bits each: a lane costs a dozen.
    """
    forms, zones = rank_forms(codes, bits, columns)
    number = _FORMS_OF_SMALL if codes.size <= _SMALL else 1
    # The best of each kind: those that differ in their buckets alone are alike in size.
    kinds = {(form.flags, form.masks, form.has_skip): form for form in reversed(forms)}
    tried = sorted(kinds.values(), key=forms.index)[:number]
    fitted = min(
        (_fit_form(codes, bits, columns, form, zones) for form in tried),
        key=lambda each: each.worth,
    )
    form = fitted.side.form
    lanes = min(lanes, max(1, int(fitted.bits) // _BITS_PER_LANE))
    flags = form.flags | form.masks << 1 | form.signed << 2 | form.has_skip << 3
    return _write(codes, fitted, lanes), int(flags)


def _fit_form(codes: np.ndarray, bits: int, columns: int, form: Form, zones: np.ndarray) -> _Fitted:
    symbols = value_symbols(bits, form)
    assert symbols is not None
    skip = zones if form.has_skip else np.zeros_like(zones)
    kinds = form.kinds(bits)
    widths = [-(-columns // 16), -(-columns // 4), columns]
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
    num_tokens = 0
    for kind in kinds:
        if kind == VALUE:
            raw_bits = symbols.raw_bits
            weight = symbols.least + ((1 << (raw_bits - symbols.has_sign)) - 1) / 2
        elif kind == MASK:
            raw_bits = _POPCOUNT * inline
            weight = _POPCOUNT.astype(np.float64)
        else:
            raw_bits, weight = np.zeros(2, np.int64), np.array([0.0, 1.0])
        contexts.append(fit_contexts(tokens[kind], raw_bits, weight))
        counts = contexts[-1].histogram.sum(axis=0)
        total += contexts[-1].side_bits + float((counts * raw_bits).sum())
        num_tokens += int(counts.sum())
    table_bits, log, chosen = _tables(kinds, contexts)
    total += table_bits
    return _Fitted(
        Side(form, columns, log, skip, chosen),
        tokens,
        symbols,
        total,
        worth(total, num_tokens, codes.size),
    )


def _tables(
    kinds: tuple[int, ...], contexts: list[Contexts]
) -> tuple[float, int, tuple[Kind, ...]]:
    """Bits, size of a table (log) and all that is stored of each kind."""
    best = None
    for log in range(MIN_LOG, MAX_LOG + 1):
        most = min(STATES >> log, MAX_CLASSES * len(contexts))
        if most < len(contexts):
            continue
        choice = table_choice(contexts, log, most)
        if best is None or choice[0] < best[0]:
            best = (*choice, log)
    assert best is not None
    bits, ends, frequencies, log = best
    return (
        bits,
        log,
        tuple(
            Kind(
                kind,
                each.rows if each.has_rows else None,
                each.columns if each.has_columns else None,
                *both,
            )
            for kind, each, *both in zip(kinds, contexts, ends, frequencies, strict=True)
        ),
    )


def _coder(side: Side) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Encoder tables as `encode_lane` reads them."""
    tables = [frequencies for kind in side.kinds for frequencies in kind.frequencies]
    shape = (len(tables), MAX_SYMBOLS)
    start, most, least = (np.zeros(shape, np.int64) for _ in range(3))
    states = np.zeros((len(tables), 1 << side.log), np.int64)
    for i, frequencies in enumerate(tables):
        size = frequencies.size
        build_encoder(
            frequencies, side.log, start[i, :size], most[i, :size], least[i, :size], states[i]
        )
    return start.reshape(-1), most.reshape(-1), least.reshape(-1), states


def _write(codes: np.ndarray, fitted: _Fitted, lanes: int) -> bytes:
    side, tokens, symbols, *_ = fitted
    columns, rows = side.num_columns, side.skip.size
    coder = _coder(side)
    contexts = context_arrays(side, rows)
    numbers = [count_tokens(tokens, rows, columns, lanes, lane) for lane in range(lanes)]
    token_start = np.concatenate([[0], np.cumsum(numbers)]).astype(np.int64)
    emitted = np.empty(token_start[-1], np.uint32)
    lane_bits = np.zeros(lanes, np.int64)
    start_state = np.zeros(lanes, np.int64)
    used = (symbols.least, symbols.raw_bits, symbols.has_sign)
    for lane in range(lanes):
        state, total = encode_lane(
            codes,
            tokens,
            columns,
            lanes,
            lane,
            side.skip,
            used,
            contexts,
            side.log,
            coder,
            emitted[token_start[lane] : token_start[lane + 1]],
        )
        start_state[lane] = state
        lane_bits[lane] = total + side.log
    word_start = np.concatenate([[0], np.cumsum(lane_bits >> 5)]).astype(np.int64)
    words = np.empty(word_start[-1], np.uint32)
    preload = np.zeros(lanes, np.int64)
    for lane in range(lanes):
        pack_lane(
            emitted[token_start[lane] : token_start[lane + 1]],
            start_state[lane],
            side.log,
            lane_bits[lane],
            preload[lane : lane + 1],
            words[word_start[lane] : word_start[lane + 1]],
        )
    stream = np.empty(words.size, np.uint32)
    interleave(emitted, token_start, lane_bits, side.log, words, word_start, stream)
    return write_header(side, lane_bits, preload) + stream.astype("<u4").tobytes()
