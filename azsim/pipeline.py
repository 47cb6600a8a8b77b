"""The table of contents: from a workload to its result, step by step.

Each step is a function from values to values; `run` shows them in order.
"""

from __future__ import annotations

import hashlib
import json
import math
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import TYPE_CHECKING

import numpy as np

from azsim.compiler.bounds import engine_bounds
from azsim.compiler.compile import Compiled, compile_graph
from azsim.compiler.order import place_parameters
from azsim.compression.compress import compress, dequantize
from azsim.compression.scheme import ResolvedRule, resolve
from azsim.errors import ConfigError, InputError
from azsim.evaluate import activation_statistics, evaluate_stream
from azsim.frontend.inline import build_inline
from azsim.frontend.onnx_import import (
    input_names_and_shapes,
    load_onnx,
    replace_initializers,
)
from azsim.frontend.workload import (
    GraphModel,
    Workload,
    calibration_arrays,
    input_arrays,
    onnx_path,
)
from azsim.hardware import load_hardware
from azsim.hardware.description import Hardware
from azsim.ir import CompressedGraph, CompressedWeight, Graph, TensorType
from azsim.isa.program import Stream
from azsim.machine.engines.clock import ENGINES
from azsim.machine.trace import Trace
from azsim.ops.build import lower_graph, operators, weight_matrices
from azsim.sim.execute import Execution, execute, write_inputs
from azsim.sim.result import (
    Bounds,
    Comparison,
    OutputCheck,
    RunResult,
    Timeline,
    WeightFigures,
)
from azsim.sim.statistics import measure
from azsim.sim.timing import Timing, replay

if TYPE_CHECKING:
    from azsim.frontend.workload import Stream as StreamSpec
    from azsim.inputs.spec import Inputs

__all__ = [
    "Prepared",
    "check_expectations",
    "compile_workload",
    "compress_workload",
    "export_arrays",
    "export_onnx",
    "load_graph",
    "prepare",
    "run",
]

Progress = Callable[[str, int, int], None]
"""Called with a stage's name, what is done of it and how much there is."""


@dataclass(frozen=True)
class Prepared:
    """A workload ready to be compiled.

    Attributes
    ----------
    compressed : CompressedGraph
        One frame's graph with its weights compressed.
    frames : mapping of str to ndarray of shape (T, ...)
        Inputs that are not state, one entry a frame; T is 1 without a stream.
    state : mapping of str to str
        Carried tensors: graph input to graph output.
    initial_state : mapping of str to ndarray
        Zeros.
    stream : Stream
    files : mapping of str to str
        sha256 of every file that was read.
    """

    compressed: CompressedGraph
    frames: Mapping[str, np.ndarray]
    state: Mapping[str, str]
    initial_state: Mapping[str, np.ndarray]
    stream: Stream
    files: Mapping[str, str]


def load_graph(workload: Workload) -> Graph:
    """Read the workload's model, bound to one frame."""
    if isinstance(workload.model, GraphModel):
        return build_inline(
            workload.model.graph,
            str(workload.source.path),
            name=workload.name,
            folder=workload.folder,
        )
    path = onnx_path(workload)
    assert path is not None
    data = path.read_bytes()
    where = path.name
    shapes = {}
    stream = workload.stream
    for name, shape in input_names_and_shapes(data, where).items():
        axis = stream.time_axis.get(name) if stream else None
        if axis is not None and axis < len(shape) and isinstance(shape[axis], str):
            shapes[name] = tuple(1 if i == axis else n for i, n in enumerate(shape))
    bound = {
        name: tuple(int(length) for length in shape)
        for name, shape in shapes.items()
        if all(isinstance(length, int) for length in shape)
    }
    return load_onnx(data, bound, where)


def compress_workload(workload: Workload) -> CompressedGraph:
    """Read the model, prune and quantize its weights."""
    return _compress(workload, load_graph(workload))


