"""Conv in one dimension: dilation 1, any stride and (non-negative) zero padding.

Of groups there is one, or one for each channel.

The feature map (channels C by length L) of one batch item is quantized with one scale, before
padding.  Position p of the output multiplies the k * C codes from position p * stride on, in the
order (kernel position, channel), by each row of the (Cout, k * C) matrix.  With a group for each
channel the vector engine works in float32, see `azsim.ops._depthwise`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from azsim.errors import UnsupportedError
from azsim.ir import Node, TensorType
from azsim.ops._checks import attribute_is, given, is_float32, is_weight
from azsim.ops._depthwise import convolve, convolve_lines
from azsim.ops._matrix import bias_row, result
from azsim.ops._views import part, permuted
from azsim.ops.linear import Linear
from azsim.ops.lowering import Access, Copy, Fill, Lowering, Matmul, Quantize

OP = "Conv"
INPUTS = (2, 3)
ATTRIBUTES = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")


def _is_depthwise(node: Node) -> bool:
    return node.attributes.get("group", 1) != 1


def _geometry(node: Node) -> tuple[int, int, int]:
    """Stride, and zeros before and after."""
    attributes: Mapping[str, object] = node.attributes
    (stride,) = attributes.get("strides", (1,))  # type: ignore[misc]
    before, after = attributes.get("pads", (0, 0))  # type: ignore[misc]
    return stride, before, after  # type: ignore[return-value]


def infer(
    node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
) -> list[TensorType]:
    """Check ranks, channels and attributes."""
    is_float32(inputs)
    data, weight = given(inputs, 0), is_weight(constants, 1)
    if len(data.shape) != 3 or weight.ndim != 3:
        raise UnsupportedError(
            f"input has shape {list(data.shape)} and weight {list(weight.shape)}; "
            "only 1-D convolution (rank 3) is supported"
        )
    (batch, channels, length), (outputs, expected, kernel) = data.shape, weight.shape
    attribute_is(node, "auto_pad", "NOTSET", "VALID")
    attribute_is(node, "group", *((1, channels) if outputs == channels > 1 else (1,)))
    attribute_is(node, "dilations", (1,))
    attribute_is(node, "kernel_shape", (kernel,))
    if channels != expected * (channels if _is_depthwise(node) else 1):
        raise UnsupportedError(f"input has {channels} channels and the weight {expected}")
    if len(inputs) > 2 and inputs[2] is not None and inputs[2].shape != (outputs,):
        raise UnsupportedError(f"bias has shape {list(inputs[2].shape)}, not [{outputs}]")
    strides, pads = node.attributes.get("strides", (1,)), node.attributes.get("pads", (0, 0))
    if not (isinstance(strides, tuple) and len(strides) == 1 and strides[0] >= 1):
        raise UnsupportedError(f"strides is {strides}; one positive stride is needed")
    if not (isinstance(pads, tuple) and len(pads) == 2 and min(pads) >= 0):
        raise UnsupportedError(f"pads is {pads}; two pads of at least 0 are needed")
    stride, before, after = _geometry(node)
    padded = length + before + after
    if padded < kernel:
        raise UnsupportedError(f"kernel of {kernel} does not fit {padded} padded positions")
    return [TensorType("float32", (batch, outputs, (padded - kernel) // stride + 1))]


def weight_inputs(node: Node) -> tuple[int, ...]:
    """Input 1 holds weights, unless each channel is convolved on its own."""
    return () if _is_depthwise(node) else (1,)


def to_matrix(node: Node, index: int, array: np.ndarray) -> np.ndarray:
    """(Cout, Cin, k) to (Cout, k * Cin), column ``position * Cin + channel``."""
    outputs, channels, kernel = array.shape
    return np.ascontiguousarray(array.transpose(0, 2, 1)).reshape(outputs, kernel * channels)


def from_matrix(node: Node, index: int, matrix: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Inverse of `to_matrix`."""
    outputs, channels, kernel = shape
    return np.ascontiguousarray(matrix.reshape(outputs, kernel, channels).transpose(0, 2, 1))


