"""Compression inside training: what the chip will make of a matrix, at every step.

Zeros, scales and palettes come from `azsim.compression` itself, with the rules of the recipe's
scheme, every few steps; between these the weights are rounded to what was chosen.  So training has
no second definition of a quantizer or a pruner, and every scheme can be trained for.  At the end
`compress` is asked once more, and what it gives is what is stored: compressing that again changes
nothing (tested for every quantizer that a recipe uses).

Sources: straight-through estimator: Bengio et al. (2013); weights pulled to their quantized values:
Bai et al., ProxQuant (2019); gradual sparsity: Zhu and Gupta (2017).
"""

# pyright: reportMissingImports=false

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from azsim.arith import code_limit
from azsim.compression.compress import compress, dequantize
from azsim.compression.prune import prune
from azsim.compression.quantize import quantize
from azsim.compression.quantizers import quantizer
from azsim.compression.scheme import resolve
from azsim.compression.spec import CompressionSpec, ResolvedRule
from azsim.training.recipe import Compression

__all__ = ["AwareTraining", "compressed", "sparsity_at"]

_PRUNED_IN_STEPS = ("magnitude", "balanced", "block")


def sparsity_at(final: float, progress: float, until: float) -> float:
    """Share of zeros when a share `progress` of the steps is done: ``final (1 - (1 - p)^3)``."""
    done = 1.0 if until == 0 else min(1.0, progress / until)
    return final * (1 - (1 - done) ** 3)


def compressed(
    matrices: Mapping[str, np.ndarray], rules: Mapping[str, ResolvedRule]
) -> dict[str, np.ndarray]:
    """Values that the chip multiplies with, (N, K) float32, by name."""
    found = compress(matrices, rules)
    return {name: np.asarray(dequantize(found[name]), np.float32) for name in matrices}


@dataclass
class _Grid:
    """What a matrix is rounded to until the next choice.

    Attributes
    ----------
    kept : Tensor of shape (N, K), float32
        0 where a weight is pruned, else 1.
    scales : Tensor of shape (N, 1) or (N, K), float32
    levels : Tensor of shape (L,), float32
        Whole numbers, ascending; a weight is a level times its scale.
    """

    kept: Tensor
    scales: Tensor
    levels: Tensor


