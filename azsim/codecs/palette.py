"""Index of each code in a table of the values that occur: `raw` with its shared-value step.

Payload: as `azsim.codecs.raw` with ``palette: true``.  Where a table would not pay, the codes
are stored as they are.

Source: shared-value decompression (cluster index to value) of US 11,537,853 and 11,868,867, here
with no zero-value step ahead; Han et al., Deep Compression, ICLR 2016, section 3 (weight sharing).
As a step of its own it is the parameter ``palette`` of the other codecs.

Hardware, a lane: one read port on a table that all lanes share, at most 255 bytes.

Cycles: one index a cycle and lane; where no table is stored, as `raw`.
"""

from __future__ import annotations

import numpy as np

from azsim.codecs._base import HardwareCost
from azsim.codecs._cost import input_window, palette_reader, total
from azsim.codecs._fields import PALETTE, num_entries
from azsim.codecs._fixed import decode_fixed, encode_fixed, fixed_steps, pays_off
from azsim.codecs._steps import LaneSteps
from azsim.errors import CodecError

ID = 3
FLAGS = PALETTE
PARAMETERS: tuple[str, ...] = ()


def encode(codes: np.ndarray, bits: int) -> tuple[bytes, int]:
    """Encode (count,) int8 codes; see the package for the contract."""
    return encode_fixed(codes, bits, palette=True)


def decode(payload: np.ndarray, count: int, bits: int, flags: int) -> np.ndarray:
    """Decode to (count,) int8; see the package for the contract."""
    codes = decode_fixed("palette", payload, count, bits, flags)
    if not flags & PALETTE and pays_off(codes, bits):
        raise CodecError("palette: plain form where a palette is smaller")
    return codes


def lane_steps(payload: np.ndarray, count: int, bits: int, flags: int, lanes: int) -> LaneSteps:
    """An index a step, or a word of codes; see the package for the contract."""
    return fixed_steps("palette", payload, count, bits, flags, lanes)


def hardware_cost(payload: np.ndarray, bits: int, flags: int, lanes: int) -> HardwareCost:
    """A window and a read port a lane, and the table."""
    entries = num_entries(payload, flags)
    parts = [input_window(bits), palette_reader(entries, 1)]
    return total(lanes, parts, table_bits=8 * entries)
