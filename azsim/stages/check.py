"""Check: the outputs against the float model, and every tensor against the evaluator."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping

import numpy as np

from azsim.compiler.compile import Compiled
from azsim.evaluate import evaluate_stream
from azsim.sim.execute import Execution
from azsim.sim.result import Comparison, DecisionCheck, OutputCheck
from azsim.stages.decide import Rule, taken
from azsim.stages.prepare import Prepared

__all__ = ["check_decisions", "check_outputs", "compare", "float_outputs", "named_outputs"]


def named_outputs(execution: Execution, prepared: Prepared) -> dict[str, np.ndarray]:
    """Outputs by graph name; the first axis is the frame where there are frames."""
    per_frame = prepared.stream.frames > 1
    carried = set(prepared.state.values())
    return {
        name: array if per_frame and name not in carried else array[0]
        for name, array in execution.outputs.items()
    }


def float_outputs(prepared: Prepared) -> dict[str, np.ndarray]:
    """Outputs of the float model, in the form of `named_outputs`."""
    return _final(*_reference(prepared, _uncarried(prepared), quantized=False), prepared)


def check_outputs(
    outputs: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]
) -> dict[str, OutputCheck]:
    """Compare outputs with those of the float model."""
    checks = {}
    for name, array in outputs.items():
        stored = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        signal = wanted[name].astype(np.float64)
        error = array.astype(np.float64) - signal
        noise, power = float((error**2).sum()), float((signal**2).sum())
        is_number = array.dtype.kind == "i" and array.dtype.itemsize > 1  # not a code, a choice
        has_ratio = noise > 0 and power > 0 and not is_number
        checks[name] = OutputCheck(
            sha256=hashlib.sha256(stored.tobytes()).hexdigest(),
            sqnr_db=10 * math.log10(power / noise) if has_ratio else None,
            max_abs_error=None if is_number else float(np.abs(error).max(initial=0.0)),
            equal_share=float(np.mean(error == 0)) if is_number else None,
        )
    return checks


def check_decisions(
    outputs: Mapping[str, np.ndarray],
    wanted: Mapping[str, np.ndarray],
    rules: Mapping[str, Rule],
) -> dict[str, DecisionCheck]:
    """Compare decisions with those of the float model, and both with labels."""
    checks = {}
    for name, rule in rules.items():
        found, by_float = taken(rule, outputs), taken(rule, wanted)
        labels = rule.labels
        checks[name] = DecisionCheck(
            agreement=float(np.mean(found == by_float)),
            frames=rule.count,
            accuracy=None if labels is None else float(np.mean(found == labels)),
            float_accuracy=None if labels is None else float(np.mean(by_float == labels)),
        )
    return checks


def compare(
    execution: Execution,
    outputs: Mapping[str, np.ndarray],
    prepared: Prepared,
    compiled: Compiled,
) -> Comparison:
    """Compare simulator and evaluator as stored bytes, in the order of computation."""
    graph = prepared.compressed.graph
    seen = {*execution.tapped, *_uncarried(prepared)} - graph.initializers.keys()
    tensors, final = _reference(prepared, [n for n in graph.types if n in seen], quantized=True)
    wanted = _final(tensors, final, prepared)
    compared: list[str] = []
    difference: str | None = None

    def check(name: str, found: np.ndarray, expected: np.ndarray, what: str) -> None:
        nonlocal difference
        compared.append(name)
        dtype = found.dtype.newbyteorder("<")
        left = np.ascontiguousarray(found, dtype)
        right = np.ascontiguousarray(expected, dtype).reshape(left.shape)
        if difference is None and left.tobytes() != right.tobytes():
            bits = f"<u{dtype.itemsize}"
            wrong = left.view(bits).reshape(-1) != right.view(bits).reshape(-1)
            at = int(np.argmax(wrong))
            place = np.unravel_index(at, left.shape)
            difference = (
                f"{what} '{name}' differs in {int(wrong.sum())} of {left.size} values, first at "
                f"{tuple(int(i) for i in place)}: simulated {left.reshape(-1)[at]!r}, "
                f"expected {right.reshape(-1)[at]!r}"
            )

    order = {name: number for number, name in enumerate(tensors)}
    for name in sorted(execution.tapped, key=lambda name: order.get(name, -1)):
        if name in tensors:
            check(name, np.stack(execution.tapped[name]), tensors[name], "tensor")
    for name, array in outputs.items():
        check(name, array, wanted[name], "output")
    return Comparison(
        difference is None, tuple(dict.fromkeys(compared)), dict(compiled.fused), difference
    )


def _uncarried(prepared: Prepared) -> list[str]:
    """Outputs of which every frame's values are wanted, and not the last one's alone."""
    carried = prepared.state.values()
    return [name for name in prepared.compressed.graph.outputs if name not in carried]


def _reference(
    prepared: Prepared, keep: list[str] | None, *, quantized: bool
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Evaluate the float model, or the compressed graph, over the frames of each utterance."""
    found: list[dict[str, np.ndarray]] = []
    final: dict[str, np.ndarray] = {}
    for part in prepared.parts:
        tensors, final = evaluate_stream(
            prepared.compressed.graph,
            {name: array[part] for name, array in prepared.frames.items()},
            prepared.state,
            prepared.initial_state,
            prepared.compressed if quantized else None,
            keep,
        )
        found.append(tensors)
    if len(found) == 1:
        return found[0], final
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}, final


def _final(
    tensors: Mapping[str, np.ndarray], final: Mapping[str, np.ndarray], prepared: Prepared
) -> dict[str, np.ndarray]:
    """Reference outputs in the form of `named_outputs`."""
    source_of = {target: source for source, target in prepared.state.items()}
    graph = prepared.compressed.graph
    result = {}
    for name in graph.outputs:
        if name in source_of:
            result[name] = final[source_of[name]].reshape(graph.types[name].shape)
        else:
            result[name] = tensors[name] if prepared.stream.frames > 1 else tensors[name][0]
    return result