def _compress(workload: Workload, graph: Graph) -> CompressedGraph:
    matrices = weight_matrices(graph)
    try:
        rules = resolve(workload.compression, list(matrices))
    except ConfigError as error:
        raise workload.located(error) from None
    maxima = powers = None
    if workload.calibration is not None and any(map(_is_calibrated, rules.values())):
        inputs = calibration_arrays(workload, graph.inputs)
        if inputs is not None:
            state = _state(workload.stream, graph)
            maxima, powers = activation_statistics(
                graph, _frames(workload, graph, inputs), state, _zeros(graph, state)
            )
    return CompressedGraph(graph, compress(matrices, rules, maxima, powers))


def _is_calibrated(rule: ResolvedRule) -> bool:
    """Whether the calibration input changes what becomes of a matrix."""
    return rule.activation_scale == "static" or rule.prune_method == "rate_distortion"


def prepare(workload: Workload) -> Prepared:
    """Do everything that does not depend on the hardware."""
    graph = load_graph(workload)
    state = _state(workload.stream, graph)
    inputs = input_arrays(workload, graph.inputs)
    frames = _frames(workload, graph, inputs)
    count = len(next(iter(frames.values()))) if frames else 1
    stream = Stream(
        frames=count,
        period_s=inputs.period_s if workload.stream else None,
        paced=workload.stream is not None and workload.stream.arrival == "paced",
    )
    if stream.paced and stream.period_s is None:
        raise InputError(
            f"{workload.source.path}: $.stream.arrival: 'paced' needs an input with a frame rate "
            "(audio, or period_s)"
        )
    files = {**workload.source.schemes, **inputs.files}
    if (path := onnx_path(workload)) is not None:
        files[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return Prepared(_compress(workload, graph), frames, state, _zeros(graph, state), stream, files)


def _state(stream: StreamSpec | None, graph: Graph) -> dict[str, str]:
    if stream is None:
        return {}
    if stream.chunk_frames != 1:
        raise InputError(
            f"$.stream.chunk_frames: found {stream.chunk_frames}; only 1 is supported: scales are "
            "computed for one frame, never across frames"
        )
    problems = [
        f"$.stream.state.{source}: '{target}' is no graph output; outputs: "
        + ", ".join(graph.outputs)
        for source, target in stream.state.items()
        if target not in graph.outputs
    ] + [
        f"$.stream.state.{source}: {graph.types[source]} cannot take {graph.types[target]}"
        for source, target in stream.state.items()
        if source in graph.types
        and target in graph.outputs
        and graph.types[source].num_elements != graph.types[target].num_elements
    ]
    if problems:
        raise InputError("\n".join(problems))
    return dict(stream.state)


def _zeros(graph: Graph, state: Mapping[str, str]) -> dict[str, np.ndarray]:
    return {name: np.zeros(graph.inputs[name].shape, np.float32) for name in state}


def _frames(workload: Workload, graph: Graph, inputs: Inputs) -> dict[str, np.ndarray]:
    """Cut inputs along their time axis: (T, ...) with one frame in each entry."""
    axes = workload.stream.time_axis if workload.stream else {}
    frames = {}
    for name, array in inputs.arrays.items():
        kind: TensorType = graph.inputs[name]
        if name in axes:
            frames[name] = np.moveaxis(array, axes[name], 0).reshape(-1, *kind.shape)
        else:
            frames[name] = array.reshape(1, *kind.shape)
    count = max((len(array) for array in frames.values()), default=1)
    return {
        name: array if len(array) == count else np.repeat(array, count, axis=0)
        for name, array in frames.items()
    }


def compile_workload(workload: Workload, hardware: Hardware | None = None) -> Compiled:
    """Compile a workload for a chip (its own, unless another is given)."""
    prepared = prepare(workload)
    chip = hardware or load_hardware(workload.hardware_reference)
    return _compile(workload, prepared, chip)


def _compile(workload: Workload, prepared: Prepared, hardware: Hardware) -> Compiled:
    return compile_graph(
        prepared.compressed, hardware, prepared.stream, prepared.state, workload.name
    )


def run(
    workload: Workload,
    hardware: Hardware | None = None,
    *,
    verify: bool = False,
    timeline: bool = True,
    progress: Progress | None = None,
) -> RunResult:
    """Compress, compile, execute, time and measure a workload.

    Parameters
    ----------
    workload : Workload
    hardware : Hardware, optional
        The workload's own by default.
    verify : bool
        Also run the reference evaluator on the compressed graph and compare every tensor that
        exists on both sides.
    timeline : bool
        Keep the engines' events.
    progress : callable, optional
        ``progress(stage, done, total)``.

    Raises
    ------
    AzsimError
        For bad input, a graph that does not fit, or a program that does what it must not.
    """
    seconds: dict[str, float] = {}
    tell = progress or (lambda stage, done, total: None)

    def timed(stage: str, begin: float) -> None:
        seconds[stage] = time.perf_counter() - begin

    begin = time.perf_counter()
    tell("compress", 0, 1)
    chip = hardware or load_hardware(workload.hardware_reference)
    prepared = prepare(workload)
    timed("prepare", begin)

    begin = time.perf_counter()
    tell("compile", 0, 1)
    compiled = _compile(workload, prepared, chip)
    timed("compile", begin)

    begin = time.perf_counter()
    frames = prepared.stream.frames
    image = write_inputs(
        compiled.program, compiled.image, {**prepared.frames, **prepared.initial_state}
    )
    execution = execute(
        compiled.program,
        image,
        chip,
        taps=verify,
        progress=None if progress is None else lambda done: progress("execute", done, frames),
    )
    timed("execute", begin)

    begin = time.perf_counter()
    tell("time", 0, 1)
    timing = replay(execution.trace, compiled.program, chip)
    statistics = measure(execution.trace, timing, compiled.program, chip)
    timed("time", begin)

    begin = time.perf_counter()
    lowering = lower_graph(compiled.compressed)
    parameters = place_parameters(lowering)
    bounds = engine_bounds(
        lowering,
        chip,
        prepared.stream,
        prepared.state,
        4 * parameters.values.size,
        statistics.ideal_mac_cycles,
    )
    timed("bounds", begin)

    begin = time.perf_counter()
    tell("check outputs", 0, 1)
    outputs = _named_outputs(execution, prepared)
    checks = _check_outputs(outputs, prepared)
    timed("float model", begin)
    comparison = None
    if verify:
        begin = time.perf_counter()
        tell("verify", 0, 1)
        comparison = _compare(execution, outputs, prepared, compiled)
        timed("verify", begin)
    allocation = compiled.allocation
    return RunResult(
        workload=workload.name,
        hardware=chip.name,
        clock_hz=chip.clock_hz,
        statistics=statistics,
        bounds=Bounds(**asdict(bounds)),
        weights=tuple(WeightFigures(**asdict(weight)) for weight in compiled.weights),
        sram_peak_bytes={
            memory: allocation.peak_bytes[memory] for memory in ("weight", "activation")
        },
        sram_capacity_bytes={
            "weight": chip.weight_sram.bytes,
            "activation": chip.activation_sram.bytes,
        },
        sram_map=tuple(
            (entry.space, entry.name, entry.start_bytes, entry.size_bytes, entry.first, entry.last)
            for entry in compiled.program.regions
            if entry.space != "dram"
        ),
        outputs=outputs,
        output_checks=checks,
        comparison=comparison,
        provenance=_provenance(workload, chip, prepared, compiled, seconds),
        notes=_notes(prepared, compiled),
        events=_timeline(execution.trace, timing, compiled) if timeline else None,
    )


def _named_outputs(execution: Execution, prepared: Prepared) -> dict[str, np.ndarray]:
    """Outputs by graph name; the first axis is the frame where there are frames."""
    per_frame = prepared.stream.frames > 1
    carried = set(prepared.state.values())
    return {
        name: array if per_frame and name not in carried else array[0]
        for name, array in execution.outputs.items()
    }


def _reference(
    prepared: Prepared, keep: list[str] | None, *, quantized: bool
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Evaluate the float model, or the compressed graph, over all frames."""
    return evaluate_stream(
        prepared.compressed.graph,
        prepared.frames,
        prepared.state,
        prepared.initial_state,
        prepared.compressed if quantized else None,
        keep,
    )


def _final(
    tensors: Mapping[str, np.ndarray], final: Mapping[str, np.ndarray], prepared: Prepared
) -> dict[str, np.ndarray]:
    """Reference outputs in the form of `_named_outputs`."""
    source_of = {target: source for source, target in prepared.state.items()}
    graph = prepared.compressed.graph
    result = {}
    for name in graph.outputs:
        if name in source_of:
            result[name] = final[source_of[name]].reshape(graph.types[name].shape)
        else:
            result[name] = tensors[name] if prepared.stream.frames > 1 else tensors[name][0]
    return result


def _check_outputs(outputs: Mapping[str, np.ndarray], prepared: Prepared) -> dict[str, OutputCheck]:
    wanted = _final(
        *_reference(prepared, list(prepared.compressed.graph.outputs), quantized=False), prepared
    )
    checks = {}
    for name, array in outputs.items():
        signal = wanted[name].astype(np.float64)
        error = array.astype(np.float64) - signal
        noise, power = float((error**2).sum()), float((signal**2).sum())
        checks[name] = OutputCheck(
            sha256=hashlib.sha256(np.ascontiguousarray(array, "<f4").tobytes()).hexdigest(),
            sqnr_db=10 * math.log10(power / noise) if noise > 0 and power > 0 else None,
            max_abs_error=float(np.abs(error).max(initial=0.0)),
        )
    return checks


def _compare(
    execution: Execution,
    outputs: Mapping[str, np.ndarray],
    prepared: Prepared,
    compiled: Compiled,
) -> Comparison:
    """Compare simulator and evaluator as stored bytes, in the order of computation."""
    tensors, final = _reference(prepared, None, quantized=True)
    wanted = _final(tensors, final, prepared)
    compared: list[str] = []
    difference: str | None = None

    def check(name: str, found: np.ndarray, expected: np.ndarray, what: str) -> None:
        nonlocal difference
        compared.append(name)
        left = np.ascontiguousarray(found, "<f4")
        right = np.ascontiguousarray(expected, "<f4").reshape(left.shape)
        if difference is None and left.tobytes() != right.tobytes():
            wrong = left.view("<u4").reshape(-1) != right.view("<u4").reshape(-1)
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


def _timeline(trace: Trace, timing: Timing, compiled: Compiled) -> Timeline:
    program = compiled.program
    mnemonics = sorted({site.mnemonic for site in trace.sites})
    mnemonic = np.array([mnemonics.index(site.mnemonic) for site in trace.sites])
    index = np.array([site.index for site in trace.sites])[timing.site]
    keep = timing.engine < len(ENGINES)
    return Timeline(
        engine=timing.engine[keep],
        engines=ENGINES,
        mnemonic=tuple(mnemonics),
        layer=program.layers,
        mnemonic_of=mnemonic[timing.site][keep],
        layer_of=np.array(program.layer_of)[index][keep],
        start=timing.start[keep],
        end=timing.end[keep],
    )


def _notes(prepared: Prepared, compiled: Compiled) -> tuple[str, ...]:
    notes = []
    chosen = {name: weight.codec.name for name, weight in compiled.compressed.weights.items()}
    replaced = [weight for weight in compiled.weights if weight.codec != chosen[weight.name]]
    if replaced:
        names = ", ".join(sorted({chosen[weight.name] for weight in replaced}))
        notes.append(
            f"{len(replaced)} tensors ask for {names}, which this chip cannot decode; "
            "its image holds raw"
        )
    split = [name for name, weight in prepared.compressed.weights.items() if _is_split(weight)]
    if split:
        notes.append(f"K is split so that int32 holds every sum: {', '.join(split)}")
    return tuple(notes)


def _is_split(weight: CompressedWeight) -> bool:
    """Whether K was cut because one int32 accumulator could not be proven to hold the sum."""
    return weight.scale_kind != "per_group" and len(weight.segments) > 2


def _provenance(
    workload: Workload,
    hardware: Hardware,
    prepared: Prepared,
    compiled: Compiled,
    seconds: Mapping[str, float],
) -> dict[str, object]:
    image = compiled.image.data
    return {
        "workload": {
            "name": workload.name,
            "file": workload.source.path.name,
            "sha256": workload.source.sha256,
            "overrides": list(workload.source.overrides),
        },
        "hardware": asdict(hardware),
        "files_sha256": dict(prepared.files),
        "frames": prepared.stream.frames,
        "program_instructions": len(compiled.program.instructions),
        "dram_image_sha256": hashlib.sha256(image.tobytes()).hexdigest(),
        "versions": {
            "azsim": _version("azsim"),
            "numpy": np.__version__,
            "numba": _version("numba"),
            "python": platform.python_version(),
        },
        "wall_clock_s": {stage: round(value, 4) for stage, value in seconds.items()},
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"


# ------------------------------------------------------------------------- export, budgets


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
        raise InputError(
            f"{workload.source.path}: the model is written inline; export it to .npz instead"
        )
    return replace_initializers(path.read_bytes(), export_arrays(workload), path.name)


def check_expectations(workload: Workload, result: RunResult) -> list[str]:
    """Return a sentence for each budget of the workload's `expect` that the run breaks."""
    expect = workload.expect
    if expect is None or expect.hardware not in (None, result.hardware):
        return []
    summary = dict(result.summary)
    ratios = [c.sqnr_db for c in result.output_checks.values() if c.sqnr_db is not None]
    summary["output_sqnr_db"] = min(ratios, default=math.inf)
    summary["output_max_abs_error"] = max(
        (check.max_abs_error for check in result.output_checks.values()), default=0.0
    )
    broken = []
    for key, bound in expect.bounds().items():
        value = summary[key]
        if not isinstance(value, int | float):
            broken.append(f"{key} is not known for this run, and a limit is set for it")
        elif bound.min is not None and value < bound.min:
            broken.append(f"{key} is {value:,}, expected at least {bound.min:,}")
        elif bound.max is not None and value > bound.max:
            broken.append(f"{key} is {value:,}, expected at most {bound.max:,}")
    if expect.baseline is not None:
        broken += _against_baseline(workload, expect.baseline, result)
    return broken


def _against_baseline(workload: Workload, baseline: str, result: RunResult) -> list[str]:
    """Compare cycles, traffic and output bits with an earlier summary."""
    path = workload.folder / baseline
    try:
        before = json.loads(path.read_text())
        keys = ("cycles", "dram_read_bytes", "dram_write_bytes")
        old = {key: int(before[key]) for key in keys}
        bits = {name: entry["sha256"] for name, entry in before["outputs"].items()}
    except OSError as error:
        raise InputError(f"$.expect.baseline: {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"$.expect.baseline: {path}: not a summary.json of azsim") from error
    broken = [
        f"{key} is {result.summary[key]:,}, the baseline has {value:,}"
        for key, value in old.items()
        if int(str(result.summary[key])) > value
    ]
    broken += [
        f"output '{name}' has other bits than the baseline"
        for name, check in result.output_checks.items()
        if bits.get(name) != check.sha256
    ]
    return broken
