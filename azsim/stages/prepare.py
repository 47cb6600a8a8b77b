"""Prepare: read the model and its input, compress the weights; nothing of the chip yet."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from azsim.compression.compress import Weights, compress
from azsim.compression.scheme import ResolvedRule, resolve
from azsim.errors import ConfigError
from azsim.evaluate import activation_statistics
from azsim.frontend.workload import Workload
from azsim.frontend.workload_file import BuilderModel
from azsim.frontend.workload_file import Stream as StreamSpec
from azsim.frontend.workload_inputs import (
    calibration_arrays,
    check_files,
    input_arrays,
    onnx_path,
    weights_path,
)
from azsim.ir import CodecChoice, CompressedGraph
from azsim.isa.program import WAKE, Stream
from azsim.models import Model, builder
from azsim.ops.build import computed_products, weight_matrices
from azsim.sim.statistics import Chunks
from azsim.stages.model import load_model
from azsim.stages.reuse import NO_REUSE, Reuse

if TYPE_CHECKING:
    from azsim.inputs.load import FrontEndRun, Inputs
    from azsim.inputs.utterances import Utterance

__all__ = ["Prepared", "compress_model", "compress_workload", "prepare", "wakes"]


@dataclass(frozen=True)
class Prepared:
    """A workload ready to be compiled.

    Attributes
    ----------
    compressed : CompressedGraph
        The graph of one frame, or of one chunk of frames, with its weights compressed.
    frames : mapping of str to ndarray of shape (T, ...)
        Inputs that are not state, one entry a frame or chunk; T is 1 without a stream.
    state : mapping of str to str
        Carried tensors: graph input to graph output.
    initial_state : mapping of str to ndarray
    stream : Stream
        Its frames are chunks.
    chunks : Chunks
        How many frames they hold.
    files : mapping of str to str
        sha256 of every file that was read.
    notes : tuple of str
        What was done to the input that nobody asked for.
    front_end : FrontEndRun or None
        Features that the host computed.
    utterances : tuple of Utterance
        Recordings, which follow each other; empty where the input is none.
    lengths : tuple of int
        Frames, or chunks, of each part of the input that begins with the initial state.
    """

    compressed: CompressedGraph
    frames: Mapping[str, np.ndarray]
    state: Mapping[str, str]
    initial_state: Mapping[str, np.ndarray]
    stream: Stream
    chunks: Chunks
    files: Mapping[str, str]
    notes: tuple[str, ...] = ()
    front_end: FrontEndRun | None = None
    utterances: tuple[Utterance, ...] = ()
    lengths: tuple[int, ...] = ()

    @property
    def parts(self) -> tuple[slice, ...]:
        """Where the frames, or chunks, of each part lie."""
        ends = itertools.accumulate(self.lengths or (self.stream.frames,))
        return tuple(slice(a, b) for a, b in itertools.pairwise((0, *ends)))

    @property
    def inputs(self) -> dict[str, np.ndarray]:
        """Everything that a program of the graph takes."""
        inputs = {**self.frames, **self.initial_state}
        if len(self.parts) > 1:
            inputs[WAKE] = wakes(self.lengths)
        return inputs


def wakes(lengths: Sequence[int]) -> np.ndarray:
    """Say behind which frames the state is loaded anew: the last of each part but the last part's.

    Returns
    -------
    ndarray of shape (frames, 1), int32
    """
    flags = np.zeros((sum(lengths), 1), np.int32)
    flags[np.cumsum(lengths)[:-1] - 1] = 1
    return flags


def compress_workload(workload: Workload) -> CompressedGraph:
    """Read the model, prune and quantize its weights."""
    return compress_model(workload, load_model(workload))


def compress_model(workload: Workload, model: Model, reuse: Reuse = NO_REUSE) -> CompressedGraph:
    """Prune and quantize the weights of the workload's model, which was read before."""
    graph = model.graph
    matrices, products = weight_matrices(graph), computed_products(graph)
    try:
        rules = resolve(workload.compression, [*matrices, *products])
    except ConfigError as error:
        raise workload.located(error) from None
    maxima = powers = None
    if workload.calibration is not None and any(map(_is_calibrated, rules.values())):
        stepped = _stepped(workload, model)
        stream = _stream_of(workload, stepped)
        inputs = calibration_arrays(workload, stepped.graph.inputs, stream)
        if inputs is not None:
            maxima, powers = activation_statistics(
                stepped.graph,
                _frames(stepped, inputs),
                stepped.state,
                stepped.initial_state,
                _lengths(stepped, inputs),
            )

    def remembered(names: list[str], make: Callable[[], Weights]) -> Weights:
        own = {name: replace(rules[name], codec=CodecChoice("raw")) for name in names}
        statistics = [
            (array.get(name) for name in names) for array in (maxima, powers) if array is not None
        ]
        return reuse.value("codes", make, own, *map(list, statistics))

    weights = compress(matrices, rules, maxima, powers, remembered)
    return CompressedGraph(graph, weights, {name: rules[name].activation_bits for name in products})


