"""Graphs for tests: random ones, random compressions of them, the pinned speech model."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from azsim.arith import code_limit
from azsim.inputs.fetch import fetch
from azsim.ir import (
    Attribute,
    CodecChoice,
    CompressedGraph,
    CompressedWeight,
    Graph,
    Node,
    TensorType,
)
from azsim.ops.build import build_graph, weight_matrices

SILERO = "pypi:silero-vad==6.2.3#silero_vad/data/silero_vad_16k_sequence.onnx"
SILERO_SHA256 = "9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85"

UNARY = (
    "Relu",
    "Sigmoid",
    "Tanh",
    "Exp",
    "Sqrt",
    "Neg",
    "Abs",
    "Log",
    "Erf",
    "Softplus",
    "HardSwish",
)
BINARY = ("Add", "Sub", "Mul", "Div", "Max", "Min")


@functools.cache
def silero_path() -> Path:
    return fetch(SILERO, Path(), SILERO_SHA256)


def known_frame() -> np.ndarray:
    """The input whose result is known: 0.0071278 with zero state."""
    return (np.random.default_rng(0).standard_normal((1, 576)) * 0.1).astype(np.float32)


def type_of(*shape: int) -> TensorType:
    return TensorType("float32", shape)


def held(array: np.ndarray) -> np.ndarray:
    """A tensor as the chip holds it: integers in 32 bits, truth values as 1.0 and 0.0."""
    return array.astype({"int64": np.int32, "bool": np.float32}.get(array.dtype.name, array.dtype))


def compress(
    graph: Graph,
    bits: int = 8,
    activation_bits: int = 8,
    segment: int | None = None,
    static: float | None = None,
) -> CompressedGraph:
    """Round every weight matrix to codes, with a scale for each channel and segment."""
    weights = {}
    for name, matrix in weight_matrices(graph).items():
        inner = matrix.shape[1]
        bounds = (*range(0, inner, segment or inner), inner)
        codes = np.zeros(matrix.shape, np.int8)
        scales = []
        for first, last in itertools.pairwise(bounds):
            part = matrix[:, first:last]
            scale = np.abs(part).max(axis=1) / np.float32(code_limit(bits))
            scale[scale == 0] = 1
            codes[:, first:last] = np.rint(part / scale[:, None])
            scales.append(scale)
        weights[name] = CompressedWeight(
            name,
            codes,
            np.array(scales, np.float32),
            bounds,
            bits,
            "per_channel" if segment is None else "per_group",
            activation_bits,
            static,
            CodecChoice("raw"),
        )
    return CompressedGraph(graph, weights)


_MORE_OUTPUTS = {
    "LSTM": ("h", "c"),
    "Split": ("rest",),
    "TopK": ("places",),
    "CausalConvWithState": ("state",),
}


class RandomGraph:
    """Grows a graph node by node; each method appends one operator that fits."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.inputs: dict[str, TensorType] = {}
        self.initializers: dict[str, np.ndarray] = {}
        self.nodes: list[Node] = []
        self.shapes: dict[str, tuple[int, ...]] = {}
        rank = int(self.rng.integers(1, 5))
        shape = tuple(int(n) for n in self.rng.integers(1, 7, rank))
        self.inputs["x"] = type_of(*shape)
        self.shapes["x"] = shape
        self.last = "x"

    def constant(self, array: np.ndarray) -> str:
        name = f"c{len(self.initializers)}"
        self.initializers[name] = array
        return name

    def floats(self, *shape: int) -> str:
        return self.constant(self.rng.standard_normal(shape).astype(np.float32))

    def whole(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def choose(self, options: Sequence[str]) -> str:
        return options[int(self.rng.integers(len(options)))]

    def integer(self, low: int, high: int) -> int:
        """Random integer from `low` to `high`, both included."""
        return int(self.rng.integers(low, high + 1))

    def append(self, op: str, inputs: Sequence[str], **attributes: Attribute) -> str:
        output = f"t{len(self.nodes)}"
        outputs = (output, *(f"{output}_{name}" for name in _MORE_OUTPUTS.get(op, ())))
        self.nodes.append(Node(f"n{len(self.nodes)}", op, tuple(inputs), outputs, attributes))
        graph = self.build(outputs)
        if graph.types[output].dtype == "float32":  # others only as operands of a next node
            self.shapes[output] = graph.types[output].shape
            self.last = output
        return output

    def build(self, outputs: tuple[str, ...]) -> Graph:
        return build_graph("g", self.inputs, self.initializers, self.nodes, outputs, "test")

    def grow(self) -> None:
        """Append one operator, mostly after the last one."""
        source = self.last if self.rng.random() < 0.8 else self.choose(list(self.shapes))
        shape = self.shapes[source]
        options = [self._unary, self._binary, self._pow, self._unsqueeze, self._gate]
        options.append(self._reshape)
        if shape:
            options += [self._slice, self._concat, self._pad, self._mat_mul, self._transpose]
            options += [self._softmax, self._norm, self._reduce, self._cum_sum, self._choose]
            options.append(self._top_k)
            if np.prod(shape) <= 32:  # results grow up to the square
                options += [self._gather, self._expand]
        if max(shape, default=1) > 1:
            options.append(self._split)
        if 1 in shape and len(shape) > 1:
            options.append(self._squeeze)
        if len(shape) == 2:
            options += [self._gemm] * 2
        if len(shape) == 3:
            options += [self._conv] * 3 + [self._depthwise, self._causal_conv]
            if shape[1] == 1:
                options += [self._lstm] * 6
        options[int(self.rng.integers(len(options)))](source, shape)

    def _unary(self, source: str, shape: tuple[int, ...]) -> None:
        more = ("Relu", "Identity", "Flatten") if shape else ()
        self.append(self.choose((*UNARY, *more)), [source])

    def _binary(self, source: str, shape: tuple[int, ...]) -> None:
        same = [name for name, other in self.shapes.items() if other == shape]
        row = self.floats(*(1 if self.rng.random() < 0.3 else n for n in shape[1:]))
        other = self.choose([*same, row, self.floats()])
        operands = [source, other] if self.rng.random() < 0.5 else [other, source]
        op = self.choose(BINARY)
        if op in ("Max", "Min") and self.rng.random() < 0.5:
            operands.append(self.floats(*shape[-1:]))
        self.append(op, operands)

    def _pow(self, source: str, shape: tuple[int, ...]) -> None:
        exponent = np.float32(self.rng.choice([0.5, 1, 2, 3]))
        self.append("Pow", [source, self.constant(np.array(exponent))])

    def _gate(self, source: str, shape: tuple[int, ...]) -> None:
        if self.rng.random() < 0.5:
            self.append("Swish", [source], alpha=float(self.rng.choice([1.0, 1.75])))
        else:
            self.append("Gelu", [source], approximate=self.choose(("none", "tanh")))

    def _split(self, source: str, shape: tuple[int, ...]) -> None:
        axis = shape.index(max(shape))
        first = self.integer(1, shape[axis] - 1)
        self.append("Split", [source, self.whole(first, shape[axis] - first)], axis=axis)

    def _softmax(self, source: str, shape: tuple[int, ...]) -> None:
        self.append("Softmax", [source], axis=self.integer(-len(shape), len(shape) - 1))

    def _norm(self, source: str, shape: tuple[int, ...]) -> None:
        axis = self.integer(0, len(shape) - 1)
        row = [1 if self.rng.random() < 0.2 else length for length in shape[axis:]]
        op = self.choose(("LayerNormalization", "RMSNormalization"))
        bias = [self.floats(*row[1:])] if op[0] == "L" and self.rng.random() < 0.5 else []
        self.append(op, [source, self.floats(*row), *bias], axis=axis, epsilon=0.0625)

    def _reduce(self, source: str, shape: tuple[int, ...]) -> None:
        axes = self.rng.permutation(len(shape))[: self.integer(1, len(shape))]
        op = self.choose(("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin"))
        chosen = self.whole(*(int(axis) for axis in axes))
        self.append(op, [source, chosen], keepdims=self.integer(0, 1))

    def _cum_sum(self, source: str, shape: tuple[int, ...]) -> None:
        axis = self.constant(np.array(self.integer(0, len(shape) - 1)))
        flags = {"exclusive": self.integer(0, 1), "reverse": self.integer(0, 1)}
        self.append("CumSum", [source, axis], **flags)

    def _choose(self, source: str, shape: tuple[int, ...]) -> None:
        """Compare, choose by that; or clip; or round to whole numbers and back."""
        kind = self.integer(0, 3)
        if kind == 0:
            op = self.choose(("Less", "LessOrEqual", "Equal", "Greater", "GreaterOrEqual"))
            holds = self.append(op, [source, self.choose([self.floats(*shape[1:]), source])])
            self.append("Where", [holds, source, self.floats()])
        elif kind == 1:
            bounds = [self.constant(np.array(bound, np.float32)) for bound in (-0.5, 0.75)]
            self.append("Clip", [source, *bounds][: self.integer(1, 3)])
        else:
            number = 9 if kind == 2 else self.integer(6, 7)
            self.append("Cast", [self.append("Cast", [source], to=number)], to=1)

    def _gather(self, source: str, shape: tuple[int, ...]) -> None:
        """Take by constants, or take from a constant (or itself) the places of what is largest."""
        axis = self.integer(0, len(shape) - 1)
        if self.rng.random() < 0.5:
            lengths = [self.integer(1, 3) for _ in range(self.integer(0, 2))]
            numbers = self.rng.integers(-shape[axis], shape[axis], lengths)
            self.append("Gather", [source, self.constant(np.asarray(numbers))], axis=axis)
            return
        op = self.choose(("ArgMax", "ArgMin"))
        places = self.append(op, [source], axis=axis, keepdims=self.integer(0, 1))
        if self.rng.random() < 0.5:
            table = self.floats(self.integer(1, 2), shape[axis], self.integer(1, 3))
            self.append("Gather", [table, places], axis=1)
        else:
            self.append("Gather", [source, places], axis=axis)

    def _top_k(self, source: str, shape: tuple[int, ...]) -> None:
        axis = self.integer(0, len(shape) - 1)
        self.append("TopK", [source, self.whole(self.integer(1, shape[axis]))], axis=axis)

    def _expand(self, source: str, shape: tuple[int, ...]) -> None:
        first = [self.integer(1, 2)] if len(shape) < 4 else []
        lengths = [self.integer(1, 3) if length == 1 else length for length in shape]
        self.append("Expand", [source, self.whole(*first, *lengths)])

    def _depthwise(self, source: str, shape: tuple[int, ...]) -> None:
        pads = (self.integer(0, 2), self.integer(0, 2))
        kernel = self.integer(1, min(4, shape[2] + sum(pads)))
        inputs = [source, self.floats(shape[1], 1, kernel)]
        if self.rng.random() < 0.7:
            inputs.append(self.floats(shape[1]))
        strides = (self.integer(1, 3),)
        self.append("Conv", inputs, group=shape[1], pads=pads, strides=strides)

    def _causal_conv(self, source: str, shape: tuple[int, ...]) -> None:
        batch, channels, _ = shape
        taps = self.integer(2, 5)
        bias = self.floats(channels) if self.rng.random() < 0.5 else ""
        inputs = [source, self.floats(channels, 1, taps), bias, ""]
        kind = self.integer(0, 2)
        if kind == 1:
            inputs[3] = self.floats(batch, channels, taps - 1)
        elif kind == 2:
            inputs[3] = f"line{len(self.inputs)}"
            self.inputs[inputs[3]] = type_of(batch, channels, taps - 1)
        activation = self.choose(("none", "silu"))
        self.append("CausalConvWithState", inputs, activation=activation)

    def _slice(self, source: str, shape: tuple[int, ...]) -> None:
        axis = self.integer(0, len(shape) - 1)
        low, high = sorted((self.integer(0, shape[axis] - 1), self.integer(0, shape[axis] - 1)))
        step = self.integer(1, 3)
        bounds = (low, high + 1, step)
        if self.rng.random() < 0.4:
            bounds = (high, low - 1 if low else -(1 << 62), -step)
        start, end, step = map(self.whole, bounds)
        self.append("Slice", [source, start, end, self.whole(axis - len(shape)), step])

    def _transpose(self, source: str, shape: tuple[int, ...]) -> None:
        order = tuple(int(axis) for axis in self.rng.permutation(len(shape)))
        self.append("Transpose", [source], perm=order)

    def _reshape(self, source: str, shape: tuple[int, ...]) -> None:
        rest, lengths = int(np.prod(shape)), []
        while rest > 1 and len(lengths) < 3:
            divisors = [n for n in range(1, rest + 1) if rest % n == 0]
            lengths.append(int(self.rng.choice(divisors)))
            rest //= lengths[-1]
        self.append("Reshape", [source, self.whole(*lengths, -1)])

    def _unsqueeze(self, source: str, shape: tuple[int, ...]) -> None:
        self.append("Unsqueeze", [source, self.whole(self.integer(0, len(shape)))])

    def _squeeze(self, source: str, shape: tuple[int, ...]) -> None:
        self.append("Squeeze", [source, self.whole(shape.index(1))])

    def _concat(self, source: str, shape: tuple[int, ...]) -> None:
        axis = self.integer(0, len(shape) - 1)
        other = [*shape]
        other[axis] = self.integer(1, 3)
        names = [source, self.floats(*other), source][: self.integer(1, 3)]
        self.append("Concat", names, axis=axis)

    def _pad(self, source: str, shape: tuple[int, ...]) -> None:
        if self.rng.random() < 0.5:
            pads = [self.integer(0, 2) for _ in range(2 * len(shape))]
            value = self.constant(np.array(self.rng.standard_normal(), np.float32))
            self.append("Pad", [source, self.whole(*pads), value], mode="constant")
        else:
            pads = [0] * (2 * len(shape))
            axis = self.integer(0, len(shape) - 1)
            pads[axis] = self.integer(0, shape[axis] - 1)
            pads[axis + len(shape)] = self.integer(0, shape[axis] - 1)
            self.append("Pad", [source, self.whole(*pads)], mode="reflect")

    def _mat_mul(self, source: str, shape: tuple[int, ...]) -> None:
        right = (shape[-1],) if self.rng.random() < 0.2 else (shape[-1], self.integer(1, 5))
        self.append("MatMul", [source, self.floats(*right)])

    def _gemm(self, source: str, shape: tuple[int, ...]) -> None:
        outputs, transposed = self.integer(1, 5), self.integer(0, 1)
        right = (outputs, shape[1]) if transposed else (shape[1], outputs)
        bias = [[], [self.floats(outputs)], [self.floats(1, outputs)], [self.floats(1)]]
        inputs = [source, self.floats(*right), *bias[self.integer(0, 3)]]
        self.append("Gemm", inputs, transB=transposed)

    def _conv(self, source: str, shape: tuple[int, ...]) -> None:
        pads = (self.integer(0, 2), self.integer(0, 2))
        kernel = self.integer(1, min(4, shape[2] + sum(pads)))
        outputs = self.integer(1, 5)
        inputs = [source, self.floats(outputs, shape[1], kernel)]
        if self.rng.random() < 0.7:
            inputs.append(self.floats(outputs))
        self.append("Conv", inputs, pads=pads, strides=(self.integer(1, 3),))

    def _lstm(self, source: str, shape: tuple[int, ...]) -> None:
        hidden = self.integer(1, 4)
        inputs = [source, self.floats(1, 4 * hidden, shape[2]), self.floats(1, 4 * hidden, hidden)]
        inputs.append(self.floats(1, 8 * hidden) if self.rng.random() < 0.6 else "")
        inputs.append("")
        for name in ("h", "c"):
            kind = self.integer(0, 2)
            name = f"{name}_state{len(self.inputs)}"
            if kind == 2:
                self.inputs[name] = type_of(1, 1, hidden)
            inputs.append(("", self.floats(1, 1, hidden), name)[kind])
        self.append("LSTM", inputs, hidden_size=hidden)


def random_graph(seed: int, num_nodes: int = 6) -> Graph:
    """A random graph; every third tensor that nobody reads and the last one are outputs."""
    growing = RandomGraph(seed)
    for _ in range(num_nodes):
        growing.grow()
    read = {name for node in growing.nodes for name in node.inputs}
    made = [name for node in growing.nodes for name in node.outputs]
    unread = [name for name in made if name not in read and name != growing.last]
    return growing.build((*unread[::3], growing.last))


def random_inputs(graph: Graph, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        name: rng.standard_normal(found.shape).astype(np.float32)
        for name, found in graph.inputs.items()
    }


def onnx_bytes(
    inputs: Mapping[str, Sequence[int | str]],
    initializers: Mapping[str, np.ndarray],
    nodes: Sequence[Node],
    outputs: Sequence[str],
    opset: int = 17,
    types: Mapping[str, TensorType] | None = None,
) -> bytes:
    """An ONNX model of the same network; outputs are float32 unless `types` says otherwise."""
    from onnx import ValueInfoProto, helper, numpy_helper

    def value(name: str, shape: Sequence[int | str] | None) -> ValueInfoProto:
        kind = types[name].dtype if types and name in types else "float32"
        number = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
        return helper.make_tensor_value_info(name, number, shape)

    def given(attribute: Attribute) -> Any:
        return (
            numpy_helper.from_array(attribute) if isinstance(attribute, np.ndarray) else attribute
        )

    protos = [
        helper.make_node(
            node.op,
            node.inputs,
            node.outputs,
            node.name,
            **{key: given(attribute) for key, attribute in node.attributes.items()},
        )
        for node in nodes
    ]
    graph = helper.make_graph(
        protos,
        "g",
        [value(name, shape) for name, shape in inputs.items()],
        [value(name, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in initializers.items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    ir_version = 8 if opset < 18 else 11
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version).SerializeToString()
