"""azsim against onnxruntime on one minute of speech, side by side in one process.

Run as a script: ``python tests/bench/bench_vs_onnxruntime.py [--rounds N] [--json]``.  What is
measured, and what is not, stands in ``README.md`` beside this file.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from azsim.compiler.compile import Compiled, compile_graph
from azsim.evaluate import evaluate_stream
from azsim.frontend.workload import load_workload
from azsim.frontend.workload_inputs import onnx_path
from azsim.hardware import load_hardware
from azsim.hardware.description import Hardware
from azsim.ops.linear import FloatLinear
from azsim.pipeline import Prepared, prepare
from azsim.sim.execute import execute, write_inputs
from azsim.sim.statistics import measure
from azsim.sim.timing import replay

WORKLOAD, HARDWARE = "vad_silero_60s", "az1"
Run = Callable[[], Mapping[str, float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="rounds, default 5")
    parser.add_argument("--json", action="store_true", help="machine-readable output")
    arguments = parser.parse_args()
    workload, chip = load_workload(WORKLOAD), load_hardware(HARDWARE)
    prepared = prepare(workload)
    compiled = compile_graph(
        prepared.compressed, chip, prepared.stream, prepared.state, workload.name
    )
    path = onnx_path(workload)
    assert path is not None
    seconds = _alternate(
        {
            **_azsim_runs(prepared, compiled, chip),
            **_model_runs(path, prepared),
            **_matmul_runs(prepared),
        },
        max(arguments.rounds, 1),
    )
    period_s = prepared.stream.period_s
    assert period_s is not None
    report = _report(seconds, prepared.stream.frames * period_s)
    text = json.dumps(report, indent=2) if arguments.json else _text(report)
    sys.stdout.write(text + "\n")


def _alternate(runs: Mapping[str, Run], rounds: int) -> dict[str, list[float]]:
    """Run everything in turn, `rounds` times after one to warm up; seconds by name."""
    seconds: dict[str, list[float]] = {}
    for number in range(rounds + 1):
        for run in runs.values():
            for name, value in run().items():
                if number:
                    seconds.setdefault(name, []).append(value)
    return seconds


# -------------------------------------------------------------------------------------- azsim


def _azsim_runs(prepared: Prepared, compiled: Compiled, chip: Hardware) -> dict[str, Run]:
    program = compiled.program
    inputs = {**prepared.frames, **prepared.initial_state}

    def run() -> dict[str, float]:
        image = write_inputs(program, compiled.image, inputs)
        begin = time.perf_counter()
        execution = execute(program, image, chip)
        executed = time.perf_counter()
        measure(execution.trace, replay(execution.trace, program, chip), program, chip)
        timed = time.perf_counter()
        return {
            "azsim_execute": executed - begin,
            "azsim_time": timed - executed,
            "azsim": timed - begin,
        }

    return {"azsim": run}


# -------------------------------------------------------------------------------- onnxruntime


def _session(model: str | bytes, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _seconds(run: Callable[[], object]) -> float:
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def _model_runs(path: Path, prepared: Prepared) -> dict[str, Run]:
    """The float32 model: all frames in one call, and frame by frame with carried state."""
    kinds = prepared.compressed.graph.inputs
    frames = {
        name: array.reshape(len(array), *kinds[name].shape[1:])
        for name, array in prepared.frames.items()
    }
    count = prepared.stream.frames
    carried = list(prepared.state.items())
    other = [n for n in prepared.compressed.graph.outputs if n not in prepared.state.values()]
    wanted = [*other, *(target for _, target in carried)]

    def sequence(session: onnxruntime.InferenceSession) -> None:
        session.run(None, {**frames, **prepared.initial_state})

    def stream(session: onnxruntime.InferenceSession) -> None:
        state = dict(prepared.initial_state)
        for number in range(count):
            now = {name: array[number : number + 1] for name, array in frames.items()}
            results = session.run(wanted, {**now, **state})
            for (source, _), value in zip(carried, results[len(other) :], strict=True):
                state[source] = np.asarray(value)

    runs: dict[str, Run] = {}
    for threads in (1, 2):
        session = _session(str(path), threads)
        for name, run in (("sequence", sequence), ("stream", stream)):
            key = f"onnxruntime_{name}_{threads}t"
            runs[key] = lambda key=key, run=run, session=session: {
                key: _seconds(lambda: run(session))
            }
    return runs


def _matmul_runs(prepared: Prepared) -> dict[str, Run]:
    """MatMulInteger, uint8 activations x int8 weights, for the model's matrices as streamed."""
    rng = np.random.default_rng(0)
    rows = _rows_as_streamed(prepared)
    codes = {name: weight.codes for name, weight in prepared.compressed.weights.items()}
    model = _matmul_model(rows, codes)
    feeds = {
        f"a{number}": rng.integers(0, 256, (count, codes[name].shape[1])).astype(np.uint8)
        for number, (name, count) in enumerate(rows)
    }
    runs: dict[str, Run] = {}
    for threads in (1, 2):
        key = f"onnxruntime_matmul_integer_{threads}t"
        session = _session(model, threads)

        def run(session: onnxruntime.InferenceSession = session) -> None:
            for _ in range(prepared.stream.frames):
                session.run(None, feeds)

        runs[key] = lambda key=key, run=run: {key: _seconds(run)}
    return runs


