"""A workload's files and arrays: the model, the input, the calibration input."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from azsim.config.document import dotted
from azsim.errors import ConfigError, FetchError, InputError, unknown
from azsim.frontend.workload import Workload
from azsim.frontend.workload_file import BuilderModel, OnnxModel, Stream
from azsim.inputs.fetch import fetch
from azsim.inputs.load import Inputs, load_inputs
from azsim.inputs.spec import AudioInput, InputSpec, NpzInput, RandomInput, UtterancesInput
from azsim.inputs.utterances import read_utterances
from azsim.ir import TensorType

__all__ = [
    "calibration_arrays",
    "check_files",
    "input_arrays",
    "input_files",
    "label_files",
    "onnx_path",
    "units_path",
    "weights_path",
]


def onnx_path(workload: Workload) -> Path | None:
    """Return the local, verified ONNX file of the model, or None where it has none.

    Raises
    ------
    FetchError
        If the file cannot be had or has another hash.
    """
    model = workload.model
    if not isinstance(model, OnnxModel):
        return None
    with _at(workload, "$.model.onnx"):
        return fetch(model.onnx, workload.folder, model.sha256, model.archive_sha256)


def weights_path(workload: Workload) -> Path | None:
    """Return the local, verified file of a builder's weights, or None where they are random.

    Raises
    ------
    FetchError
        If the file cannot be had or has another hash.
    """
    model = workload.model
    if not isinstance(model, BuilderModel) or model.weights is None:
        return None
    with _at(workload, "$.model.weights"):
        return fetch(model.weights, workload.folder, model.sha256, model.archive_sha256)


def check_files(workload: Workload) -> None:
    """Fetch model, input, labels and units, so that all that is wrong with them is said at once.

    The calibration input is left to where it turns out to be needed.

    Raises
    ------
    FetchError
        With every file that cannot be had or has another hash.
    """
    model, spec = workload.model, workload.input
    files = []
    if isinstance(model, OnnxModel):
        files.append(("$.model.onnx", model.onnx, model))
    elif isinstance(model, BuilderModel) and model.weights is not None:
        files.append(("$.model.weights", model.weights, model))
    if isinstance(spec, AudioInput):
        files.append(("$.input.audio", spec.audio, spec))
    elif isinstance(spec, NpzInput):
        files.append(("$.input.npz", spec.npz, spec))
    elif isinstance(spec, UtterancesInput):
        files.append(("$.input.utterances", spec.utterances, spec))
    if workload.transcript is not None:
        files.append(("$.transcript.units", workload.transcript.units, workload.transcript))
    files += [
        (dotted(("decisions", name, "labels")), decision.labels, decision)
        for name, decision in workload.decisions.items()
        if decision.labels is not None
    ]
    problems = []
    for path, reference, pinned in files:
        try:
            with _at(workload, path):
                archive_sha256 = getattr(pinned, "archive_sha256", None)
                fetch(reference, workload.folder, pinned.sha256, archive_sha256)
        except FetchError as error:
            problems.append(str(error))
    if problems:
        raise FetchError("\n".join(problems))


def input_files(workload: Workload, spec: InputSpec) -> list[Path]:
    """Local, verified files that an input section of the workload names.

    Raises
    ------
    FetchError
        If one cannot be had or has another hash.
    """
    if isinstance(spec, RandomInput):
        return []
    section = "input" if spec is workload.input else "calibration"
    if isinstance(spec, UtterancesInput):
        with _at(workload, f"$.{section}.utterances"):
            path = fetch(spec.utterances, workload.folder, spec.sha256)
            listed = read_utterances(path, spec.set, spec.first)
        return [path, *(entry.path for entry in listed)]
    kind, reference = ("audio", spec.audio) if isinstance(spec, AudioInput) else ("npz", spec.npz)
    with _at(workload, f"$.{section}.{kind}"):
        return [fetch(reference, workload.folder, spec.sha256, spec.archive_sha256)]


def units_path(workload: Workload) -> Path | None:
    """Return the local, verified file of the transcript's units, or None without a transcript.

    Raises
    ------
    FetchError
        If the file cannot be had or has another hash.
    """
    transcript = workload.transcript
    if transcript is None:
        return None
    with _at(workload, "$.transcript.units"):
        return fetch(
            transcript.units, workload.folder, transcript.sha256, transcript.archive_sha256
        )


def label_files(workload: Workload) -> dict[str, Path]:
    """Return the local, verified files of labels, by the name of their decision.

    Raises
    ------
    FetchError
        If one cannot be had or has another hash.
    """
    found = {}
    for name, decision in workload.decisions.items():
        if decision.labels is not None:
            with _at(workload, dotted(("decisions", name, "labels"))):
                found[name] = fetch(
                    decision.labels, workload.folder, decision.sha256, decision.archive_sha256
                )
    return found


def input_arrays(
    workload: Workload, input_types: Mapping[str, TensorType], stream: Stream | None = None
) -> Inputs:
    """Make the arrays that the workload's model is run on.

    Parameters
    ----------
    workload : Workload
    input_types : mapping of str to TensorType
        The graph's inputs; those that carry state may be among them and are left out.
    stream : Stream, optional
        Time and state where the model knows them; without it the workload's.

    Raises
    ------
    InputError
        If the stream names unknown inputs, or the input does not fit the graph.
    """
    return _arrays(workload, workload.input, input_types, stream)


def calibration_arrays(
    workload: Workload, input_types: Mapping[str, TensorType], stream: Stream | None = None
) -> Inputs | None:
    """Make the arrays for static activation scales; None where there is no such input."""
    if workload.calibration is None:
        return None
    return _arrays(workload, workload.calibration, input_types, stream)


def _arrays(
    workload: Workload,
    spec: InputSpec,
    input_types: Mapping[str, TensorType],
    stream: Stream | None,
) -> Inputs:
    stream = stream or workload.stream or Stream()
    problems: list[str] = []
    for key, names in (("state", stream.state), ("time_axis", stream.time_axis)):
        for name in names:
            path = ("stream", key, name)
            start = f"{workload.place(path)}: {dotted(path)}"
            if name not in input_types:
                problems.append(f"{start}: {unknown('graph input', name, input_types)}")
            elif key == "time_axis" and stream.time_axis[name] >= len(input_types[name].shape):
                found = f"found {stream.time_axis[name]}, allowed: an axis of {input_types[name]}"
                problems.append(f"{start}: out of range, {found}")
    types = {name: kind for name, kind in input_types.items() if name not in stream.state}
    section = "input" if spec is workload.input else "calibration"
    densities = spec.random.activation_density if isinstance(spec, RandomInput) else None
    for name in densities if isinstance(densities, dict) else ():
        if name not in types:
            path = (section, "random", "activation_density", name)
            start = f"{workload.place(path)}: {dotted(path)}"
            problems.append(f"{start}: {unknown('graph input', name, types)}")
    if problems:
        raise ConfigError(problems)
    kinds = {
        AudioInput: "audio",
        UtterancesInput: "utterances",
        NpzInput: "npz",
        RandomInput: "random",
    }
    key = kinds[type(spec)]
    with _at(workload, f"$.{section}.{key}"):
        return load_inputs(spec, types, stream.time_axis, workload.folder)


@contextlib.contextmanager
def _at(workload: Workload, path: str) -> Iterator[None]:
    """Name the place of an input in front of why it could not be had; a file names itself."""
    try:
        yield
    except InputError as error:
        if not (isinstance(error, FetchError) or path.endswith(".random")):
            raise
        located = workload.located(ConfigError([f"{path}: {error}"]))
        raise type(error)(located.problems[0]) from None