def reference(node: Node, inputs: list[np.ndarray], linear: Linear) -> list[np.ndarray]:
    """Quantize every item, pad its codes with 0, multiply overlapping windows."""
    data, weight = inputs[0], inputs[1]
    bias = inputs[2] if len(inputs) > 2 else None
    name = node.inputs[1]
    (batch, channels, length), kernel = data.shape, weight.shape[2]
    stride, before, after = _geometry(node)
    if _is_depthwise(node):
        padded_data = np.pad(data, ((0, 0), (0, 0), (before, after)))
        items = [convolve(item.T, weight, bias, stride).T for item in padded_data]
        return [np.stack(items)]
    codes, scales = linear.quantize(name, data.reshape(batch, channels * length))
    padded = length + before + after
    num_positions = (padded - kernel) // stride + 1
    output = np.empty((batch, weight.shape[0], num_positions), np.float32)
    lines = np.zeros((padded, channels), codes.dtype)
    step = lines.strides[0] * stride
    shape, strides = (num_positions, kernel * channels), (step, lines.itemsize)
    windows = np.ndarray(shape, codes.dtype, lines, 0, strides)
    for item in range(batch):
        lines[before : before + length] = codes[item].reshape(channels, length).T
        product = linear.multiply(name, windows, np.repeat(scales[item], num_positions))
        output[item] = (product if bias is None else product + bias).T
    return [output]


def lower(node: Node, lowering: Lowering) -> None:
    """Quantize into a padded (position, channel) buffer; one matmul over overlapping rows."""
    if _is_depthwise(node):
        _lower_depthwise(node, lowering)
        return
    source = lowering.view(node.inputs[0])
    weight = lowering.weight(node.inputs[1])
    kernel = lowering.compressed.graph.initializers[node.inputs[1]].shape[2]
    batch, channels, length = source.shape
    _, outputs, positions = shape = lowering.compressed.graph.types[node.outputs[0]].shape
    stride, before, after = _geometry(node)
    target, function = result(node, lowering, shape)
    bias = bias_row(node, lowering, 2, outputs)
    codes = lowering.codes_buffer(node.name, weight, (length + before + after) * channels)
    scale = lowering.scales(node.name, weight, 1)

    def item(advance: tuple[dict[int, int], dict[int, int]]) -> None:
        item_step, result_step = advance
        _, channel_step, position_step = source.strides
        data = Access(
            source.buffer, source.offset, length, channels, position_step, channel_step, item_step
        )
        middle = Access(codes, before * channels, length, channels, channels, 1)
        lowering.emit(Quantize(middle, data, scale, weight.activation_scale is not None))
        rows = Access(codes, 0, positions, kernel * channels, stride * channels, 1)
        result_rows = Access(target.buffer, 0, positions, outputs, 1, positions, result_step)
        lowering.emit(Matmul(weight.name, result_rows, rows, scale, bias, function=function))

    _fill_padding(lowering, codes, channels, length, before, after)
    if batch == 1:
        item(({}, {}))
        return
    with lowering.loop(batch) as number:
        item(({number: source.strides[0]}, {number: outputs * positions}))


def _lower_depthwise(node: Node, lowering: Lowering) -> None:
    """Put positions in rows between rows of zeros, and convolve each channel."""
    source = lowering.view(node.inputs[0])
    weight = lowering.compressed.graph.initializers[node.inputs[1]]
    bias = lowering.view(node.inputs[2]) if len(node.inputs) > 2 else None
    (batch, channels, length), (stride, before, after) = source.shape, _geometry(node)
    positions = lowering.compressed.graph.types[node.outputs[0]].shape[2]
    target = lowering.scratch(node.outputs[0], (batch, positions, channels))
    for item in range(batch):
        lines = lowering.scratch(f"{node.name}#line", (before + length + after, channels))
        _fill_padding(lowering, lines.buffer, channels, length, before, after)
        rows = permuted(source.item(0, item), (1, 0))
        lowering.elementwise(Copy, part(lines, 0, before, length), rows)
        result = target.item(0, item)
        convolve_lines(lowering, node.name, lines, weight, bias, result, stride)
    lowering.alias(node.outputs[0], permuted(target, (0, 2, 1)))


def _fill_padding(
    lowering: Lowering, codes: str, channels: int, length: int, before: int, after: int
) -> None:
    """Set what is around the feature map to 0; later items leave it untouched."""
    end = (before + length) * channels
    if before == after > 0:
        lowering.emit(Fill(Access(codes, 0, 2, before * channels, end, 1), 0))
        return
    for offset, amount in ((0, before), (end, after)):
        if amount:
            lowering.emit(Fill(Access(codes, offset, 1, amount * channels, 0, 1), 0))
