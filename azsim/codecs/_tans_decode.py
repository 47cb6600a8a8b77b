"""Lanes of lane_tans, read: the kernel for every form, which says what is wrong with a stream.

All lanes go in step, a token each; after a token, a lane that holds less than 32 bits takes the
next word of the stream, if it has one left to take.
"""

from __future__ import annotations

import numpy as np

from azsim.codecs._tans_stream import WORD_BITS, lane_group, lane_turns
from azsim.codecs._tans_tokens import FLAG, GROUP, MASK, QUAD, VALUE
from azsim.jit import kernel

__all__ = [
    "END",
    "LEFT",
    "OK",
    "RANGE",
    "SHORT",
    "decode_lanes",
]

OK, SHORT, LEFT, RANGE, END = 0, 1, 2, 3, 4
# The lowest one of a mask; behind the quad where there is none.
_LOWEST = np.array([4, 0, 1, 0, 2, 0, 1, 0, 3, 0, 1, 0, 2, 0, 1, 0])


@kernel
def decode_lanes(  # noqa: C901
    stream,
    preload,
    lane_bits,
    log,
    columns,
    form,
    skip,
    contexts,
    entries,
    limit,
    codes,
    done,
    widths,
    given,
):
    """Decode all lanes in step, one token each.

    Parameters
    ----------
    stream : ndarray of shape (W,), uint32
    preload, lane_bits : ndarray of shape (lanes,), int64
    log : int
    columns : int
    form : tuple of bool
        Flags, masks, values (False: signs are raw bits of the masks).
    skip : ndarray of shape (R,), int64
    contexts : tuple
        Row codes (3, R), column codes (3, C), tables (3, 63).
    entries : ndarray of shape (tables, L), int64
        Bits 0 to 9 next state's base, 10 to 13 its bits, 14 to 17 raw bits, 18 raw sign,
        19 minus, 20 to 27 least value, 28 to 33 symbol, 34 whether it is its symbol's least state.
    limit : int
        Largest magnitude allowed.
    codes : ndarray of shape (R * C,), int8
        Zeros; gets the codes.
    done : ndarray of shape (lanes,), int64
        Gets the tokens of each lane.
    widths : ndarray of shape (lanes, tokens) or (0, 0), uint8
        Gets the bits that each token takes, if there is room.
    given : ndarray like `widths`
        Gets the codes that each token completes.

    Returns
    -------
    status, lane, words taken
    """
    has_flags, has_masks, has_values = form
    row_codes, column_codes, table_of = contexts
    lanes = lane_bits.shape[0]
    per_row = (columns + GROUP - 1) // GROUP
    groups = skip.shape[0] * per_row
    state = np.zeros(lanes, np.int64)
    buffer = preload.copy()
    held = lane_bits & (WORD_BITS - 1)
    left = lane_bits >> 5
    row = np.empty(lanes, np.int64)
    column = np.empty(lanes, np.int64)
    stop = np.empty(lanes, np.int64)  # column at which the group ends
    turns = np.empty(lanes, np.int64)
    turn = np.zeros(lanes, np.int64)
    mask_left = np.zeros(lanes, np.int64)
    first_kind = FLAG if has_flags else MASK if has_masks else VALUE
    next_kind = np.full(lanes, first_kind)
    active = np.empty(lanes, np.int64)
    number = 0
    taken = 0
    for lane in range(lanes):
        turns[lane] = lane_turns(groups, lanes, lane)
        group = lane_group(lanes, lane, 0)
        row[lane] = group // max(per_row, 1)
        column[lane] = (group - row[lane] * per_row) * GROUP
        stop[lane] = min(column[lane] + GROUP, columns)
        if turns[lane] > 0:
            active[number] = lane
            number += 1
        elif lane_bits[lane] != 0:
            return LEFT, lane, taken
    is_start = True
    while number > 0:
        kept = 0
        for i in range(number):
            lane = active[i]
            bits = buffer[lane]
            have = held[lane]
            if have < WORD_BITS and left[lane] > 0:
                if taken == stream.shape[0]:
                    return SHORT, lane, taken
                bits |= np.int64(stream[taken]) << have
                have += WORD_BITS
                taken += 1
                left[lane] -= 1
            if is_start:
                state[lane] = bits & ((1 << log) - 1)
                bits >>= log
                have -= log
            kind = next_kind[lane]
            r = row[lane]
            c = column[lane]
            table = table_of[kind, row_codes[kind, r] + column_codes[kind, c >> (4 - 2 * kind)]]
            entry = entries[table, state[lane]]
            width = (entry >> 14) & 15
            raw = bits & ((1 << width) - 1)
            bits >>= width
            have -= width
            step = stop[lane]  # the column to go on from, or the same one
            if kind == VALUE:
                size = ((entry >> 20) & 255) + (raw >> ((entry >> 18) & 1))
                if size > 0:
                    size += skip[r]
                    if size > limit:
                        return RANGE, lane, taken
                    minus = (entry >> 19) & 1 | (raw & (entry >> 18) & 1)
                    codes[r * columns + c] = -size if minus == 1 else size
                if has_masks:
                    mask_left[lane] &= mask_left[lane] - 1
                    if mask_left[lane] == 0:
                        step = (c & -4) + QUAD
                        next_kind[lane] = MASK
                    else:
                        step = (c & -4) + _LOWEST[mask_left[lane]]
                else:
                    step = c + 1
            elif kind == MASK:
                mask = (entry >> 28) & 63
                if mask >> min(QUAD, columns - c) != 0:
                    return RANGE, lane, taken
                step = c + QUAD
                if not has_values:
                    for k in range(QUAD):
                        if mask >> k & 1:
                            codes[r * columns + c + k] = 1 - 2 * (raw & 1)
                            raw >>= 1
                elif mask != 0:
                    mask_left[lane] = mask
                    next_kind[lane] = VALUE
                    step = c + _LOWEST[mask]
            elif (entry >> 28) & 63 == 1:
                next_kind[lane] = MASK if has_masks else VALUE
                step = c
            if widths.shape[0] > 0:
                widths[lane, done[lane]] = width
                given[lane, done[lane]] = min(step, stop[lane]) - c
            done[lane] += 1
            column[lane] = step
            if step >= stop[lane]:
                turn[lane] += 1
                if turn[lane] == turns[lane]:
                    # The last state is the symbol's least, and nothing follows it.
                    if left[lane] != 0 or have != 0:
                        return LEFT, lane, taken
                    if (entry >> 34) & 1 == 0:
                        return END, lane, taken
                    continue
                next_kind[lane] = first_kind
                group = lane_group(lanes, lane, turn[lane])
                row[lane] = group // per_row
                column[lane] = (group - row[lane] * per_row) * GROUP
                stop[lane] = min(column[lane] + GROUP, columns)
            width = (entry >> 10) & 15
            state[lane] = (entry & 1023) + (bits & ((1 << width) - 1))
            have -= width
            if widths.shape[0] > 0:
                widths[lane, done[lane] - 1] += width
            if have < 0:
                return SHORT, lane, taken
            buffer[lane] = bits >> width
            held[lane] = have
            active[kept] = lane
            kept += 1
        number = kept
        is_start = False
    return OK, 0, taken
