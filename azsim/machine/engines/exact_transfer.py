"""The three DMA channels cycle by cycle, with the burst FIFO of the weight channel.

A channel works on one transfer at a time and asks for one burst a cycle, as long as no more than
`outstanding` are under way.  Weights also need a place in the FIFO, from the request until the bus
to the decoder lanes has taken the burst's last bit; what is not of the block is dropped at once.
Loads and stores are over with their last burst, a weight block when all its codes are written.
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


class Transfers(NamedTuple):
    """What each instruction does; (n,) int64 arrays by instruction."""

    first_burst: np.ndarray
    bursts: np.ndarray
    block: np.ndarray
    """Weight loads: number of the block."""
    offset_bits: np.ndarray
    """Weight loads: where in its first burst the block begins."""
    port_codes: np.ndarray
    """Weight loads: codes that the weight SRAM takes in a cycle."""


def new_channels() -> np.ndarray:
    """Three channels at rest."""
    return np.zeros((3, 5), np.int64)


@kernel
def begin_transfer(channels, channel, work, i, decoder, blocks):
    """Give a channel an instruction."""
    channels[channel] = 0
    channels[channel, _DECODED] = channel != _WEIGHT
    if channel == _WEIGHT:
        channels[channel, _PLACE] = work.offset_bits[i]
        begin_block(decoder, blocks, work.block[i])


@kernel
def land(channels, channel, work, i, bursts):
    """Bursts have ended; tells whether the instruction is over."""
    channels[channel, _LANDED] += bursts
    is_here = channels[channel, _LANDED] == work.bursts[i]
    return is_here and channels[channel, _DECODED] != 0


@kernel
def step_dma(channels, channel, work, i, outstanding, fifo, memory, counters, queues, dram):
    """Let a channel ask for a burst if it may."""
    state = channels[channel]
    if state[_ASKED] == work.bursts[i] or state[_ASKED] - state[_LANDED] >= outstanding:
        return
    if channel == _WEIGHT and state[_ASKED] - state[_TAKEN] >= fifo:
        return
    request(memory, counters, queues, dram, channel, work.first_burst[i] + state[_ASKED])
    state[_ASKED] += 1


@kernel
def step_decoding(channels, work, i, decoder, blocks, bus_bits, burst_bits):
    """Let FIFO, bus, lanes and write port work for a cycle; tells whether any of them did."""
    state = channels[_WEIGHT]
    if state[_DECODED] != 0:
        return False
    held_bits = state[_LANDED] * burst_bits - state[_PLACE]
    most_bits = max(0, min(bus_bits, held_bits))
    brought, has_all, is_done, has_worked = step_block(
        decoder, blocks, work.block[i], work.port_codes[i], most_bits
    )
    state[_PLACE] += brought
    state[_TAKEN] = state[_LANDED] if has_all else state[_PLACE] // burst_bits
    state[_DECODED] = is_done
    return has_worked