def _rows_as_streamed(prepared: Prepared) -> list[tuple[str, int]]:
    """Every product of one frame, in order: the matrix, and how many rows meet it at once."""
    products: list[tuple[str, int]] = []

    class Recording(FloatLinear):
        def multiply(self, weight, codes, row_scales):
            products.append((weight, len(codes)))
            return super().multiply(weight, codes, row_scales)

    first = {name: array[:1] for name, array in prepared.frames.items()}
    with mock.patch("azsim.evaluate.FloatLinear", Recording):
        evaluate_stream(prepared.compressed.graph, first, prepared.state, prepared.initial_state)
    return products


def _matmul_model(rows: list[tuple[str, int]], codes: Mapping[str, np.ndarray]) -> bytes:
    """One graph with all products of a frame, so that a frame costs one call."""
    nodes, inputs, outputs, weights = [], [], [], []
    for number, (name, count) in enumerate(rows):
        n, k = codes[name].shape
        a, b, y = f"a{number}", f"b{number}", f"y{number}"
        nodes.append(helper.make_node("MatMulInteger", [a, b], [y]))
        inputs.append(helper.make_tensor_value_info(a, TensorProto.UINT8, (count, k)))
        outputs.append(helper.make_tensor_value_info(y, TensorProto.INT32, (count, n)))
        weights.append(numpy_helper.from_array(np.ascontiguousarray(codes[name].T), b))
    graph = helper.make_graph(nodes, "products", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return model.SerializeToString()


# ------------------------------------------------------------------------------------- report


def _report(seconds: Mapping[str, list[float]], audio_s: float) -> dict[str, object]:
    """Medians with their ranges, and azsim against the faster of one and two threads.

    A ratio is the median over the rounds of azsim's time over the yardstick's of the same round.
    """
    faster = {}
    for name in ("sequence", "stream", "matmul_integer"):
        keys = [f"onnxruntime_{name}_{threads}t" for threads in (1, 2)]
        faster[name] = min(keys, key=lambda key: statistics.median(seconds[key]))
    ratios = {
        f"azsim / {key}": [a / b for a, b in zip(seconds["azsim"], seconds[key], strict=True)]
        for key in faster.values()
    }
    key = faster["matmul_integer"]
    ratios[f"azsim_execute / {key}"] = [
        a / b for a, b in zip(seconds["azsim_execute"], seconds[key], strict=True)
    ]
    return {
        "workload": WORKLOAD,
        "hardware": HARDWARE,
        "audio_s": audio_s,
        "rounds": len(seconds["azsim"]),
        "seconds": {name: _spread(values) for name, values in seconds.items()},
        "times_faster_than_real_time": {
            name: _spread([audio_s / value for value in values]) for name, values in seconds.items()
        },
        "ratios": {name: _spread(values) for name, values in ratios.items()},
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 5),
        "min": round(min(values), 5),
        "max": round(max(values), 5),
    }


def _text(report: dict[str, Any]) -> str:
    what = f"{report['workload']} on {report['hardware']}, {report['audio_s']:.1f} s of audio"
    lines = [
        f"{what}; median of {report['rounds']} rounds (min..max)",
        "",
        f"{'':34} {'seconds':>26} {'times faster than real time':>32}",
    ]
    faster = report["times_faster_than_real_time"]
    for name, spread in report["seconds"].items():
        lines.append(f"{name:34} {_range(spread, 4):>26} {_range(faster[name], 0):>32}")
    lines += ["", "ratio of times, of the same round"]
    lines += [f"{name:52} {_range(spread, 2):>24}" for name, spread in report["ratios"].items()]
    return "\n".join(lines)


def _range(spread: Mapping[str, float], digits: int) -> str:
    low, middle, high = (f"{spread[key]:.{digits}f}" for key in ("min", "median", "max"))
    return f"{middle} ({low}..{high})"


if __name__ == "__main__":
    main()
