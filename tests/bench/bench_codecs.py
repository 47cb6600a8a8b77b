"""Encoders and decoders of weights: bits, rates, and ratios to Arm's `mlw_codec` in this run.

Run as a script: ``python tests/bench/bench_codecs.py [million weights]``.  Processor time of one
thread is taken, so that other work on the machine does not count.  `mlw_codec` (of the package
ethos-u-vela) is called as its users do, with a list of Python numbers.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
from ethosu import mlw_codec

from azsim.codecs import (
    block_decode_cycles,
    codec_names,
    codec_parameters,
    decode_block,
    encode_block,
)

COLUMNS = 1000
LANES, BUS_BITS, PORT_CODES = 16, 128, 64
MLW_SHARE = 4  # mlw_codec is given this part of the weights
SETTINGS: dict[str, list[dict[str, int | bool]]] = {
    "csc": [{}, {"lanes": 1}],
    "huffman": [{}, {"zero_runs": False}],
    "rice": [{}, {"counted": True}, {"streams": LANES}],
}


def seconds(work: Callable[[], object]) -> float:
    """Processor time of the faster of two calls."""
    times = []
    for _ in range(2):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def draw(rng: np.random.Generator, count: int, bits: int, zeros: float) -> np.ndarray:
    """Laplace weights with the smallest set to zero, in steps of their largest: (count,) int8."""
    limit = 2 ** (bits - 1) - 1
    weights = rng.laplace(size=count)
    weights[np.abs(weights) <= np.quantile(np.abs(weights), zeros)] = 0
    span = 6 if bits > 4 else 3
    return np.clip(np.rint(weights * limit / span), -limit, limit).astype(np.int8)


def rows(codes: np.ndarray, bits: int) -> list[tuple[str, float, float, float, str]]:
    """Name, bits per weight, encode and decode seconds, and weights per cycle of each codec."""
    found = []
    for name in codec_names():
        variants = SETTINGS.get(name, [{}])
        if "palette" in codec_parameters(name):
            variants = [*variants, {"palette": True}]
        for parameters in variants:
            options = {"columns": COLUMNS, **parameters}
            block = encode_block(name, codes, bits, **options)
            decode_block(block)
            encode_s = seconds(lambda n=name, o=options: encode_block(n, codes, bits, **o))
            decode_s = seconds(lambda b=block: decode_block(b))
            cycles = block_decode_cycles(block, LANES, BUS_BITS, PORT_CODES)
            rate = f"{codes.size / cycles:.2f}"
            label = " ".join([name, *(f"{key}={int(value)}" for key, value in parameters.items())])
            found.append((label, 8 * len(block) / codes.size, encode_s, decode_s, rate))
    return found


def row(
    label: str, size: float, encode: float, decode: float, more: float, faster: float, rate: str
) -> str:
    """One line of the table; rates in weights per second, and as ratios."""
    return (
        f"{label:20} {size:11.3f} {encode / 1e6:8.1f} {more:9.1f} {decode / 1e6:8.1f} "
        f"{faster:9.1f} {rate:>14}"
    ).rstrip()


def main() -> None:
    count = int(float(sys.argv[1] if len(sys.argv) > 1 else 10) * 1e6) // COLUMNS * COLUMNS
    rng = np.random.default_rng(0)
    lines = []
    for bits, zeros in ((8, 0.0), (8, 0.5), (8, 0.75), (4, 0.5), (4, 0.9)):
        codes = draw(rng, count, bits, zeros)
        part = codes[: count // MLW_SHARE].tolist()
        stream = mlw_codec.encode(part, 0)
        encode_rate = len(part) / seconds(lambda p=part: mlw_codec.encode(p, 0))
        decode_rate = len(part) / seconds(lambda s=stream: mlw_codec.decode(bytearray(s), 0))
        shares = np.unique(codes, return_counts=True)[1] / count
        entropy = -(shares * np.log2(shares)).sum()
        lines += [
            "",
            f"{bits} bits, {np.mean(codes == 0):.0%} zeros, entropy {entropy:.3f}",
            row("mlw_codec", 8 * len(stream) / len(part), encode_rate, decode_rate, 1.0, 1.0, ""),
            "codec                bits/weight   encode     x mlw   decode     x mlw  weights/cycle",
        ]
        for label, size, encode_s, decode_s, rate in rows(codes, bits):
            rates = count / encode_s, count / decode_s
            ratios = rates[0] / encode_rate, rates[1] / decode_rate
            lines.append(row(label, size, *rates, *ratios, rate))
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
