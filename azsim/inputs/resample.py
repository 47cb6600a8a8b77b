"""Sample rates: a recording as it would be at another rate."""

from __future__ import annotations

import functools
import math

import numpy as np

from azsim.errors import InputError

__all__ = ["resample"]

_ZERO_CROSSINGS = 32
"""Of the sinc function, on each side."""
_ROLL_OFF = 0.95
"""Where the filter is half way down, as a share of half the lower rate."""
_KAISER_BETA = 12.0
"""More than 110 dB between the pass band and the rest."""
_LARGEST_RATIO = 64


def resample(samples: np.ndarray, from_hz: int, to_hz: int, where: str) -> np.ndarray:
    """Change the sample rate by a polyphase filter, a sinc function under a Kaiser window.

    Sample m of the result is ``sum_n x[n] h(m * from_hz / to_hz - n)``: the first samples coincide,
    nothing is delayed.  There is silence before and after the recording.

    Parameters
    ----------
    samples : ndarray of shape (n,), floating
    from_hz, to_hz : int
    where : str
        What errors call the recording.

    Returns
    -------
    ndarray of shape (ceil(n * to_hz / from_hz),), float64

    Raises
    ------
    InputError
        If one rate is more than 64 times the other.
    """
    if max(from_hz, to_hz) > _LARGEST_RATIO * min(from_hz, to_hz):
        low, high = -(-to_hz // _LARGEST_RATIO), to_hz * _LARGEST_RATIO
        raise InputError(
            f"{where}: cannot be resampled to {to_hz} Hz, found {from_hz} Hz, "
            f"allowed: {low} to {high} Hz"
        )
    common = math.gcd(from_hz, to_hz)
    up, down = to_hz // common, from_hz // common
    count = -(-len(samples) * up // down)
    cutoff = _ROLL_OFF * min(1.0, up / down)  # of half the old rate
    reach = math.ceil(_ZERO_CROSSINGS / cutoff)
    padded = np.pad(np.asarray(samples, np.float64), reach)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1)
    result = np.empty(count)
    for phase in range(min(up, count)):  # the results whose place lies equally between samples
        start, fraction = divmod(phase * down, up)
        mine = result[phase::up]
        taken = windows[start::down][: len(mine)]
        mine[:] = taken @ _filter(fraction, up, cutoff, reach)
    return result


@functools.lru_cache(maxsize=10_000)
def _filter(fraction: int, up: int, cutoff: float, reach: int) -> np.ndarray:
    """Impulse response at ``fraction / up`` and all whole numbers around it."""
    return _impulse_response(fraction / up - np.arange(-reach, reach + 1), cutoff, reach)


def _impulse_response(time: np.ndarray, cutoff: float, reach: int) -> np.ndarray:
    """Impulse response at times in old samples; its window ends at `reach`."""
    inside = np.maximum(0, 1 - (time / reach) ** 2)
    window = np.i0(_KAISER_BETA * np.sqrt(inside)) / np.i0(_KAISER_BETA)
    return cutoff * np.sinc(cutoff * time) * np.where(np.abs(time) < reach, window, 0)
