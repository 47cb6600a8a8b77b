"""The decoder cycle by cycle: slow and obvious, what the codecs' `lane_steps` are held to.

Each lane has a window of 128 bits that takes a word of 64 in any cycle after which all of it fits,
and a queue for finished groups of 16 codes (the last may be a part of one); the write port empties
the queues, round-robin, whole groups, up to `port_codes` codes a cycle.  A lane is described by
its stream alone:

bitmap
    An event is a group: how many ones its mask has.  A cycle takes up to 4 of its fields, and with
    the last of them the next mask.
zero_run
    An event is an entry: its run, as far as it lies in the lane's part.  A cycle takes one.  What
    the last entry has begun beyond a whole group leaves a cycle later.
"""

from __future__ import annotations

import numpy as np

from azsim.jit import kernel

__all__ = [
    "BITMAP_OFFSET",
    "WRITTEN",
    "ZERO_RUN_OFFSET",
    "decoder_cycles",
    "new_lanes",
    "step_decoder",
]

BITMAP_OFFSET = 3
"""Cycles of a job from the first request to the last write, beyond those of the busiest lane: a
word, the first mask, the write."""

ZERO_RUN_OFFSET = 2
"""The same for zero_run, which has no mask."""

_WORD_BITS, _MASK_BITS, _RUN_BITS = 64, 16, 4
_GROUP, _FIELDS = 16, 4
# What a lane holds: bits in the window, next event and end of events, ones of the group at hand
# (-1 without one), codes in the group, codes to come, whether a part of a group still has to leave,
# groups written, and how many groups wait; from `_QUEUE` on how many codes each of these has.
_LEVEL, _AT, _END, _ONES, _POSITION, _CODES, _FLUSH, _WRITTEN, _HELD, _QUEUE = range(10)
WRITTEN = _WRITTEN
"""Column of a lane's state that counts the groups it has written."""


def new_lanes(first_event: np.ndarray, num_codes: np.ndarray, queue_groups: int = 8) -> np.ndarray:
    """State of lanes at the start of a job.

    Parameters
    ----------
    first_event : ndarray of shape (lanes + 1,), int64
        Where each lane's events begin.
    num_codes : ndarray of shape (lanes,), int64
    queue_groups : int
        Finished groups that a lane can hold.

    Returns
    -------
    ndarray of shape (lanes, 9 + queue_groups), int64
    """
    lanes = np.zeros((len(num_codes), _QUEUE + queue_groups), np.int64)
    lanes[:, _AT] = first_event[:-1]
    lanes[:, _END] = first_event[1:]
    lanes[:, _ONES] = -1
    lanes[:, _CODES] = num_codes
    return lanes


@kernel
def _bitmap(lane, events, width, has_room):
    """Bits that a lane takes this cycle, and codes of the group that it finishes (0 for none)."""
    used = 0
    finished = 0
    if lane[_ONES] >= 0:
        fields = min(_FIELDS, lane[_ONES])
        ends = fields == lane[_ONES]
        if lane[_LEVEL] >= fields * width and (has_room or not ends):
            used = fields * width
            lane[_ONES] -= fields
            if ends:
                lane[_ONES] = -1
                finished = min(_GROUP, lane[_CODES])
                lane[_CODES] -= finished
    if lane[_ONES] < 0 and lane[_AT] < lane[_END] and lane[_LEVEL] >= used + _MASK_BITS:
        lane[_ONES] = events[lane[_AT]]
        lane[_AT] += 1
        used += _MASK_BITS
    return used, finished


@kernel
def _zero_run(lane, events, width, has_room):
    """Bits that a lane takes this cycle, and codes of the group that it finishes (0 for none)."""
    if lane[_FLUSH] != 0:
        if not has_room:
            return 0, 0
        lane[_FLUSH] = 0
        return 0, lane[_POSITION]
    if lane[_AT] == lane[_END] or lane[_LEVEL] < _RUN_BITS + width:
        return 0, 0
    run = events[lane[_AT]]
    after = lane[_POSITION] + run + 1
    is_last = lane[_CODES] == run + 1
    finishes = after >= _GROUP or is_last
    if finishes and not has_room:
        return 0, 0
    lane[_AT] += 1
    lane[_CODES] -= run + 1
    lane[_POSITION] = after % _GROUP
    lane[_FLUSH] = is_last and after > _GROUP
    return _RUN_BITS + width, min(after, _GROUP) if finishes else 0


