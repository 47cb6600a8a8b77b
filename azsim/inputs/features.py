"""Log-mel features: what a front end computes, as open parameters with named presets.

`azsim.inputs.front_end` computes them; docs/features.md has the definitions and their sources.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, model_validator

__all__ = ["PRESETS", "Features", "find_feature_problems", "preset_features"]

_Samples = Annotated[int, Field(ge=1, le=1 << 14)]
_Hz = Annotated[float, Field(ge=0, le=1e7)]
_Count = Annotated[int, Field(ge=0, le=64)]

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        # Every default of `Features`: the reference of MLPerf Inference's RNN-T.
        "mlperf": {},
        # Published: 80 bands, 25 ms every 10 ms, 3 left frames, 30 ms.  The rest is our assumption,
        # after the defaults of Lingvo, Google's public toolkit (without its noise).
        "google": {
            "sample_scale": 32768.0,
            "window": 400,
            "taper": "hann_periodic",
            "n_fft": 1024,
            "edges": "inside",
            "spectrum": "magnitude",
            "power_offset": 0.0,
            "mel_scale": "htk",
            "mel_norm": "none",
            "low_hz": 125.0,
            "high_hz": 7600.0,
            "log_floor": 1.0,
            "log_offset": 0.0,
            "left_frames": 3,
            "right_frames": 0,
            "beyond": "repeat",
            "normalize": "none",
        },
        # Published: 80 bands, 25 ms every 10 ms.  The rest is our assumption: as MLPerf's.
        "conformer": {"window": 400, "right_frames": 0, "stride": 1},
        # Ours, for small recognisers of spoken commands in a stream: it gets used to a microphone
        # as it listens, and silence lies 60 dB below loud speech, not at -infinity.
        "commands": {
            "window": 400,
            "edges": "inside",
            "power_offset": 0.0,
            "mel_bands": 40,
            "low_hz": 60.0,
            "high_hz": 7600.0,
            "log_offset": 1e-7,
            "beyond": "repeat",
            "normalize": "adaptive",
            "fixed_mean": -10.1,
            "fixed_std": 3.4,
        },
    }
)
"""For each named front end, the parameters in which it differs from MLPerf's."""


