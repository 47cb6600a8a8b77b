"""Model: the graph of one chunk and how chunks follow each other, from whatever a workload names.

An ONNX file or an inline graph computes one frame, and the workload's section ``stream`` says
what time and state are; a builder's model says that itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from azsim.errors import ConfigError, InputError
from azsim.frontend.inline import build_inline
from azsim.frontend.onnx_import import input_names_and_shapes, load_onnx, read_initializers
from azsim.frontend.workload import Workload
from azsim.frontend.workload_file import BuilderModel, GraphModel, Stream
from azsim.frontend.workload_inputs import onnx_path, weights_path
from azsim.inputs.tensors import read_npz, read_safetensors
from azsim.ir import Graph
from azsim.models import Model, builder
from azsim.models._weights import ArrayWeights, RandomWeights, WeightSource

__all__ = ["load_graph", "load_model"]


def load_model(workload: Workload) -> Model:
    """Read or build the workload's model.

    Raises
    ------
    InputError
        If a file cannot be read, weights do not fit, or the section ``stream`` does not fit the
        graph; with the place in the workload.
    """
    if isinstance(workload.model, BuilderModel):
        return _build(workload, workload.model)
    graph = _read_graph(workload)
    state = _state(workload, graph)
    return Model(
        graph,
        workload.stream.time_axis if workload.stream else {},
        state,
        {name: np.zeros(graph.inputs[name].shape, graph.inputs[name].dtype) for name in state},
    )


def load_graph(workload: Workload) -> Graph:
    """Read or build the workload's model; its graph alone."""
    is_built = isinstance(workload.model, BuilderModel)
    return load_model(workload).graph if is_built else _read_graph(workload)


# ------------------------------------------------------------------------------------- builders


def _build(workload: Workload, model: BuilderModel) -> Model:
    chunk_frames = workload.stream.chunk_frames if workload.stream else 1
    with _at(workload, "$.model.weights" if model.weights else "$.model"):
        return builder(model.builder).build(model, chunk_frames, _weights(workload, model))


def _weights(workload: Workload, model: BuilderModel) -> WeightSource:
    path = weights_path(workload)
    if path is None:
        return RandomWeights(model.seed)
    assert model.weights is not None
    return ArrayWeights(_read_arrays(path, Path(model.weights).suffix), model.weights)


def _read_arrays(path: Path, suffix: str) -> Mapping[str, np.ndarray]:
    if suffix == ".onnx":
        return read_initializers(path)
    return read_npz(path) if suffix == ".npz" else read_safetensors(path)


# -------------------------------------------------------------------------------- read graphs


def _read_graph(workload: Workload) -> Graph:
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
    with _at(workload, "$.model.onnx"):
        return _read_onnx(path.read_bytes(), path.name, workload.stream)


@contextmanager
def _at(workload: Workload, path: str) -> Iterator[None]:
    """Name a place of the workload in front of each thing that is wrong with the model."""
    try:
        yield
    except InputError as error:
        sentences = [f"{path}: {sentence}" for sentence in str(error).splitlines()]
        located = workload.located(ConfigError(sentences))
        raise type(error)("\n".join(located.problems)) from None


def _read_onnx(data: bytes, where: str, stream: Stream | None) -> Graph:
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


def _length(graph: Graph, name: str, axis: int) -> int:
    """Steps of time in one run of the graph; 1 where the time axis is wrong, as is said later."""
    shape = graph.inputs[name].shape if name in graph.inputs else ()
    return shape[axis] if axis < len(shape) else 1


def _state(workload: Workload, graph: Graph) -> dict[str, str]:
    stream = workload.stream
    if stream is None:
        return {}
    problems = []
    steps = {name: _length(graph, name, axis) for name, axis in stream.time_axis.items()}
    if stream.chunk_frames != 1 and (
        not steps or any(length % stream.chunk_frames for length in steps.values())
    ):
        taken = ", ".join(f"{length} of {name}" for name, length in steps.items())
        problems.append(
            f"$.stream.chunk_frames: found {stream.chunk_frames}, allowed: what divides the steps "
            f"of time that the graph takes at once: {taken or 'none'}"
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