@kernel
def step_decoder(lanes, events, width, is_zero_run, port_codes, banks, turn, has_word, took_word):
    """Let one cycle pass.

    Parameters
    ----------
    lanes : ndarray of int64
        Of `new_lanes`; changed.
    events : ndarray of int64
        Ones of groups or runs of entries, see the module.
    width : int
        Bits of a field.
    is_zero_run : bool
    port_codes : int
        Codes that the write port takes a cycle, at least 16.
    banks : ndarray of shape (lanes,), int64
        Bank of the weight SRAM, below 64, for each lane's next group; a bank takes one a cycle.
    turn : int
        Lane that the port looks at first.
    has_word : ndarray of shape (lanes,), bool
        Lanes to which a word is offered.
    took_word : ndarray of shape (lanes,), bool
        Written: lanes that took theirs.

    Returns
    -------
    turn : int
    is_done : bool
        Whether every code is written.
    """
    num_lanes = lanes.shape[0]
    granted = 0
    taken = 0
    next_turn = turn
    for offset in range(num_lanes):
        i = (turn + offset) % num_lanes
        if lanes[i, _HELD] > 0 and (taken >> banks[i]) & 1 == 0:
            granted += lanes[i, _QUEUE]
            if granted > port_codes:
                break
            taken |= 1 << banks[i]
            lanes[i, _WRITTEN] += 1
            lanes[i, _HELD] -= 1
            for place in range(lanes[i, _HELD]):
                lanes[i, _QUEUE + place] = lanes[i, _QUEUE + place + 1]
            next_turn = (i + 1) % num_lanes
    is_done = True
    for i in range(num_lanes):
        lane = lanes[i]
        is_over = lane[_AT] == lane[_END] and lane[_ONES] < 0 and lane[_FLUSH] == 0
        is_done &= is_over and lane[_HELD] == 0
        has_room = _QUEUE + lane[_HELD] < len(lane)
        if is_zero_run:
            used, finished = _zero_run(lane, events, width, has_room)
        else:
            used, finished = _bitmap(lane, events, width, has_room)
        lane[_LEVEL] -= used
        if finished > 0:
            lane[_QUEUE + lane[_HELD]] = finished
            lane[_HELD] += 1
        # A lane that is done drops what still comes.
        took_word[i] = has_word[i] and (is_over or lane[_LEVEL] <= _WORD_BITS)
        if took_word[i] and not is_over:
            lane[_LEVEL] += _WORD_BITS
    return next_turn, is_done


@kernel(
    "int64(int64[:, ::1], int64[::1], int64[::1], int64, boolean, int64, uint64[::1])",
)
def decoder_cycles(lanes, events, num_words, width, is_zero_run, port_codes, stall):
    """Cycles of a block from the first request to the last write.

    Parameters
    ----------
    lanes, events, width, is_zero_run, port_codes
        See `step_decoder`.
    num_words : ndarray of shape (lanes,), int64
        Words of each lane's stream.
    stall : ndarray of shape (period,), uint64
        Lanes (bit i for lane i) that get no word in a cycle, again and again.
    """
    num_lanes = len(num_words)
    sent = np.zeros(num_lanes, np.int64)
    has_word = np.zeros(num_lanes, np.bool_)
    took_word = np.zeros(num_lanes, np.bool_)
    banks = np.arange(num_lanes)  # a bank for each lane: no conflicts
    turn = 0
    cycle = 0
    while True:
        stalled = stall[cycle % len(stall)]
        for i in range(num_lanes):
            has_word[i] = sent[i] < num_words[i] and (stalled >> np.uint64(i)) & np.uint64(1) == 0
        turn, is_done = step_decoder(
            lanes, events, width, is_zero_run, port_codes, banks, turn, has_word, took_word
        )
        sent += took_word
        cycle += 1
        if is_done:
            return cycle
