"""Cycle-stepped model of a lane_tans decoder: lanes, their FIFOs, and the word mux.

In each cycle

1. every lane that holds the bits of its next token decodes it;
2. the mux goes on through its decisions: step by step, and in a step lane by lane.  A decision is
   whether the lane, having decoded as many tokens as the step says, holds less than 32 bits; then
   it gets the next word.  The mux waits for a lane that has not got so far, and for a word; it
   takes at most as many decisions as two steps have, and hands out at most as many words as the
   bus brings in a cycle;
3. the bus brings words, up to two cycles' worth in the buffer before the mux.

So what a lane gets depends on counts of tokens alone, and stalls change only when.  A lane never
holds more than 63 bits, its FIFO of two words.  Header and tables are loaded while the block
before is decoded; that is assumed.
"""

from __future__ import annotations

import numpy as np

from azsim.codecs._tans_stream import WORD_BITS
from azsim.jit import kernel

__all__ = ["step_decoder"]


def step_decoder(
    widths: list[np.ndarray], lane_bits: np.ndarray, log: int, bus_bits: int = 128
) -> tuple[int, int]:
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

    Returns
    -------
    cycles : int
        From the first words in the buffer to the last token.
    most_held_bits : int
        The most that a lane held.
    """
    numbers = np.array([each.size for each in widths], np.int64)
    padded = np.zeros((numbers.size, int(numbers.max(initial=1))), np.int64)
    for row, each in zip(padded, widths, strict=True):
        row[: each.size] = each
    padded[numbers > 0, 0] += log
    cycles, most = _step(padded, numbers, lane_bits, bus_bits // WORD_BITS)
    return int(cycles), int(most)


@kernel
def _step(widths, numbers, lane_bits, bus_words):
    lanes = numbers.shape[0]
    held = lane_bits & (WORD_BITS - 1)
    seen = held.copy()  # bits held when a lane has decoded as many tokens as the mux has counted
    left = lane_bits >> 5
    done = np.zeros(lanes, np.int64)
    words_left = left.sum()
    waiting = min(2 * bus_words, words_left)
    words_left -= waiting
    step = lane = 0
    most_held = held.max()
    last_step = numbers.max()
    remaining = numbers.sum()
    cycles = 0
    while remaining > 0:
        # Before the first token the mux fills the FIFOs, as it does between tokens.
        for i in range(lanes):
            if done[i] < numbers[i] and held[i] >= widths[i, done[i]]:
                # The first word comes before the first token, whatever the odd bits are.
                if done[i] == 0 and step == 0 and i >= lane:
                    continue
                held[i] -= widths[i, done[i]]
                done[i] += 1
                remaining -= 1
        cycles += 1
        handed = 0
        for _ in range(2 * lanes):
            if step >= last_step:
                break
            if step < numbers[lane]:
                if done[lane] < step:
                    break
                if seen[lane] < WORD_BITS and left[lane] > 0:
                    if waiting == 0 or handed == bus_words:
                        break
                    seen[lane] += WORD_BITS
                    held[lane] += WORD_BITS
                    most_held = max(most_held, held[lane])
                    left[lane] -= 1
                    waiting -= 1
                    handed += 1
                seen[lane] -= widths[lane, step]
            lane += 1
            if lane == lanes:
                lane = 0
                step += 1
        more = min(bus_words, 2 * bus_words - waiting, words_left)
        waiting += more
        words_left -= more
    return cycles, most_held
