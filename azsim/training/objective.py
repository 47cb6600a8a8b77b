"""What training makes small: the transducer's loss and what helps it at first."""

# pyright: reportMissingImports=false

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from azsim.training.batches import Batch
from azsim.training.lattice import transducer_loss
from azsim.training.network import Transducer

__all__ = ["Losses", "Weights", "losses"]


@dataclass(frozen=True)
class Weights:
    """Weight of each part at a step; that of the transducer's loss is 1."""

    frame: float = 0.0
    ctc: float = 0.0
    teacher: float = 0.0


@dataclass(frozen=True)
class Losses:
    """Means over the utterances of a batch.

    Attributes
    ----------
    total : Tensor
        What is made small.
    transducer : float
        Negative log-probability of the transcript, natural logarithm.
    """

    total: Tensor
    transducer: float


@dataclass(frozen=True)
class _Lattice:
    blank: Tensor
    label: Tensor


def losses(
    network: Transducer, batch: Batch, weights: Weights, teacher: Transducer | None = None
) -> Losses:
    """Run the network on a batch and compare it with the transcripts.

    Parameters
    ----------
    network : Transducer
    batch : Batch
    weights : Weights
    teacher : Transducer, optional
        Needed where its weight is not 0.
    """
    encoded = network.encode(batch.features)
    lattice = _lattice(network, batch, encoded)
    each = transducer_loss(lattice.blank, lattice.label, batch.frames, batch.lengths)
    total = transducer = each.mean()
    if weights.frame or weights.ctc:
        scores = network.frame_head(encoded).log_softmax(-1)
        if weights.frame:
            flat = scores.flatten(0, 1), batch.targets.flatten()
            total = total + weights.frame * functional.nll_loss(*flat, ignore_index=-1)
        if weights.ctc:
            total = total + weights.ctc * _ctc(scores, batch)
    if weights.teacher and teacher is not None:
        with torch.no_grad():
            wanted = _lattice(teacher, batch, teacher.encode(batch.features))
        total = total + weights.teacher * _divergence(wanted, lattice, batch)
    return Losses(total, float(transducer.detach()))


def _lattice(network: Transducer, batch: Batch, encoded: Tensor) -> _Lattice:
    """Log-probabilities of the blank and of the next label, (batch, frames, U + 1)."""
    frames = network.encoder_half(encoded)
    half = network.predict(batch.labels)
    scores = network.output(frames[:, :, None], half[:, None])
    logarithm = scores.logsumexp(-1)
    following = functional.pad(batch.labels, (0, 1))
    index = following[:, None, :, None].expand(-1, frames.shape[1], -1, 1)
    label = scores.gather(3, index)[..., 0] - logarithm
    return _Lattice(scores[..., -1] - logarithm, label)


def _ctc(scores: Tensor, batch: Batch) -> Tensor:
    """CTC loss per utterance; one whose labels do not fit its frames counts 0."""
    return functional.ctc_loss(
        scores.transpose(0, 1),
        batch.labels,
        batch.frames,
        batch.lengths,
        blank=scores.shape[-1] - 1,
        reduction="sum",
        zero_infinity=True,
    ) / len(scores)


def _divergence(wanted: _Lattice, found: _Lattice, batch: Batch) -> Tensor:
    """Divergence of blank, next label and all others, summed over the states of an utterance.

    Source: Panchapagesan et al., Efficient knowledge distillation for RNN-transducer models
    (ICASSP 2021), equations 4 and 5.
    """
    _, frames, states = wanted.blank.shape
    inside = torch.arange(frames)[None, :, None] < batch.frames[:, None, None]
    inside = inside & (torch.arange(states)[None, None] <= batch.lengths[:, None, None])
    total = torch.zeros(())
    rest = []
    for lattice in (wanted, found):
        sum_of_two = torch.logaddexp(lattice.blank, lattice.label)
        rest.append(torch.log1p(-sum_of_two.exp().clamp(max=1 - 1e-6)))
    pairs = (wanted.blank, found.blank), (wanted.label, found.label), tuple(rest)
    for right, mine in pairs:
        total = total + (right.exp() * (right - mine) * inside).sum()
    return total / len(wanted.blank)
