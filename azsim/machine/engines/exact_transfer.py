"""The three DMA channels cycle by cycle, with the burst FIFO of the weight channel.

A channel works on one transfer at a time and asks for one burst a cycle, as long as no more than
`outstanding` are under way.  Weights also need a place in the FIFO, from the request until the bus
to the decoder lanes has taken the burst's last bit; what is not of the block is dropped at once.
Loads and stores are over with their last burst, a weight block when all its codes are written.  A
block that is copied as it is goes from the FIFO to the write port.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from azsim.jit import kernel
from azsim.machine.engines.exact_dram import request
from azsim.machine.engines.exact_lanes import begin_block, step_block

__all__ = ["Transfers", "begin_transfer", "land", "new_channels", "step_decoding", "step_dma"]

_WEIGHT = 0
# State of a channel: bursts asked for, landed, taken out of the FIFO; bits of the transfer that
# have left the FIFO; whether all codes are written.
_ASKED, _LANDED, _TAKEN, _PLACE, _DECODED = range(5)
# Columns of `Transfers.of`.
_FIRST, _BURSTS, _BLOCK, _OFFSET, _BITS, _PORT_CODES, _PORT_BITS, _LISTED = range(8)


class Transfers(NamedTuple):
    """What is to be done."""

    of: np.ndarray
    """(n, 8) int64, a row an instruction: first burst, bursts; for weights also the block's number
    (-1: it is copied), bits before it in its first burst, its bits, and how many codes and bits the
    weight SRAM takes in a cycle; where in `listed` its bursts begin, -1 if each follows the one
    before."""
    listed: np.ndarray
    """int64, bursts of strided and gathered rows, one by one."""


def new_channels() -> np.ndarray:
    """Three channels at rest."""
    return np.zeros((3, 5), np.int64)


@kernel
def begin_transfer(channels, channel, work, i, decoder, blocks):
    """Give a channel an instruction."""
    for entry in range(channels.shape[1]):
        channels[channel, entry] = 0
    channels[channel, _DECODED] = channel != _WEIGHT
    if channel == _WEIGHT:
        channels[channel, _PLACE] = work.of[i, _OFFSET]
        if work.of[i, _BLOCK] >= 0:
            begin_block(decoder, blocks, work.of[i, _BLOCK])


@kernel
def land(channels, channel, work, i, bursts):
    """Bursts have ended; tells whether the instruction is over."""
    channels[channel, _LANDED] += bursts
    is_here = channels[channel, _LANDED] == work.of[i, _BURSTS]
    return is_here and channels[channel, _DECODED] != 0


@kernel
def step_dma(channels, channel, work, i, outstanding, fifo, memory, counters, queues, dram):
    """Let a channel ask for a burst if it may."""
    asked = channels[channel, _ASKED]
    is_under_way = asked - channels[channel, _LANDED]
    if asked == work.of[i, _BURSTS] or is_under_way >= outstanding:
        return
    if channel == _WEIGHT and asked - channels[channel, _TAKEN] >= fifo:
        return
    burst = work.of[i, _FIRST] + asked
    if work.of[i, _LISTED] >= 0:
        burst = work.listed[work.of[i, _LISTED] + asked]
    request(memory, counters, queues, dram, channel, burst)
    channels[channel, _ASKED] += 1


@kernel
def step_decoding(channels, work, i, decoder, blocks, bus_bits, burst_bits):
    """Let FIFO, bus, lanes and write port work for a cycle; tells whether any of them did."""
    if channels[_WEIGHT, _DECODED] != 0:
        return False
    held_bits = channels[_WEIGHT, _LANDED] * burst_bits - channels[_WEIGHT, _PLACE]
    if work.of[i, _BLOCK] >= 0:
        most_bits = max(0, min(bus_bits, held_bits))
        brought, has_all, is_done, has_worked = step_block(
            decoder, blocks, work.of[i, _BLOCK], work.of[i, _PORT_CODES], most_bits
        )
    else:
        left_bits = work.of[i, _OFFSET] + work.of[i, _BITS] - channels[_WEIGHT, _PLACE]
        brought = max(0, min(work.of[i, _PORT_BITS], held_bits, left_bits))
        has_all = is_done = brought == left_bits
        has_worked = brought > 0
    channels[_WEIGHT, _PLACE] += brought
    channels[_WEIGHT, _TAKEN] = channels[_WEIGHT, _PLACE] // burst_bits
    if has_all:
        channels[_WEIGHT, _TAKEN] = channels[_WEIGHT, _LANDED]
    channels[_WEIGHT, _DECODED] = is_done
    return has_worked
