"""The table of contents: from a workload to its result, step by step.

Each step is a function from values to values; `run` shows them in order.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np

from azsim.compiler.bounds import engine_bounds
from azsim.compiler.compile import Compiled, Observe, compile_graph, necessary_steps
from azsim.compiler.parameters import parameter_room_bytes, place_parameters
from azsim.compiler.regions import Decision, Passed, decisions_of_frames, passed_leaves
from azsim.errors import CodecError, CompileError, ConfigError, MachineError
from azsim.frontend.workload import Workload, load_workload
from azsim.hardware import load_hardware
from azsim.hardware.description import Hardware
from azsim.hardware.plan import planned_hardware
from azsim.inputs.tensors import read_npz
from azsim.machine.trace import Trace
from azsim.resources import DEFAULT_HARDWARE
from azsim.sim.execute import execute
from azsim.sim.explanation import Explanation
from azsim.sim.kernel_result import KernelResult
from azsim.sim.races import check_races
from azsim.sim.result import (
    Bounds,
    DecisionCheck,
    FrontEndFigures,
    OutputCheck,
    RunResult,
    WeightFigures,
)
from azsim.sim.statistics import Statistics, measure
from azsim.sim.timing import replay
from azsim.sim.words import WordCheck
from azsim.stages import record
from azsim.stages.budgets import check_expectations
from azsim.stages.check import (
    check_decisions,
    check_outputs,
    compare,
    float_outputs,
    named_outputs,
)
from azsim.stages.decide import Rule, read_rules
from azsim.stages.export import export_arrays, export_onnx
from azsim.stages.kernel import load_kernel
from azsim.stages.keys import StageKeys
from azsim.stages.model import load_graph, load_model
from azsim.stages.prepare import Prepared, compress_model, compress_workload, prepare
from azsim.stages.prove import prove
from azsim.stages.reuse import NO_REUSE, Reuse, StageCache
from azsim.stages.transcribe import Reading, check_words, read_transcript

__all__ = [
    "Prepared",
    "check_expectations",
    "compile_workload",
    "compress_model",
    "compress_workload",
    "export_arrays",
    "export_onnx",
    "load_graph",
    "load_model",
    "prepare",
    "run",
    "run_kernel",
]

_MOST_CHECKED_INSTRUCTIONS = 100_000
"""A longer run of a program by hand is not looked at for races: that takes 0.1 ms each."""

Progress = Callable[[str, int, int], None]
"""Called with a stage's name, what is done of it and how much there is."""


@contextmanager
def _stage(seconds: dict[str, float], progress: Progress | None, name: str) -> Iterator[None]:
    """Tell of a step, and note how long it takes."""
    if progress is not None:
        progress(name, 0, 1)
    begin = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - begin


def compile_workload(
    workload: Workload,
    hardware: Hardware | None = None,
    observe: Observe | None = None,
    preset: Hardware | None = None,
    *,
    proves: bool = True,
) -> Compiled:
    """Compile a workload for a chip (its own, unless another is given).

    Parameters
    ----------
    workload : Workload
    hardware : Hardware, optional
    observe : callable, optional
        Called after each pass of the compiler, with its name and its value.
    preset : Hardware, optional
        Chip whose timing values the compiler plans with, instead of `hardware`'s.
    proves : bool
        Check the program; without, that is left to the caller.

    Raises
    ------
    CompileError
        If the graph does not fit the chip, or a checker finds something in the program.
    """
    prepared = prepare(workload)
    chip = hardware or load_hardware(workload.hardware_reference)
    return _compile(workload, prepared, _planned(chip, preset), observe, proves=proves)


def _planned(hardware: Hardware, preset: Hardware | None) -> Hardware:
    return hardware if preset is None else planned_hardware(hardware, preset)


