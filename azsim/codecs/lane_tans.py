"""Tokens under tANS tables chosen by row and column, for lanes that decode side by side."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from azsim.codecs._base import HardwareCost
from azsim.codecs._cost import input_window, total
from azsim.codecs._tans_choose import choose_form
from azsim.codecs._tans_decode import (
    END,
    LEFT,
    OK,
    RANGE,
    SHORT,
    decode_dense,
    decode_lanes,
    decode_masked,
)
from azsim.codecs._tans_fit import ABSENT, Contexts, fit_contexts, table_choice
from azsim.codecs._tans_header import (
    MAX_LANES,
    MAX_LOG,
    MIN_LOG,
    STATES,
    Header,
    Kind,
    Side,
    context_arrays,
    decoder_entries,
    read_header,
    read_shape,
    write_header,
)
from azsim.codecs._tans_stream import (
    count_tokens,
    encode_lane,
    interleave,
    lane_groups,
    pack_lane,
)
from azsim.codecs._tans_tables import MAX_SYMBOLS, build_encoder
from azsim.codecs._tans_tokens import (
    FLAG,
    GROUP,
    MASK,
    QUAD,
    VALUE,
    Form,
    Symbols,
    tokenize,
    value_symbols,
)
from azsim.errors import CodecError

ID = 9
FLAGS = 15
PARAMETERS = ("lanes",)
WANTS_COLUMNS = True
CANONICAL = False

_Tokens = tuple[np.ndarray, np.ndarray, np.ndarray]
_Decoded = tuple[np.ndarray, np.ndarray]

_LANES = 16
_GROUPS_PER_LANE = 4
_POPCOUNT = np.array([0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4])


def encode(codes: np.ndarray, bits: int, columns: int, lanes: int = _LANES) -> tuple[bytes, int]:
    """Encode (count,) int8 codes; see the package for the contract."""
    if not 1 <= lanes <= MAX_LANES:
        raise CodecError(f"codec lane_tans: {lanes} lanes, allowed: 1 to {MAX_LANES}")
    if not codes.any():
        return b"", 0
    form, skip = choose_form(codes, bits, columns)
    symbols = value_symbols(bits, form)
    assert symbols is not None
    tokens = _tokens(codes, bits, columns, form, skip, symbols)
    side = _fit(tokens, bits, columns, form, skip, symbols)
    groups = skip.size * -(-columns // GROUP)
    lanes = min(lanes, max(1, groups // _GROUPS_PER_LANE))
    payload = _write(codes, tokens, side, symbols, lanes)
    flags = form.flags | form.masks << 1 | form.signed << 2 | form.has_skip << 3
    return payload, int(flags)


def decode(payload: np.ndarray, count: int, bits: int, flags: int) -> np.ndarray:
    """Decode to (count,) int8; see the package for the contract."""
    return _decode(payload, count, bits, flags)[0]


def lane_cycles(payload: np.ndarray, count: int, bits: int, flags: int, lanes: int) -> int:
    """Tokens of the busiest lane; see the package for the contract."""
    tokens = _decode(payload, count, bits, flags)[1]
    return max(int(tokens[lane::lanes].sum()) for lane in range(min(lanes, tokens.size)))


def parameters_of(payload: np.ndarray, count: int, flags: int) -> dict[str, int | bool]:
    """Columns and lanes of a block; see the package for the contract."""
    if payload.size == 0:
        return {}
    columns, lanes = read_shape(payload)
    return {"columns": columns, "lanes": lanes}


def token_widths(payload: np.ndarray, count: int, bits: int, flags: int) -> list[np.ndarray]:
    """Bits that each token takes, by lane in decoding order, without the first state's.

    Raises
    ------
    CodecError
        If the payload is malformed.
    """
    codes, tokens = _decode(payload, count, bits, flags)
    if payload.size == 0:
        return [np.zeros(0, np.uint8)]
    widths = np.zeros((tokens.size, int(tokens.max())), np.uint8)
    _decode_any(_open(payload, count, bits, flags), codes, np.zeros_like(tokens), widths)
    return [row[:number] for row, number in zip(widths, tokens, strict=True)]


def hardware_cost(payload: np.ndarray, bits: int, flags: int, lanes: int) -> HardwareCost:
    """Rough size of a decoder; see the package for the contract.

    Tables are sized for any block, not for this one: 2,048 entries of 26 bits (next state 10,
    its bits 4, least value 7, raw bits 3, two of the sign), a copy for each two lanes, as memories
    have two ports; and 5-bit context codes of 4,096 rows and columns, twice.  A lane has an input
    window that yields 17 bits; registers of state (10), place (32), mask (4), word count (16) and
    group count (16); adders for row and column code, next state, raw bits, dead zone, sign, column
    and two counters; 7 comparators against the ends of the classes and 3 for refill, end of row
    and end of group.  The word mux gives a lane one of 4 words and adds up the demands before it.
    """
    lane = HardwareCost(
        register_bits=10 + 32 + 4 + 16 + 16,
        multiplexers=3 * 32 + 3 * 10 + 8 * 4,
        adders=8 + 1,
        comparators=7 + 3,
    )
    table_bits = (lanes + 1) // 2 * STATES * 26 + 2 * 5 * 4096
    return total(lanes, [input_window(17), lane], table_bits=table_bits)


def _tokens(codes, bits, columns, form, skip, symbols):
    rows = skip.size
    kinds = form.kinds(bits)
    widths = [-(-columns // 16), -(-columns // 4), columns]
    tokens = tuple(
        np.full((rows, width if kind in kinds else 0), ABSENT, np.uint8)
        for kind, width in enumerate(widths)
    )
    inline = form.masks and bits == 2
    tokenize(
        codes, columns, form.flags, form.masks, inline, form.signed, skip, symbols.of_value, tokens
    )
    return tokens


def _fit(tokens, bits, columns, form: Form, skip, symbols: Symbols) -> Side:
    contexts: list[Contexts] = []
    kinds = form.kinds(bits)
    for kind in kinds:
        if kind == VALUE:
            raw_bits = symbols.raw_bits
            weight = symbols.least + ((1 << (raw_bits - symbols.has_sign)) - 1) / 2
        elif kind == MASK:
            raw_bits = _POPCOUNT * (VALUE not in kinds)
            weight = _POPCOUNT.astype(np.float64)
        else:
            raw_bits, weight = np.zeros(2, np.int64), np.array([0.0, 1.0])
        contexts.append(fit_contexts(tokens[kind], raw_bits, weight))
    best = None
    for log in range(MIN_LOG, MAX_LOG + 1):
        choice = table_choice(contexts, log, STATES >> log)
        if best is None or choice[0] < best[0]:
            best = (*choice, log)
    assert best is not None
    _, ends, frequencies, log = best
    return Side(
        form,
        columns,
        log,
        skip,
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


def _coder(side: Side):
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


def _write(codes, tokens, side: Side, symbols: Symbols, lanes: int) -> bytes:
    columns, rows = side.num_columns, side.skip.size
    groups = rows * -(-columns // GROUP)
    bounds = [int(lane_groups(groups, lanes, lane)) for lane in range(lanes + 1)]
    coder = _coder(side)
    contexts = context_arrays(side, rows)
    numbers = [count_tokens(tokens, columns, first, last) for first, last in pairwise(bounds)]
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
            bounds[lane],
            bounds[lane + 1],
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


class _Opened(NamedTuple):
    header: Header
    stream: np.ndarray  # (W + 1,) uint32, the last word is none
    contexts: tuple[np.ndarray, np.ndarray, np.ndarray]
    entries: np.ndarray  # (tables, L) int64
    is_there: tuple[bool, bool, bool]  # flags, masks, values
    limit: int


def _open(payload: np.ndarray, count: int, bits: int, flags: int) -> _Opened:
    header = read_header(payload, count, bits, flags)
    side = header.side
    symbols = value_symbols(bits, side.form)
    assert symbols is not None
    stream = np.zeros((payload.size - header.num_bytes) // 4 + 1, np.uint32)
    stream[:-1] = np.frombuffer(payload[header.num_bytes :].tobytes(), "<u4")
    kinds = side.form.kinds(bits)
    return _Opened(
        header,
        stream,
        context_arrays(side, count // side.num_columns),
        decoder_entries(side, symbols),
        (FLAG in kinds, MASK in kinds, VALUE in kinds),
        (1 << (bits - 1)) - 1,
    )


def _decode(payload: np.ndarray, count: int, bits: int, flags: int) -> _Decoded:
    """Codes, and the tokens of each lane."""
    codes = np.zeros(count, np.int8)
    if payload.size == 0:
        if flags:
            raise CodecError(f"lane_tans: flags 0x{flags:x} without a payload")
        return codes, np.zeros(1, np.int64)
    if count == 0:
        raise CodecError(f"lane_tans: {payload.size} bytes of payload for no code")
    opened = _open(payload, count, bits, flags)
    tokens = np.zeros(opened.header.lane_bits.size, np.int64)
    if not _decode_usual(opened, codes, tokens):
        codes[:] = 0
        tokens[:] = 0
        _decode_any(opened, codes, tokens, np.zeros((0, 0), np.uint8))
    return codes, tokens


def _decode_usual(opened: _Opened, codes: np.ndarray, tokens: np.ndarray) -> bool:
    """Decode with a kernel for forms without flags; False where that is not possible."""
    header, side = opened.header, opened.header.side
    has_flags, has_masks, has_values = opened.is_there
    if has_flags:
        return False
    rows, columns, table_of = opened.contexts
    base_of = table_of << side.log
    start = (opened.stream, header.preload, header.lane_bits, side.log, side.num_columns)
    end = (opened.entries.reshape(-1), opened.limit, codes, tokens)
    if not has_masks:
        contexts = (rows[VALUE], columns[VALUE], base_of[VALUE])
        return decode_dense(*start, side.skip, *contexts, *end)
    columns[MASK] = np.repeat(columns[MASK], QUAD)[: side.num_columns]
    contexts = (each[MASK:].reshape(-1) for each in (rows, columns, base_of))
    sound = decode_masked(*start, has_values, side.skip, *contexts, *end)
    columns[MASK, : -(-side.num_columns // QUAD)] = columns[MASK, ::QUAD].copy()
    return sound


def _decode_any(opened: _Opened, codes: np.ndarray, tokens: np.ndarray, widths: np.ndarray) -> None:
    """Decode with the kernel for all forms; raise where the stream is not sound."""
    header, side = opened.header, opened.header.side
    stream = opened.stream[:-1]
    status, lane, taken = decode_lanes(
        stream,
        header.preload,
        header.lane_bits,
        side.log,
        side.num_columns,
        opened.is_there,
        side.skip,
        opened.contexts,
        opened.entries,
        opened.limit,
        codes,
        tokens,
        widths,
    )
    if status != OK:
        raise CodecError(f"lane_tans: lane {lane}, token {tokens[lane]}: {_REASONS[status]}")
    if taken != stream.size:
        raise CodecError(f"lane_tans: {stream.size - taken} words that no lane asks for")


_REASONS = {
    SHORT: "its bits are at an end",
    LEFT: "its bits do not end with its last token",
    RANGE: "a code or a mask is out of range",
    END: "its last state is not the symbol's least one",
}
