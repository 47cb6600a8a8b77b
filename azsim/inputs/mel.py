"""Windows of samples to log-mel energies: taper, transform, mel bands, logarithm."""

from __future__ import annotations

import numpy as np

from azsim.inputs.features import Features

__all__ = ["LogMel", "mel_filters"]

# Slaney's scale (his Auditory Toolbox, 1998): 3 mel in 200 Hz up to 1 kHz, then 27 mel for each
# factor of 6.4.
_SLANEY_HZ_PER_MEL = 200 / 3
_SLANEY_KNEE_HZ = 1000.0
_SLANEY_KNEE_MEL = _SLANEY_KNEE_HZ / _SLANEY_HZ_PER_MEL
_SLANEY_LOG_STEP = np.log(6.4) / 27


def _to_mel(hz: float, scale: str) -> float:
    if scale == "htk":
        return 2595 * float(np.log10(1 + hz / 700))
    if hz < _SLANEY_KNEE_HZ:
        return hz / _SLANEY_HZ_PER_MEL
    return _SLANEY_KNEE_MEL + float(np.log(hz / _SLANEY_KNEE_HZ)) / _SLANEY_LOG_STEP


def _to_hz(mel: np.ndarray, scale: str) -> np.ndarray:
    if scale == "htk":
        return 700 * (10 ** (mel / 2595) - 1)
    above = _SLANEY_KNEE_HZ * np.exp(_SLANEY_LOG_STEP * (mel - _SLANEY_KNEE_MEL))
    return np.where(mel < _SLANEY_KNEE_MEL, mel * _SLANEY_HZ_PER_MEL, above)


def mel_filters(features: Features) -> np.ndarray:
    """Return the weight of each frequency of the transform in each mel band.

    Band b is a triangle over frequency, between the points b and b + 2 of ``mel_bands + 2`` points
    that lie evenly on the mel scale.

    Parameters
    ----------
    features : Features

    Returns
    -------
    ndarray of shape (mel_bands, n_fft // 2 + 1), float64
    """
    scale = features.mel_scale
    low, high = _to_mel(features.low_hz, scale), _to_mel(features.high_hz, scale)
    points = _to_hz(np.linspace(low, high, features.mel_bands + 2), scale)[:, None]
    bins = np.arange(features.n_fft // 2 + 1) * (features.sample_rate_hz / features.n_fft)
    rising = (bins - points[:-2]) / (points[1:-1] - points[:-2])
    falling = (points[2:] - bins) / (points[2:] - points[1:-1])
    triangles = np.maximum(0, np.minimum(rising, falling))
    if features.mel_norm == "slaney":
        triangles *= 2 / (points[2:] - points[:-2])
    return triangles


class LogMel:
    """Log-mel energies of windows, with the tables that every window shares.

    In float64, and each window's sums by themselves: how many came together changes no bit.

    Parameters
    ----------
    features : Features
    """

    def __init__(self, features: Features) -> None:
        self._features = features
        last = features.window - (features.taper == "hann_symmetric")
        self._taper = 0.5 - 0.5 * np.cos(2 * np.pi / last * np.arange(features.window))
        self._filters = mel_filters(features)

    def __call__(self, windows: np.ndarray) -> np.ndarray:
        """Return the energies of windows.

        Parameters
        ----------
        windows : ndarray of shape (n, window), float64

        Returns
        -------
        ndarray of shape (n, mel_bands), float64
            Natural logarithms.
        """
        features = self._features
        transform = np.fft.rfft(windows * self._taper, features.n_fft)
        bins = transform.real**2 + transform.imag**2
        if features.spectrum == "magnitude":
            bins = np.sqrt(bins)
        bins += features.power_offset
        energies = np.empty((len(windows), features.mel_bands))
        products = np.empty_like(self._filters)
        for row, window in zip(energies, bins, strict=True):
            # Sums band by band, not a product of matrices, whose order is the library's own affair.
            np.multiply(self._filters, window, out=products)
            np.add.reduce(products, axis=1, out=row)
        return np.log(np.maximum(energies, features.log_floor) + features.log_offset)
