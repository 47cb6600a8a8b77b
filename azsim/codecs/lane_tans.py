"""Tokens under tANS tables chosen by row and column, for lanes that decode side by side.

Payload: nothing if all codes are zero; else, with bits filling bytes from the least one::

    2 bits           log - 7: a table has 2**log states, all tables together at most 2,048
    6 bits           lanes less one
    5 bits, gamma    zeros at the end of the number of columns; half of what is left of it, and one
    3 bits           scheme, see `azsim.codecs._tans_tokens`, at more than 5 bits a code
    7 + 3 bits, codes   if flag 8 is set: the dead zone of each row
    for each kind of tokens, flags (if flag 1 is set), masks (flag 2), values:
      1 bit          whether rows have codes, then 5 + 3 bits, codes
      1 bit          whether columns have codes (one for each 16, 4 or 1 columns), the same
      if one of these:
        3 bits       classes less one
        6 bits each  the sum of codes at which each class but the last ends
      tables         one a class: but for flags and values with signs, 1 bit whether it is a curve
                     (`azsim.codecs._tans_shapes`); else, `azsim.codecs._tans_tables`
    5 bits each      bits of each lane, modulo 32
    5 bits, that many for each lane   if there is more than one: words over those of the least
    fields           the odd bits of each lane, as many as said above
    0 to 7 zero bits up to a whole byte
    words            4 bytes each, little endian

"codes" are Rice codes of zigzag distances to a centre: the centre, k (3 bits), then the codes, of
which there are none if k is 7: all are the centre.  "gamma" is n zeros, a one, and the n bits
below the highest one.  Flag 4 says that value symbols hold the sign.

A group of 16 columns belongs to one lane; lanes take turns at groups along the rows, and change
places by one in each turn.  A lane's bits are the first state, then for each token its raw bits
and the bits of its next state; the last token has none of these, and its state is the symbol's
least.  Lanes go in step, one token each.  After a step a lane that holds less than 32 bits takes
the next word, in the order of lanes, if it has one left: the order of words follows from counts of
tokens, never from stalls.  The table of a token is that of the class of (row code + column code).

Source: azsim's own.  tANS: J. Duda, arXiv:1311.2540, and Collet's FSE; lanes that share a stream:
F. Giesen, arXiv:1402.3392; scale contexts for rows and columns are new here, as far as we know.

Hardware, a lane: a 64-bit window (FIFO of two words), 2 adders for state and raw bits, 1 each for
the sum of contexts, dead zone and sign, 7 comparators of the sum against the ends of the classes,
a port on 2,048 entries of 26 bits and one on the contexts.  The word mux goes through two steps of
the lanes' demands a cycle and hands out 4 words.  ``tests/rtl/tans_decoder.v`` is that in Verilog.
Header, tables and contexts (an entry a cycle) load while the block before is decoded, into a
second set of memories: an assumption.

Cycles: one token a cycle and lane; `azsim.codecs._tans_cycles` steps lanes, FIFOs, mux and write
port as the Verilog does.  On a 128-bit bus 16 lanes give 15.97 weights a cycle dense, 31.4 at 75 %
zeros (LSTM, 8 and 4 bits), 45 at 90 %.  A block of less than 4,096 bits a lane gets fewer lanes
than were asked for, one that is next to incompressible of less than 16,384, as a lane costs 12 to
17 bits.

What helped, in bits per weight, side information counted, on LSTM codes of 512 by 256 if not said:

* row and column codes, at most 8 classes a kind: -0.059, -0.035, -0.025 at 8 bits and 0, 50, 75 %
  zeros; -0.057, -0.069, -0.034 at 4 bits.  Nothing on noise; they are then left out;
* the dead zone of each row: -0.031, -0.024 at 8 bits and 50, 75 % zeros, where the least non-zero
  code of a row is 9 to 35 and 16 to 63.  At 4 bits +0.004, +0.001: it must promise 1 %;
* masks of 4 codes in place of zeros as values: -0.28, -0.36 for 2:4 at 4 and 8 bits.  At 50 and
  75 % zeros the size is within 0.01, but at 75 % there are half as many tokens;
* flags of 16 codes, for blocks of 16 zeros: -0.11, and -0.15 on Laplace weights;
* tables of 128 to 1,024 states by block: few states pay for more classes (128 instead of 256:
  -0.005 at 4 bits, 50 %), 1,024 are for one skew table (-0.003 at 2 bits, 90 %);
* odd bits first and no bits after the last token: a lane costs about 12 bits instead of some 50
  (half a word and a state at both ends), -0.005;
* tables stored as curves where that is shorter than lists, shorter lengths of lanes, no classes
  without contexts, and a fourth of the lanes: 4 to 21 bytes of a block of 4,096 Laplace weights;
* lanes that take turns at groups, not parts of the matrix: 31.4 instead of 28.7 weights a cycle;
* masks ordered by their ones in stored tables: tables of masks 12 to 35 % shorter.

What did not: buckets finer than 8 and 4 an octave (within 0.003); signed values (+0.001 to
+0.004 here; kept for one-sided weights); a stored form for noise (a block's own header makes it
as long as Arm's; tables of 1,024 states and few lanes are shorter).

Not built: classes from the weights just before in a lane.  Estimated by conditional entropy they
give nothing beyond rows and columns on the LSTM and on three of four convolutions (6.395 to 6.393
on the second), but 0.16 of 6.06 bits, and 0.38 with their signs, on the convolution over a
spectrogram.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from azsim.codecs._base import HardwareCost
from azsim.codecs._cost import input_window, total
from azsim.codecs._steps import LaneSteps, even_steps
from azsim.codecs._tans_cycles import word_demands
from azsim.codecs._tans_decode import (
    END,
    LEFT,
    OK,
    RANGE,
    SHORT,
    decode_lanes,
)
from azsim.codecs._tans_encode import encode_payload
from azsim.codecs._tans_fast import decode_fast
from azsim.codecs._tans_header import (
    Header,
    context_arrays,
    decoder_entries,
    read_header,
    read_shape,
)
from azsim.codecs._tans_parse import MAX_LANES, STATES
from azsim.codecs._tans_tokens import (
    FLAG,
    MASK,
    VALUE,
    value_symbols,
    value_tables,
)
from azsim.errors import CodecError

ID = 9
FLAGS = 15
PARAMETERS = ("lanes",)
MOST_LANES = MAX_LANES
WANTS_COLUMNS = True
CANONICAL = False

_LANES = 16
_ZEROS_PER_CYCLE = 16

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
    return _decode(payload, count, bits, flags, counts=False)[0]


def lane_steps(payload: np.ndarray, count: int, bits: int, flags: int, lanes: int) -> LaneSteps:
    """A token a step, with the words that the mux hands out ahead; see the package."""
    tokens, widths, given = _token_table(payload, count, bits, flags)
    if payload.size == 0:
        return even_steps(payload, count, 0, _ZEROS_PER_CYCLE, lanes)
    header = read_header(payload, count, bits, flags)
    demands = word_demands(widths, tokens, header.lane_bits, header.side.log)
    rows = [i for lane in range(lanes) for i in range(lane, tokens.size, lanes)]
    of_lane = [int(tokens[lane::lanes].sum()) for lane in range(lanes)]
    first = np.concatenate([[0], np.cumsum(of_lane)])
    steps = (
        np.concatenate([table[i, : tokens[i]] for i in rows]).astype(np.int32)
        for table in (demands, given)
    )
    return LaneSteps.of_block(payload, first, *steps)


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
    tokens, widths, _ = _token_table(payload, count, bits, flags)
    return [row[:number] for row, number in zip(widths, tokens, strict=True)]


def hardware_cost(payload: np.ndarray, bits: int, flags: int, lanes: int) -> HardwareCost:
    """Rough size of a decoder; see the package for the contract.

    Tables are sized for any block, not for this one: 2,048 entries of 26 bits (next state 10,
    its bits 4, least value 7, raw bits 3, two of the sign); 22 bits of contexts and dead zone for
    each of 4,096 rows, and 21 5-bit codes for each of 256 groups of 16 columns.  There is a copy
    for each two lanes, as memories have two ports.  A lane has an input window that yields 17
    bits; registers of state (10), the groups to be read and written (54), place in the group and
    mask (8), word count (20), contexts of the group (127) and the mux's counts (12); adders for
    row and column code, next state, raw bits, dead zone, sign, column and two counters; 7
    comparators against the ends of the classes and 3 for refill, end of row and end of group.
    The word mux gives a lane one of 4 words and adds up the demands before it.
    """
    lane = HardwareCost(
        register_bits=10 + 54 + 8 + 20 + 127 + 12,
        multiplexers=3 * 32 + 3 * 10 + 8 * 4,
        adders=8 + 1,
        comparators=7 + 3,
    )
    table_bits = (lanes + 1) // 2 * (STATES * 26 + 4096 * 22 + 256 * 21 * 5)
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


def _decode(payload: np.ndarray, count: int, bits: int, flags: int, counts: bool) -> _Decoded:
    """Codes, and, if it `counts`, the tokens of each lane."""
    codes = np.zeros(count, np.int8)
    if payload.size == 0:
        if flags:
            raise CodecError(f"lane_tans: flags 0x{flags:x} without a payload")
        return codes, np.zeros(1, np.int64)
    if count == 0:
        raise CodecError(f"lane_tans: {payload.size} bytes of payload for no code")
    masks, is_signed = bool(flags & 2), bool(flags & 4)
    if not counts and not flags & 1:
        tables = value_tables(bits, masks, is_signed)
        if decode_fast(payload, bits, flags, tables.sizes, tables.fields, codes):
            return codes, np.zeros(1, np.int64)
        codes[:] = 0
    opened = _open(payload, count, bits, flags)
    tokens = np.zeros(opened.header.lane_bits.size, np.int64)
    nowhere = np.zeros((0, 0), np.uint8)
    _decode_any(opened, codes, tokens, nowhere, nowhere)
    return codes, tokens


def _token_table(
    payload: np.ndarray, count: int, bits: int, flags: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens of each lane, and of each token its bits and the codes it completes, by lane."""
    codes, tokens = _decode(payload, count, bits, flags, counts=True)
    widths, given = np.zeros((2, tokens.size, int(tokens.max())), np.uint8)
    if payload.size:
        opened = _open(payload, count, bits, flags)
        _decode_any(opened, codes, np.zeros_like(tokens), widths, given)
    return tokens, widths, given


def _decode_any(
    opened: _Opened, codes: np.ndarray, tokens: np.ndarray, widths: np.ndarray, given: np.ndarray
) -> None:
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
        given,
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
