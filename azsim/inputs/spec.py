"""The `input:` section of a workload; `azsim.inputs.load` makes the arrays that it stands for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from azsim.inputs.features import PRESETS, Features

__all__ = [
    "AudioInput",
    "Framing",
    "InputSpec",
    "NpzInput",
    "RandomInput",
    "RandomNumbers",
    "Sha256",
    "UtterancesInput",
]

_STRICT = ConfigDict(extra="forbid", strict=True)

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="64 digits 0-9 a-f")]
Reference = Annotated[str, Field(min_length=1)]
Density = Annotated[float, Field(gt=0, le=1)]
Period = Annotated[float, Field(gt=0, le=3600)]


@dataclass(frozen=True)
class Framing:
    """How samples become frames; see `azsim.inputs.audio.frame`."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    window: Annotated[int, Field(ge=1, le=1 << 20)]
    """Samples in a frame, `left_context` included."""
    hop: Annotated[int, Field(ge=1, le=1 << 20)]
    """Samples from one frame to the next."""
    left_context: Annotated[int, Field(ge=0, le=1 << 20)] = 0
    """Samples of a frame that lie before its position; zeros before the start."""
    tail: Literal["zero_pad", "drop"] = "zero_pad"
    """What happens to samples that fill no whole frame."""


def _allow_preset(schema: dict[str, Any]) -> None:
    name = {"type": "string", "enum": list(PRESETS), "title": "preset"}
    schema["anyOf"] = [*schema["anyOf"], name]


@dataclass(frozen=True)
class AudioInput:
    """A recording, cut into frames of samples or turned into frames of features."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    audio: Reference
    """WAV file: a path beside the workload, or ``pypi:NAME==VERSION#member/path``."""
    framing: Framing | None = None
    """The model takes samples."""
    features: Annotated[Features | None, Field(json_schema_extra=_allow_preset)] = None
    """The model takes log-mel features, which the host computes: a preset's name, or a mapping."""
    sha256: Sha256 | None = None
    """Of the file; needed for ``pypi:``."""
    archive_sha256: Sha256 | None = None
    """Of the package's archive that holds it."""
    sample_rate_hz: Annotated[int | None, Field(ge=1, le=10_000_000)] = None
    """Rate that the model was trained for; a recording with another one is resampled."""
    name: str | None = None
    """Graph input; may be left out where there is only one besides the state."""
    text: str | None = None
    """What is said, which the words of the section ``transcript`` are compared with."""


@dataclass(frozen=True)
class UtterancesInput:
    """Recordings one after the other, each of which begins with the initial state."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    utterances: Reference
    """A CSV file beside the workload with a header and the columns ``file`` (a WAV file beside the
    CSV file), ``text`` (what is said; may be empty) and ``set`` (needed with the key `set`)."""
    set: Annotated[str | None, Field(min_length=1)] = None
    """Only those whose column ``set`` says this."""
    first: Annotated[int | None, Field(ge=1)] = None
    """Only so many of them, in the order of the file."""
    framing: Framing | None = None
    """As for ``audio``."""
    features: Annotated[Features | None, Field(json_schema_extra=_allow_preset)] = None
    """As for ``audio``."""
    sha256: Sha256 | None = None
    """Of the CSV file."""
    sample_rate_hz: Annotated[int | None, Field(ge=1, le=10_000_000)] = None
    """As for ``audio``."""
    name: str | None = None
    """As for ``audio``."""


@dataclass(frozen=True)
class NpzInput:
    """Arrays by graph input name."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    npz: Reference
    """An ``.npz`` file: a path beside the workload, or ``pypi:NAME==VERSION#member/path``."""
    sha256: Sha256 | None = None
    archive_sha256: Sha256 | None = None
    period_s: Period | None = None
    """Time from one step of the time axis to the next."""


@dataclass(frozen=True)
class RandomNumbers:
    """Normally distributed numbers: ``default_rng(seed).standard_normal(shape) * scale``.

    With `activation_density`: `azsim.inputs.patterns.sparse_activations`, from one generator.
    With `below`: ``default_rng(seed).integers(below, size=shape)``, numbers of tokens for instance.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    seed: Annotated[int, Field(ge=0, le=(1 << 63) - 1)] = 0
    scale: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    frames: Annotated[int | None, Field(ge=1, le=1 << 40)] = None
    """Length of the time axis; one chunk unless told."""
    pattern: Literal["random"] = "random"
    """With `activation_density`: where the non-zero elements lie."""
    activation_density: Density | dict[str, Density] | None = None
    """Share of elements that are not zero, exactly: of every graph input, or by its name. Inputs
    that are not named have no zeros."""
    below: Annotated[int | None, Field(ge=1, le=1 << 24)] = None
    """Whole numbers from 0 to one less than this, each as likely, instead of normal ones."""


@dataclass(frozen=True)
class RandomInput:
    """Random numbers for every graph input besides the state."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    random: RandomNumbers
    period_s: Period | None = None
    """Time from one step of the time axis to the next."""


InputSpec = AudioInput | UtterancesInput | NpzInput | RandomInput
