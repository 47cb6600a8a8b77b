"""Fold: nodes of constants alone are computed now, and nodes that nobody needs are dropped.

Contract: takes a compressed graph, gives one in which every node depends on an input and some
output depends on every node.  Constants are computed by the reference evaluator's own operators
with the weights' codes, so that every tensor that is left has the bits that it had.

`azsim.ops.build.build_graph` folds a model as it is read, before there are codes; graphs that are
made otherwise, or that compression has changed, are folded here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from azsim.ir import CompressedGraph, Graph, Node
from azsim.ops.build import operators
from azsim.ops.linear import QuantizedLinear

__all__ = ["Folded", "fold"]


@dataclass(frozen=True)
class Folded:
    """A compressed graph without needless nodes.

    Attributes
    ----------
    compressed : CompressedGraph
    gone : mapping of str to str
        Tensors that no node of it makes, and why.
    """

    compressed: CompressedGraph
    gone: Mapping[str, str]


def fold(compressed: CompressedGraph) -> Folded:
    """Compute what is constant, drop what is dead."""
    graph = compressed.graph
    constants, gone = dict(graph.initializers), dict[str, str]()
    nodes: list[Node] = []
    for node in graph.nodes:
        found = _computed(node, constants, compressed)
        if found is None:
            nodes.append(node)
        else:
            constants |= found
            why = f"{node.name} has constants only: computed as it is compiled"
            gone |= dict.fromkeys(found, why)
    live = _live(nodes, graph.outputs)
    for node in nodes:
        if node not in live:
            gone |= dict.fromkeys(filter(None, node.outputs), "no output needs it")
    if not gone:
        return Folded(compressed, {})
    return Folded(replace(compressed, graph=_rebuilt(graph, live, constants)), gone)


def _computed(
    node: Node, constants: Mapping[str, np.ndarray], compressed: CompressedGraph
) -> dict[str, np.ndarray] | None:
    """Results of a node whose inputs are all known; None if one is not."""
    if any(name and name not in constants for name in node.inputs):
        return None
    inputs = [constants.get(name) for name in node.inputs]
    weights = {name: compressed.weights[name] for name in node.inputs if name in compressed.weights}
    with np.errstate(all="ignore"):
        linear = QuantizedLinear(weights, compressed.products)
        results = operators()[node.op].reference(node, inputs, linear)
    found = {
        name: np.ascontiguousarray(array)
        for name, array in zip(node.outputs, results, strict=False)
        if name
    }
    return {
        name: array.reshape(compressed.graph.types[name].shape) for name, array in found.items()
    }


def _live(nodes: list[Node], outputs: tuple[str, ...]) -> list[Node]:
    needed, live = set(outputs), []
    for node in reversed(nodes):
        if needed.intersection(node.outputs) - {""}:
            needed.update(node.inputs)
            live.append(node)
    return live[::-1]


def _rebuilt(graph: Graph, nodes: list[Node], constants: Mapping[str, np.ndarray]) -> Graph:
    used = dict.fromkeys(name for node in nodes for name in node.inputs)
    used |= dict.fromkeys(graph.outputs)
    kept = {name: constants[name] for name in used if name in constants}
    made = [name for node in nodes for name in node.outputs if name]
    types = {name: graph.types[name] for name in (*graph.inputs, *kept, *made)}
    return replace(graph, initializers=kept, nodes=tuple(nodes), types=types)
