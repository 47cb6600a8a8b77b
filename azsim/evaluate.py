"""The reference evaluator: what a graph computes, stated in plain numpy, operator by operator.

With a `CompressedGraph` weighted operators multiply the codes that compression fixed, and every
bit of the result is the simulator's; without, they multiply the original floats.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from azsim.errors import InputError
from azsim.ir import CompressedGraph, Graph
from azsim.ops.build import operators, weight_matrices
from azsim.ops.linear import FloatLinear, Linear, QuantizedLinear

__all__ = [
    "Watch",
    "activation_statistics",
    "evaluate",
    "evaluate_stream",
    "watch_nothing",
    "watch_stream",
]

Watch = Callable[[str, int, np.ndarray], None]
"""Called with the name of a tensor, the number of a frame, and what the tensor is there."""


class _Plan:
    """A graph prepared to be run many times: tensors in numbered slots, weights converted."""

    def __init__(self, graph: Graph, linear: Linear) -> None:
        made = [tensor for node in graph.nodes for tensor in node.outputs if tensor]
        names = ("", *graph.inputs, *graph.initializers, *made)
        self.slots = {name: slot for slot, name in enumerate(names)}
        self.values: list[np.ndarray | None] = [None] * (len(names) + 1)
        unwanted = len(names)
        for name, array in graph.initializers.items():
            self.values[self.slots[name]] = array
        self._name = graph.name
        self._linear = linear
        self._steps = [
            (
                operators()[node.op].reference,
                node,
                [self.slots[name] for name in node.inputs],
                [self.slots[name] if name else unwanted for name in node.outputs],
            )
            for node in graph.nodes
        ]

    def run(self) -> None:
        """Compute every slot from those of the graph's inputs."""
        values, linear = self.values, self._linear
        node = None
        try:
            for reference, node, sources, targets in self._steps:
                results = reference(node, [values[slot] for slot in sources], linear)
                for slot, array in zip(targets, results, strict=False):
                    values[slot] = array
        except FloatingPointError as error:
            assert node is not None
            raise InputError(f"{self._name}: node {node.name} ({node.op}): {error}") from None


def _linear(graph: Graph, compressed: CompressedGraph | None) -> Linear:
    if compressed is None:
        return FloatLinear(weight_matrices(graph))
    return QuantizedLinear(compressed.weights, compressed.products)


def _checked(graph: Graph, name: str, array: np.ndarray, leading: tuple[int, ...]) -> np.ndarray:
    found, kind = np.asarray(array), graph.inputs[name]
    shape = (*leading, *kind.shape)
    if found.dtype != kind.dtype or found.shape != shape:
        raise InputError(
            f"input {name}: found {found.dtype}{list(found.shape)}, "
            f"{kind.dtype}{list(shape)} is needed"
        )
    return found


def _check_names(graph: Graph, given: Iterable[str]) -> None:
    given = list(given)
    if sorted(given) != sorted(graph.inputs):
        raise InputError(
            f"{graph.name}: inputs {', '.join(sorted(given)) or 'none'} are given; "
            f"{', '.join(sorted(graph.inputs)) or 'none'} are needed"
        )


def evaluate(
    graph: Graph, inputs: Mapping[str, np.ndarray], compressed: CompressedGraph | None = None
) -> dict[str, np.ndarray]:
    """Compute every tensor of a graph once.

    Parameters
    ----------
    graph : Graph
    inputs : mapping of str to ndarray, float32
        Every graph input, in its shape.
    compressed : CompressedGraph, optional
        Without it the original float32 weights are used, and nothing is rounded to codes.

    Returns
    -------
    dict of str to ndarray
        Graph inputs, results of all nodes and graph outputs; arrays may share memory.

    Raises
    ------
    InputError
        If inputs are missing or of another type, or a value that is quantized is not finite.
    """
    _check_names(graph, inputs)
    plan = _Plan(graph, _linear(graph, compressed))
    for name, array in inputs.items():
        plan.values[plan.slots[name]] = _checked(graph, name, array, ())
    with np.errstate(all="ignore"):
        plan.run()
    constants = set(graph.initializers) - set(graph.outputs)
    tensors = {name: plan.values[slot] for name, slot in plan.slots.items() if name}
    return {
        name: array
        for name, array in tensors.items()
        if array is not None and name not in constants
    }


