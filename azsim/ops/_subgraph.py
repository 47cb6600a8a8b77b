"""Graphs as attributes of operators: what such an operator shares with the graph around it.

The inner graph has inputs and outputs of its own, and no constants: those that its nodes use are
inputs of the operator, under the very same names, behind its other ones.  So whatever looks at the
constants and weights of a graph, compression, tiling, files of weights, sees them where it always
does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from azsim.errors import UnsupportedError
from azsim.ir import Graph, Node, TensorType
from azsim.ops.build import build_graph, operators
from azsim.ops.linear import Linear
from azsim.ops.lowering import Lowering, TensorView

__all__ = ["captured", "checked", "evaluated", "inner_graph", "lowered", "weight_uses"]


def inner_graph(
    name: str,
    inputs: Mapping[str, tuple[int, ...]],
    nodes: Sequence[Node],
    outputs: Sequence[str],
) -> Graph:
    """Write a graph for an attribute.

    Parameters
    ----------
    name : str
    inputs : mapping of str to tuple of int
        Shapes of its own float32 inputs.
    nodes : sequence of Node
        In an order in which everything is made before it is used.
    outputs : sequence of str
    """
    types = {key: TensorType("float32", tuple(shape)) for key, shape in inputs.items()}
    return Graph(name, types, tuple(outputs), {}, tuple(nodes), types)


def captured(graph: Graph) -> tuple[str, ...]:
    """Names of the constants that a graph's nodes use, in order of first use."""
    made = set(graph.inputs) | {name for node in graph.nodes for name in node.outputs}
    used = dict.fromkeys(name for node in graph.nodes for name in node.inputs if name)
    return tuple(name for name in used if name not in made)


def checked(graph: Graph, constants: Mapping[str, np.ndarray]) -> Graph:
    """Check a graph, and infer the types of its tensors.

    Raises
    ------
    UnsupportedError
        With everything that is wrong.
    """
    found = build_graph(
        graph.name, graph.inputs, constants, graph.nodes, graph.outputs, f"graph {graph.name}"
    )
    if [node.name for node in found.nodes] != [node.name for node in graph.nodes]:
        raise UnsupportedError(
            f"graph {graph.name} has nodes of constants only, or that no output needs, or that "
            "come before what they use"
        )
    return found


def weight_uses(graph: Graph) -> Iterator[tuple[str, Node, int]]:
    """Constants that are weight matrices: the name, the inner node and which input of it."""
    table = operators()
    for node in graph.nodes:
        of_node = getattr(table.get(node.op), "weight_inputs", None)
        for index in of_node(node) if of_node is not None else ():
            yield node.inputs[index], node, index


def evaluated(
    graph: Graph, inputs: Sequence[np.ndarray], constants: Mapping[str, np.ndarray], linear: Linear
) -> list[np.ndarray]:
    """Compute a graph's outputs with the operators' references."""
    values = {**constants, **dict(zip(graph.inputs, inputs, strict=True))}
    table = operators()
    for node in graph.nodes:
        given = [values[name] if name else None for name in node.inputs]
        results = table[node.op].reference(node, given, linear)
        values |= {name: array for name, array in zip(node.outputs, results, strict=False) if name}
    return [values[name] for name in graph.outputs]


def lowered(
    graph: Graph, inputs: Sequence[TensorView], constants: Mapping[str, np.ndarray], to: Lowering
) -> list[TensorView]:
    """Lower a graph's nodes where the lowering stands; gives where its outputs lie."""
    typed = checked(graph, constants)
    with to.inside(typed):
        for name, view in zip(graph.inputs, inputs, strict=True):
            to.alias(name, view)
        for node in graph.nodes:
            if not all(name in to.views for name in node.outputs if name):
                operators()[node.op].lower(node, to)
        return [to.view(name) for name in graph.outputs]
