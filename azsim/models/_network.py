"""The small language that builders share: tensors by name, nodes, carried state.

::

    net = Network("tiny")
    x = net.input("features", (chunk_frames, 80), time_axis=0)
    with net.scope("encoder.0"):
        y = net.linear("project", x, 80, 64)  # encoder.0.project.W and encoder.0.project.b
        y = net.node("Relu", y)
    return net.finish({"output": y}, weights)

Names of trained tensors are what compression rules and weight files refer to: they stay.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, overload

import numpy as np

from azsim.errors import InputError
from azsim.ir import Attribute, Graph, Node, TensorType
from azsim.models._model import Model
from azsim.models._weights import RandomWeights, Tensor, WeightSource
from azsim.ops._subgraph import inner_graph
from azsim.ops.build import build_graph

__all__ = ["Network"]

_MAX_BYTES = 1 << 31

_Compute = Callable[..., np.ndarray]


class Network:
    """A graph that is being written.

    Every method takes and returns names of tensors.  Inside `scope` names are put behind the
    scope's and a dot, but for those that are names of tensors already.

    Parameters
    ----------
    name : str
        Of the model.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.tensors: dict[str, Tensor] = {}
        """Trained tensors, used or not: all of them count as parameters."""
        self._derived: dict[str, tuple[_Compute, tuple[str, ...]]] = {}
        self._inputs: dict[str, TensorType] = {}
        self._time_axis: dict[str, int] = {}
        self._below: dict[str, int] = {}
        self._state: dict[str, str] = {}
        self._initial: dict[str, np.ndarray] = {}
        self._constants: dict[str, np.ndarray] = {}
        self._nodes: list[Node] = []
        self._names: set[str] = set()
        self._prefix = ""

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Put names behind another name and a dot."""
        before, self._prefix = self._prefix, f"{self._prefix}{name}."
        yield
        self._prefix = before

    def inner(self, name: str) -> Network:
        """Begin a graph for an attribute, whose trained tensors and constants are this one's."""
        network = Network(name)
        network.tensors, network._constants = self.tensors, self._constants
        network._names, network._prefix = self._names, self._prefix
        return network

    def graph(self, outputs: Sequence[str]) -> Graph:
        """Graph for an attribute, of an inner network."""
        shapes = {name: kind.shape for name, kind in self._inputs.items()}
        return inner_graph(self.name, shapes, self._nodes, outputs)

    def _new(self, name: str) -> str:
        """Name with its scope; a number is appended to one that is taken."""
        full = unique = f"{self._prefix}{name}"
        number = 1
        while unique in self._names:
            number += 1
            unique = f"{full}_{number}"
        self._names.add(unique)
        return unique

    # ---- inputs and state

    def input(
        self,
        name: str,
        shape: tuple[int, ...],
        time_axis: int | None = None,
        below: int | None = None,
    ) -> str:
        """Declare an input of one chunk, and the axis along which its time runs.

        With `below` it holds whole numbers from 0 to below that, such as tokens.
        """
        name = self._new(name)
        self._inputs[name] = TensorType("float32", shape)
        if time_axis is not None:
            self._time_axis[name] = time_axis
        if below is not None:
            self._below[name] = below
        return name

    def state(
        self,
        name: str,
        shape: tuple[int, ...],
        initial: np.ndarray | None = None,
        dtype: str = "float32",
    ) -> str:
        """Declare an input that is carried from chunk to chunk; zeros unless told.

        `dtype` is float32, or int8 for codes.
        """
        name = self._new(name)
        self._inputs[name] = TensorType(dtype, shape)
        zeros = np.zeros(shape, dtype) if initial is None else initial
        self._initial[name] = np.ascontiguousarray(zeros, dtype).reshape(shape)
        return name

    def update(self, state: str, tensor: str) -> None:
        """Say which tensor the state is for the next chunk."""
        self._state[state] = tensor

    # ---- trained tensors and constants

    def weight(self, name: str, shape: tuple[int, ...], fan_in: int, gain: float = 1.0) -> str:
        """Declare a weight matrix, a kernel or an embedding."""
        return self._declare(name, Tensor(shape, fan_in, gain, is_matrix=True))

    def bias(
        self,
        name: str,
        shape: tuple[int, ...],
        fan_in: int,
        gain: float = 1.0,
        offset: np.ndarray | None = None,
    ) -> str:
        """Declare random parameters that are no matrix; `offset` is added to random ones."""
        return self._declare(name, Tensor(shape, fan_in, gain, offset))

    def parameter(self, name: str, values: np.ndarray) -> str:
        """Declare parameters that start from known values, such as the gain of a norm."""
        return self._declare(name, Tensor(np.shape(values), values=values))

    def derived(self, name: str, compute: _Compute, *tensors: str) -> str:
        """Declare a constant that is computed from trained tensors, which alone are parameters.

        `compute` takes their float32 arrays; its result is rounded to float32.
        """
        name = self._new(name)
        self._derived[name] = compute, tensors
        return name

    def constant(self, values: Any, name: str = "constant") -> str:
        """Place numbers that are not trained: float32, or int64 where they are integers."""
        array = np.asarray(values)
        name = self._new(name)
        self._constants[name] = array.astype(np.int64 if array.dtype.kind in "iub" else np.float32)
        return name

    def _declare(self, name: str, tensor: Tensor) -> str:
        name = self._new(name)
        self.tensors[name] = tensor
        return name

    # ---- nodes

    @overload
    def node(
        self, op: str, *inputs: str, outputs: Literal[1] = 1, name: str = "", **attributes: Any
    ) -> str: ...

    @overload
    def node(
        self, op: str, *inputs: str, outputs: int, name: str = "", **attributes: Any
    ) -> tuple[str, ...]: ...

    def node(
        self, op: str, *inputs: str, outputs: int = 1, name: str = "", **attributes: Attribute
    ) -> str | tuple[str, ...]:
        """Apply an operator.

        Parameters
        ----------
        op : str
            As in `azsim.ops`.
        *inputs : str
            Tensors; ``""`` for one that is left out.
        outputs : int
            How many results the operator has.
        name : str
            Of the node; its operator by default.
        **attributes

        Returns
        -------
        str, or tuple of str if there are several outputs
        """
        name = self._new(name or op)
        results = (name,) if outputs == 1 else tuple(f"{name}:{i}" for i in range(outputs))
        self._nodes.append(Node(name, op, inputs, results, attributes))
        return results[0] if outputs == 1 else results

    def linear(
        self,
        name: str,
        data: str,
        num_inputs: int,
        num_outputs: int,
        *,
        bias: bool = True,
        gain: float = 1.0,
    ) -> str:
        """``data W^T + b`` for every row of data (M, num_inputs); W is (num_outputs, num_inputs).

        The tensors are called ``name.W`` and ``name.b``.
        """
        weight = self.weight(f"{name}.W", (num_outputs, num_inputs), num_inputs, gain)
        operands = [data, weight]
        if bias:
            operands.append(self.bias(f"{name}.b", (num_outputs,), num_inputs))
        return self.node("Gemm", *operands, name=name, transB=1)

    def reshape(self, data: str, shape: Sequence[int], name: str = "Reshape") -> str:
        """Reshape to constant lengths."""
        return self.node("Reshape", data, self.constant(list(shape), f"{name}.shape"), name=name)

    # ---- the end

    def finish(
        self,
        outputs: Mapping[str, str],
        weights: WeightSource | None = None,
        *,
        chunk_period_s: float | None = None,
        features: str = "",
        max_chunks: int | None = None,
        macs: Mapping[str, int] | None = None,
    ) -> Model:
        """Make the arrays and the graph.

        Parameters
        ----------
        outputs : mapping of str to str
            Graph outputs: the name that each gets, and its tensor.  New states follow them.
        weights : WeightSource, optional
            ``RandomWeights(0)`` by default.
        chunk_period_s, features, max_chunks, macs
            As in `Model`.

        Raises
        ------
        InputError
            If the tensors take more than 2**31 bytes, or weights do not fit.
        """
        self._check_size()
        forgotten = [name for name in self._initial if name not in self._state]
        assert not forgotten, f"no update of {', '.join(forgotten)}"
        called = {tensor: name for name, tensor in outputs.items()}
        for state, tensor in self._state.items():
            called.setdefault(tensor, f"{state}.next")
        nodes = [
            Node(
                node.name,
                node.op,
                tuple(called.get(tensor, tensor) for tensor in node.inputs),
                tuple(called.get(tensor, tensor) for tensor in node.outputs),
                node.attributes,
            )
            for node in self._nodes
        ]
        state = {name: called[tensor] for name, tensor in self._state.items()}
        used = {tensor for node in nodes for tensor in node.inputs}
        source = weights or RandomWeights()
        derived = {name: found for name, found in self._derived.items() if name in used}
        used |= {tensor for _, tensors in derived.values() for tensor in tensors}
        arrays = source.arrays(self.tensors, [name for name in self.tensors if name in used])
        computed = {
            name: np.asarray(compute(*(arrays[tensor] for tensor in tensors)), np.float32)
            for name, (compute, tensors) in derived.items()
        }
        graph = build_graph(
            self.name,
            self._inputs,
            {**self._constants, **arrays, **computed},
            nodes,
            tuple(dict.fromkeys((*outputs, *state.values()))),
            self.name,
        )
        sizes = [(tensor.num_elements, tensor.is_matrix) for tensor in self.tensors.values()]
        return Model(
            graph,
            self._time_axis,
            state,
            self._initial,
            chunk_period_s,
            features,
            max_chunks,
            num_parameters=sum(size for size, _ in sizes),
            num_matrix_weights=sum(size for size, is_matrix in sizes if is_matrix),
            macs=dict(macs or {}),
            below=self._below,
        )

    def _check_size(self) -> None:
        shapes = [tensor.shape for tensor in self.tensors.values()]
        shapes += [kind.shape for kind in self._inputs.values()]
        num_bytes = 4 * sum(math.prod(shape) for shape in shapes)
        if num_bytes > _MAX_BYTES:
            raise InputError(
                f"too large, found {num_bytes} bytes of weights and inputs, "
                f"allowed: {_MAX_BYTES} bytes"
            )
