"""The models of full size against onnxruntime's integer products, each in a process of its own.

Run as a script: ``python tests/bench/bench_speech.py [workload ...] [--rounds N] [--json]``.  What
is measured stands in ``README.md`` beside this file.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from azsim.compiler.compile import Compiled, compile_graph
from azsim.frontend.workload import load_workload
from azsim.hardware import load_hardware
from azsim.hardware.description import Hardware
from azsim.machine.trace import Trace
from azsim.pipeline import prepare
from azsim.sim.execute import Execution, execute
from azsim.sim.statistics import measure
from azsim.sim.timing import replay
from azsim.stages.keys import StageKeys
from azsim.stages.reuse import StageCache

WORKLOADS, HARDWARE = ("speech_rnnt_mlperf", "ssm_mamba_130m"), "az1"
_KIBI, _MEGA = 1024, 1_000_000
_MOST_MEMORY_MB = 2_000
_MOST_RATIO = 3.0
"""More of either makes the script fail."""

_Products = tuple[tuple[str, int], ...]
"""Matrices that a frame is multiplied with, and with how many rows."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("workloads", nargs="*", default=WORKLOADS, help="default: both")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, default 5")
    parser.add_argument("--json", action="store_true", help="machine-readable output")
    arguments = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, max_tasks_per_child=1) as apart:
        rounds = [max(arguments.rounds, 1)] * len(arguments.workloads)
        reports = list(apart.map(_report, arguments.workloads, rounds))
    text = json.dumps(reports, indent=2) if arguments.json else "\n\n".join(map(_text, reports))
    sys.stdout.write(text + "\n")
    return int(any(map(_is_too_much, reports)))


def _is_too_much(report: Mapping[str, Any]) -> bool:
    ratios = [spread["median"] for name, spread in report["ratios"].items() if "azsim /" in name]
    return report["peak_memory_mb"] > _MOST_MEMORY_MB or max(ratios) > _MOST_RATIO


def _report(name: str, rounds: int) -> dict[str, Any]:
    chip = load_hardware(HARDWARE)
    workload = load_workload(name)
    begin = time.perf_counter()
    prepared = prepare(workload)
    ready = time.perf_counter()
    compiled = compile_graph(
        prepared.compressed, chip, prepared.stream, prepared.state, workload.name
    )
    done = time.perf_counter()
    seconds: dict[str, list[float]] = {}
    first = _azsim(prepared.inputs, compiled, chip, {})  # compiles kernels
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIBI / _MEGA
    yardstick = _Yardstick(compiled)
    executed, products, paths = [], [], []
    for inputs in _other_inputs(name, rounds):
        trace = _azsim(inputs, compiled, chip, seconds).trace
        executed.append(len(trace.sequence))
        products.append(yardstick.run(trace, seconds))
        paths.append(trace.path is first.trace.path)
        del trace
    del first, yardstick
    gc.collect()
    alone: dict[str, list[float]] = {}
    _azsim(prepared.inputs, compiled, chip, alone)
    return {
        "workload": name,
        "hardware": HARDWARE,
        "weights": sum(weight.weights for weight in compiled.weights),
        "frames": prepared.stream.frames,
        "executed_instructions": round(statistics.median(executed)),
        "products": round(statistics.median(products)),
        "rounds": rounds,
        "rounds_on_the_same_path": sum(paths),
        "peak_memory_mb": round(memory),
        "compression_s": round(ready - begin, 2),
        "compilation_s": round(done - ready, 2),
        "first_execution_s": round(alone["azsim_execute"][0], 3),
        "seconds": {key: _spread(values) for key, values in seconds.items()},
        "ratios": _ratios(seconds),
    }


def _other_inputs(name: str, count: int) -> list[dict[str, np.ndarray]]:
    """Make inputs that are like the workload's, and no two alike."""
    chip, cache = load_hardware(HARDWARE), StageCache()
    found = []
    for seed in range(1_000, 1_000 + count):
        workload = load_workload(name, [f"input.random.seed={seed}"])
        reuse = cache.of(StageKeys(workload, chip, chip))  # the model is the same for all
        found.append(prepare(workload, reuse).inputs)
    return found


def _azsim(
    inputs: Mapping[str, np.ndarray],
    compiled: Compiled,
    chip: Hardware,
    seconds: dict[str, list[float]],
) -> Execution:
    """Execute and time a run: from the first frame to the last."""
    program = compiled.program
    begin = time.perf_counter()
    execution = execute(program, compiled.image, chip, inputs=inputs)
    executed = time.perf_counter()
    timing = replay(execution.trace, program, chip)
    measure(execution.trace, timing, program, chip)
    timed = time.perf_counter()
    seconds.setdefault("azsim_execute", []).append(executed - begin)
    seconds.setdefault("azsim_time", []).append(timed - executed)
    seconds.setdefault("azsim", []).append(timed - begin)
    return execution