def _compile(
    workload: Workload,
    prepared: Prepared,
    hardware: Hardware,
    observe: Observe | None = None,
    *,
    proves: bool = True,
) -> Compiled:
    try:
        compiled = compile_graph(
            prepared.compressed,
            hardware,
            prepared.stream,
            prepared.state,
            workload.name,
            observe,
            len(prepared.parts),
        )
    except CompileError as error:
        sentences = [f"$.model: {sentence}" for sentence in str(error).splitlines()]
        located = workload.located(ConfigError(sentences)).problems
        raise CompileError("\n".join(located)) from None
    if proves:
        prove(compiled, hardware)
    return compiled


def run(
    workload: Workload | str | Path,
    hardware: Hardware | str | Path | None = None,
    *,
    preset: Hardware | str | Path | None = None,
    replan: bool = False,
    verify: bool = False,
    exact_timing: bool = False,
    explained: bool = False,
    timeline: bool = True,
    checked: bool = True,
    bounded: bool = True,
    observe: Observe | None = None,
    progress: Progress | None = None,
    cache: StageCache | None = None,
) -> RunResult:
    """Compress, compile, execute, time and measure a workload.

    Parameters
    ----------
    workload : Workload, str or path
        A text is read with `load_workload`.
    hardware : Hardware, str or path, optional
        A text is read with `load_hardware`; the workload's own by default.
    preset : Hardware, str or path, optional
        The chip that `hardware` was before its timing keys were changed: the compiler plans with
        its timing values, and the program that it would run is replayed under those of `hardware`.
    replan : bool
        Plan with the timing values of `hardware` all the same.
    verify : bool
        Also run the reference evaluator on the compressed graph and compare every tensor that
        exists on both sides.
    exact_timing : bool
        Time the run cycle by cycle, which takes hundreds of times longer; the fast model's
        cycles stand beside.
    explained : bool
        Also find out why weights lie where they do, what limits each layer and what would help:
        the run is timed again on chips with one other value.
    timeline : bool
        Keep the engines' events.
    checked : bool
        Prove the program and compare outputs with the float model; without, `output_checks` and
        `decisions` are empty and there are no `words`.  For many runs of one model, one of which is
        checked.
    bounded : bool
        Find the lower bounds on cycles, which takes longer than to time the run; `explained` needs
        them.
    observe : callable, optional
        Called after each pass of the compiler, with its name and its value.
    progress : callable, optional
        ``progress(stage, done, total)``.
    cache : StageCache, optional
        Where results of stages come from and go to, for many runs that share some.  Taps are not
        kept, so it is of no use with `verify`.

    Raises
    ------
    AzsimError
        For bad input, a graph that does not fit, or a program that does what it must not.
    """
    if not isinstance(workload, Workload):
        workload = load_workload(workload)
    seconds: dict[str, float] = {}
    stage = functools.partial(_stage, seconds, progress)
    with stage("prepare"):
        chip = hardware or workload.hardware_reference
        chip = chip if isinstance(chip, Hardware) else load_hardware(chip)
        if preset is not None and not isinstance(preset, Hardware):
            preset = load_hardware(preset)
        planned = _planned(chip, None if replan else preset)
        reuse = NO_REUSE
        if cache is not None and not verify:
            reuse = cache.of(StageKeys(workload, planned, chip))
        prepared = prepare(workload, reuse)
        rules = read_rules(workload, prepared)
        reading = read_transcript(workload, prepared)
    with stage("compile"):
        compiled = reuse.value(
            "program",
            lambda: _compile(workload, prepared, planned, observe, proves=checked),
            checked,
        )
    with stage("execute"):
        frames = prepared.stream.frames
        told = None if progress is None else functools.partial(_tell, progress, "execute", frames)
        execution = reuse.value(
            "execution",
            lambda: execute(
                compiled.program,
                compiled.image,
                chip,
                inputs=prepared.inputs,
                taps=verify,
                progress=told,
            ),
        )
    with stage("time"):
        timing = replay(execution.trace, compiled.program, chip)
    fast_cycles = None
    if exact_timing:
        # Few runs ask for it, and its kernels take a while to compile.
        from azsim.sim.exact import replay_exact

        with stage("step cycle by cycle"):
            fast_cycles = timing.cycles
            timing = replay_exact(execution.trace, compiled.program, chip)
    with stage("measure"):
        statistics = measure(execution.trace, timing, compiled.program, chip, prepared.chunks)
    bounds, layer_bounds = None, {}
    if bounded or explained:
        with stage("bound"):
            bounds, layer_bounds = _bounds(
                compiled,
                prepared,
                chip,
                planned,
                statistics,
                record.array_cycles(execution.trace, timing, compiled, chip),
                passed_leaves(compiled.leaves, compiled.program, execution.trace),
                decisions_of_frames(compiled.leaves, compiled.program, execution.trace),
            )
    with stage("check outputs"):
        outputs = named_outputs(execution, prepared)
        checks, decisions, words = (
            _checks(outputs, prepared, rules, reading, reuse) if checked else ({}, {}, None)
        )
    comparison = None
    if verify:
        with stage("verify"):
            comparison = compare(execution, outputs, prepared, compiled)
    explanation = None
    if explained:
        with stage("explain"):
            explanation = _explain(
                workload, prepared, compiled, execution.trace, chip, planned, layer_bounds, progress
            )
    events = None
    if timeline:
        events = record.timeline(execution.trace, timing, compiled.program, chip)
    return RunResult(
        workload=workload.name,
        hardware=chip.name,
        clock_hz=chip.clock_hz,
        statistics=statistics,
        known_bounds=bounds,
        layer_bounds=layer_bounds,
        weights=tuple(WeightFigures(**asdict(weight)) for weight in compiled.weights),
        sram_peak_bytes=record.sram_peak_bytes(compiled),
        sram_capacity_bytes=record.sram_capacity_bytes(chip),
        sram_map=record.sram_map(compiled),
        outputs=outputs,
        output_checks=checks,
        decisions=decisions,
        words=words,
        carried=tuple(prepared.state.values()),
        comparison=comparison,
        provenance=record.provenance(workload, chip, planned, prepared, compiled, seconds),
        notes=record.notes(prepared, compiled, chip, planned),
        events=events,
        fast_cycles=fast_cycles,
        weight_read_bytes_planned=compiled.weight_traffic.total_bytes,
        explanation=explanation,
        front_end=prepared.front_end and FrontEndFigures(**asdict(prepared.front_end)),
    )


