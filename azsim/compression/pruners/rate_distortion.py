"""Bits are spent where the output error is smallest: error plus lambda times bits, minimised.

For each weight it is known what keeping it costs and what it is worth:

- *bits*: ``-log2 p(|code|)``, and one for the sign, less what a zero costs; p are the shares of
  the codes that stay (order-0, with `uniform`'s scales at the rule's bits);
- *error*: what zeroing adds to the squared error of its product, ``w * w - (w - code * scale)**2``
  times the mean squared activation of its column in the calibration run (1 without one).

Weights whose error per bit is below lambda become zero.  Lambda is the one that gives
``round(sparsity * size)`` zeros exactly (among equals the first in C order go first), or with
`target_bits` the smallest (of a fine grid) whose estimate, order-0 entropy of all codes with their
signs, is at most that.  As the shares depend on what stays, this is done three times.  With
`scope: global` one lambda serves all tensors of the pool, each with its own shares.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from azsim.arith import code_limit
from azsim.compression.pruners._base import keep, pools, smallest
from azsim.compression.quantizers import uniform
from azsim.compression.spec import ResolvedRule

PARAMETERS = ("sparsity", "scope", "target_bits")
REQUIRED = ()

_ROUNDS = 3
_LEAST_SAVING_BITS = 0.25
_LEVELS = 128
_SCORE_SHIFT = 16  # float32 scores are told apart by sign, exponent and 7 bits of mantissa


@dataclass
class _Tensor:
    """Levels |code| and added errors of one tensor, flat, and what of it goes."""

    shape: tuple[int, ...]
    levels: np.ndarray
    errors: np.ndarray
    goes: np.ndarray

    def scores(self) -> np.ndarray:
        """Added error per bit that zeroing saves."""
        counts = np.bincount(self.levels[~self.goes], minlength=_LEVELS) + 0.5
        counts[0] += np.count_nonzero(self.goes)
        bits = np.log2(counts.sum()) - np.log2(counts)
        bits[1:] += 1
        saved = np.maximum(bits - bits[0], _LEAST_SAVING_BITS)
        return self.errors / saved.astype(np.float32)[self.levels]


def prune(
    matrices: Mapping[str, np.ndarray],
    rules: Mapping[str, ResolvedRule],
    column_power: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """Prune all matrices; see the package for the contract."""
    pruned = dict(matrices)
    for rule, pool in pools(matrices, rules):
        if rule.sparsity == 0 and rule.target_bits is None:
            continue
        tensors = {
            name: _tensor(matrix, rules[name], column_power.get(name))
            for name, matrix in pool.items()
        }
        _choose(list(tensors.values()), rule)
        for name, tensor in tensors.items():
            pruned[name] = keep(matrices[name], tensor.goes.reshape(tensor.shape))
    return pruned


def _tensor(matrix: np.ndarray, rule: ResolvedRule, power: np.ndarray | None) -> _Tensor:
    bits = rule.weight_bits
    assert code_limit(bits) < _LEVELS
    found = uniform.quantize(matrix, replace(rule, quantizer="uniform"))
    widths = np.diff(found.segments)
    scales = np.repeat(found.scales, widths, axis=0).T
    restored = found.codes * scales
    # w*w - (w-r)**2, with fewer roundings; never below 0, as r is nearer to w than 0 is.
    errors = np.maximum(restored * (2 * matrix - restored), np.float32(0))
    if power is not None:
        errors *= power.astype(np.float32)
    levels = np.abs(found.codes).reshape(-1)
    return _Tensor(matrix.shape, levels, errors.reshape(-1), np.zeros(matrix.size, np.bool_))


def _choose(tensors: list[_Tensor], rule: ResolvedRule) -> None:
    size = sum(tensor.levels.size for tensor in tensors)
    for _ in range(_ROUNDS):
        scores = [tensor.scores() for tensor in tensors]
        if rule.target_bits is None:
            _mark(tensors, smallest(np.concatenate(scores), round(rule.sparsity * size)))
            continue
        # Scores are not negative, so their bit patterns are in their order.
        keys = [score.view(np.int32) >> _SCORE_SHIFT for score in scores]
        least = _least_key(tensors, keys, rule.target_bits * size)
        for tensor, key in zip(tensors, keys, strict=True):
            tensor.goes = key < least


def _least_key(tensors: list[_Tensor], keys: list[np.ndarray], allowed_bits: float) -> int:
    """Least key that has to stay so that all codes together take at most `allowed_bits`."""
    bins = max(int(key.max()) for key in keys) + 1
    total = np.zeros(bins + 1)
    for tensor, key in zip(tensors, keys, strict=True):
        joint = np.bincount(
            key.astype(np.int64) * _LEVELS + tensor.levels, minlength=bins * _LEVELS
        )
        # counts[k] are the levels that occur when every weight with a key below k is zero.
        counts = np.zeros((bins + 1, _LEVELS))
        counts[:bins] = np.cumsum(joint.reshape(bins, _LEVELS)[::-1], axis=0)[::-1]
        counts[:, 0] = tensor.levels.size - counts[:, 1:].sum(axis=1)
        logs = np.log2(counts, out=np.zeros_like(counts), where=counts > 0)
        total += tensor.levels.size * np.log2(tensor.levels.size) - (counts * logs).sum(axis=1)
        total += counts[:, 1:].sum(axis=1)
    return int(np.argmax(total <= allowed_bits))


def _mark(tensors: list[_Tensor], goes: np.ndarray) -> None:
    start = 0
    for tensor in tensors:
        stop = start + tensor.levels.size
        tensor.goes = goes[start:stop]
        start = stop
