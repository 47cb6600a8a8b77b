"""Lanes of lane_tans, read fast: forms without flags, from payload to codes in one call.

These kernels only tell whether all is well; where it is not, or there are flags,
`azsim.codecs._tans_decode` has the word.  The order of lanes and words is the same.
"""

from __future__ import annotations

import numpy as np

from azsim.codecs._tans_fit import SUMS
from azsim.codecs._tans_header import fill_entries
from azsim.codecs._tans_parse import LOG, NUM_BYTES, NUM_COLUMNS, OK, SCHEME, parse_header
from azsim.codecs._tans_stream import WORD_BITS, lane_group
from azsim.codecs._tans_tokens import GROUP, MASK, QUAD, VALUE
from azsim.jit import kernel

__all__ = ["decode_fast"]

# The lowest one of a mask; behind the quad where there is none.
_LOWEST = np.array([4, 0, 1, 0, 2, 0, 1, 0, 3, 0, 1, 0, 2, 0, 1, 0])
_MASK_SYMBOLS = 16


@kernel
def decode_fast(payload, bits, flags, sizes, fields, codes):
    """Decode a payload of a form without flags; tells whether it is sound.

    Parameters
    ----------
    payload : ndarray of shape (n,), uint8
    bits, flags : int
    sizes, fields : ndarray
        See `azsim.codecs._tans_tokens.value_tables`.
    codes : ndarray of shape (count,), int8
        Gets the codes.
    """
    count = codes.shape[0]
    status, found, lists, starts, classes, ends, frequencies, lane_bits, preload = parse_header(
        payload, count, bits, flags, sizes, fields
    )
    if status != OK:
        return False
    log, columns = found[LOG], found[NUM_COLUMNS]
    masks = (flags >> 1) & 1
    inline = masks == 1 and bits == 2
    symbols = sizes[found[SCHEME]]
    entries = np.empty((classes.sum(), 1 << log), np.int64)
    if masks:
        tables = frequencies[: classes[MASK], :_MASK_SYMBOLS]
        fill_entries(tables, log, MASK, inline, fields[0], entries[: classes[MASK]])
    if not inline:
        first = classes[MASK]
        tables = frequencies[first : first + classes[VALUE], :symbols]
        fill_entries(tables, log, VALUE, inline, fields[found[SCHEME]], entries[first:])
    # Of masks, then of values: where the table of a sum begins, and the codes of columns.
    base_of = np.empty(2 * SUMS, np.int64)
    of_column = np.empty(columns * (1 + masks), np.uint8)
    for kind in range(MASK if masks else VALUE, VALUE + 1):
        part = kind - MASK if masks else 0
        table = 0
        for place in range(SUMS):
            while place >= ends[kind, table]:
                table += 1
            base_of[part * SUMS + place] = (table + (classes[MASK] if part else 0)) << log
        start = starts[4 + kind]
        for c in range(columns):
            of_column[part * columns + c] = lists[start + (c >> (4 - 2 * kind))] if start else 0
    words = np.empty((payload.shape[0] - found[NUM_BYTES]) // 4 + 1, np.uint32)
    at = found[NUM_BYTES]
    for i in range(words.shape[0] - 1):
        word = np.uint32(payload[at]) | np.uint32(payload[at + 1]) << np.uint32(8)
        word |= np.uint32(payload[at + 2]) << np.uint32(16)
        words[i] = word | np.uint32(payload[at + 3]) << np.uint32(24)
        at += 4
    words[-1] = 0
    limit = (1 << (bits - 1)) - 1
    side = (log, columns, lists, starts, of_column, base_of, entries.reshape(-1))
    if masks:
        return _decode_masked(words, preload, lane_bits, side, not inline, limit, codes)
    if columns % GROUP == 0:
        return _decode_whole_groups(words, preload, lane_bits, side, limit, codes)
    return _decode_dense(words, preload, lane_bits, side, limit, codes)


@kernel
def _take(stream, taken, buffer, rest, width, late):
    """Window, bits left and words taken after a lane took `width` bits, and `late` ones before.

    Of the bits left the window holds all, or, if there are 32 or more, 32 and the odd ones: a word
    comes when fewer remain.  The bits of the first state are `late` in the first token, as no word
    comes between; they and the token's are at most 31.
    """
    after = rest - width - late
    wants = ((after ^ rest) >> 5) & 1 & ((63 - rest) >> 63)
    word = np.int64(stream[np.uint64(taken)]) & -wants
    return buffer >> width | word << (after & 31), after, taken + wants


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
def _decode_dense(stream, preload, lane_bits, side, limit, codes):
    """Decode values without masks; tells whether the stream, which has a word more, is sound."""
    log, columns, lists, starts, column_codes, base_of, entries = side
    row_start, row_step = starts[1 + VALUE], 1 if starts[1 + VALUE] else 0
    zone_start, zone_step = starts[0], 1 if starts[0] else 0
    lanes = lane_bits.shape[0]
    per_row = (columns + GROUP - 1) // GROUP
    rows = codes.shape[0] // columns
    groups = rows * per_row
    state = np.zeros(lanes, np.int64)
    buffer = preload.copy()
    rest = lane_bits.copy()
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
        row_code[lane] = lists[row_start + r * row_step]
        row_skip[lane] = lists[zone_start + r * zone_step]
        if rest[lane] >= WORD_BITS:
            buffer[lane] |= np.int64(stream[taken]) << (rest[lane] & 31)
            taken += 1
        state[lane] = buffer[lane] & ((1 << log) - 1)
        buffer[lane] >>= log
        if rest[lane] < log:
            return False
    late = log
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
                    if rest[lane] != width + late or (entry >> 34) & 1 == 0:
                        return False
                    at[lane] = -1
                    number -= 1
                    continue
                row[lane] = r
                place[lane] = g
                c = g * GROUP
                p = r * columns + c
                end[lane] = r * columns + min(c + GROUP, columns)
                row_code[lane] = lists[row_start + r * row_step]
                row_skip[lane] = lists[zone_start + r * zone_step]
            at[lane] = p
            column[lane] = c
            more = (entry >> 10) & 15
            state[lane] = (entry & 1023) + (bits & ((1 << more) - 1))
            buffer[lane], rest[lane], taken = _take(
                stream, taken, buffer[lane], rest[lane], width + more, late
            )
            if rest[lane] < 0:
                return False
        late = 0
    return biggest <= limit


@kernel
def _decode_whole_groups(stream, preload, lane_bits, side, limit, codes):
    """As `_decode_dense`, where all rows are whole groups: lanes begin and end them together."""
    log, columns, lists, starts, column_codes, base_of, entries = side
    row_start, row_step = starts[1 + VALUE], 1 if starts[1 + VALUE] else 0
    zone_start, zone_step = starts[0], 1 if starts[0] else 0
    lanes = lane_bits.shape[0]
    per_row = columns // GROUP
    groups = codes.shape[0] // GROUP
    turns = (groups + lanes - 1) // lanes
    buffer = preload.copy()
    rest = lane_bits.copy()
    state = np.zeros(lanes, np.int64)
    taken = 0
    for lane in range(lanes):
        if lane >= groups:
            if lane_bits[lane] != 0:
                return False
            continue
        if rest[lane] >= WORD_BITS:
            buffer[lane] |= np.int64(stream[taken]) << (rest[lane] & 31)
            taken += 1
        state[lane] = buffer[lane] & ((1 << log) - 1)
        buffer[lane] >>= log
        if rest[lane] < log:
            return False
    active = np.empty(lanes, np.uint64)
    first = np.empty(lanes, np.int64)  # code of the group
    column = np.empty(lanes, np.int64)
    row_code = np.empty(lanes, np.int64)
    row_skip = np.empty(lanes, np.int64)
    ends = np.empty(lanes, np.bool_)
    biggest = np.int64(0)
    for turn in range(turns):
        number = 0
        for lane in range(lanes):
            group = lane_group(lanes, lane, turn)
            if group >= groups:
                continue
            r = group // per_row
            active[number] = lane
            first[number] = group * GROUP
            column[number] = (group - r * per_row) * GROUP
            row_code[number] = lists[row_start + r * row_step]
            row_skip[number] = lists[zone_start + r * zone_step]
            ends[number] = lane_group(lanes, lane, turn + 1) >= groups
            number += 1
        for step in range(GROUP):
            late = log if turn + step == 0 else 0
            is_last = step == GROUP - 1 and turn + 2 >= turns
            for i in range(number):
                lane = active[i]
                context = row_code[i] + column_codes[np.uint64(column[i] + step)]
                entry = entries[np.uint64(base_of[np.uint64(context)] + state[lane])]
                bits = buffer[lane]
                width = (entry >> 14) & 15
                raw = bits & ((1 << width) - 1)
                bits >>= width
                has_sign = (entry >> 18) & 1
                size = ((entry >> 20) & 255) + (raw >> has_sign)
                size += row_skip[i] & (-size >> 63)
                biggest = max(biggest, size)
                minus = ((entry >> 19) & 1) | (raw & has_sign)
                codes[np.uint64(first[i] + step)] = (size ^ -minus) + minus
                if is_last and ends[i]:
                    if rest[lane] != width + late or (entry >> 34) & 1 == 0:
                        return False
                    continue
                more = (entry >> 10) & 15
                state[lane] = (entry & 1023) + (bits & ((1 << more) - 1))
                buffer[lane], rest[lane], taken = _take(
                    stream, taken, buffer[lane], rest[lane], width + more, late
                )
                if rest[lane] < 0:
                    return False
    return biggest <= limit


@kernel
def _decode_masked(stream, preload, lane_bits, side, has_values, limit, codes):  # noqa: C901
    """Decode masks; tells whether the stream, which has a word more, is sound."""
    log, columns, lists, starts, column_codes, base_of, entries = side
    mask_start, mask_step = starts[1 + MASK], 1 if starts[1 + MASK] else 0
    row_start, row_step = starts[1 + VALUE], 1 if starts[1 + VALUE] else 0
    zone_start, zone_step = starts[0], 1 if starts[0] else 0
    lanes = lane_bits.shape[0]
    rows = codes.shape[0] // columns
    per_row = (columns + GROUP - 1) // GROUP
    groups = rows * per_row
    state = np.zeros(lanes, np.int64)
    buffer = preload.copy()
    rest = lane_bits.copy()
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
        row_code[2 * lane] = lists[mask_start + row[lane] * mask_step]
        row_code[2 * lane + 1] = lists[row_start + row[lane] * row_step]
        row_skip[lane] = lists[zone_start + row[lane] * zone_step]
        column[lane] = place[lane] * GROUP
        quads[lane] = (min(GROUP, columns - column[lane]) + QUAD - 1) >> 2
        number += 1
        if rest[lane] >= WORD_BITS:
            buffer[lane] |= np.int64(stream[taken]) << (rest[lane] & 31)
            taken += 1
        state[lane] = buffer[lane] & ((1 << log) - 1)
        buffer[lane] >>= log
        if rest[lane] < log:
            return False
    late = log
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
                    if rest[lane] != width + late or (entry >> 34) & 1 == 0:
                        return False
                    number -= 1
                    continue
                row[lane] = r
                place[lane] = g
                first[lane] = r * columns
                row_code[2 * lane] = lists[mask_start + r * mask_step]
                row_code[2 * lane + 1] = lists[row_start + r * row_step]
                row_skip[lane] = lists[zone_start + r * zone_step]
                c = g * GROUP
                quads[lane] = (min(GROUP, columns - c) + QUAD - 1) >> 2
            column[lane] = c
            width += (entry >> 10) & 15
            state[lane] = (entry & 1023) + (bits & ((1 << ((entry >> 10) & 15)) - 1))
            buffer[lane], rest[lane], taken = _take(
                stream, taken, buffer[lane], rest[lane], width, late
            )
            if rest[lane] < 0:
                return False
        late = 0
    return biggest <= limit