class AwareTraining:
    """Changes matrices on their way into the network.

    Parameters
    ----------
    spec : CompressionSpec
    settings : Compression
    matrices : mapping of str to Parameter
        Those of the network, which the optimizer moves.
    """

    def __init__(
        self, spec: CompressionSpec, settings: Compression, matrices: Mapping[str, nn.Parameter]
    ) -> None:
        self._settings, self._matrices = settings, matrices
        self.rules = resolve(spec, tuple(matrices))
        self._grids: dict[str, _Grid] = {}
        self._learned: dict[str, nn.Parameter] = {}
        self._pull = 0.0

    def start_step(self, step: int, steps: int) -> None:
        """Choose zeros, scales and palettes anew, where their time has come."""
        progress = step / steps
        self._pull = progress
        if step % self._settings.refresh_steps and self._grids:
            return
        rules = {name: self._rule_at(rule, progress) for name, rule in self.rules.items()}
        arrays = {name: matrix.detach().numpy().copy() for name, matrix in self._matrices.items()}
        for name, pruned in prune(arrays, rules).items():
            found = quantize(pruned, rules[name])
            scales = np.repeat(found.scales.T, np.diff(found.segments), axis=1)
            if len(found.segments) == 2:
                scales = found.scales.T
            grid = _Grid(
                torch.from_numpy((pruned != 0).astype(np.float32)),
                torch.from_numpy(np.ascontiguousarray(scales)),
                torch.from_numpy(_levels(found.codes, rules[name])),
            )
            self._grids[name] = grid
            if name in self._learned and self._learned[name].shape == grid.levels.shape:
                self._learned[name].data.copy_(grid.levels)
            elif self._settings.learn_palette and quantizer(rules[name].quantizer).IS_PALETTE:
                self._learned[name] = nn.Parameter(grid.levels.clone())

    def _rule_at(self, rule: ResolvedRule, progress: float) -> ResolvedRule:
        if rule.prune_method not in _PRUNED_IN_STEPS:
            return rule
        now = sparsity_at(rule.sparsity, progress, self._settings.sparsify_until)
        return replace(rule, sparsity=now)

    # -------------------------------------------------------------------------------- a step

    def __call__(self, name: str, tensor: Tensor) -> Tensor:
        """Give the matrix that the network runs with."""
        grid = self._grids[name]
        kept = tensor * grid.kept
        if self._settings.method == "regularised":
            return kept
        if name in self._learned:
            return self._with_learned(name, kept, grid)
        return kept + (_rounded(kept.detach(), grid) - kept.detach())

    def _with_learned(self, name: str, kept: Tensor, grid: _Grid) -> Tensor:
        """Gradients reach the weights as they are, and each value of the palette as a sum."""
        levels = self._learned[name]
        whole = levels + (levels.detach().round() - levels.detach())
        index = _nearest(kept.detach() / grid.scales, grid.levels)
        chosen = whole[index] * grid.scales * grid.kept
        return kept + (chosen - kept.detach())

    def finish_step(self) -> None:
        """After an update: pull weights to their compressed values, where the method is that."""
        if self._settings.method != "regularised":
            return
        with torch.no_grad():
            for name, matrix in self._matrices.items():
                grid = self._grids[name]
                wanted = _rounded(matrix * grid.kept, grid)
                matrix += _strength(self._pull) * (wanted - matrix)

    def parameters(self) -> list[nn.Parameter]:
        """What is learned besides the weights."""
        return list(self._learned.values())

    def to_store(self) -> dict[str, np.ndarray]:
        """Every matrix as a file shall hold it, (N, K) float32.

        Compressed values, which a file holds in little room, where compressing them again changes
        nothing; else the weights themselves, which compress to the same.
        """
        arrays = {name: matrix.detach().numpy() for name, matrix in self._matrices.items()}
        once = compressed(arrays, self.rules)
        twice = compressed(once, self.rules)
        return {
            name: values if (values == twice[name]).all() else arrays[name].copy()
            for name, values in once.items()
        }

    # ---------------------------------------------------------------------------- checkpoint

    def state(self) -> dict[str, dict[str, Tensor]]:
        """What was chosen and learned, for a checkpoint."""
        return {
            name: {
                "kept": grid.kept,
                "scales": grid.scales,
                "levels": grid.levels,
                **({"learned": self._learned[name].data} if name in self._learned else {}),
            }
            for name, grid in self._grids.items()
        }

    def load(self, state: dict[str, dict[str, Tensor]]) -> None:
        """Go on with what `state` gave."""
        for name, entry in state.items():
            self._grids[name] = _Grid(entry["kept"], entry["scales"], entry["levels"])
            if name in self._learned:
                self._learned[name].data.copy_(entry["learned"])


def _strength(progress: float) -> float:
    """Share of the way to its compressed value that a weight is moved after an update."""
    return 0.1 * progress**2


def _levels(codes: np.ndarray, rule: ResolvedRule) -> np.ndarray:
    """Whole numbers that a code may be; of a palette those that occur, and 0."""
    if quantizer(rule.quantizer).IS_PALETTE:
        return np.unique(np.append(codes, 0)).astype(np.float32)
    limit = code_limit(rule.weight_bits)
    return np.arange(-limit, limit + 1, dtype=np.float32)


def _nearest(quotient: Tensor, levels: Tensor) -> Tensor:
    middles = (levels[1:] + levels[:-1]) / 2
    return torch.bucketize(quotient, middles)


def _rounded(weights: Tensor, grid: _Grid) -> Tensor:
    return grid.levels[_nearest(weights / grid.scales, grid.levels)] * grid.scales * grid.kept
