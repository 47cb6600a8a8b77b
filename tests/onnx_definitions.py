"""What ONNX's own definitions of operators give, for tests to compare with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest


def onnx_reference(op: str, arrays: Sequence[np.ndarray | None], **attributes: Any) -> np.ndarray:
    """What ONNX's own definition gives."""
    onnx = pytest.importorskip("onnx")
    from onnx import helper, reference

    given_names = [f"i{n}" if array is not None else "" for n, array in enumerate(arrays)]
    found = {
        name: array for name, array in zip(given_names, arrays, strict=True) if array is not None
    }
    infos = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for name, a in found.items()
    ]
    made = helper.make_node(op, given_names, ["y"], **attributes)
    graph = helper.make_graph([made], "g", infos, [onnx.ValueInfoProto(name="y")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 24)])
    (result,) = reference.ReferenceEvaluator(model).run(None, found)
    return np.asarray(result)
