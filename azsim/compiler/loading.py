"""Loading: how long the weight channel takes for one block when nothing else uses DRAM."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from azsim.codecs import block_decode_cycles
from azsim.hardware.description import Hardware
from azsim.machine.engines.bus import bus_parameters
from azsim.machine.engines.clock import run_clock
from azsim.machine.engines.decoder import DecoderSizes, block_times, port_codes

__all__ = ["decoder_cycles", "load_cycles"]


def _port_codes(shape: tuple[int, int], element_bits: int, hardware: Hardware) -> int:
    return port_codes(*shape, element_bits, hardware.weight_sram.write_bytes_per_cycle)


def decoder_cycles(
    block: bytes, shape: tuple[int, int], element_bits: int, hardware: Hardware
) -> int:
    """Cycles of lanes, bus and write port for a block, if all of it is in the FIFO.

    Parameters
    ----------
    block : bytes
    shape : (int, int)
        Rows and columns of its matrix.
    element_bits : int
        Of a code in weight SRAM.
    hardware : Hardware
    """
    decoder = hardware.decoder
    bus_bits = 8 * decoder.bus_bytes_per_cycle
    codes = _port_codes(shape, element_bits, hardware)
    return block_decode_cycles(block, decoder.lanes, bus_bits, codes)


def load_cycles(
    block: bytes,
    shape: tuple[int, int],
    element_bits: int,
    hardware: Hardware,
    *,
    at_best: bool = False,
) -> int:
    """Cycles that the clock gives a block's load, were it all that the chip does.

    Parameters
    ----------
    block : bytes
    shape : (int, int)
        Rows and columns of its matrix.
    element_bits : int
        Of a code in weight SRAM.
    hardware : Hardware
    at_best : bool
        Whether all DRAM rows are open already and none is refreshed: the least that there can be.
    """
    if at_best:
        dram = replace(hardware.dram, row_miss_ns=0, refresh_interval_ns=0, refresh_ns=0)
        hardware = replace(hardware, dram=dram)
    decoder, burst_bytes = hardware.decoder, hardware.dram.burst_bytes
    bursts = -(-len(block) // burst_bytes)
    sizes = DecoderSizes(
        decoder.lanes,
        8 * decoder.bus_bytes_per_cycle,
        _port_codes(shape, element_bits, hardware),
        8 * burst_bytes,
    )
    ticks, dram = bus_parameters(hardware)
    zero = np.zeros(1, np.int64)
    dispatch, start, end = (np.full(1, -1, np.int64) for _ in range(3))
    run_clock(
        zero,  # engine: the weight channel
        zero,
        zero,
        block_times(block, sizes, 0, bursts),
        zero,
        np.zeros((1, 5), np.int64),
        zero,
        np.array([bursts], np.int64),
        np.zeros((0, 2), np.int64),
        zero - 1,
        zero,
        zero,
        ticks,
        hardware.sequencer.issue_cycles,
        hardware.sequencer.queue_entries,
        dram,
        dispatch,
        start,
        end,
        np.zeros(3, np.int64),
    )
    return int(end[0] - start[0]) // ticks
