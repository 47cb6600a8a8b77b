"""Lanes of lane_tans, written: the backward coder, and the words in demand order."""

from __future__ import annotations

import numpy as np

from azsim.codecs._tans_tables import MAX_SYMBOLS, build_encoder
from azsim.codecs._tans_tokens import FLAG, GROUP, MASK, QUAD, VALUE
from azsim.jit import kernel

__all__ = ["WORD_BITS", "encode_lanes", "lane_group", "lane_turns"]

WORD_BITS = 32
_SYMBOL_BITS = 6  # MAX_SYMBOLS is 64


@kernel
def lane_group(lanes, lane, turn):
    """Group that a lane takes in a turn, if there are so many; lanes change places every turn."""
    return turn * lanes + (lane + turn) % lanes


@kernel
def lane_turns(groups, lanes, lane):
    """Number of groups of a lane."""
    turns = (groups + lanes - 1) // lanes
    if turns > 0 and lane_group(lanes, lane, turns - 1) >= groups:
        return turns - 1
    return turns


@kernel
def _count_tokens(tokens, rows, columns, lanes, lane):
    """Tokens of a lane."""
    flag_tokens, mask_tokens, value_tokens = tokens
    per_row = (columns + GROUP - 1) // GROUP
    has_flags, has_masks = flag_tokens.shape[1] > 0, mask_tokens.shape[1] > 0
    has_values = value_tokens.shape[1] > 0
    total = 0
    for turn in range(lane_turns(rows * per_row, lanes, lane)):
        group = lane_group(lanes, lane, turn)
        r = group // per_row
        start = (group - r * per_row) * GROUP
        stop = min(start + GROUP, columns)
        if has_flags:
            total += 1
            if flag_tokens[r, start >> 4] == 0:
                continue
        if has_masks:
            total += (stop - start + QUAD - 1) >> 2
            if has_values:
                for quad in range(start >> 2, (stop + 3) >> 2):
                    mask = mask_tokens[r, quad]
                    total += (mask & 1) + (mask >> 1 & 1) + (mask >> 2 & 1) + (mask >> 3)
        else:
            total += stop - start
    return total


@kernel
def _group_events(codes, tokens, columns, r, start, skip, symbols, contexts, tables, raws):
    """Tables-and-symbols and raw bits of a group's tokens in order; gives their number."""
    flag_tokens, mask_tokens, value_tokens = tokens
    least, raw_bits, has_sign = symbols
    row_codes, column_codes, table_of = contexts
    stop = min(start + GROUP, columns)
    number = 0
    if flag_tokens.shape[1] > 0:
        some = np.int64(flag_tokens[r, start >> 4])
        table = table_of[FLAG, row_codes[FLAG, r] + column_codes[FLAG, start >> 4]]
        tables[number] = table * MAX_SYMBOLS + some
        raws[number] = 0
        number += 1
        if some == 0:
            return number
    has_masks, has_values = mask_tokens.shape[1] > 0, value_tokens.shape[1] > 0
    a = row_codes[VALUE, r]
    zone = np.int64(skip[r])
    for quad in range(start, stop, QUAD):
        if has_masks:
            mask = np.int64(mask_tokens[r, quad >> 2])
            table = table_of[MASK, row_codes[MASK, r] + column_codes[MASK, quad >> 2]]
            tables[number] = table * MAX_SYMBOLS + mask
            raw = 0
            width = 0
            if not has_values:
                for c in range(quad, min(quad + QUAD, stop)):
                    code = codes[r * columns + c]
                    if code != 0:
                        raw |= (1 if code < 0 else 0) << width
                        width += 1
            raws[number] = raw << 4 | width
            number += 1
        if has_values:
            for c in range(quad, min(quad + QUAD, stop)):
                place = np.uint64(c)
                symbol = np.int64(value_tokens[r, place])
                if has_masks and symbol == 255:
                    continue
                table = table_of[VALUE, np.uint64(a + column_codes[VALUE, place])]
                tables[np.uint64(number)] = table * MAX_SYMBOLS + symbol
                code = np.int64(codes[np.uint64(r * columns + c)])
                width = raw_bits[np.uint64(symbol)]
                # Shifted out again where the symbol has no raw bits.
                raw = abs(code) - zone - least[np.uint64(symbol)]
                raw = raw << has_sign[np.uint64(symbol)] | (code < 0) & has_sign[np.uint64(symbol)]
                raw = (raw & ((1 << width) - 1)) << 4 | width
                raws[np.uint64(number)] = raw
                number += 1
    return number


