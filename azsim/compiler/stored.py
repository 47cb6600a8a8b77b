"""Stored: the codec that a weight's blocks have on a chip, and about how many bits they take."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from azsim.codecs import (
    codec_is_read_by_column,
    codec_most_lanes,
    codec_names,
    codec_parameters,
)
from azsim.compression.scheme import AUTO
from azsim.hardware.description import Hardware
from azsim.ir import CodecChoice, CompressedWeight

__all__ = ["estimated_bits", "used_codec"]


def used_codec(choice: CodecChoice, hardware: Hardware) -> CodecChoice:
    """Codec that the image holds: the chosen one if the hardware has it, else plain `raw`.

    `raw` with a palette is what the codec `palette` stores, and needs a chip that has that.  A
    codec that deals a block out to lanes gets the decoder's, unless the scheme says how many.
    Where the array reads blocks, they have its lanes, whatever the scheme says; codecs that it
    cannot read are `raw`, and `auto` is the first that it can, with a palette if it takes one.
    """
    if hardware.decoder.at == "read":
        return _readable(choice, hardware)
    is_palette = choice.name == "raw" and choice.parameters.get("palette")
    needed = "palette" if is_palette else choice.name
    if needed not in hardware.decoder.codecs:
        return CodecChoice("raw")
    most = codec_most_lanes(choice.name) if choice.name != AUTO else None
    if most is None or "lanes" in choice.parameters:
        return choice
    lanes = min(hardware.decoder.lanes, most)
    return replace(choice, parameters={**choice.parameters, "lanes": lanes})


def _readable(choice: CodecChoice, hardware: Hardware) -> CodecChoice:
    known = [name for name in hardware.decoder.codecs if name in codec_names()]
    known = [name for name in known if codec_is_read_by_column(name)]
    if choice.name == AUTO and known:
        has_table = "palette" in codec_parameters(known[0])
        choice = CodecChoice(known[0], {"palette": True} if has_table else {})
    if choice.name not in known:
        return CodecChoice("raw")
    return replace(choice, parameters={**choice.parameters, "lanes": hardware.mac.lanes})


def estimated_bits(weight: CompressedWeight, hardware: Hardware) -> float:
    """Bits per weight in DRAM, from counts alone, for plans that are made before blocks are.

    A field for each code, as wide as the code or as an index into the values that occur; but for
    `raw` and `palette`, a mask and a field for each non-zero code.  That is what `bitmap` stores
    and about what the codecs closest to it do; entropy coders store less.
    """
    if weight.codec.name == AUTO:  # it is chosen for the tiles, and takes palettes that pay
        has_decoder = set(hardware.decoder.codecs) != {"raw"}
        codec = CodecChoice(AUTO, {"palette": True}) if has_decoder else CodecChoice("raw")
    else:
        codec = used_codec(weight.codec, hardware)
    is_masked = codec.name not in ("raw", "palette")
    count, bits = np.count_nonzero(weight.codes) if is_masked else weight.codes.size, weight.bits
    if codec.name == "palette" or codec.parameters.get("palette"):
        codes = weight.codes[weight.codes != 0] if is_masked else weight.codes
        index_bits = (max(1, np.unique(codes).size) - 1).bit_length()
        bits = min(bits, index_bits if is_masked else max(1, index_bits))
    return count / max(1, weight.codes.size) * bits + is_masked
