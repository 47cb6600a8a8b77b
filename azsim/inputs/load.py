"""The arrays that the `input:` section of a workload stands for."""

from __future__ import annotations

import hashlib
import math
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from azsim.errors import InputError
from azsim.inputs.audio import check_size, frame, read_wav
from azsim.inputs.features import Features
from azsim.inputs.fetch import fetch
from azsim.inputs.front_end import log_mel_features
from azsim.inputs.patterns import sparse_activations
from azsim.inputs.resample import resample
from azsim.inputs.spec import AudioInput, InputSpec, NpzInput, RandomInput, UtterancesInput
from azsim.inputs.tensors import read_arrays
from azsim.inputs.utterances import ListedRecording, Utterance, read_utterances
from azsim.ir import TensorType

__all__ = ["FrontEndRun", "Inputs", "load_inputs"]


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
    utterances : tuple of Utterance
        Recordings, which follow each other along the time axis.
    """

    arrays: Mapping[str, np.ndarray]
    period_s: float | None
    files: Mapping[str, str]
    notes: tuple[str, ...] = ()
    front_end: FrontEndRun | None = None
    utterances: tuple[Utterance, ...] = ()


def load_inputs(
    spec: InputSpec,
    types: Mapping[str, TensorType],
    time_axis: Mapping[str, int],
    folder: Path,
) -> Inputs:
    """Make the arrays of an input section.

    Parameters
    ----------
    spec : AudioInput, UtterancesInput, NpzInput or RandomInput
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
    if isinstance(spec, UtterancesInput):
        return _load_utterances(spec, types, time_axis, folder)
    if isinstance(spec, NpzInput):
        return _load_npz(spec, types, time_axis, folder)
    return _make_random(spec, types, time_axis)


def _load_audio(
    spec: AudioInput, types: Mapping[str, TensorType], time_axis: Mapping[str, int], folder: Path
) -> Inputs:
    name = _fed(spec, spec.audio, types)
    data = fetch(spec.audio, folder, spec.sha256, spec.archive_sha256).read_bytes()
    recording = _recording(data, spec, spec.audio)
    array = _fit_frames(recording, name, types[name], time_axis.get(name))
    text = None if spec.text is None else " ".join(spec.text.split())
    return Inputs(
        {name: array},
        recording.period_s,
        {spec.audio: hashlib.sha256(data).hexdigest()},
        recording.notes,
        recording.front_end,
        (Utterance(spec.audio, text, len(recording.frames)),),
    )


def _load_utterances(
    spec: UtterancesInput,
    types: Mapping[str, TensorType],
    time_axis: Mapping[str, int],
    folder: Path,
) -> Inputs:
    name = _fed(spec, spec.utterances, types)
    axis = time_axis.get(name)
    if axis is None:
        raise InputError(f"input {name}: several recordings need a time axis, found none")
    path = fetch(spec.utterances, folder, spec.sha256)
    found = read_utterances(path, spec.set, spec.first)
    recordings, arrays, problems = [], [], []
    files = {spec.utterances: hashlib.sha256(path.read_bytes()).hexdigest()}
    for entry in found:
        try:
            data = _bytes_of(entry)
            recording = _recording(data, spec, entry.name)
            arrays.append(_fit_frames(recording, name, types[name], axis))
        except InputError as error:
            problems.append(str(error))
            continue
        files[entry.name] = hashlib.sha256(data).hexdigest()
        recordings.append(recording)
    if problems:
        raise InputError("\n".join(problems))
    return Inputs(
        {name: np.concatenate(arrays, axis=axis)},
        _one_period_s(recordings, spec),
        files,
        tuple(note for recording in recordings for note in recording.notes),
        _joined(recordings),
        tuple(
            Utterance(entry.name, entry.text, len(recording.frames))
            for entry, recording in zip(found, recordings, strict=True)
        ),
    )


def _bytes_of(entry: ListedRecording) -> bytes:
    try:
        return entry.path.read_bytes()
    except OSError as error:
        raise InputError(f"{entry.name}: cannot be read: {error.strerror or error}") from None


def _one_period_s(recordings: list[_Recording], spec: UtterancesInput) -> float:
    """Time between frames, which all recordings have to share."""
    periods = sorted({recording.period_s for recording in recordings})
    if len(periods) > 1:
        found = " and ".join(f"{1000 * period:g} ms" for period in periods)
        raise InputError(
            f"{spec.utterances}: recordings of several sample rates, found frames every {found}; "
            "give sample_rate_hz"
        )
    return periods[0]


def _joined(recordings: list[_Recording]) -> FrontEndRun | None:
    """What is told of the features of all recordings."""
    runs = [recording.front_end for recording in recordings if recording.front_end is not None]
    if not runs:
        return None
    frames, seconds = sum(run.frames for run in runs), sum(run.seconds for run in runs)
    return replace(runs[0], frames=frames, seconds=seconds)


def _fed(
    spec: AudioInput | UtterancesInput, reference: str, types: Mapping[str, TensorType]
) -> str:
    """Name of the one graph input that sound feeds."""
    name = spec.name
    if name is None and len(types) == 1:
        name = next(iter(types))
    if name is None or set(types) != {name}:
        raise InputError(
            f"{reference}: audio feeds one graph input, found {name or 'no name'}; "
            f"the graph has: {', '.join(types) or 'none'}"
        )
    return name


@dataclass(frozen=True)
class _Recording:
    """Frames of one recording, (frames, width), and what is told of them."""

    frames: np.ndarray
    what: str
    period_s: float
    notes: tuple[str, ...]
    front_end: FrontEndRun | None = None


def _recording(data: bytes, spec: AudioInput | UtterancesInput, where: str) -> _Recording:
    samples, sample_rate_hz = read_wav(data, where)
    begin = time.perf_counter()
    wanted_hz = spec.features.sample_rate_hz if spec.features else spec.sample_rate_hz
    notes: tuple[str, ...] = ()
    if wanted_hz not in (None, sample_rate_hz):
        samples = resample(samples, sample_rate_hz, wanted_hz, where).astype(np.float32)
        notes = (f"{where} was resampled from {sample_rate_hz} Hz to {wanted_hz} Hz",)
        sample_rate_hz = wanted_hz
    if spec.features is not None:
        frames, front_end = _features(samples, spec.features, where, begin)
        return _Recording(frames, "features", front_end.period_s, notes, front_end)
    framing = spec.framing
    assert framing is not None  # one of the two, as the workload's rules say
    try:
        frames = frame(samples, framing.window, framing.hop, framing.left_context, framing.tail)
    except InputError as error:
        if isinstance(spec, AudioInput):
            raise
        raise InputError(f"{where}: {error}") from None
    return _Recording(frames, "samples", framing.hop / sample_rate_hz, notes)


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
    recording: _Recording, name: str, wanted: TensorType, axis: int | None
) -> np.ndarray:
    frames, what = recording.frames, recording.what
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
