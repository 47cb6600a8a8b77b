"""From nodes as a front end reads them to a verified graph, and from a graph to steps."""

from __future__ import annotations

import difflib
import heapq
from collections.abc import Collection, Mapping, Sequence
from types import ModuleType

import numpy as np

from azsim.errors import InputError, UnsupportedError
from azsim.folder import load_folder
from azsim.ir import CompressedGraph, Graph, Node, TensorType
from azsim.ops.linear import FloatLinear
from azsim.ops.lowering import Lowering, chip_dtype

__all__ = ["build_graph", "computed_products", "lower_graph", "operators", "weight_matrices"]

_REQUIRED = ("OP", "INPUTS", "ATTRIBUTES", "infer", "reference")
_NO_OPERATORS = ("build", "linear", "lowering", "steps")
_MAX_CONSTANT_BYTES = 1 << 31
_INPUT_TYPES = ("float32", "int8")  # int8: codes that are carried from chunk to chunk


def operators() -> Mapping[str, ModuleType]:
    """Table of the operators by ONNX operator type: every public module of ``azsim.ops``.

    Each defines ``OP``; ``INPUTS``, its least and greatest number of inputs (None: any);
    ``ATTRIBUTES``, the names it understands; and

    - ``infer(node, types, constants) -> types``: raises `UnsupportedError` with the reason,
    - ``reference(node, arrays, linear) -> arrays``: in plain numpy,
    - ``lower(node, lowering)``: missing where only constants can be computed,
    - ``TYPES``: optional, element types that tensors of it may have at run time besides float32,
    - ``fold(node, types) -> arrays``: optional, where the types alone give the result,
    - ``is_product(node, constants)``: optional, whether it multiplies two computed tensors,
    - ``weight_inputs(node)``, ``to_matrix(node, index, array)`` and
      ``from_matrix(node, index, matrix, shape)``: where inputs are weight matrices.
    """
    modules = load_folder("azsim.ops", _REQUIRED, _NO_OPERATORS).values()
    return {module.OP: module for module in sorted(modules, key=lambda module: module.OP)}


# ------------------------------------------------------------------------------------ building


def build_graph(
    name: str,
    inputs: Mapping[str, TensorType],
    initializers: Mapping[str, np.ndarray],
    nodes: Sequence[Node],
    outputs: Sequence[str],
    where: str,
    places: Mapping[str, str] | None = None,
) -> Graph:
    """Check, order, infer, fold and clean up.

    Nodes are put into topological order (stable), attributes into alphabetical order and
    initializers into the order of their first use, so that one network gives one graph however
    it was written.  Nodes of constants only are computed now; what no output needs is dropped.

    Parameters
    ----------
    name : str
    inputs : mapping of str to TensorType
    initializers : mapping of str to ndarray
    nodes : sequence of Node
        In any order.
    outputs : sequence of str
    where : str
        File that errors name.
    places : mapping of str to str, optional
        By node, the place in the file that errors of its shapes and types name instead.

    Raises
    ------
    InputError
        If names clash, inputs are missing or nodes wait for each other; all problems at once.
    UnsupportedError
        If operators are unknown (all in one sentence), or used in a way that azsim cannot do.
    """
    nodes = [_tidy(node) for node in nodes]
    _check_structure(inputs, initializers, nodes, outputs, where)
    ordered = _live(_ordered(nodes, where), outputs)
    problems = _unknown_operators(ordered, where)
    constants = {key: _frozen(array) for key, array in initializers.items()}
    types = {key: _type_of(array) for key, array in constants.items()} | dict(inputs)
    kept = _live(_infer(ordered, types, constants, where, places or {}, problems), outputs)
    used = dict.fromkeys(tensor for node in kept for tensor in node.inputs)
    used |= dict.fromkeys(outputs)
    constants = {tensor: constants[tensor] for tensor in used if tensor in constants}
    made = [tensor for node in kept for tensor in node.outputs if tensor]
    return Graph(
        name,
        dict(inputs),
        tuple(outputs),
        constants,
        tuple(kept),
        {tensor: types[tensor] for tensor in (*inputs, *constants, *made)},
    )


def _tidy(node: Node) -> Node:
    def trimmed(names: tuple[str, ...]) -> tuple[str, ...]:
        while names and not names[-1]:
            names = names[:-1]
        return names

    return Node(
        node.name,
        node.op,
        trimmed(node.inputs),
        trimmed(node.outputs),
        dict(sorted(node.attributes.items())),
    )


def _frozen(array: np.ndarray) -> np.ndarray:
    array = np.asarray(array, order="C").view()
    array.flags.writeable = False
    return array


def _type_of(array: np.ndarray) -> TensorType:
    return TensorType(array.dtype.name, array.shape)


def _title(node: Node) -> str:
    return f"node {node.name} ({node.op})"