@dataclass(frozen=True)
class Features:
    """A log-mel front end; each default is that of the preset ``mlperf``.

    Values that a preset names may be given beside ``preset``, and replace its own.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)
    preset: str = "mlperf"
    """Where the values come from that are not given."""
    sample_rate_hz: Annotated[int, Field(ge=1, le=10_000_000)] = 16_000
    """A recording with another rate is resampled."""
    sample_scale: Annotated[float, Field(gt=0, le=1 << 31)] = 1.0
    """Samples in [-1, 1) are multiplied by it."""
    preemphasis: Annotated[float, Field(ge=0, le=1)] = 0.97
    """``y[n] = x[n] - preemphasis * x[n - 1]``, and ``y[0] = x[0]``."""
    window: _Samples = 320
    """Samples under the taper."""
    hop: _Samples = 160
    """Samples from one window to the next."""
    taper: Literal["hann_symmetric", "hann_periodic"] = "hann_symmetric"
    """``0.5 - 0.5 cos(2 pi n / d)``, with d = window - 1, or window."""
    n_fft: _Samples = 512
    """Length of the transform; zeros fill it up."""
    edges: Literal["reflect", "inside"] = "reflect"
    """`reflect`: window i is centred on sample ``i * hop``, the recording is mirrored at both ends.
    `inside`: window i starts at sample ``i * hop``, and only whole windows are taken."""
    spectrum: Literal["power", "magnitude"] = "power"
    power_offset: Annotated[float, Field(ge=0, le=1)] = 1e-10
    """Added to every bin; MLPerf's is its dither squared."""
    mel_bands: Annotated[int, Field(ge=1, le=512)] = 80
    mel_scale: Literal["slaney", "htk"] = "slaney"
    mel_norm: Literal["slaney", "none"] = "slaney"
    """`slaney`: each triangle has the same area; `none`: each has the height 1."""
    low_hz: _Hz = 0.0
    high_hz: _Hz = 8_000.0
    log_floor: Annotated[float, Field(ge=0, le=1e9)] = 0.0
    log_offset: Annotated[float, Field(ge=0, le=1e9)] = 1e-20
    """A feature is ``log(max(energy, log_floor) + log_offset)``."""
    left_frames: _Count = 0
    right_frames: _Count = 2
    """Frames before and after each that stand beside it, in order of time."""
    stride: Annotated[int, Field(ge=1, le=64)] = 3
    """Every so many stacked frames one is kept."""
    beyond: Literal["zero", "repeat"] = "zero"
    """Frames before the first and after the last: zeros, or the nearest once more."""
    normalize: Literal["none", "utterance", "running", "fixed", "adaptive"] = "utterance"
    """Per feature, after stacking: ``(x - mean) / (standard deviation + std_offset)``, over the
    whole recording, or over the frames so far.  `fixed`: ``(x - fixed_mean) / fixed_std``.
    `adaptive`: ``(x - mean) / fixed_std`` per band, before stacking, with the mean of the loud
    frames so far and of `prior_frames` of `fixed_mean`."""
    std_offset: Annotated[float, Field(gt=0, le=1)] = 1e-5
    fixed_mean: Annotated[float, Field(ge=-1e3, le=1e3)] = 0.0
    """One number for all features."""
    fixed_std: Annotated[float, Field(gt=0, le=1e3)] = 1.0
    """One number for all features."""
    prior_frames: Annotated[float, Field(ge=1, le=1e6)] = 100.0
    """Frames that `fixed_mean` counts for: more of them, slower to get used to a microphone."""
    loud_within: Annotated[float, Field(ge=-1e3, le=1e3)] = 2.0
    """A frame is loud if its mean over the bands is above the bands' mean so far less this."""

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, data: Any) -> Any:
        """A name stands for its preset; a mapping replaces values of the preset that it names."""
        if isinstance(data, str):
            data = {"preset": data}
        if not isinstance(data, Mapping):
            return data
        name = data.get("preset", "mlperf")
        if not isinstance(name, str):
            return data
        if name not in PRESETS:
            raise ValueError(f"unknown preset {name!r}, allowed: {', '.join(PRESETS)}")
        return {**PRESETS[name], **data}

    @property
    def width(self) -> int:
        """Features of one frame."""
        return self.mel_bands * (self.left_frames + 1 + self.right_frames)

    @property
    def frame_samples(self) -> int:
        """Samples from one frame to the next."""
        return self.hop * self.stride

    @property
    def period_s(self) -> float:
        """Time from one frame to the next."""
        return self.frame_samples / self.sample_rate_hz

    @property
    def lookahead_s(self) -> float:
        """Audio that frame i needs from after its own time, which ends at ``(i + 1) * period_s``.

        No stream can have such a frame in time; arrival does not count it.
        """
        end = self.window // 2 if self.edges == "reflect" else self.window
        samples = self.right_frames * self.hop + end - self.frame_samples
        return max(0, samples) / self.sample_rate_hz

    def num_frames(self, num_samples: int) -> int:
        """Count the frames of a recording; 0 where it is shorter than one window."""
        if num_samples < self.window:
            return 0
        if self.edges == "reflect":
            return -(-num_samples // self.frame_samples)
        return (num_samples - self.window) // self.hop // self.stride + 1


def preset_features(name: str, **changes: Any) -> Features:
    """Return a preset with some of its values replaced.

    Parameters
    ----------
    name : str
        A key of `PRESETS`.
    **changes
        Fields of `Features`.
    """
    return Features(**{"preset": name, **PRESETS[name], **changes})


def find_feature_problems(features: Features) -> Iterator[tuple[str, str]]:
    """Yield the key and the sentence of everything that no single key shows."""
    if features.window > features.n_fft:
        yield (
            "window",
            f"longer than the transform, found {features.window}, allowed: up to {features.n_fft}",
        )
    if features.window < 2 or (features.edges == "reflect" and features.window % 2):
        allowed = "an even number" if features.edges == "reflect" else "at least 2"
        yield "window", f"no such window, found {features.window}, allowed: {allowed}"
    nyquist_hz = features.sample_rate_hz / 2
    if features.high_hz > nyquist_hz:
        found = f"found {features.high_hz:g}, allowed: up to {nyquist_hz:g}"
        yield "high_hz", f"above half the sample rate, {found}"
    elif features.low_hz >= features.high_hz:
        yield (
            "low_hz",
            f"not below high_hz, found {features.low_hz:g}, allowed: below {features.high_hz:g}",
        )
    elif features.window <= features.n_fft:
        from azsim.inputs.mel import mel_filters  # only here

        empty = [band for band, row in enumerate(mel_filters(features)) if not row.any()]
        if empty:
            found = f"found {features.mel_bands} bands and n_fft = {features.n_fft}"
            allowed = "allowed: fewer bands or a longer transform"
            yield "mel_bands", f"band {empty[0]} holds no frequency, {found}, {allowed}"
    if not features.log_floor and not features.log_offset:
        yield "log_offset", "the logarithm of 0 is none, found 0, allowed: above 0, or a log_floor"