def _explain(
    workload: Workload,
    prepared: Prepared,
    compiled: Compiled,
    trace: Trace,
    chip: Hardware,
    planned: Hardware,
    layer_bounds: Mapping[str, Bounds],
    progress: Progress | None,
) -> Explanation:
    """Explain a run by the fast model, as other chips are timed with that."""
    from azsim.stages.explain import explain

    def again(other: Hardware) -> tuple[Compiled, Trace]:
        anew = _compile(workload, prepared, other)
        return anew, execute(anew.program, anew.image, other, inputs=prepared.inputs).trace

    timing = replay(trace, compiled.program, chip)
    statistics = measure(trace, timing, compiled.program, chip, prepared.chunks)
    return explain(
        compiled,
        trace,
        timing,
        chip,
        planned,
        statistics,
        layer_bounds,
        again,
        lambda done, total: None if progress is None else progress("explain", done, total),
    )


def run_kernel(
    path: str | Path,
    data: Mapping[str, np.ndarray] | str | Path | None = None,
    hardware: Hardware | str | Path = DEFAULT_HARDWARE,
    *,
    exact_timing: bool = False,
    timeline: bool = True,
    progress: Progress | None = None,
) -> KernelResult:
    """Assemble, execute, time and measure a program written by hand.

    Parameters
    ----------
    path : str or path
        Assembly text (``.azs``), or a program file (``.npz``).
    data : mapping of str to ndarray, str or path, optional
        Arrays by the names of the inputs and weights that the program declares, or an npz file of
        them.  f32 inputs are float32; others, and weights' codes, any integers that fit.
    hardware : Hardware, str or path
        A text is read with `load_hardware`.
    exact_timing, timeline, progress
        As for `run`.

    Returns
    -------
    KernelResult

    Raises
    ------
    AzsimError
        For bad text, bad data, or a program that does what it must not, each with the place in
        the text.
    """
    chip = hardware if isinstance(hardware, Hardware) else load_hardware(hardware)
    seconds: dict[str, float] = {}
    stage = functools.partial(_stage, seconds, progress)
    with stage("assemble"):
        is_file = isinstance(data, str | Path)
        arrays = read_npz(Path(data)) if is_file else data
        kernel = load_kernel(Path(path), arrays, str(data) if is_file else "the data", chip)
    program = kernel.program
    try:
        with stage("execute"):
            execution = execute(program, kernel.image, chip)
        with stage("time"):
            timing = replay(execution.trace, program, chip)
        fast_cycles = None
        if exact_timing:
            from azsim.sim.exact import replay_exact  # as in `run`

            with stage("step cycle by cycle"):
                fast_cycles = timing.cycles
                timing = replay_exact(execution.trace, program, chip)
    except (MachineError, CodecError) as error:
        raise kernel.located_error(error) from None
    with stage("measure"):
        statistics = measure(execution.trace, timing, program, chip)
    races, notes = None, kernel.notes
    if timing.issued_instructions > _MOST_CHECKED_INSTRUCTIONS:
        many = f"more than {_MOST_CHECKED_INSTRUCTIONS:,} executed instructions"
        notes = (*notes, f"races were not looked for in {many}; azsim check does")
    else:
        with stage("check races"):
            races = tuple(map(kernel.located, check_races(program, execution.trace)))
    return KernelResult(
        name=kernel.name,
        hardware=chip.name,
        clock_hz=chip.clock_hz,
        statistics=statistics,
        outputs={
            port.name: execution.outputs[port.name]
            if port.frames != 1
            else execution.outputs[port.name][0]
            for port in program.outputs
        },
        races=races,
        blocks=kernel.blocks,
        instructions=len(program.instructions),
        executed_instructions=timing.issued_instructions,
        provenance=record.kernel_provenance(program, kernel.image, chip, seconds),
        notes=notes,
        events=record.timeline(execution.trace, timing, program, chip) if timeline else None,
        fast_cycles=fast_cycles,
    )


