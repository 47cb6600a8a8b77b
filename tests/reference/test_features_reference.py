"""The front end against librosa and PyTorch; skipped where they are not installed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from azsim.inputs.features import PRESETS, preset_features
from azsim.inputs.front_end import log_mel_features
from azsim.inputs.mel import mel_filters

TOLERANCE = 1e-5
"""Of the largest magnitude."""


def recording(num_samples: int) -> np.ndarray:
    """A voice-like sound: harmonics of a gliding pitch in noise, with a pause."""
    generator = np.random.default_rng(5)
    phase = 2 * np.pi * np.cumsum(np.linspace(90, 220, num_samples)) / 16_000
    samples = sum(np.sin(k * phase) / k for k in range(1, 30)) * 0.1
    samples = samples + generator.standard_normal(num_samples) * 0.003
    samples[num_samples // 3 : num_samples // 2] *= 1e-3
    return samples


def same(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    assert abs(found - expected).max() <= TOLERANCE * abs(expected).max()


@pytest.mark.parametrize("norm", ["slaney", "none"])
@pytest.mark.parametrize("scale", ["slaney", "htk"])
@pytest.mark.parametrize("preset", PRESETS)
def test_mel_filters_equal_librosa(preset: str, scale: str, norm: str) -> None:
    librosa = pytest.importorskip("librosa")
    # HTK's narrow low bands would hold nothing with a transform of 512, which librosa warns of.
    changes = {"mel_scale": scale, "mel_norm": norm, "n_fft": 2048}
    features = preset_features(preset, **changes)
    expected = librosa.filters.mel(
        sr=features.sample_rate_hz,
        n_fft=features.n_fft,
        n_mels=features.mel_bands,
        fmin=features.low_hz,
        fmax=features.high_hz,
        htk=scale == "htk",
        norm="slaney" if norm == "slaney" else None,
        dtype=np.float64,
    )
    np.testing.assert_allclose(mel_filters(features), expected, rtol=0, atol=1e-12)


def mlperf_in_torch(samples: np.ndarray, dtype: Any, normalize: bool = True) -> np.ndarray:
    """MLPerf's chain as its description has it: see docs/features.md."""
    torch = pytest.importorskip("torch")
    librosa = pytest.importorskip("librosa")
    x = torch.tensor(samples, dtype=dtype)
    x = torch.cat([x[:1], x[1:] - 0.97 * x[:-1]])
    window = torch.hann_window(320, periodic=False, dtype=dtype)
    spectrum = torch.stft(
        x, n_fft=512, hop_length=160, win_length=320, window=window, center=True,
        pad_mode="reflect", return_complex=True,
    )  # fmt: skip
    power = spectrum.abs().square() + 1e-5**2
    filters = librosa.filters.mel(sr=16_000, n_fft=512, n_mels=80, fmin=0, fmax=8_000)
    mel = torch.log(torch.tensor(filters, dtype=dtype) @ power + 1e-20)
    shifted = [mel]
    for n in (1, 2):
        later = torch.zeros_like(mel)
        later[:, :-n] = mel[:, n:]
        shifted.append(later)
    num_windows = -(-len(samples) // 160)
    frames = torch.cat(shifted)[:, ::3][:, : -(-num_windows // 3)]
    if normalize:
        mean, std = frames.mean(1, keepdim=True), frames.std(1, keepdim=True)
        frames = (frames - mean) / (std + 1e-5)
    return frames.T.numpy()


@pytest.mark.parametrize("num_samples", [960, 961, 1_120, 1_599, 16_000, 100_001])
@pytest.mark.parametrize("normalize", [True, False])
def test_mlperf_features_equal_torch(num_samples: int, normalize: bool) -> None:
    torch = pytest.importorskip("torch")
    samples = recording(num_samples)
    features = preset_features("mlperf", normalize="utterance" if normalize else "none")
    expected = mlperf_in_torch(samples, torch.float64, normalize)
    same(log_mel_features(samples, features), expected)


def test_mlperf_in_float32_is_near() -> None:
    # The reference computes in float32; ours are rounded once, at the end.
    torch = pytest.importorskip("torch")
    samples = recording(50_000).astype(np.float32)
    found = log_mel_features(samples, preset_features("mlperf", normalize="none"))
    expected = mlperf_in_torch(samples, torch.float32, normalize=False)
    assert abs(found - expected).max() <= 1e-3 * abs(expected).max()


@pytest.mark.parametrize("preset", PRESETS)
def test_log_mel_of_every_preset_equals_torch(preset: str) -> None:
    """Stacking and normalisation aside, which only MLPerf's reference defines."""
    torch = pytest.importorskip("torch")
    librosa = pytest.importorskip("librosa")
    plain = {"left_frames": 0, "right_frames": 0, "stride": 1, "normalize": "none"}
    features = preset_features(preset, **plain)
    samples = recording(20_000)
    x = torch.tensor(samples * features.sample_scale)
    x = torch.cat([x[:1], x[1:] - features.preemphasis * x[:-1]])
    is_centred = features.edges == "reflect"
    window = torch.hann_window(
        features.window, periodic=features.taper == "hann_periodic", dtype=x.dtype
    )
    if not is_centred:  # windows from their start on, zeros behind each
        window = torch.cat([window, torch.zeros(features.n_fft - features.window)])
        x = torch.cat([x, torch.zeros(features.n_fft - features.window)])
    spectrum = torch.stft(
        x, features.n_fft, features.hop, len(window), window, center=is_centred,
        pad_mode="reflect", return_complex=True,
    )  # fmt: skip
    bins = spectrum.abs().numpy()
    bins = (bins**2 if features.spectrum == "power" else bins) + features.power_offset
    filters = librosa.filters.mel(
        sr=16_000,
        n_fft=features.n_fft,
        n_mels=features.mel_bands,
        fmin=features.low_hz,
        fmax=features.high_hz,
        htk=features.mel_scale == "htk",
        norm="slaney" if features.mel_norm == "slaney" else None,
        dtype=np.float64,
    )
    energies = np.maximum(filters @ bins, features.log_floor)
    expected = np.log(energies + features.log_offset).T[: features.num_frames(len(samples))]
    same(log_mel_features(samples, features), expected)
