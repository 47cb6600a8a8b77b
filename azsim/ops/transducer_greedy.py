"""TransducerGreedy: greedy decoding of a recurrent transducer, with a loop that data decides.

For every frame t of the chunk, with g the prediction network's half of the joint network::

    repeat at most max_symbols times:
        hidden = activation(frames[t] + g)               # the encoder's half comes as it is
        k = arg max of (weight * hidden + bias)          # of equals the first one
        if k == blank: go on with the next frame
        append k to the frame's symbols
        g, states = predict(embedding[k], states)        # only now is the state committed

The prediction network runs once at the start of a stream, on a row of zeros, and then once for each
symbol; g and its states are carried from chunk to chunk, so that nothing is computed again.

Inputs: ``frames`` (T, J), the encoder's half of the joint network with its bias, computed once a
frame; ``embedding`` (a row for each symbol; the blank needs none if it is the last) which stays in
DRAM; ``weight`` (V, J) and ``bias`` (V) of the output layer, the bias may be left out; ``started``
(1, 1), zero at the start of a stream and one behind it; ``g`` (1, J); the states of the prediction
network; and the constants that it uses, see `azsim.ops._subgraph`.
Outputs: ``symbols`` (T, max_symbols), int32, -1 behind the last one of a frame; ``counts`` (T),
int32; then started, g and the states for the next chunk.

Attributes: ``predict``, a graph from an embedding (1, E) and states to g (1, J) and states;
``blank`` (the last symbol by default), ``max_symbols`` of a frame (30), ``activation`` (relu or
tanh), and ``symbols_per_frame``, an estimate (1.0) by which the compiler plans and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from azsim.arith import ARG_FUNCTIONS, relu, tanh, to_integer
from azsim.errors import UnsupportedError
from azsim.ir import Graph, Node, TensorType
from azsim.ops._checks import attribute_is, given, is_float32, is_weight
from azsim.ops._matrix import bias_row
from azsim.ops._subgraph import captured, checked, evaluated, lowered, weight_uses
from azsim.ops.linear import Linear
from azsim.ops.lowering import (
    Access,
    Binary,
    Copy,
    Fill,
    Leave,
    Lowering,
    Matmul,
    TensorView,
    Unary,
    Vector,
    contiguous_strides,
    rows_of,
)

OP = "TransducerGreedy"
INPUTS = (3, None)
ATTRIBUTES = ("activation", "blank", "max_symbols", "predict", "symbols_per_frame")
TYPES = ("int32",)

_FRAMES, _EMBEDDING, _WEIGHT, _BIAS, _STARTED, _HALF, _STATES = range(7)
_ACTIVATIONS = {"relu": relu, "tanh": tanh}
_MAX_SYMBOLS = 30


def _predict(node: Node) -> Graph:
    graph = node.attributes.get("predict")
    if not isinstance(graph, Graph):
        raise UnsupportedError("predict is missing; it has to be a graph")
    return graph


def _number(node: Node, name: str, default: int) -> int:
    value = node.attributes.get(name, default)
    if not isinstance(value, int) or value < 0:
        raise UnsupportedError(f"{name} is {value}; a number from 0 is needed")
    return value


def _max_symbols(node: Node) -> int:
    count = _number(node, "max_symbols", _MAX_SYMBOLS)
    if count < 1:
        raise UnsupportedError(f"max_symbols is {count}; at least 1 is needed")
    return count


def _activation(node: Node) -> str:
    attribute_is(node, "activation", *_ACTIVATIONS)
    return str(node.attributes.get("activation", "relu"))


def _symbols_per_frame(node: Node) -> float:
    value = node.attributes.get("symbols_per_frame", 1.0)
    if not isinstance(value, int | float) or not 0 <= value <= _max_symbols(node):
        raise UnsupportedError(
            f"symbols_per_frame is {value}; a number from 0 to max_symbols is needed"
        )
    return float(value)


def _num_states(node: Node) -> int:
    return len(_predict(node).inputs) - 1


def _constants(node: Node, arrays: Sequence[np.ndarray | None]) -> dict[str, np.ndarray]:
    """Constants that the prediction network uses, of all inputs."""
    first = _STATES + _num_states(node)
    pairs = zip(node.inputs[first:], arrays[first:], strict=True)
    return {name: array for name, array in pairs if array is not None}


def infer(
    node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
) -> list[TensorType]:
    """Check shapes and attributes, and the prediction network."""
    graph = _predict(node)
    if len(inputs) < _STATES + _num_states(node):
        raise UnsupportedError(
            f"{len(inputs)} inputs are given; started, g and {_num_states(node)} states are needed"
        )
    is_float32(inputs[: _STATES + _num_states(node)])
    frames, embedding = given(inputs, _FRAMES), is_weight(constants, _EMBEDDING)
    weight = is_weight(constants, _WEIGHT)
    if len(frames.shape) != 2 or weight.ndim != 2 or frames.shape[1] != weight.shape[1]:
        raise UnsupportedError(
            f"frames have shape {list(frames.shape)}, weight {list(weight.shape)}; "
            "[T, J] and [V, J] are needed"
        )
    symbols, joint = weight.shape
    blank = _number(node, "blank", symbols - 1)
    if blank >= symbols:
        raise UnsupportedError(f"blank is {blank}; there are {symbols} symbols")
    rows = symbols - 1 if blank == symbols - 1 else symbols
    if embedding.ndim != 2 or embedding.shape[0] < rows:
        raise UnsupportedError(
            f"embedding has shape {list(embedding.shape)}; at least {rows} rows are needed"
        )
    names = captured(graph)
    behind = node.inputs[_STATES + _num_states(node) :]
    if behind != names:
        raise UnsupportedError(
            f"the inputs behind the states are {_listed(behind)}; "
            f"the prediction network uses {_listed(names)}"
        )
    states = [given(inputs, _STATES + number) for number in range(_num_states(node))]
    own = tuple(kind.shape for kind in graph.inputs.values())
    expected = {
        "bias": (inputs[_BIAS], (symbols,)),
        "started": (inputs[_STARTED], (1, 1)),
        "g": (inputs[_HALF], (1, joint)),
        **{f"state {n}": (kind, own[n + 1]) for n, kind in enumerate(states)},
    }
    for name, (found, shape) in expected.items():
        if found is not None and found.shape != shape:
            raise UnsupportedError(f"{name} has shape {list(found.shape)}, not {list(shape)}")
    if own[0] != (1, embedding.shape[1]):
        raise UnsupportedError(
            f"predict takes an embedding of shape {list(own[0])}, not {[1, embedding.shape[1]]}"
        )
    _check_results(graph, _constants(node, constants), (1, joint))
    _activation(node)
    _symbols_per_frame(node)
    return [
        TensorType("int32", (frames.shape[0], _max_symbols(node))),
        TensorType("int32", (frames.shape[0],)),
        TensorType("float32", (1, 1)),
        TensorType("float32", (1, joint)),
        *states,
    ]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def _check_results(graph: Graph, constants: dict[str, np.ndarray], half: tuple[int, ...]) -> None:
    """Require that the prediction network gives g and what it takes as states."""
    typed = checked(graph, constants)
    found = [typed.types[name].shape for name in graph.outputs]
    wanted = [half, *(kind.shape for kind in list(graph.inputs.values())[1:])]
    if found != wanted:
        raise UnsupportedError(
            f"predict gives shapes {[list(shape) for shape in found]}, "
            f"not {[list(shape) for shape in wanted]}"
        )


def weight_inputs(node: Node) -> tuple[int, ...]:
    """Input 2 (weight), and the weights of the prediction network."""
    if not isinstance(node.attributes.get("predict"), Graph):
        return (_WEIGHT,)
    names = {name for name, _, _ in weight_uses(_predict(node))}
    first = _STATES + _num_states(node)
    return (_WEIGHT, *(n for n, name in enumerate(node.inputs) if n >= first and name in names))


def _inner(node: Node, index: int) -> tuple[Node, int] | None:
    """The prediction network's node that uses an input as weights, and which of its inputs."""
    for name, inner, place in weight_uses(_predict(node)):
        if index != _WEIGHT and name == node.inputs[index]:
            return inner, place
    return None


