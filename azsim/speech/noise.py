"""What a microphone hears besides: noise of some kinds, a channel's colour, and their mixing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["KINDS", "LEVEL", "SPEECH_KINDS", "channel", "mix", "noise"]

SPEECH_KINDS = ("white", "pink", "brown", "hum", "babble")
"""Kinds that speech is mixed with."""
KINDS = (*SPEECH_KINDS, "clicks", "steps")
"""All kinds: what is heard where nobody speaks."""

LEVEL = 10 ** (-23 / 20)
"""Root mean square of speech with a gain of 0 dB; 1 is full scale."""

_RATE_HZ = 16_000
_LOUDEST = 0.98
_VOICES_OF_BABBLE = 6
_SLOPES = {"white": 0.0, "pink": -0.5, "brown": -1.0}  # of the magnitude over frequency


def noise(
    kind: str, num_samples: int, generator: np.random.Generator, voices: Sequence[np.ndarray] = ()
) -> np.ndarray:
    """Make noise with a root mean square of 1.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    num_samples : int
    generator : numpy.random.Generator
    voices : sequence of ndarray
        Recordings that babble is made of; without any, babble is pink noise.

    Returns
    -------
    ndarray of shape (num_samples,), float32
    """
    if kind == "babble" and not len(voices):
        kind = "pink"
    if kind in _SLOPES:
        made = _coloured(_SLOPES[kind], num_samples, generator)
    elif kind == "hum":
        made = _hum(num_samples, generator)
    elif kind == "babble":
        made = _babble(num_samples, generator, voices)
    else:
        made = _strokes(kind, num_samples, generator)
    return (made / max(_rms(made), 1e-9)).astype(np.float32)


def _rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if len(samples) else 0.0


def _coloured(slope: float, num_samples: int, generator: np.random.Generator) -> np.ndarray:
    if not slope:
        return generator.standard_normal(num_samples, np.float32)
    length = _quick_length(num_samples)
    white = np.fft.rfft(generator.standard_normal(length, np.float32))
    hz = np.maximum(np.fft.rfftfreq(length, 1 / _RATE_HZ), 20.0)
    return np.fft.irfft(white * hz**slope, length)[:num_samples]


def _quick_length(num_samples: int) -> int:
    """Next length whose transform is quick: a multiple of 4,096."""
    return -(-num_samples // 4096) * 4096


def _hum(num_samples: int, generator: np.random.Generator) -> np.ndarray:
    """Mains, or a motor: harmonics of a low tone, with a little hiss."""
    low_hz = generator.choice([50.0, 60.0, generator.uniform(80, 200)])
    first = np.exp(2j * np.pi * low_hz / _RATE_HZ * np.arange(num_samples)).astype(np.complex64)
    made = np.float32(0.03) * generator.standard_normal(num_samples, np.float32)
    power = np.ones(num_samples, np.complex64)
    for harmonic in range(1, 13):
        power *= first
        level, phase = generator.uniform(0, 1) / harmonic, generator.uniform(0, 2 * np.pi)
        made += (power * np.complex64(level * np.exp(1j * phase))).real
    return made


def _babble(
    num_samples: int, generator: np.random.Generator, voices: Sequence[np.ndarray]
) -> np.ndarray:
    """Many people who talk at once, of whom none can be understood."""
    made = np.zeros(num_samples)
    for _ in range(_VOICES_OF_BABBLE):
        samples = np.asarray(voices[int(generator.integers(len(voices)))], np.float64)
        start = generator.integers(len(samples))
        talk = np.resize(np.roll(samples, -start), num_samples)
        made += generator.uniform(0.5, 1) * talk / max(_rms(talk), 1e-9)
    return made


def _strokes(kind: str, num_samples: int, generator: np.random.Generator) -> np.ndarray:
    """Short sounds on a faint ground: clicks at random, or steps at a walking pace."""
    made = 0.003 * generator.standard_normal(num_samples)
    if kind == "clicks":
        starts = generator.uniform(0, num_samples, size=1 + num_samples // 4000)
        length, decay_s, slope = 400, 0.004, 0.0
    else:
        pace_s = generator.uniform(0.4, 0.7)
        starts = np.arange(generator.uniform(0, pace_s), num_samples / _RATE_HZ, pace_s) * _RATE_HZ
        length, decay_s, slope = 2400, 0.03, -0.7
    for start in starts.astype(int):
        stroke = _coloured(slope, length, generator)
        stroke = stroke / max(_rms(stroke), 1e-9) * np.exp(-np.arange(length) / _RATE_HZ / decay_s)
        taken = min(length, num_samples - start)
        made[start : start + taken] += generator.uniform(0.4, 1) * stroke[:taken]
    return made


# ------------------------------------------------------------------------------------ mixing


def channel(samples: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Colour a recording gently, as another microphone or loudspeaker would.

    Parameters
    ----------
    samples : ndarray of shape (n,), floating
    generator : numpy.random.Generator

    Returns
    -------
    ndarray of shape (n,), float64
        A slope of up to 6 dB from 100 Hz to 8 kHz; often with less below 60 to 250 Hz, or above
        3.4 to 7.5 kHz.
    """
    length = _quick_length(len(samples) + 1024)
    hz = np.maximum(np.fft.rfftfreq(length, 1 / _RATE_HZ), 20.0)
    slope_db, low_hz, high_hz = generator.uniform((-6, 60, 3_400), (6, 250, 7_500))
    has_low, has_high = generator.random(2) < (0.3, 0.25)
    response = 10 ** (slope_db * np.log(hz / 900) / np.log(80) / 20)
    if has_low:
        response /= np.sqrt(1 + (low_hz / hz) ** 4)
    if has_high:
        response /= np.sqrt(1 + (hz / high_hz) ** 12)
    return np.fft.irfft(np.fft.rfft(samples, length) * response, length)[: len(samples)]


def mix(
    speech: np.ndarray, added: np.ndarray, sounding: slice, snr_db: float, gain_db: float
) -> np.ndarray:
    """Add noise to speech and set the level.

    Parameters
    ----------
    speech : ndarray of shape (n,), floating
        With silence before and after; without any sound the noise alone has the level.
    added : ndarray of shape (n,), floating
        With a root mean square of 1.
    sounding : slice
        Where the speech is.
    snr_db : float
        Speech over noise, both as root mean squares; of the speech only where it sounds.
    gain_db : float
        Over `LEVEL`.

    Returns
    -------
    ndarray of shape (n,), int16
        Less loud where it would leave the range.
    """
    level = LEVEL * 10 ** (gain_db / 20)
    loudness = _rms(speech[sounding])
    if loudness:
        mixed = speech * (level / loudness) + added * (level * 10 ** (-snr_db / 20))
    else:
        mixed = added * level
    peak = abs(mixed).max(initial=0)
    if peak > _LOUDEST:
        mixed = mixed * (_LOUDEST / peak)
    return np.round(mixed * 32767).astype(np.int16)
