"""Loading: how long the weight channel takes for one block when nothing else uses DRAM."""

from __future__ import annotations

from azsim.codecs import block_decode_cycles
from azsim.hardware.description import Hardware

__all__ = ["decoder_cycles", "load_cycles"]


def decoder_cycles(block: bytes, element_bits: int, hardware: Hardware) -> int:
    """Cycles of lanes, bus and write port for a block, if all of it is in the FIFO.

    Parameters
    ----------
    block : bytes
    element_bits : int
        Of a code in weight SRAM.
    hardware : Hardware
    """
    decoder, sram = hardware.decoder, hardware.weight_sram
    port_codes = max(1, 8 * sram.write_bytes_per_cycle // element_bits)
    return block_decode_cycles(block, decoder.lanes, 8 * decoder.bus_bytes_per_cycle, port_codes)


def load_cycles(num_bytes: int, decode_cycles: float, hardware: Hardware) -> float:
    """Cycles from the start of a block's transfer to the end of its last code.

    DRAM and decoder work at the same time, burst by burst, so that the slower of them sets the
    rate; what does not overlap is the wait for the first burst and the decoding of the last::

        served   = max(burst, (latency + burst) / outstanding, (latency + burst + decode) / fifo)
        interval = max(served and the shares of row misses and refresh, decode)
        cycles   = latency + burst + (bursts - 1) * interval + decode

    with ``decode = decode_cycles / bursts``.  These are the clock's rules for bursts that are all
    alike (docs/machine.md).  That row misses and refresh are spread evenly is a simplification; it
    is up to 6.2 % off on the chips of tests/test_select.py.

    Parameters
    ----------
    num_bytes : int
        Of the block, at least 1.
    decode_cycles : float
        Of the busiest lane or of the write port, whichever are more, input always ready.
    hardware : Hardware
    """
    dram, cycles_per_ns = hardware.dram, hardware.clock_hz * 1e-9
    bursts = -(-num_bytes // dram.burst_bytes)
    latency = dram.latency_ns * cycles_per_ns
    burst = dram.burst_bytes / dram.bytes_per_s * hardware.clock_hz
    decode = decode_cycles / bursts
    served = max(
        burst,
        (latency + burst) / dram.outstanding_bursts,
        (latency + burst + decode) / hardware.decoder.fifo_bursts,
    )
    served += dram.row_miss_ns * cycles_per_ns * dram.burst_bytes / dram.row_bytes
    if dram.refresh_interval_ns:
        under_way_ns = dram.burst_bytes / dram.bytes_per_s * 1e9 / 2  # is not cut
        served /= 1 - max(0.0, dram.refresh_ns - under_way_ns) / dram.refresh_interval_ns
    return latency + burst + (bursts - 1) * max(served, decode) + decode
