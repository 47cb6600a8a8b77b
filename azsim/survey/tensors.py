"""The code matrices of a file: quantized here, or by a workload's scheme, or codes already."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from azsim.arith import code_limit
from azsim.compression.compress import compress
from azsim.compression.scheme import ResolvedRule
from azsim.errors import InputError
from azsim.frontend.onnx_import import read_initializers
from azsim.frontend.workload import Workload
from azsim.inputs.tensors import read_npz, read_safetensors
from azsim.ops.build import weight_matrices
from azsim.stages.model import load_graph
from azsim.stages.prepare import compress_workload

__all__ = ["LEAST_WEIGHTS", "CodeMatrix", "TensorSet", "as_matrix", "read_file", "read_workload"]

LEAST_WEIGHTS = 64
"""Smaller tensors are left out: their headers would say more than their codes."""

_READERS = {".npz": read_npz, ".onnx": read_initializers, ".safetensors": read_safetensors}
_MODELS = (".onnx", ".safetensors")
_NAMES_SHOWN = 20


@dataclass(frozen=True)
class CodeMatrix:
    """Codes of one tensor, as codecs take them.

    Attributes
    ----------
    name : str
    codes : ndarray of shape (N, K), int8
        Within ``±(2**(bits-1)-1)``.
    bits : int
        2 to 8.
    """

    name: str
    codes: np.ndarray
    bits: int


@dataclass(frozen=True)
class TensorSet:
    """What a file holds.

    Attributes
    ----------
    matrices : tuple of CodeMatrix
    skipped : mapping of str to str
        Why a tensor was left out, by its name.
    """

    matrices: tuple[CodeMatrix, ...]
    skipped: Mapping[str, str]


def read_file(
    path: Path, bits: int = 8, sparsity: float = 0.0, patterns: Iterable[str] = ()
) -> TensorSet:
    """Read the tensors of an ONNX, npz or safetensors file as codes.

    Parameters
    ----------
    path : Path
        Its suffix says which.
    bits : int
        2 to 8.
    sparsity : float
        Share of the weights that magnitude pruning makes zero, in each tensor; at least 0,
        below 1.
    patterns : iterable of str
        Only tensors whose name matches one of them; by default all.

    Returns
    -------
    TensorSet
        Float tensors are pruned and quantized symmetrically per row, as the compression stage
        does; integer tensors are codes already.  Of the two kinds of model files vectors are
        left out, as biases are not compressed, and integers other than int8, as they are no
        weights.

    Raises
    ------
    InputError
        If the file cannot be read, holds nothing to encode, or a tensor has codes out of range
        or weights that are not finite; all problems at once.
    """
    if path.suffix not in _READERS:
        raise InputError(
            f"{path}: unknown kind of file {path.suffix!r}, allowed: {', '.join(_READERS)}, or a "
            "workload"
        )
    arrays = _matching(_READERS[path.suffix](path), patterns, str(path))
    reasons = {name: _reason(array, path.suffix in _MODELS) for name, array in arrays.items()}
    return _codes(arrays, reasons, bits, sparsity, str(path))


def read_workload(
    workload: Workload,
    bits: int | None = None,
    sparsity: float | None = None,
    patterns: Iterable[str] = (),
) -> TensorSet:
    """Read the weight matrices of a workload as codes.

    Parameters
    ----------
    workload : Workload
    bits, sparsity, patterns
        As for `read_file`.  Without `bits` and `sparsity` the workload's own scheme gives the
        codes; with either of them it takes no part.

    Raises
    ------
    InputError
        As `read_file`.
    """
    where = str(workload.source.path)
    if bits is None and sparsity is None:
        weights = compress_workload(workload).weights
        codes = _matching({n: w.codes for n, w in weights.items()}, patterns, where)
        found = {name: CodeMatrix(name, codes[name], weights[name].bits) for name in codes}
        return _selected(found, {n: _reason(c, is_model=True) for n, c in codes.items()}, where)
    matrices = _matching(weight_matrices(load_graph(workload)), patterns, where)
    reasons = {name: _reason(array, is_model=True) for name, array in matrices.items()}
    return _codes(matrices, reasons, 8 if bits is None else bits, sparsity or 0.0, where)


def as_matrix(array: np.ndarray) -> np.ndarray:
    """Array as rows: the first axis is N, all others are K; a vector is one row.

    Axes of length 1 do not count where there are more than two axes, so that a recurrent weight
    (1, 4H, K) has 4H rows.
    """
    shape = array.shape
    if len(shape) > 2:
        shape = tuple(length for length in shape if length != 1)
    rows = shape[0] if len(shape) > 1 else 1
    return np.ascontiguousarray(array).reshape(rows, -1)


def _matching(
    arrays: Mapping[str, np.ndarray], patterns: Iterable[str], where: str
) -> dict[str, np.ndarray]:
    patterns = tuple(patterns)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in arrays):
            raise InputError(f"{where}: --tensor {pattern}: no tensor matches; {_names(arrays)}")
    return {
        name: array
        for name, array in arrays.items()
        if not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)
    }


def _names(arrays: Iterable[str]) -> str:
    names = list(arrays)
    rest = len(names) - _NAMES_SHOWN
    more = f" and {rest} more" if rest > 0 else ""
    return f"tensors: {', '.join(names[:_NAMES_SHOWN]) or 'none'}{more}"


def _reason(array: np.ndarray, is_model: bool) -> str:
    """Why a tensor is left out; empty if it is not."""
    kind = array.dtype.kind
    if kind not in "fiu" or (is_model and kind != "f" and array.dtype != np.int8):
        return f"type {array.dtype.name}"
    if array.size < LEAST_WEIGHTS:
        return f"{array.size} weight{'' if array.size == 1 else 's'}"
    return "vector" if is_model and array.ndim < 2 else ""


def _codes(
    arrays: Mapping[str, np.ndarray],
    reasons: Mapping[str, str],
    bits: int,
    sparsity: float,
    where: str,
) -> TensorSet:
    floats, found, problems = {}, {}, []
    for name, array in arrays.items():
        if reasons[name]:
            continue
        if array.dtype.kind == "f":
            with np.errstate(over="ignore"):  # what float32 does not hold is not finite
                floats[name] = as_matrix(array).astype(np.float32)
        elif wrong := _out_of_range(array, bits):
            problems.append(f"{where}: {name}: {wrong}")
        else:
            found[name] = CodeMatrix(name, as_matrix(array).astype(np.int8), bits)
    rule = ResolvedRule(weight_bits=bits, sparsity=sparsity)
    try:
        compressed = compress(floats, dict.fromkeys(floats, rule))
    except InputError as error:
        problems += [f"{where}: {line}" for line in str(error).splitlines()]
        compressed = {}
    if problems:
        raise InputError("\n".join(problems))
    found |= {name: CodeMatrix(name, w.codes, w.bits) for name, w in compressed.items()}
    return _selected(found, reasons, where)


def _out_of_range(array: np.ndarray, bits: int) -> str:
    """What is wrong with integers that should be codes."""
    limit = code_limit(bits)
    low, high = int(array.min()), int(array.max())
    if -limit <= low and high <= limit:
        return ""
    return (
        f"code {low if low < -limit else high}, allowed at {bits} bits: ±{limit}; integers are "
        "taken as codes"
    )


def _selected(found: Mapping[str, CodeMatrix], reasons: Mapping[str, str], where: str) -> TensorSet:
    """Tensors in the order of the file, without those that there is a reason against."""
    skipped = {name: reason for name, reason in reasons.items() if reason}
    matrices = tuple(found[name] for name in reasons if name not in skipped)
    if not matrices:
        named = ", ".join(f"{name} ({reason})" for name, reason in skipped.items())
        raise InputError(
            f"{where}: no float tensors and no codes of at least {LEAST_WEIGHTS} elements; "
            f"skipped: {named or 'none'}"
        )
    return TensorSet(matrices, skipped)
