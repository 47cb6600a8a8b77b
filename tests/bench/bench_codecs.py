"""Encoders and decoders of weights: bits, rates, and ratios to Arm's `mlw_codec` in this run.

Run as a script: ``python tests/bench/bench_codecs.py [million weights]``, or with ``sizes`` for
the entropy coders on small to large matrices.  Processor time of one thread is taken, so that
other work on the machine does not count.  `mlw_codec` (of the package ethos-u-vela) is called as
its users do, with a list of Python numbers.  For sizes, calls of a codec and of mlw_codec take
turns, and a ratio is the median of those of the turns.
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
SIZES = ((64, 64), (128, 128), (256, 256), (512, 256), (1024, 1024))
SIZE_DRAWS = ((8, 0.0), (8, 0.75), (4, 0.5), (4, 0.9), (2, 0.5))
SIZE_CODECS: list[tuple[str, dict[str, int | bool]]] = [
    ("lane_tans", {}),
    ("huffman", {}),
    ("rice", {}),
    ("rice", {"counted": True}),
]
TURNS = 5
TURN_WEIGHTS = 1 << 17  # of a codec in one turn, at least
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


def ratio(ours: Callable[[], object], arms: Callable[[], object], calls: int) -> float:
    """How many times as fast as Arm's a call of ours is, by turns."""
    ours()
    found = []
    for _ in range(TURNS):
        times = []
        for work in (ours, arms):
            start = time.process_time()
            for _ in range(calls):
                work()
            times.append(time.process_time() - start)
        found.append(times[1] / max(times[0], 1e-9))
    return float(np.median(found))


def size_lines() -> list[str]:
    """Rates of the entropy coders on matrices of 4,096 weights to a million, as ratios to Arm's."""
    rng = np.random.default_rng(1)
    lines = ["", "weights  bits zeros  rows     codec                encode x mlw  decode x mlw"]
    for shape in SIZES:
        for bits, zeros in SIZE_DRAWS:
            for scaled in (False, True):
                codes = draw(rng, shape[0] * shape[1], bits, zeros).reshape(shape)
                if scaled:  # rows of many scales, so that contexts are fitted
                    scale = np.exp(0.5 * rng.normal(size=(shape[0], 1)))
                    limit = 2 ** (bits - 1) - 1
                    wide = np.asarray(np.rint(codes * scale), np.float64)
                    codes = np.clip(wide, -limit, limit).astype(np.int8)
                stream = bytearray(mlw_codec.encode(codes.reshape(-1).tolist(), 0))
                given = codes.reshape(-1).tolist()
                calls = max(1, TURN_WEIGHTS // codes.size)
                for name, parameters in SIZE_CODECS:
                    options = {"columns": shape[1], **parameters}
                    block = encode_block(name, codes, bits, **options)
                    faster = (
                        ratio(
                            lambda n=name, c=codes, b=bits, o=options: encode_block(n, c, b, **o),
                            lambda g=given: mlw_codec.encode(g, 0),
                            calls,
                        ),
                        ratio(
                            lambda b=block: decode_block(b),
                            lambda s=stream: mlw_codec.decode(s, 0),
                            calls,
                        ),
                    )
                    label = " ".join([name, *(f"{k}={int(v)}" for k, v in parameters.items())])
                    kind = "scaled" if scaled else "alike"
                    what = f"{codes.size:8} {bits:4} {zeros:5.0%}  {kind:7} {label:20}"
                    lines.append(f"{what} {faster[0]:12.2f} {faster[1]:13.2f}")
    return lines


def main() -> None:
    if sys.argv[1:] == ["sizes"]:
        sys.stdout.write("\n".join(size_lines()) + "\n")
        return
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