def _module(node: Node):
    from azsim.ops.build import operators

    return operators()[node.op]


def to_matrix(node: Node, index: int, array: np.ndarray) -> np.ndarray:
    """As it is (V, J); of the prediction network as its operators say."""
    found = _inner(node, index)
    return array if found is None else _module(found[0]).to_matrix(*found, array)


def from_matrix(node: Node, index: int, matrix: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Inverse of `to_matrix`."""
    found = _inner(node, index)
    if found is None:
        return np.ascontiguousarray(matrix)
    return _module(found[0]).from_matrix(*found, matrix, shape)


def reference(node: Node, inputs: list[np.ndarray], linear: Linear) -> list[np.ndarray]:
    """Decode the frames of a chunk."""
    graph, constants = _predict(node), _constants(node, inputs)
    frames, embedding, _, bias, started, half = inputs[:_STATES]
    states = inputs[_STATES : _STATES + _num_states(node)]
    name, limit = node.inputs[_WEIGHT], _max_symbols(node)
    blank = _number(node, "blank", inputs[_WEIGHT].shape[0] - 1)
    activation = _ACTIVATIONS[_activation(node)]
    if to_integer(started)[0, 0] == 0:
        zeros = np.zeros((1, embedding.shape[1]), embedding.dtype)
        half, *states = evaluated(graph, [zeros, *states], constants, linear)
    symbols = np.full((len(frames), limit), -1, np.int32)
    counts = np.zeros(len(frames), np.int32)
    for frame in range(len(frames)):
        while counts[frame] < limit:
            hidden = activation(frames[frame : frame + 1] + half)
            logits = linear.multiply(name, *linear.quantize(name, hidden))
            logits = logits if bias is None else logits + bias
            symbol = int(ARG_FUNCTIONS["max"](logits)[0])
            if symbol == blank:
                break
            symbols[frame, counts[frame]] = symbol
            counts[frame] += 1
            row = embedding[symbol : symbol + 1]
            half, *states = evaluated(graph, [row, *states], constants, linear)
    return [symbols, counts, np.ones_like(started), half, *states]


# ------------------------------------------------------------------------------------ lowering


def lower(node: Node, lowering: Lowering) -> None:
    """Decode in one region: the start of a stream on a condition, then frames and their symbols."""
    _Decoder.of(node, lowering).lower()


def _word(buffer: str, loop: int | None = None) -> Access:
    """One number; the next one in each round of a loop."""
    return Access(buffer, 0, 1, 1, 1, 1, {} if loop is None else {loop: 1})


@dataclass(frozen=True)
class _Decoder:
    """What the steps of one node work on."""

    node: Node
    lowering: Lowering
    symbol: Access
    embedded: TensorView
    half: TensorView
    states: tuple[TensorView, ...]

    @classmethod
    def of(cls, node: Node, lowering: Lowering) -> _Decoder:
        """Make room, and bring what is carried to where the loop keeps it."""

        def room(name: str, shape: tuple[int, ...]) -> TensorView:
            buffer = lowering.buffer(f"{node.name}#{name}", "f32", int(np.prod(shape)))
            return TensorView(buffer, 0, shape, contiguous_strides(shape))

        carried = []
        for number in range(_HALF, _STATES + _num_states(node)):
            old = lowering.view(node.inputs[number])
            name = "g" if number == _HALF else f"state{number - _STATES}"
            carried.append(room(name, old.shape))
            lowering.elementwise(Copy, carried[-1], old)
        width = lowering.compressed.graph.initializers[node.inputs[_EMBEDDING]].shape[1]
        symbol = _word(lowering.buffer(f"{node.name}#symbol", "i32", 1))
        embedded = room("embedded", (1, width))
        return cls(node, lowering, symbol, embedded, carried[0], tuple(carried[1:]))

    def lower(self) -> None:
        """Emit everything."""
        node, lowering = self.node, self.lowering
        frames = lowering.view(node.inputs[_FRAMES])
        num_frames, limit = frames.shape[0], _max_symbols(node)
        is_started = _word(lowering.buffer(f"{node.name}#started", "i32", 1))
        started = rows_of(lowering.view(node.inputs[_STARTED]))
        assert started is not None
        lowering.emit(Vector("vector_convert", {"dst": is_started, "src": started}))
        symbols = lowering.new(self._output(0), (num_frames, limit), "i32")
        counts = lowering.new(self._output(1), (num_frames,), "i32")
        lowering.emit(Fill(Access(symbols.buffer, 0, num_frames, limit, limit, 1), -1))
        lowering.emit(Fill(Access(counts.buffer, 0, 1, num_frames, 0, 1), 0))
        count = _word(lowering.buffer(f"{node.name}#count", "f32", 1))
        if num_frames == 1:  # nothing waits for it here, as it would in the region
            lowering.emit(Fill(count, 0))
        with lowering.loop(1):
            with lowering.loop(1, rounds=1.0):
                lowering.emit(Leave(is_started, 0, unless=True, stays=0.0))
                zeros = rows_of(self.embedded)
                assert zeros is not None
                lowering.emit(Fill(zeros, 0))
                self._run_prediction()
            self._frames(frames, symbols.buffer, counts.buffer, count)
        one = lowering.new(self._output(2), (1, 1))
        lowering.emit(Fill(_word(one.buffer), 1))
        for index, view in enumerate((self.half, *self.states), 3):
            lowering.alias(self._output(index), view)

    def _output(self, index: int) -> str:
        """Name of an output; one of its own for what nobody asked for."""
        outputs = self.node.outputs
        named = outputs[index] if index < len(outputs) else ""
        return named or f"{self.node.name}#output{index}"

    def _frames(self, frames: TensorView, symbols: str, counts: str, count: Access) -> None:
        node, lowering = self.node, self.lowering
        (num_frames, width), limit = frames.shape, _max_symbols(node)
        mean = _symbols_per_frame(node)
        one = lowering.constant_row(f"{node.name}#one", np.ones(1, np.float32))
        down, across = frames.strides
        blank = _number(node, "blank", lowering.weight(node.inputs[_WEIGHT]).codes.shape[0] - 1)
        table = lowering.table(node.inputs[_EMBEDDING])
        embedded = rows_of(self.embedded)
        assert embedded is not None
        with lowering.loop(num_frames) as frame:
            row = Access(frames.buffer, frames.offset, 1, width, 0, across, {frame: down})
            here = _word(counts, frame)
            target = Access(symbols, 0, limit, 1, 1, 1, {frame: limit})
            if num_frames > 1:
                lowering.emit(Fill(count, 0))
            with lowering.loop(limit, rounds=min(mean + 1, limit)):
                self._joint(row)
                lowering.emit(Leave(self.symbol, blank, stays=mean / (mean + 1)))
                gathered = {"dst": embedded, "src": table, "indices": self.symbol}
                lowering.emit(Vector("load_gather", gathered))
                placed = {"dst": target, "src": self.symbol, "indices": here}
                lowering.emit(Vector("vector_scatter", placed))
                lowering.emit(Binary("add", count, count, one))
                lowering.emit(Vector("vector_convert", {"dst": here, "src": count}))
                self._run_prediction()

    def _joint(self, frame: Access) -> None:
        """The symbol that frame and prediction network make most likely."""
        node, lowering = self.node, self.lowering
        weight = lowering.weight(node.inputs[_WEIGHT])
        outputs, inner = weight.codes.shape
        hidden = Access(lowering.buffer(f"{node.name}#hidden", "f32", inner), 0, 1, inner, 0, 1)
        logits = Access(lowering.buffer(f"{node.name}#logits", "f32", outputs), 0, 1, outputs, 0, 1)
        half = rows_of(self.half)
        assert half is not None
        lowering.emit(Binary("add", hidden, frame, half))
        lowering.emit(Unary(_activation(node), hidden, hidden))
        codes, scale = lowering.quantized(hidden, weight, f"{node.name}#hidden", per_row=True)
        bias = bias_row(node, lowering, _BIAS, outputs)
        lowering.emit(Matmul(weight.name, logits, codes, scale, bias))
        found = {"dst": self.symbol, "src": logits, "rank": "max"}
        lowering.emit(Vector("vector_arg", found))

    def _run_prediction(self) -> None:
        """Run the prediction network on what was embedded, and commit its state."""
        node, lowering = self.node, self.lowering
        initializers = lowering.compressed.graph.initializers
        graph = _predict(node)
        constants = {name: initializers[name] for name in captured(graph)}
        results = lowered(graph, [self.embedded, *self.states], constants, lowering)
        kept = {view.buffer for view in self.states}
        for number, view in enumerate(results):
            if view.buffer in kept:  # a window of the old state, which is about to be written over
                aside = lowering.buffer(f"{node.name}#aside", "f32", int(np.prod(view.shape)))
                results[number] = TensorView(aside, 0, view.shape, contiguous_strides(view.shape))
                lowering.elementwise(Copy, results[number], view)
        for place, view in zip((self.half, *self.states), results, strict=True):
            lowering.elementwise(Copy, place, view)
