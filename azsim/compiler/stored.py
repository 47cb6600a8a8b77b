"""Stored: the codec that a weight's blocks have on a chip, and about how many bits they take."""

from __future__ import annotations

import numpy as np

from azsim.compression.scheme import AUTO
from azsim.hardware.description import Hardware
from azsim.ir import CodecChoice, CompressedWeight

__all__ = ["estimated_bits", "used_codec"]


def used_codec(choice: CodecChoice, hardware: Hardware) -> CodecChoice:
    """Codec that the image holds: the chosen one if the hardware has it, else plain `raw`.

    `raw` with a palette is what the codec `palette` stores, and needs a chip that has that.
    """
    is_palette = choice.name == "raw" and choice.parameters.get("palette")
    needed = "palette" if is_palette else choice.name
    return choice if needed in hardware.decoder.codecs else CodecChoice("raw")


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
    codes = weight.codes[weight.codes != 0] if is_masked else weight.codes
    bits = weight.bits
    if codec.name == "palette" or codec.parameters.get("palette"):
        index_bits = (max(1, np.unique(codes).size) - 1).bit_length()
        bits = min(bits, index_bits if is_masked else max(1, index_bits))
    return codes.size / max(1, weight.codes.size) * bits + is_masked
