"""Encode: every tile as one compressed block.

Contract: takes the compressed graph and the plan, gives each tile's block by the tile's name, coded
with the weight's codec if the hardware decodes it and plain `raw` otherwise; a block decodes to the
tile's codes and to nothing else.
"""

from __future__ import annotations

from azsim.compiler.residence import encode_codes
from azsim.compiler.stored import used_codec
from azsim.compiler.tile import Plan
from azsim.hardware.description import Hardware
from azsim.ir import CompressedGraph

__all__ = ["encode_tiles"]


def encode_tiles(compressed: CompressedGraph, plan: Plan, hardware: Hardware) -> dict[str, bytes]:
    """Encode every tile as one block."""
    blocks: dict[str, bytes] = {}
    for name, tiles in plan.tiles.items():
        weight = compressed.weights[name]
        codec = used_codec(weight.codec, hardware)
        for tile in tiles:
            codes = weight.codes[tile.n0 : tile.n1, tile.k0 : tile.k1]
            blocks[tile.name] = encode_codes(codec, codes, weight.bits)
    return blocks
