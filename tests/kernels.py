"""The data of the worked examples, and what each has to give, stated in numpy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from azsim import arith
from azsim.resources import isa_directory

__all__ = ["DATA", "EXAMPLES", "STATEMENTS", "sparse_codes"]

F = np.float32
EXAMPLES = isa_directory() / "examples"

Arrays = dict[str, np.ndarray]


def sparse_codes(
    rng: np.random.Generator, rows: int, cols: int, bits: int, zeros: float
) -> np.ndarray:
    """Codes of which about a share is zero."""
    limit = (1 << (bits - 1)) - 1
    codes = rng.integers(1, limit + 1, (rows, cols)) * rng.choice([-1, 1], (rows, cols))
    return np.where(rng.random((rows, cols)) < zeros, 0, codes).astype(np.int8)


def product(
    codes: np.ndarray, weights: np.ndarray, scale: np.ndarray, scales: np.ndarray
) -> np.ndarray:
    """Integer products, scaled as the drain does it: (rows of codes, rows of weights) float32."""
    sums = codes.astype(np.int64) @ weights.astype(np.int64).T
    return sums.astype(F) * (scale[:, None] * scales[None, :])


# ------------------------------------------------------------------------------ sparse_matvec


def sparse_matvec_data(seed: int = 1) -> Arrays:
    rng = np.random.default_rng(seed)
    blocks = {f"w{n}": sparse_codes(rng, 64, 192, 4, 0.85) for n in range(4)}
    return {
        "x": rng.standard_normal((1, 192)).astype(F),
        "scales": rng.uniform(0.01, 0.1, (4, 64)).astype(F),
        **blocks,
    }


def sparse_matvec(data: Arrays) -> Arrays:
    codes, scale = arith.quantize_rows(data["x"], 8)
    rows = [product(codes, data[f"w{n}"], scale, data["scales"][n]) for n in range(4)]
    return {"y": np.concatenate(rows)}


# ---------------------------------------------------------------------------------- lstm_cell


def lstm_cell_data(seed: int = 2) -> Arrays:
    rng = np.random.default_rng(seed)
    return {
        "x": rng.standard_normal((10, 24)).astype(F),
        "w_scales": rng.uniform(0.001, 0.01, (1, 128)).astype(F),
        "r_scales": rng.uniform(0.001, 0.01, (1, 128)).astype(F),
        "bias": rng.standard_normal((1, 128)).astype(F),
        "w": sparse_codes(rng, 128, 24, 8, 0.5),
        "r": sparse_codes(rng, 128, 32, 8, 0.5),
    }


def lstm_cell(data: Arrays) -> Arrays:
    codes, scales = arith.quantize_rows(data["x"], 8)
    inputs = product(codes, data["w"], scales, data["w_scales"][0])
    h, c = np.zeros((1, 32), F), np.zeros((1, 32), F)
    states = []
    for row in inputs:
        codes, scale = arith.quantize_rows(h, 8)
        gates = row + product(codes, data["r"], scale, data["r_scales"][0])
        gates = gates + data["bias"]
        i, o, f = np.split(arith.sigmoid(gates[:, :96]), 3, axis=1)
        c = f * c + i * arith.tanh(gates[:, 96:])
        h = o * arith.tanh(c)
        states.append(h)
    return {"h": np.concatenate(states), "c": c}


# ------------------------------------------------------------------------------------- greedy

END, MOST = 0, 20


def greedy_data(seed: int = 58) -> Arrays:
    rng = np.random.default_rng(seed)
    return {
        "start": np.array([[17]], np.int32),
        "embedding": rng.standard_normal((40, 32)).astype(F),
        "r_scales": rng.uniform(0.003, 0.006, (1, 32)).astype(F),
        "u_scales": rng.uniform(0.01, 0.02, (1, 40)).astype(F),
        "r": sparse_codes(rng, 32, 32, 8, 0.7),
        "u": sparse_codes(rng, 40, 32, 8, 0.7),
    }


def greedy(data: Arrays) -> Arrays:
    token, h = int(data["start"][0, 0]), np.zeros((1, 32), F)
    tokens: list[int] = []
    while len(tokens) < MOST:
        codes, scale = arith.quantize_rows(h, 8)
        recurrent = product(codes, data["r"], scale, data["r_scales"][0])
        h = arith.tanh(data["embedding"][[token]] + recurrent)
        codes, scale = arith.quantize_rows(h, 8)
        token = int(np.argmax(product(codes, data["u"], scale, data["u_scales"][0])))
        tokens.append(token)
        if token == END:
            break
    padded = np.full((1, MOST), -1, np.int32)
    padded[0, : len(tokens)] = tokens
    return {"tokens": padded, "count": np.array([[len(tokens)]], np.int32)}


DATA: dict[str, Callable[..., Arrays]] = {
    "sparse_matvec": sparse_matvec_data,
    "lstm_cell": lstm_cell_data,
    "greedy": greedy_data,
}
STATEMENTS: dict[str, Callable[[Arrays], Arrays]] = {
    "sparse_matvec": sparse_matvec,
    "lstm_cell": lstm_cell,
    "greedy": greedy,
}
