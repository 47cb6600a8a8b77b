"""Random weight matrices of many kinds as codes: what no codec was tuned on.

A number makes a set: its kind, size, width of codes, share of zeros, scale and clip are drawn from
it.  Numbers below 5000 were looked at while `lane_tans` was written; take others to judge it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

KINDS = ("laplace", "gauss", "student", "uniform", "outliers", "blocks", "2of4", "rows")
ZEROS = (0.0, 0.25, 0.5, 0.75, 0.9, 0.95)
SMALL = ((64, 64), (40, 125), (100, 64), (128, 128), (96, 200))
LARGE = ((256, 256), (512, 256), (1024, 1024))
FRESH = 5000
"""First number that was not looked at."""


class WeightSet(NamedTuple):
    """Codes of a matrix."""

    name: str
    codes: np.ndarray
    bits: int


def quantized(weights: np.ndarray, bits: int, clip: float, *, by_row: bool) -> np.ndarray:
    """Steps of the largest weight, of a row or of all, times `clip`: int8."""
    limit = 2 ** (bits - 1) - 1
    largest = np.abs(weights).max(axis=1, keepdims=True) if by_row else np.abs(weights).max()
    largest = np.where(largest == 0, 1.0, largest) * clip
    return np.clip(np.rint(weights / largest * limit), -limit, limit).astype(np.int8)


def drawn(rng: np.random.Generator, kind: str, shape: tuple[int, int], zeros: float) -> np.ndarray:
    """Weights of a kind, that part of them zero: two of four, or by blocks of 16, or the least."""
    if kind == "laplace":
        weights = rng.laplace(size=shape)
    elif kind == "student":
        weights = rng.standard_t(4, size=shape)
    elif kind == "uniform":
        weights = rng.uniform(-1, 1, size=shape)
    elif kind == "outliers":
        weights = rng.exponential(size=shape) * rng.choice([-1, 1], size=shape)
        weights[rng.random(shape) < 0.002] *= 8
    else:
        weights = rng.normal(size=shape)
    if kind == "rows":
        weights *= np.exp(0.7 * rng.normal(size=(shape[0], 1)))
    flat = weights.reshape(-1)
    if kind == "blocks":
        blocks = flat[: flat.size // 16 * 16].reshape(-1, 16)
        energy = (blocks**2).sum(axis=1)
        blocks[energy <= np.quantile(energy, max(zeros, 0.5))] = 0
    elif kind == "2of4":
        quads = flat[: flat.size // 4 * 4].reshape(-1, 4)
        order = np.argsort(-np.abs(quads), axis=1, kind="stable")
        np.put_along_axis(quads, order[:, 2:], 0.0, axis=1)
    elif zeros:
        weights[np.abs(weights) <= np.quantile(np.abs(weights), zeros)] = 0
    return weights


def weight_set(number: int, *, largest: int = 1 << 20) -> WeightSet:
    """Set of a number; of at most `largest` weights."""
    rng = np.random.default_rng(number)
    shapes = SMALL if rng.random() < 0.7 else [s for s in LARGE if s[0] * s[1] <= largest]
    shape = shapes[rng.integers(len(shapes))]
    bits = int(rng.integers(2, 9))
    kind, zeros = str(rng.choice(KINDS)), float(rng.choice(ZEROS))
    clip, by_row = float(rng.choice([1.0, 0.7, 0.4])), bool(rng.random() < 0.5)
    codes = quantized(drawn(rng, kind, shape, zeros), bits, clip, by_row=by_row)
    if not codes.any():
        codes[0, 0] = 1
    scale = "row" if by_row else "tensor"
    name = f"{number} {kind} {shape[0]}x{shape[1]} b{bits} s{zeros:.0%} clip {clip} by {scale}"
    return WeightSet(name, codes, bits)


def entropy_bytes(codes: np.ndarray) -> float:
    """Order-0 entropy of all codes."""
    counts = np.unique(codes, return_counts=True)[1]
    return float((counts * np.log2(codes.size / counts)).sum() / 8)
