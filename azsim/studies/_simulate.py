"""What a study needs of the machine: a workload's frames, simulated once for each point."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from azsim.compiler.compile import compile_graph
from azsim.compression.compress import entropy_bits
from azsim.errors import InputError
from azsim.frontend.workload import load_workload
from azsim.frontend.workload_inputs import onnx_path
from azsim.hardware import load_hardware
from azsim.pipeline import prepare
from azsim.sim.execute import execute, write_inputs
from azsim.sim.statistics import Statistics, measure
from azsim.sim.timing import replay

__all__ = ["Simulated", "Yardstick", "errors", "float_answers", "read_files", "simulate"]


@dataclass(frozen=True)
class Simulated:
    """One workload on one chip.

    Attributes
    ----------
    output : ndarray of shape (T,), float32
        The graph output that was asked for, one value a frame.
    statistics : Statistics or None
        None unless the run was timed.
    stored_bits, zeros, entropy_bits : float
        Of all weight matrices together: bits per weight in DRAM, scales, tables and headers
        included; share of zero codes; order-0 entropy of the codes, bits per weight.
    """

    output: np.ndarray
    statistics: Statistics | None
    stored_bits: float
    zeros: float
    entropy_bits: float


@dataclass(frozen=True)
class Yardstick:
    """What onnxruntime answers in float32.

    Attributes
    ----------
    output : ndarray of shape (T,), float32
    files : mapping of str to str
        sha256 of the model and the input.
    """

    output: np.ndarray
    files: Mapping[str, str]


def simulate(
    workload: str, hardware: str, overrides: Iterable[str], output: str, *, timed: bool
) -> Simulated:
    """Compress, compile and execute a workload; also time it if asked for.

    The float model, bounds and timeline of `azsim.pipeline.run` are left out: a study runs
    hundreds of points.
    """
    loaded = load_workload(workload, overrides)
    chip = load_hardware(hardware)
    prepared = prepare(loaded)
    compiled = compile_graph(
        prepared.compressed, chip, prepared.stream, prepared.state, loaded.name
    )
    inputs = {**prepared.frames, **prepared.initial_state}
    execution = execute(
        compiled.program, write_inputs(compiled.program, compiled.image, inputs), chip
    )
    statistics = None
    if timed:
        timing = replay(execution.trace, compiled.program, chip)
        statistics = measure(execution.trace, timing, compiled.program, chip)
    weights = compiled.weights
    count = sum(weight.weights for weight in weights)
    codes = {name: weight.codes for name, weight in prepared.compressed.weights.items()}
    return Simulated(
        output=execution.outputs[output].reshape(-1),
        statistics=statistics,
        stored_bits=8
        * sum(weight.encoded_bytes + weight.scale_bytes for weight in weights)
        / count,
        zeros=sum(weight.zeros for weight in weights) / count,
        entropy_bits=sum(entropy_bits(code) * code.size for code in codes.values()) / count,
    )


def float_answers(workload: str, output: str) -> Yardstick:
    """Run the workload's float model over all frames in onnxruntime, in one call.

    Raises
    ------
    InputError
        If onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(
            "this study compares with onnxruntime, which is not installed; "
            "pip install onnxruntime, or azsim[test]"
        ) from error
    loaded = load_workload(workload)
    prepared = prepare(loaded)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.use_deterministic_compute = True
    session = onnxruntime.InferenceSession(str(onnx_path(loaded)), options)
    frames = {
        name: array.reshape(len(array), *prepared.compressed.graph.inputs[name].shape[1:])
        for name, array in prepared.frames.items()
    }
    (answers,) = session.run([output], {**frames, **prepared.initial_state})
    return Yardstick(np.asarray(answers).reshape(-1), prepared.files)


def read_files(workload: str) -> Mapping[str, str]:
    """Return the sha256 of every file that a workload reads."""
    return prepare(load_workload(workload)).files


def errors(found: np.ndarray, wanted: np.ndarray, threshold: float) -> dict[str, float]:
    """Compare probabilities frame by frame.

    Parameters
    ----------
    found, wanted : ndarray of shape (T,)
    threshold : float
        A frame's decision is whether its probability is above this.

    Returns
    -------
    dict of str to float
        ``mean``, ``p99`` and ``max`` of the absolute differences; ``agreement``, the share of
        frames with the same decision, and ``positive``, the share that `found` decides for.
    """
    difference = np.abs(found.astype(np.float64) - wanted.astype(np.float64))
    decided = found > threshold
    return {
        "mean": float(difference.mean()),
        "p99": float(np.percentile(difference, 99)),
        "max": float(difference.max()),
        "agreement": float(np.mean(decided == (wanted > threshold))),
        "positive": float(decided.mean()),
    }
