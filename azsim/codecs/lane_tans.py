"""Tokens under tANS tables chosen by row and column, for lanes that decode side by side."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from azsim.codecs._base import HardwareCost
from azsim.codecs._cost import input_window, total
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
from azsim.codecs._tans_encode import encode_payload
from azsim.codecs._tans_header import (
    MAX_LANES,
    STATES,
    Header,
    context_arrays,
    decoder_entries,
    read_header,
    read_shape,
)
from azsim.codecs._tans_tokens import (
    FLAG,
    MASK,
    QUAD,
    VALUE,
    value_symbols,
)
from azsim.errors import CodecError

ID = 9
FLAGS = 15
PARAMETERS = ("lanes",)
WANTS_COLUMNS = True
CANONICAL = False

_LANES = 16

_Decoded = tuple[np.ndarray, np.ndarray]


def encode(codes: np.ndarray, bits: int, columns: int, lanes: int = _LANES) -> tuple[bytes, int]:
    """Encode (count,) int8 codes; see the package for the contract."""
    if not 1 <= lanes <= MAX_LANES:
        raise CodecError(f"codec lane_tans: {lanes} lanes, allowed: 1 to {MAX_LANES}")
    if not codes.any():
        return b"", 0
    return encode_payload(codes, bits, columns, lanes)


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
