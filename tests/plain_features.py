"""Log-mel features by their plain definitions, for tests: no transform, no state, no table."""

from __future__ import annotations

import numpy as np

from azsim.inputs.features import Features


def mel_of(hz: float, scale: str) -> float:
    if scale == "htk":
        return 1127.0104800 * np.log(1 + hz / 700)
    return hz * 3 / 200 if hz <= 1000 else 15 + 27 * np.log(hz / 1000) / np.log(6.4)


def hz_of(mel: float, scale: str) -> float:
    """By bisection, so that only one direction of the scale is written down."""
    low, high = 0.0, 1e6
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if mel_of(middle, scale) < mel else (low, middle)
    return low


def plain_filters(features: Features) -> np.ndarray:
    scale = features.mel_scale
    mels = np.linspace(
        mel_of(features.low_hz, scale), mel_of(features.high_hz, scale), features.mel_bands + 2
    )
    points = [hz_of(mel, scale) for mel in mels]
    bins = features.sample_rate_hz * np.arange(features.n_fft // 2 + 1) / features.n_fft
    filters = np.zeros((features.mel_bands, len(bins)))
    for band in range(features.mel_bands):
        left, middle, right = points[band : band + 3]
        height = 2 / (right - left) if features.mel_norm == "slaney" else 1.0
        filters[band] = height * np.interp(bins, [left, middle, right], [0, 1, 0])
    return filters


def dft_matrix(n_fft: int) -> np.ndarray:
    angles = -2 * np.pi * np.outer(np.arange(n_fft // 2 + 1), np.arange(n_fft)) / n_fft
    return np.cos(angles) + 1j * np.sin(angles)


def plain_spectra(samples: np.ndarray, features: Features) -> np.ndarray:
    """Power or magnitude, (windows, n_fft // 2 + 1)."""
    signal = np.asarray(samples, np.float64) * features.sample_scale
    signal = np.append(signal[:1], signal[1:] - features.preemphasis * signal[:-1])
    taper = np.zeros(features.n_fft)
    length = features.window - 1 if features.taper == "hann_symmetric" else features.window
    left = (features.n_fft - features.window) // 2 if features.edges == "reflect" else 0
    taper[left : left + features.window] = np.sin(np.pi * np.arange(features.window) / length) ** 2
    if features.edges == "reflect":
        signal = np.pad(signal, features.n_fft // 2, mode="reflect")
        count = (len(signal) - features.n_fft) // features.hop + 1
    else:
        count = (len(signal) - features.window) // features.hop + 1
        signal = np.append(signal, np.zeros(features.n_fft))
    starts = features.hop * np.arange(count)
    windows = np.stack([signal[start : start + features.n_fft] * taper for start in starts])
    spectra = abs(windows @ dft_matrix(features.n_fft).T)
    return spectra**2 if features.spectrum == "power" else spectra


def plain_adapted(log_mel: np.ndarray, features: Features) -> np.ndarray:
    """Each frame less the mean of all that was loud so far, found anew for each."""
    prior = np.full(features.mel_bands, features.fixed_mean)
    loud: list[np.ndarray] = []
    adapted = []
    for frame in log_mel:
        mean = (features.prior_frames * prior + sum(loud)) / (features.prior_frames + len(loud))
        if frame.mean() > mean.mean() - features.loud_within:
            loud.append(frame)
        mean = (features.prior_frames * prior + sum(loud)) / (features.prior_frames + len(loud))
        adapted.append((frame - mean) / features.fixed_std)
    return np.array(adapted)


def plain_features(samples: np.ndarray, features: Features) -> np.ndarray:
    energies = (plain_spectra(samples, features) + features.power_offset) @ plain_filters(
        features
    ).T
    log_mel = np.log(np.maximum(energies, features.log_floor) + features.log_offset)
    if features.normalize == "adaptive":
        log_mel = plain_adapted(log_mel, features)
    mode = "edge" if features.beyond == "repeat" else "constant"
    reach = ((features.left_frames, features.right_frames), (0, 0))
    padded = np.pad(log_mel, reach, mode=mode)
    size = features.left_frames + 1 + features.right_frames
    stacked = np.stack([padded[i : i + size].ravel() for i in range(len(log_mel))])
    stacked = stacked[:: features.stride]
    if features.edges == "reflect":  # a frame whose middle lies beyond the recording is none
        middles = np.arange(len(stacked)) * features.stride * features.hop
        stacked = stacked[middles < len(samples)]
    if features.normalize == "utterance":
        mean, std = stacked.mean(0), stacked.std(0, ddof=1)
        return (stacked - mean) / (std + features.std_offset)
    if features.normalize == "running":
        out = np.zeros_like(stacked)
        for i in range(1, len(stacked)):
            so_far = stacked[: i + 1]
            std = so_far.std(0, ddof=1)
            out[i] = (stacked[i] - so_far.mean(0)) / (std + features.std_offset)
        return out
    if features.normalize == "fixed":
        return (stacked - features.fixed_mean) / features.fixed_std
    return stacked