def evaluate_stream(
    graph: Graph,
    frames: Mapping[str, np.ndarray],
    state: Mapping[str, str],
    initial_state: Mapping[str, np.ndarray],
    compressed: CompressedGraph | None = None,
    keep: Iterable[str] | None = None,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Run a graph frame by frame with carried state.

    Parameters
    ----------
    graph : Graph
    frames : mapping of str to ndarray of shape (T, ...), float32
        One entry a frame for every input that is not state.
    state : mapping of str to str
        Graph input to the tensor that it takes from the frame before.
    initial_state : mapping of str to ndarray
        State before the first frame.
    compressed : CompressedGraph, optional
        Without it the original float32 weights are used.
    keep : iterable of str, optional
        Tensors to return; without it all but constants.

    Returns
    -------
    tensors : dict of str to ndarray of shape (T, ...)
    final_state : dict of str to ndarray
        By graph input.

    Raises
    ------
    InputError
        If inputs are missing, of another type, or differ in their number of frames, or a value
        that is quantized is not finite.
    """
    kinds = _kinds(graph, compressed, keep)
    count = _count(graph, frames)
    kept = {name: np.empty((count, *graph.types[name].shape), kind) for name, kind in kinds.items()}

    def store(name: str, frame: int, array: np.ndarray) -> None:
        kept[name][frame] = array

    return kept, watch_stream(graph, frames, state, initial_state, store, compressed, kinds)


def watch_stream(
    graph: Graph,
    frames: Mapping[str, np.ndarray],
    state: Mapping[str, str],
    initial_state: Mapping[str, np.ndarray],
    watch: Watch,
    compressed: CompressedGraph | None = None,
    keep: Iterable[str] | None = None,
) -> dict[str, np.ndarray]:
    """As `evaluate_stream`, but show each frame's tensors and keep none: return final state."""
    plan = _Plan(graph, _linear(graph, compressed))
    kinds = _kinds(graph, compressed, keep)
    return _stream(graph, plan, frames, state, initial_state, kinds, watch)


def _kinds(
    graph: Graph, compressed: CompressedGraph | None, keep: Iterable[str] | None
) -> dict[str, str]:
    """Types of the tensors to keep, all but constants unless they are told."""
    if keep is None:
        keep = [name for name in graph.types if name not in graph.initializers]
    kinds = {name: graph.types[name].dtype for name in keep}
    if compressed is None:  # codes are not rounded
        kinds = {name: "float32" if kind == "int8" else kind for name, kind in kinds.items()}
    return kinds


def _count(graph: Graph, frames: Mapping[str, np.ndarray]) -> int:
    """Return the number of frames, which all inputs agree on."""
    counts = {len(array) for array in frames.values()}
    if len(counts) != 1:
        raise InputError(f"{graph.name}: inputs differ in their number of frames: {sorted(counts)}")
    return counts.pop()


def _stream(
    graph: Graph,
    plan: _Plan,
    frames: Mapping[str, np.ndarray],
    state: Mapping[str, str],
    initial_state: Mapping[str, np.ndarray],
    keep: Mapping[str, str],
    watch: Watch,
) -> dict[str, np.ndarray]:
    _check_names(graph, [*frames, *state])
    if sorted(state) != sorted(initial_state):
        raise InputError(f"{graph.name}: an initial state is needed for {', '.join(state)}")
    num_frames = _count(graph, frames)
    values, slots = plan.values, plan.slots
    sources = [
        (slots[name], _checked(graph, name, array, (num_frames,))) for name, array in frames.items()
    ]
    carried = [(slots[name], slots[tensor]) for name, tensor in state.items()]
    shapes = [graph.types[name].shape for name in state]
    for name, array in initial_state.items():
        values[slots[name]] = _checked(graph, name, array, ())
    watched = [(name, slots[name], graph.types[name].shape, kind) for name, kind in keep.items()]
    current = [values[slot] for slot, _ in carried]
    with np.errstate(all="ignore"):
        for frame in range(num_frames):
            for slot, array in sources:
                values[slot] = array[frame]
            for (slot, _), array in zip(carried, current, strict=True):
                values[slot] = array
            plan.run()
            for name, slot, shape, kind in watched:
                watch(name, frame, np.asarray(values[slot], kind).reshape(shape))
            current = [
                np.asarray(values[slot]).reshape(shape)
                for (_, slot), shape in zip(carried, shapes, strict=True)
            ]
    return {name: np.array(array) for name, array in zip(state, current, strict=True)}


def watch_nothing(name: str, frame: int, array: np.ndarray) -> None:
    """Look at no tensor."""


class _Recorder(FloatLinear):
    """Float products that remember the activations before each weight."""

    def __init__(self, matrices: Mapping[str, np.ndarray]) -> None:
        super().__init__(matrices)
        self.maxima = dict.fromkeys(matrices, 0.0)
        self.squares = {name: np.zeros(matrix.shape[1]) for name, matrix in matrices.items()}
        self.rows = dict.fromkeys(matrices, 0)

    def quantize(self, weight: str, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.maxima[weight] = max(self.maxima[weight], float(np.abs(items).max(initial=0)))
        return super().quantize(weight, items)

    def multiply(self, weight: str, codes: np.ndarray, row_scales: np.ndarray) -> np.ndarray:
        wide = codes.astype(np.float64)
        self.squares[weight] += np.einsum("ij,ij->j", wide, wide)
        self.rows[weight] += len(codes)
        return super().multiply(weight, codes, row_scales)


def activation_statistics(
    graph: Graph,
    frames: Mapping[str, np.ndarray],
    state: Mapping[str, str],
    initial_state: Mapping[str, np.ndarray],
    lengths: Sequence[int] = (),
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Run the float graph and look at the activations before each weight.

    Parameters are those of `evaluate_stream`, and `lengths`: frames of each part that begins with
    the initial state, where there are several.

    Returns
    -------
    maxima : dict of str to float
        By initializer name the largest ``|x|`` at its quantizer, for static scales.
    powers : dict of str to ndarray of shape (K,), float64
        Mean squared activation of each input column.
    """
    recorder = _Recorder(weight_matrices(graph))
    plan = _Plan(graph, recorder)
    ends = itertools.accumulate(lengths or [len(array) for array in frames.values()][:1])
    for first, last in itertools.pairwise((0, *ends)):
        part = {name: array[first:last] for name, array in frames.items()}
        _stream(graph, plan, part, state, initial_state, {}, watch_nothing)
    powers = {
        name: squares / max(1, recorder.rows[name]) for name, squares in recorder.squares.items()
    }
    return recorder.maxima, powers
