"""Batches of utterances for training: their order, what is masked, what a frame should say."""

# pyright: reportMissingImports=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

__all__ = ["Augment", "Batch", "Utterances", "batch_of", "batches"]

_BANDS = 40
_LENGTH_NOISE = 12
_DELAY = 2


class Utterances(Protocol):
    """Utterances with their features, as the corpus gives them."""

    @property
    def labels(self) -> Sequence[Sequence[int]]:
        """Symbols of each."""
        ...

    @property
    def frames(self) -> np.ndarray:
        """Frames of the network in each, int64."""
        ...

    @property
    def copies(self) -> int:
        """How often each is there, with other noise."""
        ...

    def features(self, utterance: int, copy: int) -> np.ndarray:
        """Feature frames of one, (T, features) float32."""
        ...

    def snr_db(self, utterance: int, copy: int) -> float:
        """Of one; infinite without speech."""
        ...

    def span(self, utterance: int) -> tuple[int, int]:
        """First frame of the network with speech, and the last one."""
        ...


@dataclass(frozen=True)
class Batch:
    """Utterances of a step.

    Attributes
    ----------
    features : Tensor of shape (batch, T, features), float32
        Zeros behind the end of a shorter one.
    frames : Tensor of shape (batch,), int64
        Frames of the network in each.
    labels : Tensor of shape (batch, U), int64
        Zeros behind the end of a shorter one.
    lengths : Tensor of shape (batch,), int64
        Labels of each.
    targets : Tensor of shape (batch, T / stack), int64
        What each frame should say by itself, the labels stretched evenly; -1 behind the end.
    """

    features: Tensor
    frames: Tensor
    labels: Tensor
    lengths: Tensor
    targets: Tensor


@dataclass(frozen=True)
class Augment:
    """Random changes of the features; see the fields of the same names in `Recipe`."""

    mask_bands: int = 0
    mask_frames: int = 0
    warp: float = 0.0
    channel: float = 0.0


def batches(
    utterances: Utterances, size: int, epoch: int, seed: int, least_db: float, silence: int = 1
) -> list[list[tuple[int, int]]]:
    """Batches of an epoch: utterances of about the same length, each in one of its copies.

    Parameters
    ----------
    utterances : Utterances
    size : int
    epoch, seed : int
        Together they decide everything.
    least_db : float
        Copies with more noise are left out, where an utterance has another.
    silence : int
        How often an utterance without speech is heard.

    Returns
    -------
    list of list of (utterance, copy)
    """
    generator = np.random.default_rng([seed, epoch])
    heard = [1 if len(labels) else silence for labels in utterances.labels]
    every = np.repeat(np.arange(len(heard)), heard)
    count = len(every)
    length = utterances.frames[every] + generator.uniform(0, _LENGTH_NOISE, count)
    order = np.argsort(length, kind="stable")
    order = np.roll(order, int(generator.integers(size)))[: count // size * size]
    pairs = [(int(u), _copy(utterances, int(u), least_db, generator)) for u in every[order]]
    rows = [pairs[start : start + size] for start in range(0, len(pairs), size)]
    return [rows[number] for number in generator.permutation(len(rows))]


def _copy(
    utterances: Utterances, utterance: int, least_db: float, generator: np.random.Generator
) -> int:
    copies = range(utterances.copies)
    quiet = [c for c in copies if utterances.snr_db(utterance, c) >= least_db]
    if not quiet:
        quiet = [max(copies, key=lambda c: utterances.snr_db(utterance, c))]
    return quiet[int(generator.integers(len(quiet)))]


def batch_of(
    utterances: Utterances,
    chosen: Sequence[tuple[int, int]],
    *,
    stack: int,
    blank: int,
    augment: Augment | None = None,
    generator: np.random.Generator | None = None,
) -> Batch:
    """Put utterances side by side.

    Parameters
    ----------
    utterances : Utterances
    chosen : sequence of (utterance, copy)
    stack : int
        Feature frames in a frame of the network.
    blank : int
        Symbol of silence.
    augment, generator
        Random changes, where they are wanted.
    """
    frames = utterances.frames[[u for u, _ in chosen]]
    labels = [utterances.labels[u] for u, _ in chosen]
    longest, most = int(frames.max()), max(1, max(map(len, labels)))
    width = utterances.features(*chosen[0]).shape[1]
    features = np.zeros((len(chosen), longest * stack, width), np.float32)
    padded = np.zeros((len(chosen), most), np.int64)
    targets = np.full((len(chosen), longest), -1, np.int64)
    for row, (utterance, copy) in enumerate(chosen):
        mine = utterances.features(utterance, copy)[: frames[row] * stack]
        span = utterances.span(utterance)
        targets[row, : frames[row]] = _stretched(labels[row], int(frames[row]), span, blank)
        if augment is not None and generator is not None:
            mine = _augmented(mine, augment, generator)
        features[row, : len(mine)] = mine
        padded[row, : len(labels[row])] = labels[row]
    lengths = np.array([len(row) for row in labels], np.int64)
    arrays = features, frames.astype(np.int64), padded, lengths, targets
    return Batch(*map(torch.from_numpy, arrays))


def _stretched(labels: Sequence[int], frames: int, span: tuple[int, int], blank: int) -> np.ndarray:
    """Labels at equal distances over the frames with speech, a little late.

    A causal network hears a word before it can say it, hence the delay of two frames.
    """
    said = np.full(frames, blank, np.int64)
    start, stop = span[0] + _DELAY, min(span[1] + 1 + _DELAY, frames)
    if len(labels) and start < stop:
        place = np.arange(stop - start) * len(labels) // (stop - start)
        said[start:stop] = np.asarray(labels)[place]
    return said


def _augmented(
    features: np.ndarray, augment: Augment, generator: np.random.Generator
) -> np.ndarray:
    """Another throat, another channel; then hide bands and frames behind the mean, which is 0."""
    stacked = features.reshape(len(features), -1, _BANDS).copy()
    if augment.warp:
        factor = 1 + augment.warp * generator.uniform(-1, 1)
        place = np.clip(np.arange(_BANDS) * factor, 0, _BANDS - 1)
        low = np.minimum(place.astype(np.int64), _BANDS - 2)
        share = (place - low).astype(np.float32)
        stacked = stacked[:, :, low] * (1 - share) + stacked[:, :, low + 1] * share
    if augment.channel:
        stacked += augment.channel * _channel(generator)
    width = int(generator.integers(augment.mask_bands + 1))
    first = int(generator.integers(_BANDS - width + 1))
    stacked[:, :, first : first + width] = 0
    length = min(int(generator.integers(augment.mask_frames + 1)), len(stacked))
    first = int(generator.integers(len(stacked) - length + 1))
    stacked[first : first + length] = 0
    return stacked.reshape(features.shape)


def _channel(generator: np.random.Generator) -> np.ndarray:
    """A smooth curve over the bands within about 1: level, slope, and two waves of half of it."""
    place = np.linspace(-1, 1, _BANDS)
    level, slope, *waves = generator.uniform(-1, 1, 6)
    curve = level / 2 + slope * place
    for number, (height, phase) in enumerate(zip(waves[::2], waves[1::2], strict=True)):
        curve += height / 2 * np.cos(np.pi * ((number + 1) * place + phase))
    return (curve / 2).astype(np.float32)
