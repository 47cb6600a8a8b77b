"""Select: the codec of each tensor whose scheme says `auto`.

Contract: takes the compressed graph and the plan, gives the graph with a codec that the chip
decodes in place of every `auto`.  All tiles of a tensor are encoded with each candidate, once
plain or, where the codec has a palette step, with that (it is used only where it is smaller); the
one with the fewest bytes, or the fewest cycles, is taken.  Ties go to the other of the two, then
to the codec that the chip's description names first.  On a chip that decodes at read the choice
is `azsim.compiler.stored.used_codec`'s.

The cycles of a tensor are those that the clock gives the loads of its tiles when nothing else uses
DRAM (`azsim.compiler.loading`).  Products that a load hides behind are not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from azsim.codecs import codec_names, codec_parameters
from azsim.compiler.loading import load_cycles
from azsim.compiler.residence import encode_codes
from azsim.compiler.stored import used_codec
from azsim.compiler.tile import Plan, Tile, element_width
from azsim.compression.scheme import AUTO
from azsim.errors import CodecError
from azsim.hardware.description import Hardware
from azsim.ir import CodecChoice, CompressedGraph, CompressedWeight

__all__ = ["select_codecs"]


def select_codecs(compressed: CompressedGraph, plan: Plan, hardware: Hardware) -> CompressedGraph:
    """Replace every `auto`; tensors that no tile uses become `raw`."""
    if all(weight.codec.name != AUTO for weight in compressed.weights.values()):
        return compressed
    weights = {
        name: replace(weight, codec=_best(weight, plan.tiles.get(name, ()), hardware))
        if weight.codec.name == AUTO
        else weight
        for name, weight in compressed.weights.items()
    }
    return replace(compressed, weights=weights)


def _candidates(hardware: Hardware) -> Iterator[CodecChoice]:
    for name in hardware.decoder.codecs:
        # `raw` with a palette is `palette`, which a chip has or has not.
        if name != "raw" and name in codec_names() and "palette" in codec_parameters(name):
            yield CodecChoice(name, {"palette": True})
        elif name in codec_names():
            yield CodecChoice(name)


def _best(weight: CompressedWeight, tiles: tuple[Tile, ...], hardware: Hardware) -> CodecChoice:
    if hardware.decoder.at == "read":
        return used_codec(weight.codec, hardware)  # the plan depends on it already
    is_by_cycles = bool(weight.codec.parameters.get("by_cycles"))
    best: tuple[tuple[int, int], CodecChoice] | None = None
    for choice in _candidates(hardware):
        try:
            num_bytes, cycles = _cost(weight, tiles, used_codec(choice, hardware), hardware)
        except CodecError:
            continue  # not every codec takes every matrix
        cost = (cycles, num_bytes) if is_by_cycles else (num_bytes, cycles)
        if best is None or cost < best[0]:
            best = cost, choice
    return CodecChoice("raw") if best is None or not tiles else best[1]


def _cost(
    weight: CompressedWeight, tiles: tuple[Tile, ...], choice: CodecChoice, hardware: Hardware
) -> tuple[int, int]:
    """Bytes and cycles of all tiles."""
    width = element_width(weight.bits)
    num_bytes = cycles = 0
    for tile in tiles:
        codes = weight.codes[tile.n0 : tile.n1, tile.k0 : tile.k1]
        block = encode_codes(choice, codes, weight.bits)
        num_bytes += len(block)
        cycles += load_cycles(block, codes.shape, width, hardware)
    return num_bytes, cycles
