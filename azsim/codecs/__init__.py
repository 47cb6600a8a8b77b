"""Weight codecs, one file each; see `azsim.codecs._base` for what they share."""

from __future__ import annotations

from azsim.codecs._base import (
    HEADER_BYTES,
    MAX_COUNT,
    HardwareCost,
    block_bytes,
    block_codec,
    block_column_bits,
    block_column_entries,
    block_decode_cycles,
    block_hardware_cost,
    block_lane_steps,
    block_num_codes,
    block_parameters,
    codec_is_canonical,
    codec_is_read_by_column,
    codec_most_lanes,
    codec_names,
    codec_parameters,
    decode_block,
    decode_named_block,
    encode_block,
)
from azsim.codecs._steps import LaneSteps, decode_profile

__all__ = [
    "HEADER_BYTES",
    "MAX_COUNT",
    "HardwareCost",
    "LaneSteps",
    "block_bytes",
    "block_codec",
    "block_column_bits",
    "block_column_entries",
    "block_decode_cycles",
    "block_hardware_cost",
    "block_lane_steps",
    "block_num_codes",
    "block_parameters",
    "codec_is_canonical",
    "codec_is_read_by_column",
    "codec_most_lanes",
    "codec_names",
    "codec_parameters",
    "decode_block",
    "decode_named_block",
    "decode_profile",
    "encode_block",
]
