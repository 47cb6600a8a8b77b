"""Parts from which the codecs add up their decoders; orders of magnitude, no synthesis.

A logarithmic shifter that yields `out` bits at any of 2**k offsets has about ``out * k`` 2:1
multiplexers of one bit, plus the shrinking rest of its window; the rest is counted as one
multiplexer a position.
"""

from __future__ import annotations

from azsim.codecs._base import HardwareCost

__all__ = ["WINDOW_BITS", "input_window", "palette_reader", "total"]

WINDOW_BITS = 64
"""Bits that a lane holds of its stream."""


def input_window(out_bits: int) -> HardwareCost:
    """Window of `WINDOW_BITS` bits that yields `out_bits` at any offset, and its offset."""
    stages = (WINDOW_BITS - 1).bit_length()
    return HardwareCost(
        register_bits=WINDOW_BITS + stages,
        multiplexers=out_bits * stages + WINDOW_BITS,
        adders=1,
    )


def palette_reader(entries: int, ports: int) -> HardwareCost:
    """`ports` read ports on a table of `entries` bytes; the table itself is counted by `total`."""
    return HardwareCost(multiplexers=8 * max(0, entries - 1) * ports)


def total(lanes: int, parts: list[HardwareCost], *, table_bits: int = 0) -> HardwareCost:
    """`lanes` times the parts, and tables that all lanes share."""
    return HardwareCost(
        table_bits=table_bits + lanes * sum(part.table_bits for part in parts),
        register_bits=lanes * sum(part.register_bits for part in parts),
        multiplexers=lanes * sum(part.multiplexers for part in parts),
        adders=lanes * sum(part.adders for part in parts),
        comparators=lanes * sum(part.comparators for part in parts),
    )
