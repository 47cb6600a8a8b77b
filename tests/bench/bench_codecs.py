"""Rates of encoders and decoders on ten million weights, and bits per weight.

Run as a script: ``python tests/bench/bench_codecs.py``.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from azsim.codecs import (
    block_lane_cycles,
    codec_names,
    codec_parameters,
    decode_block,
    encode_block,
)

COUNT = 10_000_000
LANES = 16


def main() -> None:
    rng = np.random.default_rng(0)
    lines = [
        "codec                bits zeros  bits/weight  encode Mw/s  decode Mw/s  weights/cycle"
    ]
    for bits, zeros in ((8, 0.0), (8, 0.5), (4, 0.5), (4, 0.9)):
        limit = 2 ** (bits - 1) - 1
        codes = rng.integers(-limit, limit + 1, COUNT).astype(np.int8)
        codes[rng.random(COUNT) < zeros] = 0
        for name in codec_names():
            for parameters in ({}, *({key: True} for key in codec_parameters(name))):
                decode_block(encode_block(name, codes[:100], bits, **parameters))  # compiles
                start = time.perf_counter()
                block = encode_block(name, codes, bits, **parameters)
                encoded = time.perf_counter()
                decode_block(block)
                decoded = time.perf_counter()
                cycles = block_lane_cycles(block, LANES)
                label = "+".join([name, *parameters])
                per_cycle = f"{COUNT / cycles:13.2f}" if cycles else "     bus rate"
                lines.append(
                    f"{label:20} {bits:4} {zeros:5.2f} {8 * len(block) / COUNT:12.3f} "
                    f"{COUNT / (encoded - start) / 1e6:12.0f} "
                    f"{COUNT / (decoded - encoded) / 1e6:12.0f} {per_cycle}"
                )
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