def _check_structure(
    inputs: Mapping[str, TensorType],
    initializers: Mapping[str, np.ndarray],
    nodes: Sequence[Node],
    outputs: Sequence[str],
    where: str,
) -> None:
    problems = []
    for name, found in inputs.items():
        if found.dtype not in _INPUT_TYPES or min(found.shape, default=1) < 1:
            problems.append(f"input {name} is {found}; float32 with lengths above 0 is needed")
    makers = dict.fromkeys(inputs, "the graph's inputs")
    for name in initializers:
        if name in makers:
            problems.append(f"{name} is both an input and an initializer")
        makers[name] = "the initializers"
    names = set()
    for node in nodes:
        if node.name in names:
            problems.append(f"two nodes are named {node.name}")
        names.add(node.name)
        for tensor in filter(None, node.outputs):
            if tensor in makers:
                problems.append(
                    f"{_title(node)}: output {tensor} is already made by {makers[tensor]}"
                )
            makers[tensor] = _title(node)
    readers = [(f"{_title(node)}: input", tensor) for node in nodes for tensor in node.inputs]
    for reader, tensor in [*readers, *(("graph output", tensor) for tensor in outputs)]:
        if tensor and tensor not in makers:
            close = difflib.get_close_matches(tensor, makers, 1)
            hint = f"; did you mean {close[0]}?" if close else ""
            problems.append(f"{reader} {tensor} is made by nothing{hint}")
    if not outputs:
        problems.append("the graph has no outputs")
    if problems:
        raise InputError("\n".join(f"{where}: {problem}" for problem in problems))


def _ordered(nodes: Sequence[Node], where: str) -> list[Node]:
    """Topological order; of the nodes that are ready, the first in the file comes first."""
    maker = {tensor: index for index, node in enumerate(nodes) for tensor in node.outputs if tensor}
    waits = [{maker[tensor] for tensor in node.inputs if tensor in maker} for node in nodes]
    readers: dict[int, list[int]] = {}
    for index, needed in enumerate(waits):
        for source in needed:
            readers.setdefault(source, []).append(index)
    ready = [index for index, needed in enumerate(waits) if not needed]
    order = []
    while ready:
        index = heapq.heappop(ready)
        order.append(nodes[index])
        for reader in readers.get(index, ()):
            waits[reader].discard(index)
            if not waits[reader]:
                heapq.heappush(ready, reader)
    if len(order) < len(nodes):
        stuck = ", ".join(node.name for node, needed in zip(nodes, waits, strict=True) if needed)
        raise InputError(f"{where}: these nodes wait for each other in a circle: {stuck}")
    return order


def _live(nodes: Sequence[Node], outputs: Sequence[str]) -> list[Node]:
    needed, kept = set(outputs), []
    for node in reversed(nodes):
        if needed.intersection(node.outputs) - {""}:
            needed.update(node.inputs)
            kept.append(node)
    return kept[::-1]


def _unknown_operators(nodes: Sequence[Node], where: str) -> list[str]:
    """All nodes whose operator there is not, in one sentence, or none."""
    table = operators()
    unknown = [node for node in nodes if node.op not in table]
    if not unknown:
        return []
    listed = ", ".join(f"{node.op} ({node.name})" for node in unknown)
    count = (
        "1 node uses an operator" if len(unknown) == 1 else f"{len(unknown)} nodes use operators"
    )
    return [
        f"{where}: {count} that azsim does not support: {listed}; supported: {', '.join(table)}"
    ]


def _infer(
    nodes: Sequence[Node],
    types: dict[str, TensorType],
    constants: dict[str, np.ndarray],
    where: str,
    places: Mapping[str, str],
    problems: Sequence[str],
) -> list[Node]:
    """Fill in `types` and `constants`; returns the nodes that are left to run time.

    Raises
    ------
    UnsupportedError
        With `problems` that are known and all that are found.
    """
    kept, problems = [], list(problems)
    for node in nodes:
        if node.op not in operators() or any(
            tensor not in types for tensor in filter(None, node.inputs)
        ):
            continue  # a node with a problem, or downstream of one
        try:
            if not _infer_node(node, types, constants):
                kept.append(node)
        except UnsupportedError as error:
            problems.append(f"{places.get(node.name, where)}: {_title(node)}: {error}")
    if problems:
        raise UnsupportedError("\n".join(problems))
    return kept


