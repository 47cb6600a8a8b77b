"""What is inside a graph, a compressed graph or an ONNX file, as tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from azsim.errors import InputError, UnsupportedError
from azsim.frontend.onnx_import import input_names_and_shapes, load_onnx, nodes_by_operator
from azsim.ir import CompressedGraph, Graph
from azsim.models import Model
from azsim.ops.build import operators
from azsim.report.listing import Listing, listing
from azsim.report.units import number

__all__ = ["graph_tables", "model_tables", "onnx_tables", "scheme_table"]


def onnx_tables(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> tuple[list[Listing], str]:
    """Tables of an ONNX file.

    Parameters
    ----------
    path : Path
    shapes : mapping of str to tuple of int
        Shapes of inputs; for others symbolic lengths are taken as 1.

    Returns
    -------
    tables : list of Listing
        Declared inputs and operators alone where azsim cannot do the rest.
    unsupported : str
        What azsim cannot do with the model; empty if it can do everything.

    Raises
    ------
    InputError
        If the file cannot be read or is not an ONNX model.
    """
    declared = input_names_and_shapes(path)
    rows = [(name, f"[{', '.join(map(str, shape))}]") for name, shape in declared.items()]
    supported = operators()
    used = [
        (op, len(names), "yes" if op in supported else f"no: {', '.join(names)}")
        for op, names in nodes_by_operator(path).items()
    ]
    tables = [
        listing("Declared inputs", ("name", "shape"), rows),
        listing("Operators of the file", ("operator", "nodes", "supported"), used),
    ]
    bound = {
        name: tuple(length if isinstance(length, int) else 1 for length in shape)
        for name, shape in declared.items()
    }
    try:
        return tables + graph_tables(load_onnx(path, {**bound, **shapes})), ""
    except InputError as error:
        if shapes and not isinstance(error, UnsupportedError):
            raise
        return tables, str(error)


def model_tables(model: Model) -> list[Listing]:
    """What a builder counts of its model; no table where azsim did not build it."""
    if not model.num_parameters:
        return []
    state = sum(array.size for array in model.initial_state.values())
    rows: list[tuple[str, int | float]] = [
        ("parameters", model.num_parameters),
        ("weights of matrices", model.num_matrix_weights),
        ("numbers of state", state),
    ]
    rows += [(f"MACs, {key}", count) for key, count in model.macs.items()]
    if model.chunk_period_s is not None:
        rows.append(("time of a chunk, ms", round(1e3 * model.chunk_period_s, 3)))
    return [listing("Model", ("what", "number"), rows)]


def graph_tables(graph: Graph) -> list[Listing]:
    """Inputs and outputs, nodes and operators of a graph."""
    ports = [(name, "input", str(kind)) for name, kind in graph.inputs.items()]
    ports += [(name, "output", str(graph.types[name])) for name in graph.outputs]
    counted: set[str] = set()
    rows = []
    for node in graph.nodes:
        constants = {name for name in node.inputs if name in graph.initializers} - counted
        counted |= constants
        shapes = ", ".join(str(graph.types[name]) for name in node.outputs if name)
        parameters = sum(graph.initializers[name].size for name in constants)
        rows.append((node.name, node.op, shapes, parameters))
    counts = Counter(node.op for node in graph.nodes)
    total = sum(array.size for array in graph.initializers.values())
    note = (
        f"{number(len(graph.nodes))} nodes, {number(total)} parameters "
        "(each counted where it is first used); constant nodes are folded"
    )
    return [
        listing("Inputs and outputs", ("name", "kind", "type"), ports),
        listing("Nodes", ("name", "operator", "outputs", "parameters"), rows, note),
        listing("Operators", ("operator", "nodes"), sorted(counts.items())),
    ]


def scheme_table(compressed: CompressedGraph) -> Listing:
    """How each weight matrix is compressed, before any chip is chosen."""
    rows = [
        (
            weight.name,
            weight.codes.shape[0],
            weight.codes.shape[1],
            weight.bits,
            weight.scale_kind,
            weight.num_scales,
            f"{weight.activation_bits} bits" + (weight.activation_scale is not None) * ", static",
            f"{100 * float((weight.codes == 0).mean()):.1f}",
            weight.codec.name,
        )
        for weight in compressed.weights.values()
    ]
    columns = ("tensor", "n", "k", "bits", "scale", "scales", "activations", "zeros %", "codec")
    return listing("Compression", columns, rows)
