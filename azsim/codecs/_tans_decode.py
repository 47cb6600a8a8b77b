"""Lanes of lane_tans, read: a kernel for every form, and two faster ones for the usual forms.

All lanes go in step, a token each; after a token, a lane that holds less than 32 bits takes the
next word of the stream, if it has one left to take.  The fast kernels only tell whether all is
well; where it is not, the general one says what is wrong.
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
    "decode_dense",
    "decode_lanes",
    "decode_masked",
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


@kernel
def _next_group(per_row, lanes, spot, row, place):
    """Next group of a lane without division: its place among the lanes, row, place in the row."""
    spot += 1
    place += lanes + 1
    if spot == lanes:
        spot = 0
        place -= lanes
    while place >= per_row:
        place -= per_row
        row += 1
    return spot, row, place


@kernel
def decode_dense(
    stream,
    preload,
    lane_bits,
    log,
    columns,
    skip,
    row_codes,
    column_codes,
    base_of,
    entries,
    limit,
    codes,
    done,
):
    """Decode values without masks; tells whether the stream is sound.

    Other than in `decode_lanes` are `stream`, which has a word more, `row_codes` (R,),
    `column_codes` (C,), `base_of` (63,), the first entry of the table of a sum, and `entries`,
    which is flat.
    """
    lanes = lane_bits.shape[0]
    per_row = (columns + GROUP - 1) // GROUP
    rows = skip.shape[0]
    groups = rows * per_row
    state = np.zeros(lanes, np.int64)
    buffer = preload.copy()
    held = lane_bits & (WORD_BITS - 1)
    left = lane_bits >> 5
    column = np.zeros(lanes, np.int64)
    row_code = np.zeros(lanes, np.int64)
    row_skip = np.zeros(lanes, np.int64)
    at = np.full(lanes, -1, np.int64)
    end = np.zeros(lanes, np.int64)  # of the group
    spot = np.arange(lanes)
    row = np.zeros(lanes, np.int64)
    place = np.zeros(lanes, np.int64)
    taken = 0
    number = 0
    biggest = np.int64(0)
    for lane in range(lanes):
        group = lane_group(lanes, lane, 0)
        if group >= groups:
            if lane_bits[lane] != 0:
                return False
            continue
        number += 1
        r = group // per_row
        row[lane] = r
        place[lane] = group - r * per_row
        column[lane] = place[lane] * GROUP
        at[lane] = r * columns + column[lane]
        end[lane] = r * columns + min(column[lane] + GROUP, columns)
        done[lane] = end[lane] - at[lane]
        row_code[lane] = row_codes[r]
        row_skip[lane] = skip[r]
        if left[lane] > 0:
            buffer[lane] |= np.int64(stream[taken]) << held[lane]
            held[lane] += WORD_BITS
            taken += 1
            left[lane] -= 1
        state[lane] = buffer[lane] & ((1 << log) - 1)
        buffer[lane] >>= log
        held[lane] -= log
        if held[lane] < 0:
            return False
    while number > 0:
        for lane in range(lanes):
            p = at[lane]
            if p < 0:
                continue
            c = column[lane]
            context = row_code[lane] + column_codes[np.uint64(c)]
            entry = entries[np.uint64(base_of[np.uint64(context)] + state[lane])]
            bits = buffer[lane]
            width = (entry >> 14) & 15
            raw = bits & ((1 << width) - 1)
            bits >>= width
            has_sign = (entry >> 18) & 1
            size = ((entry >> 20) & 255) + (raw >> has_sign)
            size += row_skip[lane] & (-size >> 63)
            biggest = max(biggest, size)
            minus = ((entry >> 19) & 1) | (raw & has_sign)
            codes[np.uint64(p)] = (size ^ -minus) + minus
            p += 1
            c += 1
            if p == end[lane]:
                spot[lane], r, g = _next_group(per_row, lanes, spot[lane], row[lane], place[lane])
                if r >= rows:
                    if left[lane] != 0 or held[lane] != width or (entry >> 34) & 1 == 0:
                        return False
                    at[lane] = -1
                    number -= 1
                    continue
                row[lane] = r
                place[lane] = g
                c = g * GROUP
                p = r * columns + c
                end[lane] = r * columns + min(c + GROUP, columns)
                done[lane] += end[lane] - p
                row_code[lane] = row_codes[r]
                row_skip[lane] = skip[r]
            at[lane] = p
            column[lane] = c
            more = (entry >> 10) & 15
            state[lane] = (entry & 1023) + (bits & ((1 << more) - 1))
            bits >>= more
            have = held[lane] - width - more
            if have < 0:
                return False
            wants = ((have - WORD_BITS) >> 63) & (-left[lane] >> 63) & 1
            buffer[lane] = bits | (np.int64(stream[np.uint64(taken)]) * wants) << (have & 31)
            held[lane] = have + WORD_BITS * wants
            left[lane] -= wants
            taken += wants
    return biggest <= limit


@kernel
def decode_masked(  # noqa: C901
    stream,
    preload,
    lane_bits,
    log,
    columns,
    has_values,
    skip,
    row_codes,
    column_codes,
    base_of,
    entries,
    limit,
    codes,
):
    """Decode masks without flags; tells whether the stream is sound, counts no tokens.

    As `decode_dense`; `row_codes` (2 R), `column_codes` (2 C) and `base_of` (2 * 63) have first
    what masks take, then what values take, and a mask's column code stands at its first column.
    """
    lanes = lane_bits.shape[0]
    rows = skip.shape[0]
    per_row = (columns + GROUP - 1) // GROUP
    groups = rows * per_row
    state = np.zeros(lanes, np.int64)
    buffer = preload.copy()
    held = lane_bits & (WORD_BITS - 1)
    left = lane_bits >> 5
    row = np.zeros(lanes, np.int64)
    first = np.zeros(lanes, np.int64)  # code of the row
    row_code = np.zeros(2 * lanes, np.int64)
    row_skip = np.zeros(lanes, np.int64)
    column = np.zeros(lanes, np.int64)
    mask_left = np.zeros(lanes, np.int64)
    is_value = np.zeros(lanes, np.int64)
    quads = np.zeros(lanes, np.int64)  # left in the group
    spot = np.arange(lanes)
    place = np.zeros(lanes, np.int64)
    number = 0
    taken = 0
    biggest = np.int64(0)
    for lane in range(lanes):
        group = lane_group(lanes, lane, 0)
        if group >= groups:
            if lane_bits[lane] != 0:
                return False
            continue
        row[lane] = group // per_row
        place[lane] = group - row[lane] * per_row
        first[lane] = row[lane] * columns
        row_code[2 * lane] = row_codes[row[lane]]
        row_code[2 * lane + 1] = row_codes[rows + row[lane]]
        row_skip[lane] = skip[row[lane]]
        column[lane] = place[lane] * GROUP
        quads[lane] = (min(GROUP, columns - column[lane]) + QUAD - 1) >> 2
        number += 1
        if left[lane] > 0:
            buffer[lane] |= np.int64(stream[taken]) << held[lane]
            held[lane] += WORD_BITS
            taken += 1
            left[lane] -= 1
        state[lane] = buffer[lane] & ((1 << log) - 1)
        buffer[lane] >>= log
        held[lane] -= log
        if held[lane] < 0:
            return False
    while number > 0:
        for lane in range(lanes):
            if quads[lane] == 0:
                continue
            kind = is_value[lane]
            c = column[lane]
            context = row_code[np.uint64(2 * lane + kind)]
            context += column_codes[np.uint64(kind * columns + c)]
            entry = entries[np.uint64(base_of[np.uint64(kind * 63 + context)] + state[lane])]
            bits = buffer[lane]
            width = (entry >> 14) & 15
            raw = bits & ((1 << width) - 1)
            bits >>= width
            mask = (entry >> 28) & 63
            if has_values:
                # In place of a mask a zero is written, which its value token may replace.
                has_sign = (entry >> 18) & 1
                size = (((entry >> 20) & 255) + (raw >> has_sign) + row_skip[lane]) & -kind
                biggest = max(biggest, size)
                minus = ((entry >> 19) & 1) | (raw & has_sign)
                codes[np.uint64(first[lane] + c)] = (size ^ -minus) + minus
                old = mask_left[lane]
                mask = (old & (old - 1) & -kind) | (mask & (kind - 1))
                mask_left[lane] = mask
                c = (c & -4) + _LOWEST[np.uint64(mask)]
                is_empty = 1 + (-mask >> 63)
                is_value[lane] = 1 - is_empty
                quads[lane] -= is_empty
                if c >= columns and mask != 0:
                    return False
            else:
                at = first[lane] + c
                if c + QUAD <= columns:
                    for k in range(QUAD):
                        there = (mask >> k) & 1
                        codes[np.uint64(at + k)] = there - 2 * (raw & there)
                        raw >>= there
                else:
                    for k in range(columns - c):
                        there = (mask >> k) & 1
                        codes[np.uint64(at + k)] = there - 2 * (raw & there)
                        raw >>= there
                    if mask >> (columns - c) != 0:
                        return False
                c += QUAD
                quads[lane] -= 1
            if quads[lane] == 0:
                spot[lane], r, g = _next_group(per_row, lanes, spot[lane], row[lane], place[lane])
                if r >= rows:
                    if left[lane] != 0 or held[lane] != width or (entry >> 34) & 1 == 0:
                        return False
                    number -= 1
                    continue
                row[lane] = r
                place[lane] = g
                first[lane] = r * columns
                row_code[2 * lane] = row_codes[r]
                row_code[2 * lane + 1] = row_codes[rows + r]
                row_skip[lane] = skip[r]
                c = g * GROUP
                quads[lane] = (min(GROUP, columns - c) + QUAD - 1) >> 2
            column[lane] = c
            width += (entry >> 10) & 15
            state[lane] = (entry & 1023) + (bits & ((1 << ((entry >> 10) & 15)) - 1))
            bits >>= (entry >> 10) & 15
            have = held[lane] - width
            if have < 0:
                return False
            wants = ((have - WORD_BITS) >> 63) & (-left[lane] >> 63) & 1
            buffer[lane] = bits | (np.int64(stream[np.uint64(taken)]) * wants) << (have & 31)
            held[lane] = have + WORD_BITS * wants
            left[lane] -= wants
            taken += wants
    return biggest <= limit
