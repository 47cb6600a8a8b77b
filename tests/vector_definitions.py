"""What `Vector` steps compute, stated with the plain definitions of `azsim.arith`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from azsim import arith

F = np.float32
Operands = Mapping[str, Any]


def _column(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1, 1)


def _norm(given: Operands) -> np.ndarray:
    bias = given["bias"][0] if given.get("use_bias") else None
    return arith.NORM_FUNCTIONS[given["norm"]](
        given["src"], given["scale"][0], bias, given["value"]
    )


def _select(given: Operands) -> np.ndarray:
    return np.where(given["src"] != 0, given["src2"], given["other"])


def _convert(given: Operands) -> np.ndarray:
    src = given["src"]
    return arith.to_integer(src) if src.dtype == F else arith.to_float(src)


def _scatter(given: Operands) -> np.ndarray:
    result = given["dst"].copy()
    for row, number in zip(given["src"], given["indices"][:, 0], strict=True):
        assert 0 <= number < len(result)
        result[number] = row
    return result


def _gather(given: Operands) -> np.ndarray:
    numbers = given["indices"][:, 0]
    assert ((numbers >= 0) & (numbers < len(given["src"]))).all()
    return given["src"][numbers]


DEFINITIONS: dict[str, Callable[[Operands], np.ndarray]] = {
    "load_gather": _gather,
    "vector_arg": lambda given: _column(arith.ARG_FUNCTIONS[given["rank"]](given["src"])),
    "vector_binary": lambda given: arith.BINARY_FUNCTIONS[given["function"]](
        given["src"], given["src2"]
    ),
    "vector_compare": lambda given: arith.COMPARE_FUNCTIONS[given["comparison"]](
        given["src"], given["src2"]
    ).astype(F),
    "vector_convert": _convert,
    "vector_copy": lambda given: given["src"],
    "vector_cumulative_sum": lambda given: arith.cumulative_sum(given["src"]),
    "vector_fill": lambda given: np.full_like(given["dst"], given["value"]),
    "vector_gather": _gather,
    "vector_hash": lambda given: _column(arith.hash_rows(given["src"], given["buckets"])),
    "vector_multiply_add": lambda given: given["src"] * given["src2"] + given["other"],
    "vector_norm": _norm,
    "vector_reduce": lambda given: _column(
        arith.REDUCE_FUNCTIONS[given["reduction"]](given["src"])
    ),
    "vector_scan": lambda given: arith.scan(given["src"], given["src2"], given["initial"][0]),
    "vector_scatter": _scatter,
    "vector_select": _select,
    "vector_softmax": lambda given: arith.softmax(given["src"]),
    "vector_unary": lambda given: arith.UNARY_FUNCTIONS[given["function"]](given["src"]),
}


def vector_results(mnemonic: str, operands: Operands) -> dict[str, np.ndarray]:
    """Contents of the operands that an instruction writes.

    Parameters
    ----------
    mnemonic : str
    operands : mapping of str to ndarray of shape (rows, cols), int, float or str
        `dst` as it was before.
    """
    if mnemonic == "vector_top_k":
        values, numbers = arith.top_k(operands["src"], operands["dst"].shape[1])
        return {"dst": values, "indices": numbers}
    return {"dst": DEFINITIONS[mnemonic](operands)}
