"""Sizes of lane_tans blocks and of Arm's `mlw_codec` on weights that nothing was tuned on.

Run as a script: ``python tests/bench/sizes_vs_mlw.py [first number] [sets]``.  After the random
sets come the matrices of silero-vad, quantized in other ways than the rows of the tests.  A block
has 16 bytes of header (count, length, checksum), which a stream of mlw_codec does not have: what
is larger than that stream is listed, with the room that the header leaves over the order-0
entropy of the codes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ethosu import mlw_codec
from weight_sets import FRESH, WeightSet, entropy_bytes, quantized, weight_set

from azsim.codecs import HEADER_BYTES, decode_block, encode_block
from azsim.errors import AzsimError
from azsim.inputs.fetch import fetch
from azsim.inputs.tensors import read_safetensors

SETS = 200
WEIGHTS = "pypi:silero-vad==6.2.3#silero_vad/data/silero_vad_16k.safetensors"
WEIGHTS_SHA256 = "c59271c284ae9c8335d795d60e0bfdb71aaaceec578d9bd9ffc1b8153c319ea1"


def silero_sets() -> Iterator[WeightSet]:
    """Matrices of at least 4,096 weights: 2 to 7 bits, one step a tensor or a row, clipped."""
    for name, tensor in read_safetensors(fetch(WEIGHTS, Path(), WEIGHTS_SHA256)).items():
        if tensor.size < 4096:
            continue
        weights = tensor.reshape(tensor.shape[0], -1).astype(np.float64)
        for bits in range(2, 8):
            for zeros, clip, by_row in ((0.0, 0.5, True), (0.6, 0.8, False), (0.85, 0.6, True)):
                kept = np.where(np.abs(weights) <= np.quantile(np.abs(weights), zeros), 0, weights)
                codes = quantized(kept, bits, clip, by_row=by_row)
                if codes.any():
                    yield WeightSet(f"{name} b{bits} s{zeros:.0%} clip {clip}", codes, bits)


def report(title: str, sets: Iterator[WeightSet]) -> list[str]:
    """Lines about the sets."""
    lines, ratios, payloads = [], [], []
    for name, codes, bits in sets:
        block = encode_block("lane_tans", codes, bits, columns=codes.shape[1])
        if not np.array_equal(decode_block(block)[0], codes.reshape(-1)):
            raise SystemExit(f"{name}: does not decode")
        arm = len(mlw_codec.encode(codes.reshape(-1).tolist(), 0))
        ratios.append(len(block) / arm)
        payloads.append((len(block) - HEADER_BYTES) / arm)
        if len(block) >= arm:
            room = arm - HEADER_BYTES - entropy_bytes(codes)
            lines.append(f"  {name}: {len(block)} to {arm} bytes, room {room:+.0f}")
    smaller = sum(ratio < 1 for ratio in ratios)
    summary = f"{title}: {smaller} of {len(ratios)} smaller, mean {np.mean(ratios) - 1:+.2%}"
    largest = f"largest {max(ratios) - 1:+.2%}, payloads alone {max(payloads) - 1:+.2%}"
    return [f"{summary}, {largest}", *lines]


def main() -> None:
    first = int(sys.argv[1]) if len(sys.argv) > 1 else FRESH
    number = int(sys.argv[2]) if len(sys.argv) > 2 else SETS
    lines = report("random", map(weight_set, range(first, first + number)))
    try:
        lines += report("silero", silero_sets())
    except AzsimError as error:
        lines.append(f"silero: {error}")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
