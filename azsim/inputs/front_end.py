"""The front end on the host: samples to log-mel feature frames, with carried state.

Samples may come in any pieces; the frames have the same bits as from one piece.  Pre-emphasis and
windows, getting used to a microphone, stacking, and normalisation each have a state of their own
and follow each other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from azsim.errors import InputError
from azsim.inputs.features import Features
from azsim.inputs.mel import LogMel

__all__ = ["FrontEnd", "FrontEndState", "log_mel_features"]

_AT_A_TIME = 32
"""Windows; they stay in the processor's cache."""


@dataclass(frozen=True)
class _Samples:
    """Samples that windows may still need.

    Attributes
    ----------
    kept : ndarray of shape (k,), float64
        After pre-emphasis.
    seen : int
        Samples so far; `kept` are the last of them.
    last : float
        Sample before the next, without pre-emphasis.
    windows : int
        Windows that were taken.
    """

    kept: np.ndarray
    seen: int = 0
    last: float = 0.0
    windows: int = 0


@dataclass(frozen=True)
class _Stack:
    """Log-mel frames that stacked frames may still need.

    Attributes
    ----------
    kept : ndarray of shape (k, mel_bands), float64
    seen : int
        Frames so far; `kept` are the last of them.
    stacked : int
        Stacked frames that were given.
    """

    kept: np.ndarray
    seen: int = 0
    stacked: int = 0


@dataclass(frozen=True)
class _Statistics:
    """Mean and sum of squared deviations of each feature over the frames so far (Welford)."""

    mean: np.ndarray
    deviations: np.ndarray
    count: int = 0


@dataclass(frozen=True)
class _Loud:
    """Mean of each band over the loud frames so far and those that are assumed before them."""

    mean: np.ndarray
    count: float


@dataclass(frozen=True)
class FrontEndState:
    """What a front end carries from one piece of the samples to the next; never changed."""

    samples: _Samples
    loud: _Loud
    stack: _Stack
    statistics: _Statistics


