"""Greedy decoding of a batch with PyTorch: what validation during training counts.

The same rule as the graph operator TransducerGreedy: in each frame, say the likeliest symbol until
it is the blank, at most `max_symbols` times.
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from azsim.training.network import Transducer

__all__ = ["decode_greedily"]


def decode_greedily(
    network: Transducer, features: Tensor, frames: Tensor, max_symbols: int
) -> list[list[int]]:
    """Symbols of each utterance.

    Parameters
    ----------
    network : Transducer
    features : Tensor of shape (batch, T, features), float32
    frames : Tensor of shape (batch,), int64
        Frames of the network in each utterance, at most T / stack.
    max_symbols : int
        That a frame gives at most.
    """
    with torch.no_grad():
        halves = network.encoder_half(network.encode(features))
        batch = len(features)
        cell = _PredictionCell(network, batch)
        said: list[list[int]] = [[] for _ in range(batch)]
        for t in range(halves.shape[1]):
            running = frames > t
            for _ in range(max_symbols):
                best = network.output(halves[:, t], cell.half).argmax(-1)
                running = running & (best != network.sizes.symbols - 1)
                if not running.any():
                    break
                for b in running.nonzero()[:, 0].tolist():
                    said[b].append(int(best[b]))
                cell.advance(best, running)
    return said


class _PredictionCell:
    """The prediction network, a symbol at a time, for those utterances that said one."""

    def __init__(self, network: Transducer, batch: int) -> None:
        name = "prediction.0"
        self._network = network
        self._weight, self._recurrent = network.tensor(f"{name}.W"), network.tensor(f"{name}.R")
        cells = self._recurrent.shape[1]
        first, second = network.tensor(f"{name}.B").split(4 * cells)
        self._bias = first + second
        self._h, self._c = torch.zeros(batch, cells), torch.zeros(batch, cells)
        self.half = torch.zeros(batch, network.sizes.joint)
        self._step(
            torch.zeros(batch, network.sizes.prediction), torch.ones(batch, dtype=torch.bool)
        )

    def advance(self, symbols: Tensor, running: Tensor) -> None:
        """Take a symbol of each utterance that is running."""
        rows = self._network.sizes.symbols - 1
        table = self._network.tensor("prediction.embedding")
        self._step(functional.embedding(symbols.clamp(max=rows - 1), table), running)

    def _step(self, data: Tensor, running: Tensor) -> None:
        sums = data @ self._weight.T + self._h @ self._recurrent.T + self._bias
        inward, outward, forget, cell = sums.chunk(4, dim=1)
        c = forget.sigmoid() * self._c + inward.sigmoid() * cell.tanh()
        h = outward.sigmoid() * c.tanh()
        mask = running[:, None]
        self._h, self._c = torch.where(mask, h, self._h), torch.where(mask, c, self._c)
        half = functional.linear(self._h, self._network.tensor("joint.prediction.W"))
        self.half = torch.where(mask, half, self.half)