class _Yardstick:
    """MatMulInteger, uint8 activations x int8 weights, for each product that the run made.

    What the chip multiplies in tiles is one product here: a matrix as often as its first tile was
    multiplied, with as many rows at once.  All products of one kind of frame are one call.

    Parameters
    ----------
    compiled : Compiled
    """

    def __init__(self, compiled: Compiled) -> None:
        self._compiled = compiled
        self._codes = {name: weight.codes for name, weight in compiled.compressed.weights.items()}
        self._rng = np.random.default_rng(0)
        self._known: dict[tuple[_Products, int], tuple[onnxruntime.InferenceSession, dict]] = {}

    def run(self, trace: Trace, seconds: dict[str, list[float]]) -> int:
        """Make all products of a run, with one thread and with two; gives how many they are."""
        calls = _calls(trace, self._compiled)
        for threads in (1, 2):
            sessions = [(*self._session(products, threads), times) for products, times in calls]
            begin = time.perf_counter()
            for session, feeds, times in sessions:
                for _ in range(times):
                    session.run(None, feeds)
            spent = time.perf_counter() - begin
            seconds.setdefault(f"onnxruntime_matmul_integer_{threads}t", []).append(spent)
        return sum(
            rows * self._codes[name].size * times
            for products, times in calls
            for name, rows in products
        )

    def _session(
        self, products: _Products, threads: int
    ) -> tuple[onnxruntime.InferenceSession, dict[str, np.ndarray]]:
        """Make a session for a kind of frame, once, and run it once."""
        if (products, threads) not in self._known:
            feeds = {
                f"a{number}": self._rng.integers(0, 256, (rows, self._codes[name].shape[1])).astype(
                    np.uint8
                )
                for number, (name, rows) in enumerate(products)
            }
            session = _session(_model(products, self._codes), threads)
            session.run(None, feeds)
            self._known[products, threads] = session, feeds
        return self._known[products, threads]


def _calls(trace: Trace, compiled: Compiled) -> list[tuple[_Products, int]]:
    """Products (matrix, rows) of each kind of frame, and how many frames are of that kind.

    A matrix is multiplied as often as its first tile is; its tiles are known by the layer that
    multiplies them and by their codes.
    """
    program = compiled.program
    first_tile = _first_tiles(trace, compiled)
    frames: list[list[tuple[str, int]]] = [[]]
    for number, tile in zip(trace.sequence.tolist(), trace.tile_of.tolist(), strict=True):
        site = trace.sites[number]
        if site.paced and program.stream.frames > 1:
            frames.append([])
        if site.mnemonic == "mac_matmul" and tile in first_tile:
            frames[-1].append((first_tile[tile], site.views["src"].rows))
    kinds: dict[_Products, int] = {}
    for frame in frames:
        if frame:
            kinds[tuple(frame)] = kinds.get(tuple(frame), 0) + 1
    return list(kinds.items())


def _first_tiles(trace: Trace, compiled: Compiled) -> dict[int, str]:
    """Matrix of each tile that begins one: its codes are those of the matrix's first rows."""
    by_start: dict[bytes, list[tuple[int, np.ndarray]]] = {}
    for number, tile in enumerate(trace.tiles):
        by_start.setdefault(tile.codes[0, :8].tobytes(), []).append((number, tile.codes))
    found = {}
    for name, weight in compiled.compressed.weights.items():
        for number, codes in by_start.get(weight.codes[0, :8].tobytes(), ()):
            rows, columns = codes.shape
            fits = rows <= len(weight.codes) and columns <= weight.codes.shape[1]
            if fits and np.array_equal(codes, weight.codes[:rows, :columns]):
                found[number] = name
    return found


def _session(model: bytes, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _model(products: Sequence[tuple[str, int]], codes: Mapping[str, np.ndarray]) -> bytes:
    """One graph with all products of a frame, so that a frame costs one call."""
    nodes, inputs, outputs = [], [], []
    for number, (name, count) in enumerate(products):
        n, k = codes[name].shape
        a, y = f"a{number}", f"y{number}"
        nodes.append(helper.make_node("MatMulInteger", [a, name], [y]))
        inputs.append(helper.make_tensor_value_info(a, TensorProto.UINT8, (count, k)))
        outputs.append(helper.make_tensor_value_info(y, TensorProto.INT32, (count, n)))
    weights = [
        numpy_helper.from_array(np.ascontiguousarray(codes[name].T, np.int8), name)
        for name in dict(products)
    ]
    graph = helper.make_graph(nodes, "products", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return model.SerializeToString()


def _ratios(seconds: Mapping[str, list[float]]) -> dict[str, dict[str, float]]:
    """azsim's times over the faster of one and two threads, each of the same round."""
    keys = [key for key in seconds if key.startswith("onnxruntime")]
    faster = min(keys, key=lambda key: statistics.median(seconds[key]))
    return {
        f"{name} / {faster}": _spread(
            [a / b for a, b in zip(seconds[name], seconds[faster], strict=True)]
        )
        for name in ("azsim_execute", "azsim_time", "azsim")
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 4),
        "min": round(min(values), 4),
        "max": round(max(values), 4),
    }


def _text(report: Mapping[str, Any]) -> str:
    what = f"{report['workload']} on {report['hardware']}"
    executed = f"{report['executed_instructions']:,} instructions executed"
    spent = f"{report['compression_s']} s, compilation {report['compilation_s']} s"
    same = report["rounds_on_the_same_path"]
    lines = [
        f"{what}: {report['frames']} frames, {report['weights']:,} weights, {executed}",
        f"compression {spent}; peak memory with a run {report['peak_memory_mb']:,} MB",
        f"execution that decodes and translates all anew {report['first_execution_s']} s",
        f"each of {report['rounds']} rounds has an input of its own, {same} take the first path",
        f"yardstick: {report['products']:,} products and nothing else",
        "",
    ]
    for title in ("seconds", "ratios"):
        for name, spread in report[title].items():
            low, middle, high = (f"{spread[key]:.3f}" for key in ("min", "median", "max"))
            lines.append(f"{name:50} {middle:>8} ({low}..{high})")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
