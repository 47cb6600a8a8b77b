"""Image: the contents of DRAM before the first instruction.

Contract: takes blocks, parameters and constants, gives an image that holds them at the addresses
that allocation gave, and zeros elsewhere (inputs and outputs).  A constant in records
(`azsim.compiler.records`) lies there in pieces.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from azsim.compiler.allocate import Allocation
from azsim.compiler.parameters import PARAMETERS, Parameters
from azsim.compiler.schedule import Storage
from azsim.compiler.storages import block_name
from azsim.compiler.tile import Plan
from azsim.isa.program import DramImage
from azsim.ops.lowering import Lowering

__all__ = ["build_image"]

_BURST_PAD_BYTES = 4096
_DTYPES = {"f32": "<f4", "i32": "<i4", "i16": "<i2", "i8": "<i1"}


def build_image(
    lowering: Lowering,
    plan: Plan,
    parameters: Parameters,
    blocks: Mapping[str, bytes],
    allocation: Allocation,
    storages: Mapping[str, Storage],
) -> DramImage:
    """Put blocks, parameters and constants where the program expects them."""
    data = np.zeros(allocation.peak_bytes["dram"] + _BURST_PAD_BYTES, np.uint8)

    def put(name: str, array: np.ndarray) -> None:
        start, raw = allocation.addresses[name], array.reshape(-1).view(np.uint8)
        piece_bytes, step_bytes = storages[name].pieces_bytes or (len(raw), len(raw))
        for first in range(0, len(raw), max(1, piece_bytes)):
            data[start : start + piece_bytes] = raw[first : first + piece_bytes]
            start += step_bytes

    for tile in (tile for tiles in plan.tiles.values() for tile in tiles):
        put(block_name(tile), np.frombuffer(blocks[tile.name], np.uint8))
    if parameters.values.size:
        put(f"{PARAMETERS}#dram", parameters.values.astype("<f4"))
    for buffer in lowering.buffers.values():
        name = buffer.name if buffer.space == "dram" else f"{buffer.name}#dram"
        if buffer.constant is not None and name in allocation.addresses:
            put(name, np.ascontiguousarray(buffer.constant, _DTYPES[buffer.dtype]))
    return DramImage(data)