def _stepped(workload: Workload, model: Model) -> Model:
    """The model frame by frame: float sums, and so static scales, would differ with the chunk."""
    if not isinstance(workload.model, BuilderModel) or workload.stream is None:
        return model
    find_conflicts = getattr(builder(workload.model.builder), "find_conflicts", None)
    if workload.stream.chunk_frames == 1 or (
        find_conflicts and any(find_conflicts(workload.model, 1))
    ):
        return model  # the chunked form of a state space has no steps
    return load_model(replace(workload, stream=replace(workload.stream, chunk_frames=1)))


def _is_calibrated(rule: ResolvedRule) -> bool:
    """Whether the calibration input changes what becomes of a matrix."""
    return rule.activation_scale == "static" or rule.prune_method == "rate_distortion"


def prepare(workload: Workload, reuse: Reuse = NO_REUSE) -> Prepared:
    """Do everything that does not depend on the hardware."""
    return reuse.value("prepared", lambda: _prepare(workload, reuse))


def _prepare(workload: Workload, reuse: Reuse) -> Prepared:
    check_files(workload)
    model = reuse.value("model", lambda: load_model(workload))
    inputs = reuse.value(
        "inputs",
        lambda: input_arrays(workload, model.graph.inputs, _stream_of(workload, model)),
    )
    _check_features(workload, model, inputs)
    _check_numbers(workload, model, inputs)
    frames = _frames(model, inputs)
    count = len(next(iter(frames.values()))) if frames else 1
    lengths = _lengths(model, inputs) or (count,)
    if model.max_chunks is not None and max(lengths) > model.max_chunks:
        raise workload.located(ConfigError([_too_long(max(lengths), model)]))
    stream = Stream(
        frames=count,
        period_s=_period_s(workload, model, inputs),
        paced=workload.stream is not None and workload.stream.arrival == "paced",
    )
    if stream.paced and stream.period_s is None:
        raise workload.located(
            ConfigError(
                ["$.stream.arrival: 'paced' needs an input with a frame rate (audio, or period_s)"]
            )
        )
    files = {**workload.source.schemes, **inputs.files}
    for path in filter(None, (onnx_path(workload), weights_path(workload))):
        files[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return Prepared(
        compress_model(workload, model, reuse),
        frames,
        model.state,
        model.initial_state,
        stream,
        _chunking(workload, model, inputs, count),
        files,
        (*inputs.notes, *_other_features(model, inputs), *_fillings(model, inputs)),
        inputs.front_end,
        inputs.utterances,
        lengths,
    )


def _too_long(count: int, model: Model) -> str:
    """What is wrong with an input of too many chunks."""
    lengths = [model.graph.inputs[name].shape[axis] for name, axis in model.time_axis.items()]
    frames = lengths[0] if lengths else 1
    assert model.max_chunks is not None
    return (
        f"$.input: too long for the model, found {count * frames} frames in chunks of {frames}, "
        f"allowed: {model.max_chunks * frames}"
    )


def _check_features(workload: Workload, model: Model, inputs: Inputs) -> None:
    """Refuse features that come at another rate than those that the model takes."""
    front_end = inputs.front_end
    if front_end is None or model.chunk_period_s is None:
        return
    steps = [model.graph.inputs[name].shape[axis] for name, axis in model.time_axis.items()]
    wanted_s = model.chunk_period_s / max(steps, default=1)
    if not math.isclose(front_end.period_s, wanted_s, rel_tol=1e-6):
        found = f"found one every {1000 * front_end.period_s:g} ms ({front_end.features})"
        kind = f" ({model.features})" if model.features else ""
        takes = f"the model takes one every {1000 * wanted_s:g} ms{kind}"
        sentence = f"$.input.features: frames at the wrong rate, {found}, {takes}"
        raise workload.located(ConfigError([sentence]))


def _check_numbers(workload: Workload, model: Model, inputs: Inputs) -> None:
    """Refuse tokens that the model has no row for."""
    problems = []
    for name, below in model.below.items():
        array = inputs.arrays[name]
        wrong = (array < 0) | (array >= below) | (array != np.floor(array))
        if wrong.any():
            at = int(np.argmax(wrong))
            place = ", ".join(map(str, np.unravel_index(at, array.shape)))
            problems.append(
                f"$.input: no token of the model at '{name}'[{place}], "
                f"found {array.reshape(-1)[at]:g}, allowed: whole numbers from 0 to {below - 1}"
            )
    if problems:
        raise workload.located(ConfigError(problems))


def _other_features(model: Model, inputs: Inputs) -> Iterator[str]:
    """Yield a sentence where the features are not those of the model's reference."""
    front_end = inputs.front_end
    if front_end is not None and model.features and front_end.features != model.features:
        yield f"the model takes {model.features} features, it was given {front_end.features}"


def _stream_of(workload: Workload, model: Model) -> StreamSpec:
    """Section ``stream``, with what the model says of time and state."""
    stream = workload.stream or StreamSpec()
    return replace(stream, time_axis=dict(model.time_axis), state=dict(model.state))


def _period_s(workload: Workload, model: Model, inputs: Inputs) -> float | None:
    """Time from one chunk to the next; an input's own is that of one step of its time axis."""
    if inputs.period_s is None:
        return model.chunk_period_s
    if workload.stream is None and model.chunk_period_s is None:
        return None
    lengths = [model.graph.inputs[name].shape[axis] for name, axis in model.time_axis.items()]
    return inputs.period_s * (lengths[0] if lengths else 1)


def _chunking(workload: Workload, model: Model, inputs: Inputs, count: int) -> Chunks:
    """Frames in `count` chunks; a frame of which the input has a part is one."""
    chunk_frames = workload.stream.chunk_frames if workload.stream else 1
    found = [
        [math.ceil(steps * chunk_frames / length) for steps in _steps(inputs, name, axis)]
        for name, axis in model.time_axis.items()
        for length in [model.graph.inputs[name].shape[axis]]
    ]
    of_parts = max(found, key=sum, default=[count * chunk_frames])
    return Chunks(sum(of_parts), chunk_frames, tuple(of_parts) if len(of_parts) > 1 else ())


def _steps(inputs: Inputs, name: str, axis: int) -> list[int]:
    """Steps along an input's time axis of each part that begins with the initial state."""
    if len(inputs.utterances) > 1:
        return [utterance.frames for utterance in inputs.utterances]
    return [inputs.arrays[name].shape[axis]]


def _lengths(model: Model, inputs: Inputs) -> tuple[int, ...]:
    """Chunks of each part; empty where nothing has a time axis."""
    found = [
        tuple(
            math.ceil(steps / model.graph.inputs[name].shape[axis])
            for steps in _steps(inputs, name, axis)
        )
        for name, axis in model.time_axis.items()
    ]
    return max(found, key=sum, default=())


def _frames(model: Model, inputs: Inputs) -> dict[str, np.ndarray]:
    """Cut inputs along their time axis: (T, ...) with one frame, or chunk, in each entry.

    A last chunk that is not full is filled up with zeros; so is that of each utterance.
    """
    frames = {}
    for name, array in inputs.arrays.items():
        shape = model.graph.inputs[name].shape
        if name in model.time_axis:
            axis = model.time_axis[name]
            ends = np.cumsum(_steps(inputs, name, axis))[:-1]
            parts = [_chunks(part, axis, shape) for part in np.split(array, ends, axis)]
            frames[name] = np.concatenate(parts) if len(parts) > 1 else parts[0]
        else:
            frames[name] = array.reshape(1, *shape)
    count = max((len(array) for array in frames.values()), default=1)
    return {
        name: array if len(array) == count else np.repeat(array, count, axis=0)
        for name, array in frames.items()
    }


def _fillings(model: Model, inputs: Inputs) -> Iterator[str]:
    """Yield a sentence for each input whose last chunk is not full."""
    for name, axis in model.time_axis.items():
        length, found = model.graph.inputs[name].shape[axis], inputs.arrays[name].shape[axis]
        if len(steps := _steps(inputs, name, axis)) > 1:
            if uneven := sum(each % length > 0 for each in steps):
                yield (
                    f"{name}: {uneven} of {len(steps)} utterances are no whole number of chunks of "
                    f"{length} frames; zeros fill up the last one of each"
                )
        elif found % length:
            yield (
                f"{name}: {found} frames are no whole number of chunks of {length}; "
                f"{-found % length} frames of zeros follow"
            )


def _chunks(array: np.ndarray, axis: int, shape: tuple[int, ...]) -> np.ndarray:
    moved = np.moveaxis(array, axis, 0)
    length = shape[axis]
    count = math.ceil(len(moved) / length)
    missing = count * length - len(moved)
    if missing:
        moved = np.concatenate([moved, np.zeros((missing, *moved.shape[1:]), moved.dtype)])
    chunks = moved.reshape(count, length, *moved.shape[1:])
    return np.ascontiguousarray(np.moveaxis(chunks, 1, axis + 1)).reshape(-1, *shape)