def _infer_node(node: Node, types: dict[str, TensorType], constants: dict[str, np.ndarray]) -> bool:
    """Infer one node; returns whether it was folded."""
    module = operators()[node.op]
    _check_signature(node, module)
    inputs = [types[tensor] if tensor else None for tensor in node.inputs]
    known = [constants.get(tensor) for tensor in node.inputs]
    found: list[TensorType] = module.infer(node, inputs, known)
    if len(node.outputs) > len(found):
        raise UnsupportedError(f"{len(node.outputs)} outputs; at most {len(found)} are supported")
    results = _folded(node, module, inputs, known, found)
    allowed = ("float32", *getattr(module, "TYPES", ()))
    for index, (tensor, kind) in enumerate(zip(node.outputs, found, strict=False)):
        if not tensor:
            continue
        if results is not None:
            constants[tensor] = _frozen(results[index])
        elif 0 in kind.shape:
            raise UnsupportedError(f"output {tensor} is {kind}; only constants may be empty")
        elif kind.dtype not in allowed:
            raise UnsupportedError(
                f"output {tensor} is {kind}; "
                f"only constants may be of another type than {' or '.join(allowed)}"
            )
        types[tensor] = kind
    if results is None and not hasattr(module, "lower"):
        raise UnsupportedError("it depends on the graph's inputs; only constants are supported")
    return results is not None


def _check_signature(node: Node, module: ModuleType) -> None:
    least, greatest = module.INPUTS
    count = len(node.inputs)
    if count < least or "" in node.inputs[:least] or (greatest is not None and count > greatest):
        number = str(least) if least == greatest else f"{least} to {greatest or 'any number'}"
        raise UnsupportedError(f"{sum(map(bool, node.inputs))} inputs are given; it takes {number}")
    for name in node.attributes:
        if name not in module.ATTRIBUTES:
            allowed = ", ".join(module.ATTRIBUTES) or "none"
            raise UnsupportedError(f"attribute {name} is not supported; known: {allowed}")


def _folded(
    node: Node,
    module: ModuleType,
    inputs: list[TensorType | None],
    known: list[np.ndarray | None],
    found: list[TensorType],
) -> list[np.ndarray] | None:
    if hasattr(module, "fold"):
        return module.fold(node, inputs)
    if any(tensor and array is None for tensor, array in zip(node.inputs, known, strict=True)):
        return None
    num_bytes = sum(kind.num_elements * np.dtype(kind.dtype).itemsize for kind in found)
    if num_bytes > _MAX_CONSTANT_BYTES:
        raise UnsupportedError(
            f"its constant result takes {num_bytes} bytes; "
            f"at most {_MAX_CONSTANT_BYTES} are allowed"
        )
    matrices = {}
    for index in _weight_inputs(node, node.inputs):
        matrices[node.inputs[index]] = module.to_matrix(node, index, known[index])
    with np.errstate(all="ignore"):
        return module.reference(node, known, FloatLinear(matrices))


# ------------------------------------------------------------------------------------- weights


def _weight_inputs(node: Node, constants: Collection[str]) -> tuple[int, ...]:
    """Inputs of a node that are weight matrices, as far as they are constants."""
    module = operators()[node.op]
    if not hasattr(module, "weight_inputs"):
        return ()
    return tuple(index for index in module.weight_inputs(node) if node.inputs[index] in constants)


def computed_products(graph: Graph) -> list[str]:
    """Names of the nodes that multiply two computed tensors, in order."""
    table = operators()
    return [
        node.name
        for node in graph.nodes
        if hasattr(table[node.op], "is_product")
        and table[node.op].is_product(node, graph.initializers)
    ]


def weight_matrices(graph: Graph) -> dict[str, np.ndarray]:
    """Matrices (N, K) of all weights, by initializer name, in order of use.

    Raises
    ------
    UnsupportedError
        If an initializer is used as two different matrices, or as a matrix and otherwise.
    """
    table = operators()
    matrices: dict[str, np.ndarray] = {}
    users: dict[str, Node] = {}
    for node in graph.nodes:
        module = table[node.op]
        for index in _weight_inputs(node, graph.initializers):
            name = node.inputs[index]
            matrix = module.to_matrix(node, index, graph.initializers[name])
            if name in matrices and not np.array_equal(matrices[name], matrix):
                raise UnsupportedError(
                    f"{name}: {_title(users[name])} and {_title(node)} use it as different matrices"
                )
            matrices.setdefault(name, matrix)
            users.setdefault(name, node)
    for node in graph.nodes:
        weights = _weight_inputs(node, graph.initializers)
        for index, name in enumerate(node.inputs):
            if name in matrices and index not in weights:
                raise UnsupportedError(
                    f"{name}: {_title(users[name])} uses it as a weight matrix, "
                    f"{_title(node)} as a plain tensor"
                )
    return matrices


# ------------------------------------------------------------------------------------ lowering


def lower_graph(compressed: CompressedGraph, state: Mapping[str, str] | None = None) -> Lowering:
    """Lower every node in order; graph inputs are buffers of their own names."""
    graph, table = compressed.graph, operators()
    lowering = Lowering(compressed, state)
    for name, found in graph.inputs.items():
        lowering.new(name, found.shape, chip_dtype(found.dtype))
    for node in graph.nodes:
        if all(tensor in lowering.views for tensor in node.outputs if tensor):
            continue  # fused into the node before
        lowering.layer = node.name
        table[node.op].lower(node, lowering)
    for name in graph.outputs:
        lowering.view(name)
    return lowering
