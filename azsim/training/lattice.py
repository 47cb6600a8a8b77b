"""Forward and backward sums over the alignments of a transducer, and the loss of a batch.

An alignment walks from (0, 0) to (frames, labels): in state (t, u) it says the blank and moves on
to frame t + 1, or says label u and stays in the frame.  Its probability is the product of what it
says; the loss is the negative logarithm of the sum over all alignments.

Source: Graves, Sequence transduction with recurrent neural networks (2012), equations 16 to 20.
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from azsim.jit import kernel

__all__ = ["transducer_loss"]


@kernel
def _log_add(a: Any, b: Any) -> Any:
    if a < b:
        a, b = b, a
    if b == -math.inf:
        return a
    return a + math.log1p(math.exp(b - a))


@kernel
def _forward_backward(
    blank: Any, label: Any, frames: Any, lengths: Any, losses: Any, blank_grad: Any, label_grad: Any
) -> None:
    """Fill losses, and their derivatives to the log-probabilities, of every utterance."""
    for b in range(len(frames)):
        last, count = frames[b], lengths[b]
        before = np.full((last + 1, count + 2), -math.inf)  # one column more, always impossible
        after = np.full((last + 1, count + 2), -math.inf)
        before[0, 0] = 0.0
        for t in range(last):
            for u in range(count + 1):
                if t > 0:
                    before[t, u] = before[t - 1, u] + blank[b, t - 1, u]
                if u > 0:
                    step = before[t, u - 1] + label[b, t, u - 1]
                    before[t, u] = _log_add(before[t, u], step)
        after[last, count] = 0.0
        for t in range(last - 1, -1, -1):
            for u in range(count, -1, -1):
                silent = after[t + 1, u] + blank[b, t, u]
                if u < count:
                    silent = _log_add(silent, after[t, u + 1] + label[b, t, u])
                after[t, u] = silent
        total = after[0, 0]
        losses[b] = -total
        for t in range(last):
            for u in range(count + 1):
                to_here = before[t, u] - total
                blank_grad[b, t, u] = -math.exp(to_here + blank[b, t, u] + after[t + 1, u])
                if u < count:
                    label_grad[b, t, u] = -math.exp(to_here + label[b, t, u] + after[t, u + 1])


class _TransducerLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: torch.Tensor) -> torch.Tensor:
        blank, label, frames, lengths = (tensor.detach().numpy() for tensor in inputs)
        losses = np.empty(len(frames))
        gradients = np.zeros(blank.shape, np.float32), np.zeros(label.shape, np.float32)
        _forward_backward(blank, label, frames, lengths, losses, *gradients)
        ctx.save_for_backward(*map(torch.from_numpy, gradients))
        return torch.from_numpy(losses.astype(np.float32))

    @staticmethod
    def backward(ctx: Any, *outer: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        blank_grad, label_grad = ctx.saved_tensors
        factor = outer[0][:, None, None]
        return blank_grad * factor, label_grad * factor, None, None


def transducer_loss(
    blank: torch.Tensor, label: torch.Tensor, frames: torch.Tensor, lengths: torch.Tensor
) -> torch.Tensor:
    """Negative log-probability of the labels of each utterance.

    Parameters
    ----------
    blank : Tensor of shape (batch, T, U + 1), float32
        Log-probability of the blank, in frame t after u labels.
    label : Tensor of shape (batch, T, U + 1), float32
        Log-probability of label u, in frame t after u labels; what lies at u = U is not read.
    frames : Tensor of shape (batch,), int64
        Of each utterance, 1 to T.
    lengths : Tensor of shape (batch,), int64
        Labels of each utterance, 0 to U.

    Returns
    -------
    Tensor of shape (batch,), float32
        Differentiable to `blank` and `label`; sums are in float64.
    """
    return _TransducerLoss.apply(blank, label, frames, lengths)