_Checks = tuple[dict[str, OutputCheck], dict[str, DecisionCheck], WordCheck | None]


def _tell(progress: Progress, name: str, total: int, done: int) -> None:
    progress(name, done, total)


def _checks(
    outputs: Mapping[str, np.ndarray],
    prepared: Prepared,
    rules: Mapping[str, Rule],
    reading: Reading | None,
    reuse: Reuse,
) -> _Checks:
    def make() -> _Checks:
        wanted = reuse.value("reference", lambda: float_outputs(prepared))
        return (
            check_outputs(outputs, wanted),
            check_decisions(outputs, wanted, rules),
            check_words(outputs, wanted, reading) if reading is not None else None,
        )

    return reuse.value("accuracy", make, rules, reading)


def _bounds(
    compiled: Compiled,
    prepared: Prepared,
    hardware: Hardware,
    planned: Hardware,
    statistics: Statistics,
    array_cycles: Mapping[str, float],
    passed: Mapping[int, Passed],
    decided: Sequence[tuple[Decision, ...]],
) -> tuple[Bounds, dict[str, Bounds]]:
    lowering = necessary_steps(compiled.compressed, planned)
    bounds, layers = engine_bounds(
        lowering,
        hardware,
        compiled.program.stream,
        prepared.state,
        4 * place_parameters(lowering, parameter_room_bytes(lowering, planned)).values.size,
        array_cycles,
        frames_are_apart=prepared.stream.paced and statistics.deadline_misses == 0,
        passed=passed,
        decided=decided,
    )
    return Bounds(**asdict(bounds)), {name: Bounds(**asdict(part)) for name, part in layers.items()}
