"""Check: the outputs against the float model, and every tensor against the evaluator."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping

import numpy as np

from azsim.compiler.compile import Compiled
from azsim.evaluate import Watch, watch_nothing, watch_stream
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
    tensors, final = _reference(prepared, watch_nothing, (), quantized=False)
    return _final(tensors, final, prepared)


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


class _Differences:
    """Counts what differs in a tensor; the first value that does is kept."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._size = self._wrong = 0
        self._first = ""

    def look(self, found: np.ndarray, expected: np.ndarray, *frame: int) -> None:
        """Compare as stored bytes; `frame` is where in the tensor this is."""
        dtype = found.dtype.newbyteorder("<")
        left = np.ascontiguousarray(found, dtype)
        right = np.ascontiguousarray(expected, dtype).reshape(left.shape)
        self._size += left.size
        if left.tobytes() == right.tobytes():
            return
        bits = f"<u{dtype.itemsize}"
        wrong = left.view(bits).reshape(-1) != right.view(bits).reshape(-1)
        if not self._wrong:
            at = int(np.argmax(wrong))
            place = (*frame, *(int(i) for i in np.unravel_index(at, left.shape)))
            simulated, wanted = left.reshape(-1)[at], right.reshape(-1)[at]
            self._first = f"first at {place}: simulated {simulated!r}, expected {wanted!r}"
        self._wrong += int(wrong.sum())

    def sentence(self) -> str | None:
        """Say what differs; None if nothing does."""
        if not self._wrong:
            return None
        return f"{self._what} differs in {self._wrong} of {self._size} values, {self._first}"


def compare(
    execution: Execution,
    outputs: Mapping[str, np.ndarray],
    prepared: Prepared,
    compiled: Compiled,
) -> Comparison:
    """Compare simulator and evaluator as stored bytes, in the order of computation.

    Tensors are compared as the evaluator makes them, so that only the simulator's are all there at
    once.
    """
    graph, tapped = prepared.compressed.graph, execution.tapped
    tensors = {
        name: _Differences(f"tensor '{name}'")
        for name in graph.types
        if name in tapped and name not in graph.initializers
    }

    def watch(name: str, frame: int, array: np.ndarray) -> None:
        if name in tensors:
            tensors[name].look(tapped[name][frame], array, frame)

    expected = _final(*_reference(prepared, watch, tensors, quantized=True), prepared)
    found = {name: _Differences(f"output '{name}'") for name in outputs}
    for name, array in outputs.items():
        found[name].look(array, expected[name])
    sentences = [one.sentence() for one in (*tensors.values(), *found.values())]
    difference = next(filter(None, sentences), None)
    compared = tuple(dict.fromkeys([*tensors, *outputs]))
    return Comparison(difference is None, compared, dict(compiled.fused), difference)


def _uncarried(prepared: Prepared) -> list[str]:
    """Outputs of which every frame's values are wanted, and not the last one's alone."""
    carried = prepared.state.values()
    return [name for name in prepared.compressed.graph.outputs if name not in carried]


def _reference(
    prepared: Prepared, watch: Watch, keep: Iterable[str], *, quantized: bool
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Evaluate the float model, or the compressed graph, over the frames of each utterance.

    `watch` is shown the tensors of `keep`; outputs of all frames, and final state, are returned.
    """
    per_frame: dict[str, list[np.ndarray]] = {name: [] for name in _uncarried(prepared)}
    final: dict[str, np.ndarray] = {}
    first = 0

    def see(name: str, frame: int, array: np.ndarray) -> None:
        if name in per_frame:
            per_frame[name].append(array.copy())
        watch(name, first + frame, array)

    for part in prepared.parts:
        first = part.start
        final = watch_stream(
            prepared.compressed.graph,
            {name: array[part] for name, array in prepared.frames.items()},
            prepared.state,
            prepared.initial_state,
            see,
            prepared.compressed if quantized else None,
            {*keep, *per_frame},
        )
    return {name: np.stack(arrays) for name, arrays in per_frame.items()}, final


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
