"""ONNX files to graphs, through the ``onnx`` package (the extra ``azsim[onnx]``)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from azsim.errors import InputError, UnsupportedError
from azsim.ir import Attribute, Graph, Node, TensorType
from azsim.ops.build import build_graph

if TYPE_CHECKING:
    import onnx

__all__ = [
    "input_names_and_shapes",
    "load_onnx",
    "nodes_by_operator",
    "read_initializers",
    "replace_initializers",
]

_STANDARD_DOMAINS = ("", "ai.onnx")


def load_onnx(
    data: bytes | str | Path,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    where: str = "",
) -> Graph:
    """Read an ONNX model.

    Parameters
    ----------
    data : bytes or path
    input_shapes : mapping of str to tuple of int, optional
        Static shapes of graph inputs; needed for those with symbolic lengths.
    where : str
        File that errors name; without it the path.

    Raises
    ------
    InputError
        If the file cannot be read, is not an ONNX model, or its shapes do not fit.
    UnsupportedError
        If it uses what azsim cannot do.
    """
    where = where or ("onnx model" if isinstance(data, bytes) else str(data))
    model = _parse(data, where)
    proto = model.graph
    inputs = _bind(_declared_inputs(model), input_shapes or {}, where)
    if proto.sparse_initializer:
        names = ", ".join(tensor.values.name for tensor in proto.sparse_initializer)
        raise UnsupportedError(f"{where}: sparse initializers are not supported: {names}")
    initializers = {
        tensor.name: _array(tensor, f"{where}: initializer {tensor.name}")
        for tensor in proto.initializer
    }
    nodes = [_node(node, index, where) for index, node in enumerate(proto.node)]
    outputs = [output.name for output in proto.output]
    return build_graph(proto.name, inputs, initializers, nodes, outputs, where)


def input_names_and_shapes(
    data: bytes | str | Path, where: str = ""
) -> dict[str, tuple[int | str, ...]]:
    """Declared inputs of an ONNX model; a symbolic length is its name (``?`` if it has none)."""
    where = where or ("onnx model" if isinstance(data, bytes) else str(data))
    declared = _declared_inputs(_parse(data, where))
    return {name: shape for name, (_, shape) in declared.items()}


def nodes_by_operator(data: bytes | str | Path, where: str = "") -> dict[str, list[str]]:
    """Node names by operator type as the file has them, supported or not; sorted by type."""
    where = where or ("onnx model" if isinstance(data, bytes) else str(data))
    found: dict[str, list[str]] = {}
    for index, proto in enumerate(_parse(data, where).graph.node):
        op = _operator(proto)
        found.setdefault(op, []).append(proto.name or f"{op}_{index}")
    return dict(sorted(found.items()))


def read_initializers(data: bytes | str | Path, where: str = "") -> dict[str, np.ndarray]:
    """Initializers of an ONNX model by name, in the file's order, supported operators or not.

    Types that numpy has not come as the next larger one it has: bfloat16 as float32, int4 as
    int8.

    Raises
    ------
    InputError
        If the file cannot be read, is not an ONNX model, or an initializer is malformed.
    UnsupportedError
        If an initializer keeps its data in another file.
    """
    where = where or ("onnx model" if isinstance(data, bytes) else str(data))
    found = {}
    for tensor in _parse(data, where).graph.initializer:
        array = _array(tensor, f"{where}: initializer {tensor.name}")
        if array.dtype.kind == "V":  # a type of the package ml_dtypes
            wider = {"int4": np.int8, "uint4": np.uint8, "int2": np.int8, "uint2": np.uint8}
            array = array.astype(wider.get(array.dtype.name, np.float32))
        found[tensor.name] = array
    return found


def replace_initializers(
    data: bytes | str | Path, arrays: Mapping[str, np.ndarray], where: str
) -> bytes:
    """Return an ONNX model's bytes with other values for some of its initializers.

    Parameters
    ----------
    data : bytes, str or Path
        The model.
    arrays : mapping of str to ndarray, float32
        New values, in the initializers' shapes.
    where : str
        File that errors name.

    Raises
    ------
    InputError
        If an initializer is not in the model.
    """
    from onnx import numpy_helper

    model = _parse(data, where)
    found = {tensor.name: tensor for tensor in model.graph.initializer}
    missing = [name for name in arrays if name not in found]
    if missing:
        raise InputError(f"{where}: no initializers named {', '.join(missing)}")
    for name, array in arrays.items():
        found[name].CopyFrom(numpy_helper.from_array(array, name))
    return model.SerializeToString()


def _parse(data: bytes | str | Path, where: str) -> onnx.ModelProto:
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError:
        raise InputError(
            f'{where}: reading ONNX models needs the onnx package: pip install "azsim[onnx]"'
        ) from None
    if not isinstance(data, bytes):
        try:
            data = Path(data).read_bytes()
        except OSError as error:
            raise InputError(f"{where}: cannot be read: {error.strerror}") from None
    try:
        model = onnx.load_model_from_string(data)
    except DecodeError:
        raise InputError(
            f"{where}: not an ONNX model: its {len(data)} bytes are no protobuf message"
        ) from None
    if not (model.graph.node or model.graph.output or model.graph.initializer):
        raise InputError(f"{where}: not an ONNX model: its {len(data)} bytes hold no graph")
    return model


def _declared_inputs(
    model: onnx.ModelProto,
) -> dict[str, tuple[str, tuple[int | str, ...]]]:
    """Numpy's name of the element type, and the shape, by input name."""
    from onnx import helper

    constants = {tensor.name for tensor in model.graph.initializer}
    found = {}
    for value in model.graph.input:
        if value.name in constants:
            continue  # before IR version 4 initializers were listed as inputs too
        tensor = value.type.tensor_type
        try:
            dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type)).name
        except KeyError:
            dtype = "no tensor"
        shape = tuple(
            dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?"
            for dim in tensor.shape.dim
        )
        found[value.name] = dtype, shape
    return found


