"""Cycle-stepped model of a lane_tans decoder: lanes, their FIFOs, the word mux, the write port.

It is the Verilog of ``tests/rtl/tans_decoder.v``, cycle for cycle.  What a cycle does follows from
what its registers held before it:

1. the write port takes groups from the lanes' queues, in turn, as many as its codes allow;
2. every lane that holds the bits of its next token decodes it.  The token that ends a group needs
   a place in the lane's queue, and a lane with words to come goes no more than 62 tokens beyond
   the mux's step;
3. the mux goes on through its decisions: step by step, and in a step lane by lane.  A decision is
   whether the lane, having decoded as many tokens as the step says, held less than 32 bits; then
   it gets the next word.  The mux waits for a lane that has not got so far, and for a word; it
   takes as many decisions as two steps have, and hands out as many words as the bus brings in a
   cycle.  It passes lanes that have all their words;
4. the bus brings a cycle's words into the buffer before the mux, which holds two cycles' worth,
   if there was room for all of them.

So what a lane gets depends on counts of tokens alone, and stalls change only when.  A lane never
holds more than 63 bits, its FIFO of two words, and never waits for more than one word: from when
it asks, with less than 32 bits, to when it gets it, it takes no more than it held.

Header, tables and contexts are loaded while the block before is decoded; that is assumed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from azsim.codecs._tans_stream import WORD_BITS
from azsim.jit import kernel

__all__ = ["Stepped", "step_decoder", "word_demands"]

_MOST_LEAD = 63
_NO_STALL = np.zeros(1, np.uint8)


class Stepped(NamedTuple):
    """What stepping found.

    Attributes
    ----------
    cycles : int
        From the first request for words to the last write.
    most_held_bits : int
        The most that a lane held.
    """

    cycles: int
    most_held_bits: int


def step_decoder(
    widths: list[np.ndarray],
    lane_bits: np.ndarray,
    log: int,
    bus_bits: int = 128,
    *,
    groups: list[np.ndarray] | None = None,
    port_codes: int = 64,
    queue_groups: int = 8,
    buffer_beats: int = 2,
    stall: np.ndarray = _NO_STALL,
) -> Stepped:
    """Step a decoder through a block.

    Parameters
    ----------
    widths : list of ndarray, uint8
        Bits of each token, by lane, without those of the first state.
    lane_bits : ndarray of shape (lanes,), int64
        All bits of each lane.
    log : int
        Bits of a state.
    bus_bits : int
        Bits that the bus brings in a cycle, a multiple of 32.
    groups : list of ndarray, uint8, optional
        By lane, for each token the number of codes of the group that it ends, 0 if it ends none.
        Without it nothing is written: the port is not in the count.
    port_codes : int
        Codes that the write port takes in a cycle, at least 16.
    queue_groups : int
        Groups that wait for the port, for each lane.
    buffer_beats : int
        Cycles' worth of words that the buffer before the mux holds.
    stall : ndarray of shape (period,), uint8
        Cycles in which the bus has no words (1), again and again.
    """
    numbers = np.array([each.size for each in widths], np.int64)
    padded, ends = (np.zeros((numbers.size, int(numbers.max(initial=1))), np.int64) for _ in "we")
    for row, each in zip(padded, widths, strict=True):
        row[: each.size] = each
    padded[numbers > 0, 0] += log
    for row, each in zip(ends, groups or [], strict=groups is not None):
        row[: each.size] = each
    room = np.array([bus_bits // WORD_BITS, buffer_beats, port_codes, queue_groups], np.int64)
    cycles, most = _step(padded, numbers, lane_bits, ends, room, stall)
    return Stepped(int(cycles), int(most))


@kernel
def _write(queues, queued, port_codes, turn):
    """Let the port take groups; gives the lane that it looks at first in the next cycle."""
    lanes = queued.shape[0]
    granted = 0
    next_turn = turn
    for offset in range(lanes):
        i = (turn + offset) % lanes
        if queued[i] > 0:
            granted += queues[i, 0]
            if granted > port_codes:
                break
            queued[i] -= 1
            queues[i, : queued[i]] = queues[i, 1 : queued[i] + 1].copy()
            next_turn = (i + 1) % lanes
    return next_turn


@kernel
def _hand_out(left, done, asks_at, words, step, lane, gets):
    """Take decisions until a lane or words are missing; gives the next step, lane, and words."""
    lanes = left.shape[0]
    gets[:] = False
    handed = 0
    for _ in range(2 * lanes):
        if left[lane] > 0:
            if asks_at[lane] == step:
                if handed == words:
                    break
                gets[lane] = True
                handed += 1
            elif done[lane] < step:
                break
        lane += 1
        if lane == lanes:
            lane = 0
            step += 1
    return step, lane, handed


@kernel
def _step(widths, numbers, lane_bits, ends, room, stall):
    bus_words, buffer_beats, port_codes, queue_groups = room
    lanes = numbers.shape[0]
    held = lane_bits & (WORD_BITS - 1)
    left = lane_bits >> 5
    done = np.zeros(lanes, np.int64)
    asks_at = np.where(left > 0, 0, -1)  # step at which a lane came to hold too little
    gets = np.zeros(lanes, np.bool_)
    queues = np.zeros((lanes, queue_groups), np.int64)
    queued = np.zeros(lanes, np.int64)
    beats = -(-left.sum() // bus_words)
    waiting = step = lane = turn = 0
    most_held = held.max()
    cycles = 0
    while True:
        turn = _write(queues, queued, port_codes, turn)
        is_over = True
        for i in range(lanes):
            is_over &= done[i] == numbers[i] and queued[i] == 0
        lead = step + _MOST_LEAD - 1
        step, lane, handed = _hand_out(
            left, done, asks_at, min(waiting, bus_words), step, lane, gets
        )
        has_room = waiting <= (buffer_beats - 1) * bus_words
        waiting -= handed
        if has_room and beats > 0 and stall[cycles % len(stall)] == 0:
            waiting += bus_words
            beats -= 1
        for i in range(lanes):
            at = done[i]
            # In the first cycle the lanes fetch the contexts of their first groups.
            if (
                cycles > 0
                and at < numbers[i]
                and held[i] >= widths[i, at]
                and (ends[i, at] == 0 or queued[i] < queue_groups)
                and (left[i] == 0 or at < lead)
            ):
                held[i] -= widths[i, at]
                done[i] += 1
                if ends[i, at] > 0:
                    queues[i, queued[i]] = ends[i, at]
                    queued[i] += 1
            if gets[i]:
                held[i] += WORD_BITS
                left[i] -= 1
                asks_at[i] = -1
                most_held = max(most_held, held[i])
            if left[i] > 0 and held[i] < WORD_BITS and asks_at[i] < 0:
                asks_at[i] = done[i]
        cycles += 1
        if is_over:
            return cycles, most_held


@kernel
def word_demands(widths, numbers, lane_bits, log):
    """Bits of the words that a lane needs for each token, like `widths` (lanes, tokens).

    The mux hands a word out as soon as a lane holds less than another one, so that a lane has it
    up to some tokens before it cannot go on without.
    """
    demands = np.zeros(widths.shape, np.uint8)
    for lane in range(numbers.shape[0]):
        held = lane_bits[lane] & (WORD_BITS - 1)
        for token in range(numbers[lane]):
            held -= widths[lane, token] + (log if token == 0 else 0)
            if held < 0:
                demands[lane, token] = WORD_BITS
                held += WORD_BITS
    return demands