@kernel
def _encode_lane(codes, tokens, columns, lanes, lane, skip, symbols, contexts, log, coder, emitted):
    """Code a lane backwards.

    `emitted` gets for each token, in decoding order, ``bits << 5 | number``; the result is the
    state that the decoder starts from and the number of all bits.
    """
    start_of, bits_most, least_state, states = coder
    size = 1 << log
    per_row = (columns + GROUP - 1) // GROUP
    tables = np.empty(GROUP + GROUP // QUAD + 1, np.int64)
    raws = np.empty(GROUP + GROUP // QUAD + 1, np.int64)
    at = emitted.shape[0]
    total = 0
    state = np.int64(-1)
    for turn in range(lane_turns(skip.shape[0] * per_row, lanes, lane) - 1, -1, -1):
        group = lane_group(lanes, lane, turn)
        r = group // per_row
        start = (group - r * per_row) * GROUP
        number = _group_events(
            codes, tokens, columns, r, start, skip, symbols, contexts, tables, raws
        )
        for i in range(number - 1, -1, -1):
            entry = tables[np.uint64(i)]
            table = np.uint64(entry >> _SYMBOL_BITS)
            entry = np.uint64(entry)
            raw = raws[np.uint64(i)]
            width = raw & 15
            raw >>= 4
            if state < 0:
                # The last token: its least state, and no bits for a state after it.
                state = states[table, np.uint64(start_of[entry])]
            else:
                value = state + size
                bits = bits_most[entry] - (1 if value < least_state[entry] else 0)
                raw |= (value & ((1 << bits) - 1)) << width
                width += bits
                frequency = least_state[entry] >> bits_most[entry]
                state = states[table, np.uint64(start_of[entry] + (value >> bits) - frequency)]
            at -= 1
            emitted[np.uint64(at)] = raw << 5 | width
            total += width
    return state, total


@kernel
def _pack_lane(emitted, state, log, total, preload, words):
    """Bits of a lane: the state, then token after token; the odd ones first."""
    odd = total & (WORD_BITS - 1)
    held = np.int64(state)
    number = log
    out = 0
    is_first = True
    i = 0
    while True:
        want = odd if is_first else WORD_BITS
        while number < want:
            held |= np.int64(emitted[i] >> 5) << number
            number += emitted[i] & 31
            i += 1
        if is_first:
            preload[0] = held & ((1 << odd) - 1)
            is_first = False
        elif out < words.shape[0]:
            words[out] = held & 0xFFFFFFFF
            out += 1
        held >>= want
        number -= want
        if out == words.shape[0] and not is_first:
            return


@kernel
def _interleave(emitted, token_start, lane_bits, log, words, word_start, stream):
    """Put the lanes' words in the order in which their token counts ask for them."""
    lanes = lane_bits.shape[0]
    held = np.empty(lanes, np.int64)
    taken = np.zeros(lanes, np.int64)
    most = 0
    for lane in range(lanes):
        held[lane] = lane_bits[lane] & (WORD_BITS - 1)
        most = max(most, token_start[lane + 1] - token_start[lane])
    used_log = np.zeros(lanes, np.int64)
    out = 0
    for step in range(most):
        for lane in range(lanes):
            at = token_start[lane] + step
            if at >= token_start[lane + 1]:
                continue
            if held[lane] < WORD_BITS and word_start[lane] + taken[lane] < word_start[lane + 1]:
                stream[out] = words[word_start[lane] + taken[lane]]
                taken[lane] += 1
                out += 1
                held[lane] += WORD_BITS
            if used_log[lane] == 0:
                used_log[lane] = 1
                held[lane] -= log
            held[lane] -= emitted[at] & 31
    return out


@kernel
def encode_lanes(codes, tokens, columns, lanes, skip, symbols, contexts, log, tables, sizes):
    """Code all lanes; gives the bits of each, its odd ones, and the words in demand order.

    Parameters
    ----------
    codes : ndarray of shape (R * C,), int8
    tokens : tuple
        Flag, mask and value symbols, see `azsim.codecs._tans_tokens.tokenize`.
    columns, lanes : int
    skip : ndarray of shape (R,), uint8
    symbols : tuple
        Least, raw bits and has sign of the value symbols, int64.
    contexts : tuple
        Row codes (3, R), column codes (3, C), tables (3, 63).
    log : int
    tables : ndarray of shape (T, 64), int64
        Frequencies.
    sizes : ndarray of shape (T,), int64
        Symbols of each table.
    """
    shape = (tables.shape[0], MAX_SYMBOLS)
    start_of, bits_most = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    least_state = np.zeros(shape, np.int64)
    states = np.zeros((tables.shape[0], 1 << log), np.int64)
    for i in range(tables.shape[0]):
        size = sizes[i]
        build_encoder(
            tables[i, :size],
            log,
            start_of[i, :size],
            bits_most[i, :size],
            least_state[i, :size],
            states[i],
        )
    coder = (start_of.reshape(-1), bits_most.reshape(-1), least_state.reshape(-1), states)
    token_start = np.zeros(lanes + 1, np.int64)
    for lane in range(lanes):
        token_start[lane + 1] = token_start[lane] + _count_tokens(
            tokens, skip.shape[0], columns, lanes, lane
        )
    emitted = np.empty(token_start[lanes], np.uint32)
    lane_bits = np.zeros(lanes, np.int64)
    state = np.zeros(lanes, np.int64)
    word_start = np.zeros(lanes + 1, np.int64)
    for lane in range(lanes):
        state[lane], total = _encode_lane(
            codes,
            tokens,
            columns,
            lanes,
            lane,
            skip,
            symbols,
            contexts,
            log,
            coder,
            emitted[token_start[lane] : token_start[lane + 1]],
        )
        if token_start[lane + 1] > token_start[lane]:
            lane_bits[lane] = total + log
        word_start[lane + 1] = word_start[lane] + (lane_bits[lane] >> 5)
    words = np.empty(word_start[lanes], np.uint32)
    preload = np.zeros(lanes, np.int64)
    for lane in range(lanes):
        if lane_bits[lane] > 0:
            _pack_lane(
                emitted[token_start[lane] : token_start[lane + 1]],
                state[lane],
                log,
                lane_bits[lane],
                preload[lane : lane + 1],
                words[word_start[lane] : word_start[lane + 1]],
            )
    stream = np.empty(words.shape[0], np.uint32)
    _interleave(emitted, token_start, lane_bits, log, words, word_start, stream)
    return lane_bits, preload, stream
