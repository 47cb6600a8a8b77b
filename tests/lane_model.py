"""Decoder lanes with FIFOs on a bus, cycle by cycle and symbol by symbol: slow and obvious.

A lane is the list of its symbols, each the bits that it takes and the codes that it gives.  In a
cycle every lane takes its next symbol if all bits of it are in the lane's FIFO; then the word mux
hands words of 64 bits, round-robin, to lanes whose FIFO has room, as many as the bus has.  So the
first word is there a cycle before the first symbol: `FILL`.

The bus never waits as long as a lane has room.  So the lane that ends last is idle only in cycles
in which the bus is full, and no job takes longer than `FILL`, the symbols of the busiest lane and
the words over the bus together.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["FILL", "WORD_BITS", "Symbols", "bus_cycles", "step_lanes"]

FILL = 1
WORD_BITS = 64
Symbols = list[tuple[int, int]]
"""Of each symbol: bits taken, codes given."""


def _words(lane: Symbols) -> int:
    return -(-sum(bits for bits, _ in lane) // WORD_BITS)


def bus_cycles(lanes: Sequence[Symbols], bus_bits: int) -> int:
    """Cycles in which the words of all lanes come over a bus."""
    return -(-sum(map(_words, lanes)) * WORD_BITS // bus_bits)


def step_lanes(
    lanes: Sequence[Symbols], bus_bits: int | None = None, codes_per_cycle: int | None = None
) -> int:
    """Cycles until the last code is out.

    Parameters
    ----------
    lanes : sequence of Symbols
    bus_bits : int, optional
        Bits that the bus brings a cycle, words of 64; without it, all that the FIFOs have room for.
    codes_per_cycle : int, optional
        Codes that leave a lane a cycle; what it has decoded beyond them waits in a queue.
    """
    num = range(len(lanes))
    largest = max((bits for lane in lanes for bits, _ in lane), default=0)
    fifo_bits = max(2 * WORD_BITS, largest + 2 * WORD_BITS)
    words_left = [_words(lane) for lane in lanes]
    next_symbol = [0 for _ in num]
    held_bits = [0 for _ in num]
    waiting_codes = [0 for _ in num]
    turn = cycles = 0
    while any(next_symbol[i] < len(lanes[i]) or waiting_codes[i] for i in num):
        for i in num:
            if next_symbol[i] < len(lanes[i]):
                bits, codes = lanes[i][next_symbol[i]]
                if held_bits[i] >= bits:
                    held_bits[i] -= bits
                    next_symbol[i] += 1
                    waiting_codes[i] += codes
            leaving = waiting_codes[i] if codes_per_cycle is None else codes_per_cycle
            waiting_codes[i] = max(0, waiting_codes[i] - leaving)
        budget = sum(words_left) if bus_bits is None else bus_bits // WORD_BITS
        skipped = 0
        while budget and skipped < len(lanes):
            if words_left[turn] and held_bits[turn] + WORD_BITS <= fifo_bits:
                held_bits[turn] += WORD_BITS
                words_left[turn] -= 1
                budget -= 1
                skipped = 0
            else:
                skipped += 1
            turn = (turn + 1) % len(lanes)
        cycles += 1
    return cycles
