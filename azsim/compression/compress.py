"""From float matrices and their rules to codes and scales, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from azsim.arith import code_limit
from azsim.compression.prune import prune
from azsim.compression.quantize import quantize, split_segments
from azsim.compression.spec import ResolvedRule
from azsim.errors import InputError
from azsim.ir import CompressedWeight

__all__ = ["Remembered", "Weights", "compress", "dense_bytes", "dequantize", "entropy_bits"]

Weights = dict[str, CompressedWeight]
Remembered = Callable[[list[str], Callable[[], Weights]], Weights]
"""Keeps weights from one call of `compress` to the next."""


def compress(
    matrices: Mapping[str, np.ndarray],
    rules: Mapping[str, ResolvedRule],
    activation_max: Mapping[str, float] | None = None,
    column_power: Mapping[str, np.ndarray] | None = None,
    remembered: Remembered | None = None,
) -> dict[str, CompressedWeight]:
    """Prune and quantize weight matrices, and split them where int32 would not hold a sum.

    Parameters
    ----------
    matrices : mapping of str to ndarray of shape (N, K), float32
        By initializer name.
    rules : mapping of str to ResolvedRule
        One for each matrix.
    activation_max : mapping of str to float, optional
        Largest ``|x|`` that each matrix was multiplied with in the calibration run; needed by
        those whose rule says static activations.
    column_power : mapping of str to ndarray of shape (K,), optional
        Mean squared activation of each input column in the calibration run, for pruners that
        weigh errors with it.
    remembered : callable, optional
        ``remembered(names, make)`` gives the weights of matrices whose zeros are chosen together:
        what `make()` gives, or gave when their names, values and rules were the same.  Their codec
        does not count.

    Returns
    -------
    dict of str to CompressedWeight
        In the order of `matrices`.

    Raises
    ------
    InputError
        If a matrix is empty or holds a value that is not finite, or a calibration value is
        missing or not finite; all problems at once.
    """
    problems = [
        problem
        for name, matrix in matrices.items()
        for problem in _problems(name, matrix, rules[name], activation_max or {})
    ]
    if problems:
        raise InputError("\n".join(problems))
    compressed: dict[str, CompressedWeight] = {}
    for names in _pruned_together(matrices, rules):

        def make(names: list[str] = names) -> Weights:
            pruned = prune({name: matrices[name] for name in names}, rules, column_power)
            maxima = activation_max or {}
            return {
                name: _quantized(name, pruned.pop(name), rules[name], maxima.get(name))
                for name in names
            }

        compressed |= make() if remembered is None else remembered(names, make)
    return {name: replace(compressed[name], codec=rules[name].codec) for name in matrices}


def _pruned_together(
    matrices: Mapping[str, np.ndarray], rules: Mapping[str, ResolvedRule]
) -> list[list[str]]:
    """Names of matrices that share a choice of zeros, and each of the others alone.

    So no more pruned copies are there at a time than must be.
    """
    shared = [name for name in matrices if rules[name].prune_scope == "global"]
    alone = [[name] for name in matrices if rules[name].prune_scope != "global"]
    return [*([shared] if shared else []), *alone]


def _quantized(
    name: str, pruned: np.ndarray, rule: ResolvedRule, largest: float | None
) -> CompressedWeight:
    """Codes and scales of a pruned matrix, whose inputs had this largest magnitude."""
    found = quantize(pruned, rule)
    scales, segments = split_segments(
        found.codes, found.scales, found.segments, rule.activation_bits
    )
    static = None
    if rule.activation_scale == "static" and largest is not None:
        static = _activation_scale(largest, rule.activation_bits)
    return CompressedWeight(
        name=name,
        codes=found.codes,
        scales=scales,
        segments=segments,
        bits=found.bits,
        scale_kind=found.scale_kind,
        activation_bits=rule.activation_bits,
        activation_scale=static,
        codec=rule.codec,
        palette_bits=found.palette_bits,
    )


def _problems(
    name: str, matrix: np.ndarray, rule: ResolvedRule, activation_max: Mapping[str, float]
) -> list[str]:
    if matrix.ndim != 2 or matrix.size == 0 or matrix.dtype != np.float32:
        shape = " x ".join(map(str, matrix.shape))
        return [f"{name}: weight of type {matrix.dtype} and shape {shape}, expected float32 N x K"]
    problems: list[str] = []
    finite = np.isfinite(matrix)
    if not finite.all():
        where = tuple(int(i) for i in np.unravel_index(int(finite.argmin()), matrix.shape))
        wrong = matrix.size - np.count_nonzero(finite)
        problems.append(
            f"{name}: {wrong} of {matrix.size} weights are not finite, the first at row "
            f"{where[0]}, column {where[1]}: {matrix[where]}"
        )
    if rule.activation_scale == "static":
        if name not in activation_max:
            problems.append(
                f"{name}: static activation scale, but no calibration value; give the workload a "
                "calibration input or use scale: dynamic"
            )
        elif not 0 <= activation_max[name] <= np.finfo(np.float32).max:
            problems.append(
                f"{name}: calibration value {activation_max[name]}, expected a finite magnitude"
            )
    return problems


def _activation_scale(largest: float, bits: int) -> float:
    """Return the static scale, exactly representable in float32; 1 where nothing but zeros came."""
    scale = np.float32(largest) / np.float32(code_limit(bits))
    return float(scale) if scale else 1.0


def dequantize(weight: CompressedWeight) -> np.ndarray:
    """Weights that the codes stand for, ``code * scale`` in float32, of shape (N, K)."""
    widths = np.diff(weight.segments)
    return weight.codes * np.repeat(weight.scales, widths, axis=0).T


def dense_bytes(weight: CompressedWeight) -> int:
    """Bytes of the codes alone, uncompressed, packed at the scheme's bits."""
    return (weight.codes.size * weight.scheme_bits + 7) // 8


def entropy_bits(codes: np.ndarray) -> float:
    """Order-0 entropy of int8 codes (bits per weight); 0 for an empty array."""
    counts = np.bincount(np.ascontiguousarray(codes).reshape(-1).view(np.uint8))
    share = counts[counts > 0] / max(codes.size, 1)
    return float(-(share * np.log2(share)).sum() + 0.0)