class FrontEnd:
    """A front end that is fed samples piece by piece.

    Parameters
    ----------
    features : Features

    Raises
    ------
    InputError
        If it normalises over the utterance, which no stream can: its statistics would have to be
        known before the first frame.
    """

    def __init__(self, features: Features) -> None:
        if features.normalize == "utterance":
            raise InputError(
                "features: normalize: utterance needs the whole recording, "
                "allowed in a stream: running, adaptive, fixed or none"
            )
        self._features = features
        self._log_mel = LogMel(features)
        self._is_reflected = features.edges == "reflect"
        self._before = features.window // 2 if self._is_reflected else 0

    def start(self) -> FrontEndState:
        """Return the state before the first sample."""
        features = self._features
        zeros = np.zeros(features.width)
        return FrontEndState(
            _Samples(np.zeros(0)),
            _Loud(np.full(features.mel_bands, features.fixed_mean), features.prior_frames),
            _Stack(np.zeros((0, features.mel_bands))),
            _Statistics(zeros, zeros),
        )

    def push(self, state: FrontEndState, samples: np.ndarray) -> tuple[FrontEndState, np.ndarray]:
        """Take the next samples.

        Parameters
        ----------
        state : FrontEndState
        samples : ndarray of shape (n,), floating
            In [-1, 1).

        Returns
        -------
        state : FrontEndState
        frames : ndarray of shape (frames, width), float64
            Those that need no later sample.

        Raises
        ------
        InputError
            If a sample is not a number.
        """
        taken = self._emphasize(state.samples, samples)
        taken, mel = self._windows(taken, self._num_whole_windows(taken.seen), taken.seen)
        loud, mel = self._adapted(state.loud, mel)
        stack, frames = self._stacked(state.stack, mel)
        statistics, frames = self._normalized(state.statistics, frames)
        return FrontEndState(taken, loud, stack, statistics), frames

    def finish(self, state: FrontEndState) -> np.ndarray:
        """Return the frames that waited for samples that never came.

        Parameters
        ----------
        state : FrontEndState

        Returns
        -------
        ndarray of shape (frames, width), float64

        Raises
        ------
        InputError
            If the recording is shorter than one window.
        """
        features, taken = self._features, state.samples
        _check_length(taken.seen, features)
        count = self._num_whole_windows(taken.seen)
        if self._is_reflected:
            count = taken.seen // features.hop + 1
        _, mel = self._windows(taken, count, taken.seen)
        _, mel = self._adapted(state.loud, mel)
        _, frames = self._stacked(state.stack, mel, features.num_frames(taken.seen))
        return self._normalized(state.statistics, frames)[1]

    # ------------------------------------------------------------------------------- samples

    def _emphasize(self, state: _Samples, samples: np.ndarray) -> _Samples:
        if not len(samples):
            return state
        finite = np.isfinite(samples)
        if not finite.all():
            first = int(np.argmin(finite))
            raise InputError(
                f"features: sample {state.seen + first} is not finite, found {samples[first]}"
            )
        scaled = np.asarray(samples, np.float64) * self._features.sample_scale
        previous = np.concatenate([[state.last], scaled[:-1]])  # 0 before the first sample
        emphasized = scaled - self._features.preemphasis * previous
        kept = np.concatenate([state.kept, emphasized])
        return replace(state, kept=kept, seen=state.seen + len(samples), last=float(scaled[-1]))

    def _num_whole_windows(self, seen: int) -> int:
        """Windows that need no later sample; the first reflected one needs one past its middle."""
        features, before = self._features, self._before
        after = features.window - before
        if seen < after + self._is_reflected:
            return 0
        return (seen - after) // features.hop + 1

    def _windows(self, state: _Samples, count: int, seen: int) -> tuple[_Samples, np.ndarray]:
        """Log-mel frames of the windows up to `count`, and the samples that later ones need."""
        features = self._features
        first = seen - len(state.kept)
        within = np.arange(features.window) - self._before
        frames = np.empty((max(0, count - state.windows), features.mel_bands))
        for row in range(0, len(frames), _AT_A_TIME):
            numbers = np.arange(row, min(row + _AT_A_TIME, len(frames))) + state.windows
            place = np.abs(within + numbers[:, None] * features.hop)
            place = np.where(place < seen, place, 2 * (seen - 1) - place)
            frames[row : row + _AT_A_TIME] = self._log_mel(state.kept[place - first])
        windows = max(count, state.windows)
        # Mirrored at the end, a window reaches back as far as it stands out.
        needed = min(windows * features.hop - self._before, seen - 1 - self._before)
        kept = state.kept[max(0, needed - first) :]
        return replace(state, kept=kept, windows=windows), frames

    # --------------------------------------------------------------------------------- frames

    def _adapted(self, state: _Loud, mel: np.ndarray) -> tuple[_Loud, np.ndarray]:
        """Distance of each frame from the mean of what was loud, where that is wanted."""
        features = self._features
        if features.normalize != "adaptive":
            return state, mel
        mean, count = state.mean, state.count
        level = mean.mean()
        adapted = np.empty_like(mel)
        for row, frame in enumerate(mel):
            if frame.mean() > level - features.loud_within:
                count += 1
                mean = mean + (frame - mean) / count
                level = mean.mean()
            adapted[row] = (frame - mean) / features.fixed_std
        return _Loud(mean, count), adapted

    def _stacked(
        self, state: _Stack, mel: np.ndarray, count: int | None = None
    ) -> tuple[_Stack, np.ndarray]:
        """Frames beside their neighbours: up to `count` at the end, else those that have all."""
        features = self._features
        kept = np.concatenate([state.kept, mel])
        seen = state.seen + len(mel)
        first = seen - len(kept)
        if count is None:
            count = max(0, (seen - features.right_frames - 1) // features.stride + 1)
        around = np.arange(-features.left_frames, features.right_frames + 1)
        numbers = np.arange(state.stacked, max(count, state.stacked))
        place = around + numbers[:, None] * features.stride
        inside = np.clip(place, 0, max(0, seen - 1))
        stacked = kept[inside - first]
        if features.beyond == "zero":
            stacked[place != inside] = 0
        frames = stacked.reshape(len(numbers), features.width)
        stacked_count = max(count, state.stacked)
        # The last frame stays, as it may be repeated.
        needed = min(stacked_count * features.stride - features.left_frames, seen - 1)
        return _Stack(kept[max(0, needed - first) :], seen, stacked_count), frames

    def _normalized(self, state: _Statistics, frames: np.ndarray) -> tuple[_Statistics, np.ndarray]:
        if self._features.normalize in ("none", "adaptive"):  # the latter was before stacking
            return state, frames
        if self._features.normalize == "fixed":
            return state, (frames - self._features.fixed_mean) / self._features.fixed_std
        mean, deviations, count = state.mean, state.deviations, state.count
        normalized = np.empty_like(frames)
        for row, frame in enumerate(frames):
            count += 1
            distance = frame - mean
            mean = mean + distance / count
            deviations = deviations + distance * (frame - mean)
            std = np.sqrt(deviations / max(1, count - 1))  # the first frame has none
            normalized[row] = (frame - mean) / (std + self._features.std_offset)
        return _Statistics(mean, deviations, count), normalized


def log_mel_features(samples: np.ndarray, features: Features) -> np.ndarray:
    """Compute the feature frames of a whole recording.

    Parameters
    ----------
    samples : ndarray of shape (n,), floating
        In [-1, 1), at ``features.sample_rate_hz``.
    features : Features

    Returns
    -------
    ndarray of shape (``features.num_frames(n)``, ``features.width``), float64

    Raises
    ------
    InputError
        If the recording is empty, shorter than one window or not of numbers, or has a single frame
        and is to be normalised over the utterance.
    """
    _check_length(len(samples), features)
    whole = features.normalize == "utterance"
    front_end = FrontEnd(replace(features, normalize="none") if whole else features)
    state, frames = front_end.push(front_end.start(), samples)
    frames = np.concatenate([frames, front_end.finish(state)])
    if not whole:
        return frames
    if len(frames) < 2:
        raise InputError(
            "features: normalize: utterance needs 2 frames, found 1; "
            "allowed: a longer recording, or normalize: running, adaptive, fixed or none"
        )
    return (frames - frames.mean(axis=0)) / (frames.std(axis=0, ddof=1) + features.std_offset)


def _check_length(num_samples: int, features: Features) -> None:
    if num_samples < features.window:
        found = f"{num_samples} samples" if num_samples else "no samples"
        raise InputError(
            f"features: shorter than one window, found {found}, "
            f"allowed: at least {features.window} at {features.sample_rate_hz / 1000:g} kHz"
        )
