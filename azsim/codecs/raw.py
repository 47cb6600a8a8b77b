"""Codes as they are: no compression, nothing to decode.

Payload::

    palette table   if flag 0 is set, see `azsim.codecs._fields`; indices have at least 1 bit
    count fields    codes in order, from the least significant bit of byte 0
    0 to 7 zero bits up to a whole byte

Hardware: wires.  The block goes from the bus to the write port of the weight SRAM, which holds
the same packed codes.  It is what a chip without a decoder stores.  With ``palette: true`` the
indices pass through a table that all lanes share, with one read port a lane.

Cycles, an assumption: a lane passes on a word of up to 64 bits of whole codes a cycle, so that bus
and write port set the rate where lanes are many; with a palette it takes one index a cycle.
"""

from __future__ import annotations

import numpy as np

from azsim.codecs._base import HardwareCost
from azsim.codecs._cost import palette_reader, total
from azsim.codecs._fields import PALETTE, num_entries
from azsim.codecs._fixed import decode_fixed, encode_fixed, fixed_steps
from azsim.codecs._steps import LaneSteps

ID = 0
FLAGS = PALETTE
PARAMETERS = ("palette",)


def encode(codes: np.ndarray, bits: int, palette: bool = False) -> tuple[bytes, int]:
    """Pack (count,) int8 codes; see the package for the contract."""
    return encode_fixed(codes, bits, palette=palette)


def decode(payload: np.ndarray, count: int, bits: int, flags: int) -> np.ndarray:
    """Unpack to (count,) int8; see the package for the contract."""
    return decode_fixed("raw", payload, count, bits, flags)


def lane_steps(payload: np.ndarray, count: int, bits: int, flags: int, lanes: int) -> LaneSteps:
    """An index a step, or a word of codes; see the package for the contract."""
    return fixed_steps("raw", payload, count, bits, flags, lanes)


def parameters_of(payload: np.ndarray, count: int, flags: int) -> dict[str, int | bool]:
    """Parameters of a block; see the package for the contract."""
    return {"palette": bool(flags & PALETTE)}


def hardware_cost(payload: np.ndarray, bits: int, flags: int, lanes: int) -> HardwareCost:
    """Nothing, or the palette and a read port a lane."""
    entries = num_entries(payload, flags)
    return total(lanes, [palette_reader(entries, 1)], table_bits=8 * entries)
