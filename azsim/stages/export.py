"""Export: pruned and quantized weights, back to the researcher's own formats."""

from __future__ import annotations

import numpy as np

from azsim.compression.compress import dequantize
from azsim.errors import InputError
from azsim.frontend.onnx_import import replace_initializers
from azsim.frontend.workload import Workload
from azsim.frontend.workload_file import BuilderModel
from azsim.frontend.workload_inputs import onnx_path
from azsim.ops.build import operators
from azsim.stages.prepare import compress_workload

__all__ = ["export_arrays", "export_onnx"]


def export_arrays(workload: Workload) -> dict[str, np.ndarray]:
    """Return pruned and quantized weights as float32, by initializer name, in their own shapes.

    Each value is code times scale, the very number that the chip multiplies by.
    """
    compressed = compress_workload(workload)
    graph, table = compressed.graph, operators()
    arrays = {}
    for node in graph.nodes:
        module = table[node.op]
        if not hasattr(module, "weight_inputs"):
            continue
        for index in module.weight_inputs(node):
            name = node.inputs[index]
            if name in compressed.weights:
                shape = graph.initializers[name].shape
                matrix = dequantize(compressed.weights[name])
                arrays[name] = module.from_matrix(node, index, matrix, shape)
    return arrays


def export_onnx(workload: Workload) -> bytes:
    """Return the workload's ONNX file with its weights replaced by `export_arrays`.

    Raises
    ------
    InputError
        If the model is not an ONNX file.
    """
    path = onnx_path(workload)
    if path is None:
        kind = "built by azsim" if isinstance(workload.model, BuilderModel) else "written inline"
        raise InputError(f"{workload.source.path}: the model is {kind}; export it to .npz instead")
    return replace_initializers(path.read_bytes(), export_arrays(workload), path.name)
