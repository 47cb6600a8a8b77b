"""The graph that models are written in: plain frozen data with ONNX's names, no operators.

A `Graph` is what a model *is*; a `CompressedGraph` adds the codes and scales that fix every bit
of its result.  Both are values: nothing here is changed after it was made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

__all__ = [
    "Attribute",
    "CodecChoice",
    "CompressedGraph",
    "CompressedWeight",
    "Graph",
    "Node",
    "TensorType",
    "same_graph",
]

Attribute: TypeAlias = (
    "int | float | str | tuple[int, ...] | tuple[float, ...] | np.ndarray | Graph"
)


@dataclass(frozen=True)
class TensorType:
    """Element type (numpy's name) and static shape of a tensor."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def num_elements(self) -> int:
        """Product of the shape; 1 for a scalar."""
        return int(np.prod(self.shape, dtype=np.int64))

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True)
class Node:
    """One operator application, as in ONNX.

    Attributes
    ----------
    name : str
        Unique in the graph.
    op : str
        ONNX operator type, such as ``Conv``.
    inputs : tuple of str
        Tensor names; ``""`` stands for an optional input that is not given.
    outputs : tuple of str
        Tensor names; ``""`` for an output that nobody asked for.
    attributes : mapping
        ONNX attributes, lists as tuples.  A graph among them has no constants of its own: the
        node's inputs name those that it uses.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class Graph:
    """A verified, shape-inferred graph in topological order.

    Built by `azsim.ops.build.build_graph`, which folds constants, infers every type and checks
    what this class promises: unique names, each input made before it is used, no dead nodes.

    Attributes
    ----------
    name : str
    inputs : mapping of str to TensorType
        Graph inputs in order.
    outputs : tuple of str
        Tensor names of the results.
    initializers : mapping of str to ndarray
        Constant tensors by name (float32 for weights).
    nodes : tuple of Node
    types : mapping of str to TensorType
        Type of every tensor: inputs, initializers, node outputs.
    """

    name: str
    inputs: Mapping[str, TensorType]
    outputs: tuple[str, ...]
    initializers: Mapping[str, np.ndarray]
    nodes: tuple[Node, ...]
    types: Mapping[str, TensorType]

    def consumers(self, tensor: str) -> tuple[Node, ...]:
        """Return the nodes that read a tensor, in order."""
        return tuple(node for node in self.nodes if tensor in node.inputs)


def _same_attribute(left: Attribute, right: Attribute) -> bool:
    if isinstance(left, Graph) and isinstance(right, Graph):
        return same_graph(left, right)
    if isinstance(left, np.ndarray) or isinstance(right, np.ndarray):
        return np.array_equal(np.asarray(left), np.asarray(right))
    return left == right


def same_graph(left: Graph, right: Graph) -> bool:
    """Tell whether two graphs are equal in everything but their own name."""

    def shell(graph: Graph) -> tuple[object, ...]:
        nodes = [(n.name, n.op, n.inputs, n.outputs, tuple(n.attributes)) for n in graph.nodes]
        return list(graph.inputs.items()), graph.outputs, nodes, list(graph.initializers)

    return (
        shell(left) == shell(right)
        and all(
            _same_attribute(value, other.attributes[key])
            for node, other in zip(left.nodes, right.nodes, strict=True)
            for key, value in node.attributes.items()
        )
        and all(
            array.dtype == right.initializers[name].dtype
            and np.array_equal(array, right.initializers[name])
            for name, array in left.initializers.items()
        )
    )


@dataclass(frozen=True)
class CodecChoice:
    """A codec by name, with its parameters."""

    name: str
    parameters: Mapping[str, int | bool] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class CompressedWeight:
    """A weight matrix after pruning and quantization: everything that fixes its product's bits.

    The product of activation codes ``a`` (rows by K) with this matrix is, in this order::

        for segment s of K, ascending:
            acc = sum over k in segment of a[m, k] * codes[n, k]          # int32, exact
            term = float32(acc) * (activation_scale[m] * scales[s, n])    # each step float32
            y = term if s == 0 else y + term                              # float32

    Attributes
    ----------
    name : str
        Initializer name.
    codes : ndarray of shape (N, K), int8
        Real zero is code 0.
    scales : ndarray of shape (segments, N), float32
    segments : tuple of int
        Bounds ``0 = b0 < b1 < ... = K``.  More than one segment where scales are per group, or
        where one int32 accumulator could not be proven to hold the sum.
    bits : int
        2 to 8: codes lie in ``[-(2**(bits-1)-1), 2**(bits-1)-1]``.
    scale_kind : str
        ``per_tensor``, ``per_channel`` or ``per_group``; says how many scales are stored.
    activation_bits : int
        8 or 16.
    activation_scale : float or None
        Static float32 scale, or None: dynamic, max |x| of one item / (2**(bits-1) - 1).
    codec : CodecChoice
        Named ``auto`` where the compiler still has to choose for a chip.
    palette_bits : int or None
        Width of an index, where the codes are the int8 values of a palette of at most
        ``2**palette_bits`` entries: the machine multiplies and skips by value, at `bits`, and a
        codec with a palette step stores indices.  None where codes are steps.
    """

    name: str
    codes: np.ndarray
    scales: np.ndarray
    segments: tuple[int, ...]
    bits: int
    scale_kind: str
    activation_bits: int
    activation_scale: float | None
    codec: CodecChoice
    palette_bits: int | None = None

    @property
    def scheme_bits(self) -> int:
        """Width of a weight as the scheme counts it, before any codec."""
        return self.bits if self.palette_bits is None else self.palette_bits

    @property
    def num_scales(self) -> int:
        """How many float32 scales the DRAM image has to hold for this matrix."""
        if self.scale_kind == "per_tensor":
            return 1
        if self.scale_kind == "per_channel":
            return self.scales.shape[1]
        return self.scales.size


@dataclass(frozen=True)
class CompressedGraph:
    """A graph whose weight matrices have been replaced by codes and scales.

    Attributes
    ----------
    graph : Graph
        Untouched: its initializers still hold the original floats, for the float reference.
    weights : mapping of str to CompressedWeight
        By initializer name.  Initializers that are not here (biases, constants) stay float32.
    products : mapping of str to int
        By name of a node that multiplies two computed tensors: bits of the codes of its left one,
        8 or 16.  The right one's have 8; see `azsim.ops.linear`.
    """

    graph: Graph
    weights: Mapping[str, CompressedWeight]
    products: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
