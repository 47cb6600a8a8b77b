"""ONNX's own examples of single operators: the evaluator's results, and the steps' bits.

Every example of the operators below passes or is refused with the reason that is listed.  Weights,
and all that is not a float32 tensor, are constants here, as azsim has them.
"""

from __future__ import annotations

import collections
import functools
import re
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from azsim.errors import InputError, UnsupportedError
from azsim.evaluate import evaluate
from azsim.frontend.onnx_import import load_onnx
from azsim.ir import Graph
from azsim.ops.build import lower_graph
from graphs import compress, held
from step_interpreter import StepInterpreter

onnx = pytest.importorskip("onnx")
loader = pytest.importorskip("onnx.backend.test.loader")

PASSES = {
    "ArgMax": 8, "ArgMin": 8, "CausalConvWithState": 10, "Clip": 12, "CumSum": 7, "Equal": 2,
    "Erf": 1, "Exp": 2, "Expand": 2, "Gather": 4, "Gelu": 4, "Greater": 2, "GreaterOrEqual": 2,
    "HardSwish": 1, "LayerNormalization": 19, "Less": 2, "LessOrEqual": 2, "Log": 2,
    "RMSNormalization": 19, "ReduceMax": 8, "ReduceMean": 8, "ReduceMin": 8, "ReduceSum": 10,
    "Softmax": 7, "Softplus": 2, "Split": 14, "Swish": 1, "TopK": 2, "Where": 2,
}  # fmt: skip
"""Examples that pass, by operator, of ONNX 1.23 (its newest operator sets)."""

REFUSALS = {
    r"(Arg\w+)": "select_last_index is 1; only 0 is supported",
    r"CausalConvWithState": r"only float32 is supported|only constants may be empty",
    r"CumSum": r"input 0 is int32\[\d.*\]; only float32 is supported",
    r"(Equal|Greater|Less)\w*": "two of float32, int32, int64 are supported",
    r"Reduce\w+": "only float32 is supported|float32 with lengths above 0 is needed",
    r"Split": "float32 with lengths above 0 is needed",
    r"TopK": "only float32 is supported|largest is 0; only 1 is supported",
}
"""Why the others do not, by operator; patterns."""

_CONSTANTS = {"CausalConvWithState": ("weight",)}


@functools.cache
def _cases() -> dict[str, list[Any]]:
    found = collections.defaultdict(list)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # examples of other operators overflow as they are made
        cases = loader.load_model_tests(kind="node")
    for case in cases:
        nodes = case.model.graph.node
        if len(nodes) == 1 and nodes[0].op_type in PASSES:
            found[nodes[0].op_type].append(case)
    return found


def _graph(case: Any, inputs: Mapping[str, np.ndarray]) -> Graph:
    """The example with constants in the place of inputs, and its first output of a LayerNorm."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    op = model.graph.node[0].op_type
    del model.graph.input[:]
    for value in case.model.graph.input:
        array = inputs[value.name]
        if array.dtype == np.float32 and value.name not in _CONSTANTS.get(op, ()):
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
            model.graph.input.append(value)
        else:
            model.graph.initializer.append(onnx.numpy_helper.from_array(array, value.name))
    if op == "LayerNormalization":
        del model.graph.output[1:], model.graph.node[0].output[1:]
    return load_onnx(model.SerializeToString())


def _arrays(case: Any) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """Inputs by name and expected outputs; numbers of 64 bits as the chip's float32."""
    given, expected = case.data_sets[0]
    names = [value.name for value in case.model.graph.input]
    arrays = {name: np.asarray(array) for name, array in zip(names, given, strict=False)}
    arrays = {
        name: array.astype(np.float32) if array.dtype == np.float64 else array
        for name, array in arrays.items()
    }
    return arrays, [np.asarray(array) for array in expected]


def _check(case: Any) -> None:
    inputs, expected = _arrays(case)
    graph = _graph(case, inputs)
    frames = {name: inputs[name] for name in graph.inputs}
    results = evaluate(graph, frames)
    for name, array in zip(graph.outputs, expected, strict=False):
        assert results[name].shape == array.shape
        np.testing.assert_allclose(results[name], array, case.rtol, max(case.atol, 1e-6))
    found = StepInterpreter(lower_graph(compress(graph))).run(frames)
    for name in graph.outputs:
        assert found[name].tobytes() == held(results[name]).tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("op", PASSES)
def test_examples_of_onnx(op: str) -> None:
    if onnx.__version__ < "1.23":
        pytest.skip("examples of ONNX 1.23 and newer are counted here")
    outcomes = [_refusal(case) for case in _cases()[op]]
    assert outcomes.count(None) == PASSES[op]
    reasons = "|".join(reason for name, reason in REFUSALS.items() if re.fullmatch(name, op))
    unknown = [refusal for refusal in outcomes if refusal and not re.search(reasons, refusal)]
    assert (unknown == []) if reasons else (len(outcomes) == PASSES[op])


def _refusal(case: Any) -> str | None:
    """Why azsim does not take an example; None if it does, and the results are right."""
    try:
        _check(case)
    except (InputError, UnsupportedError) as error:
        return str(error)
    return None
