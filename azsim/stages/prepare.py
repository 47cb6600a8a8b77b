"""Prepare: read the model and its input, compress the weights; nothing of the chip yet."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from azsim.compression.compress import compress
from azsim.compression.scheme import ResolvedRule, resolve
from azsim.errors import ConfigError, InputError
from azsim.evaluate import activation_statistics
from azsim.frontend.inline import build_inline
from azsim.frontend.onnx_import import input_names_and_shapes, load_onnx
from azsim.frontend.workload import Workload
from azsim.frontend.workload_file import GraphModel
from azsim.frontend.workload_file import Stream as StreamSpec
from azsim.frontend.workload_inputs import calibration_arrays, check_files, input_arrays, onnx_path
from azsim.ir import CompressedGraph, Graph, TensorType
from azsim.isa.program import Stream
from azsim.ops.build import weight_matrices

if TYPE_CHECKING:
    from azsim.inputs.spec import FrontEndRun, Inputs

__all__ = ["Prepared", "compress_workload", "load_graph", "prepare"]


@dataclass(frozen=True)
class Prepared:
    """A workload ready to be compiled.

    Attributes
    ----------
    compressed : CompressedGraph
        One frame's graph with its weights compressed.
    frames : mapping of str to ndarray of shape (T, ...)
        Inputs that are not state, one entry a frame; T is 1 without a stream.
    state : mapping of str to str
        Carried tensors: graph input to graph output.
    initial_state : mapping of str to ndarray
        Zeros.
    stream : Stream
    files : mapping of str to str
        sha256 of every file that was read.
    notes : tuple of str
        What was done to the input that nobody asked for.
    front_end : FrontEndRun or None
        Features that the host computed.
    """

    compressed: CompressedGraph
    frames: Mapping[str, np.ndarray]
    state: Mapping[str, str]
    initial_state: Mapping[str, np.ndarray]
    stream: Stream
    files: Mapping[str, str]
    notes: tuple[str, ...] = ()
    front_end: FrontEndRun | None = None


def load_graph(workload: Workload) -> Graph:
    """Read the workload's model, bound to one frame."""
    if isinstance(workload.model, GraphModel):
        return build_inline(
            workload.model.graph,
            str(workload.source.path),
            name=workload.name,
            folder=workload.folder,
            place=workload.place,
        )
    path = onnx_path(workload)
    assert path is not None
    with _at_model(workload):
        return _read_onnx(path.read_bytes(), path.name, workload.stream)


@contextmanager
def _at_model(workload: Workload) -> Iterator[None]:
    """Name the place of the model in front of each thing that is wrong with its file."""
    try:
        yield
    except InputError as error:
        sentences = [f"$.model.onnx: {sentence}" for sentence in str(error).splitlines()]
        located = workload.located(ConfigError(sentences))
        raise type(error)("\n".join(located.problems)) from None


def _read_onnx(data: bytes, where: str, stream: StreamSpec | None) -> Graph:
    shapes = {}
    for name, shape in input_names_and_shapes(data, where).items():
        axis = stream.time_axis.get(name) if stream else None
        if axis is not None and axis < len(shape) and isinstance(shape[axis], str):
            shapes[name] = tuple(1 if i == axis else n for i, n in enumerate(shape))
    bound = {
        name: tuple(int(length) for length in shape)
        for name, shape in shapes.items()
        if all(isinstance(length, int) for length in shape)
    }
    return load_onnx(data, bound, where)


def compress_workload(workload: Workload) -> CompressedGraph:
    """Read the model, prune and quantize its weights."""
    return _compress(workload, load_graph(workload))


def _compress(workload: Workload, graph: Graph) -> CompressedGraph:
    matrices = weight_matrices(graph)
    try:
        rules = resolve(workload.compression, list(matrices))
    except ConfigError as error:
        raise workload.located(error) from None
    maxima = powers = None
    if workload.calibration is not None and any(map(_is_calibrated, rules.values())):
        inputs = calibration_arrays(workload, graph.inputs)
        if inputs is not None:
            state = _state(workload, graph)
            maxima, powers = activation_statistics(
                graph, _frames(workload, graph, inputs), state, _zeros(graph, state)
            )
    return CompressedGraph(graph, compress(matrices, rules, maxima, powers))


def _is_calibrated(rule: ResolvedRule) -> bool:
    """Whether the calibration input changes what becomes of a matrix."""
    return rule.activation_scale == "static" or rule.prune_method == "rate_distortion"


def prepare(workload: Workload) -> Prepared:
    """Do everything that does not depend on the hardware."""
    check_files(workload)
    graph = load_graph(workload)
    state = _state(workload, graph)
    inputs = input_arrays(workload, graph.inputs)
    frames = _frames(workload, graph, inputs)
    count = len(next(iter(frames.values()))) if frames else 1
    stream = Stream(
        frames=count,
        period_s=inputs.period_s if workload.stream else None,
        paced=workload.stream is not None and workload.stream.arrival == "paced",
    )
    if stream.paced and stream.period_s is None:
        raise workload.located(
            ConfigError(
                ["$.stream.arrival: 'paced' needs an input with a frame rate (audio, or period_s)"]
            )
        )
    files = {**workload.source.schemes, **inputs.files}
    if (path := onnx_path(workload)) is not None:
        files[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return Prepared(
        _compress(workload, graph),
        frames,
        state,
        _zeros(graph, state),
        stream,
        files,
        inputs.notes,
        inputs.front_end,
    )


def _state(workload: Workload, graph: Graph) -> dict[str, str]:
    stream = workload.stream
    if stream is None:
        return {}
    problems = []
    if stream.chunk_frames != 1:
        problems.append(
            f"$.stream.chunk_frames: found {stream.chunk_frames}, allowed: 1; scales are computed "
            "for one frame, never across frames"
        )
    problems += [
        f"$.stream.state.{source}: '{target}' is no graph output; outputs: "
        + ", ".join(graph.outputs)
        for source, target in stream.state.items()
        if target not in graph.outputs
    ]
    problems += [
        f"$.stream.state.{source}: {graph.types[source]} cannot take {graph.types[target]}"
        for source, target in stream.state.items()
        if source in graph.types
        and target in graph.outputs
        and graph.types[source].num_elements != graph.types[target].num_elements
    ]
    if problems:
        raise workload.located(ConfigError(problems))
    return dict(stream.state)


def _zeros(graph: Graph, state: Mapping[str, str]) -> dict[str, np.ndarray]:
    return {name: np.zeros(graph.inputs[name].shape, graph.inputs[name].dtype) for name in state}


def _frames(workload: Workload, graph: Graph, inputs: Inputs) -> dict[str, np.ndarray]:
    """Cut inputs along their time axis: (T, ...) with one frame in each entry."""
    axes = workload.stream.time_axis if workload.stream else {}
    frames = {}
    for name, array in inputs.arrays.items():
        kind: TensorType = graph.inputs[name]
        if name in axes:
            frames[name] = np.moveaxis(array, axes[name], 0).reshape(-1, *kind.shape)
        else:
            frames[name] = array.reshape(1, *kind.shape)
    count = max((len(array) for array in frames.values()), default=1)
    return {
        name: array if len(array) == count else np.repeat(array, count, axis=0)
        for name, array in frames.items()
    }