def _bind(
    declared: Mapping[str, tuple[str, tuple[int | str, ...]]],
    shapes: Mapping[str, tuple[int, ...]],
    where: str,
) -> dict[str, TensorType]:
    problems = [
        f"{where}: a shape is given for {name}, which is no input; inputs: {', '.join(declared)}"
        for name in shapes
        if name not in declared
    ]
    types = {}
    for name, (dtype, shape) in declared.items():
        listed = f"[{', '.join(map(str, shape))}]"
        bound = shapes.get(name, shape)
        if name not in shapes and any(isinstance(length, str) for length in shape):
            problems.append(
                f"{where}: input {name} has the shape {listed}; its symbolic lengths need a value"
            )
        elif len(bound) != len(shape) or any(
            isinstance(length, int) and length != wanted
            for length, wanted in zip(shape, bound, strict=True)
        ):
            problems.append(
                f"{where}: input {name} has the shape {listed}; {list(bound)} does not fit it"
            )
        else:
            types[name] = TensorType(dtype, tuple(int(length) for length in bound))
    if problems:
        raise InputError("\n".join(problems))
    return types


def _array(tensor: onnx.TensorProto, what: str) -> np.ndarray:
    import onnx
    from onnx import numpy_helper

    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        raise UnsupportedError(f"{what} keeps its data in another file; that is not supported")
    try:
        return numpy_helper.to_array(tensor)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} cannot be read: {error}") from None


def _operator(proto: onnx.NodeProto) -> str:
    standard = proto.domain in _STANDARD_DOMAINS
    return proto.op_type if standard else f"{proto.domain}.{proto.op_type}"


def _node(proto: onnx.NodeProto, index: int, where: str) -> Node:
    op = _operator(proto)
    name = proto.name or f"{op}_{index}"
    attributes = {}
    for attribute in proto.attribute:
        what = f"{where}: node {name} ({op}): attribute {attribute.name}"
        value = _attribute(attribute, what)
        if value is not None:
            attributes[attribute.name] = value
    return Node(name, op, tuple(proto.input), tuple(proto.output), attributes)


def _attribute(proto: onnx.AttributeProto, what: str) -> Attribute | None:
    """Value as `azsim.ir` holds it; None for kinds that no supported operator has (graphs)."""
    import onnx

    kinds = onnx.AttributeProto
    if proto.type == kinds.TENSOR:
        return _array(proto.t, what)
    readers: dict[int, Any] = {
        kinds.INT: lambda: proto.i,
        kinds.FLOAT: lambda: proto.f,
        kinds.STRING: lambda: proto.s.decode("utf-8", "replace"),
        kinds.INTS: lambda: tuple(proto.ints),
        kinds.FLOATS: lambda: tuple(proto.floats),
        kinds.STRINGS: lambda: tuple(item.decode("utf-8", "replace") for item in proto.strings),
    }
    return readers[proto.type]() if proto.type in readers else None
