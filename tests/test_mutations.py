"""Compiled programs with one thing changed: a checker finds it, or it changes nothing, or it shows.

Each mutant falls in one of four classes, and each class has to be met:

- *caught*: a checker finds something in the program alone, or names what it cannot prove of it
  (*not proved*), while it proves all of the program before;
- *stopped*: the machine stops, because of data alone (a number that is not finite, a block of
  weights that is none); nothing that a checker looks at;
- *nothing*: all tensors and outputs keep their bytes, and the walk of `check_races` over the trace,
  which shares no code with the checkers, finds no race either;
- *shown*: `verify`'s comparison with the evaluator names a first wrong tensor.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest

from azsim.errors import AzsimError, CodecError, MachineError
from azsim.evaluate import evaluate_stream
from azsim.hardware.description import Hardware
from azsim.isa.encode import decode_words, encode_program
from azsim.isa.program import DramImage, Instruction, Program
from azsim.machine.engines.clock import ENGINES
from azsim.machine.trace import Trace
from azsim.sim.checks import check_program, checkers
from azsim.sim.execute import execute, write_inputs
from azsim.sim.races import check_races
from compiled import MIXED_STATE, VARIANTS, execute_graph, frames_for, graph_of, mixed_graph, node
from graphs import compress, random_graph

# -------------------------------------------------------------------------------- programs


@dataclass(frozen=True)
class _Case:
    """A compiled program with its image, inputs in place, and what the evaluator says."""

    program: Program
    image: DramImage
    hardware: Hardware
    tensors: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]
    trace: Trace


def _case(graph, variant: str, frames, state, initial) -> _Case:
    hardware, compressed = VARIANTS[variant], compress(graph)
    ran = execute_graph(compressed, hardware, frames, state, initial, taps=True)
    program = ran.compiled.program
    tensors, _ = evaluate_stream(graph, dict(frames), dict(state), dict(initial), compressed)
    image = write_inputs(program, ran.compiled.image, {**frames, **initial})
    return _Case(program, image, hardware, tensors, ran.execution.outputs, ran.execution.trace)


def _mixed(variant: str, count: int) -> _Case:
    graph = mixed_graph()
    zeros = {name: np.zeros(graph.inputs[name].shape, np.float32) for name in MIXED_STATE}
    frames = frames_for(graph, count, 0, list(MIXED_STATE))
    return _case(graph, variant, frames, MIXED_STATE, zeros)


def _long_sums() -> _Case:
    """A product near the most that int32 holds, over many frames."""
    rng = np.random.default_rng(0)
    weights = {"w": rng.standard_normal((3, 400)).astype(np.float32)}
    graph = graph_of({"x": (1, 400)}, weights, [node("Gemm", ["x", "w"], "y", transB=1)], ("y",))
    hardware, compressed = VARIANTS["az1"], compress(graph, 8, 16)
    frames = frames_for(graph, 20)
    ran = execute_graph(compressed, hardware, frames, taps=True)
    tensors, _ = evaluate_stream(graph, dict(frames), {}, {}, compressed)
    image = write_inputs(ran.compiled.program, ran.compiled.image, dict(frames))
    execution = ran.execution
    return _Case(ran.compiled.program, image, hardware, tensors, execution.outputs, execution.trace)


def _random(seed: int, variant: str) -> _Case | None:
    graph = random_graph(seed)
    frames = {
        name: np.abs(array) + np.float32(0.1) for name, array in frames_for(graph, 3, seed).items()
    }
    try:
        return _case(graph, variant, frames, {}, {})
    except AzsimError:  # a value to be quantized is not finite
        return None


def _cases(count: int) -> list[_Case]:
    found = [_mixed(variant, 4) for variant in VARIANTS] + [_long_sums()]
    seeds = (case for seed in range(2 * count) for case in [_random(seed, "tiny weight SRAM")])
    return found + [case for case in seeds if case is not None][:count]


# -------------------------------------------------------------------------------- mutations

_Rng = np.random.Generator
_Mutation = Callable[[Program, _Rng], Program | None]


def _changed(program: Program, index: int, **operands: int | None) -> Program:
    """The program with operands of one instruction changed; None takes one away."""
    entry = program.instructions[index]
    given = {**entry.operands, **operands}
    kept = {name: value for name, value in given.items() if value is not None}
    instructions = list(program.instructions)
    instructions[index] = Instruction(entry.mnemonic, kept)
    return replace(program, instructions=tuple(instructions))


def _one(rng: _Rng, program: Program, *mnemonics: str) -> int | None:
    found = [n for n, e in enumerate(program.instructions) if e.mnemonic in mnemonics]
    return int(rng.choice(found)) if found else None


def _wait(program: Program, rng: _Rng) -> tuple[int, str, int]:
    waits = [
        (index, name, int(value))
        for index, entry in enumerate(program.instructions)
        for name, value in entry.operands.items()
        if name.startswith("wait_")
    ]
    return waits[int(rng.integers(len(waits)))]


def drop_wait(program: Program, rng: _Rng) -> Program | None:
    index, name, _ = _wait(program, rng)
    return _changed(program, index, **{name: None})


def weaken_wait(program: Program, rng: _Rng) -> Program | None:
    index, name, value = _wait(program, rng)
    return _changed(program, index, **{name: min(15, value + int(rng.integers(1, 4)))})


def other_engine(program: Program, rng: _Rng) -> Program | None:
    index, name, value = _wait(program, rng)
    other = f"wait_{rng.choice(ENGINES)}"
    return _changed(program, index, **{name: None, other: value})


def shift_address(program: Program, rng: _Rng) -> Program | None:
    index = _one(rng, program, "view")
    assert index is not None
    addr = int(program.instructions[index].operands.get("addr", 0))
    step = int(rng.choice([-64, -4, -1, 1, 4, 8, 64, 4096]))
    return _changed(program, index, addr=addr + step) if addr + step >= 0 else None


def view_size(program: Program, rng: _Rng) -> Program | None:
    index = _one(rng, program, "view")
    assert index is not None
    name = str(rng.choice(["rows", "cols"]))
    size = int(program.instructions[index].operands.get(name, 1)) + int(rng.choice([-1, 1]))
    return _changed(program, index, **{name: size}) if size >= 1 else None


def view_stride(program: Program, rng: _Rng) -> Program | None:
    index = _one(rng, program, "view")
    assert index is not None
    name = str(rng.choice(["row_stride", "col_stride"]))
    stride = int(program.instructions[index].operands.get(name, 0)) + int(rng.choice([-1, 1]))
    return _changed(program, index, **{name: stride})


def loop_count(program: Program, rng: _Rng) -> Program | None:
    index = _one(rng, program, "loop")
    if index is None:
        return None
    count = int(program.instructions[index].operands["count"])
    new = int(rng.choice([count - 1, count + 1, 1_000_000]))
    return _changed(program, index, count=new) if new >= 1 else None


def step_size(program: Program, rng: _Rng) -> Program | None:
    index = _one(rng, program, "view_step")
    if index is None:
        return None
    step = int(program.instructions[index].operands.get("step", 0))
    return _changed(program, index, step=step + int(rng.choice([-4, -1, 1, 4])))


def counter(program: Program, rng: _Rng) -> Program | None:
    index = _one(rng, program, "scalar")
    if index is None:
        return None
    number = int(program.instructions[index].operands.get("number", 0))
    return _changed(program, index, number=number + int(rng.choice([-1, 1])))


def accumulators(program: Program, rng: _Rng) -> Program | None:
    index = _one(rng, program, "mac_matmul", "mac_drain")
    if index is None:
        return None
    return _changed(program, index, acc=int(rng.choice([1, 8, 60, 65_535])))


def accumulate(program: Program, rng: _Rng) -> Program | None:
    index = _one(rng, program, "mac_matmul")
    if index is None:
        return None
    now = program.instructions[index].operands.get("accumulate")
    return _changed(program, index, accumulate=None if now else 1)


def other_view(program: Program, rng: _Rng) -> Program | None:
    index = _one(rng, program, "vector_copy", "vector_binary", "mac_matmul", "weight_load", "store")
    if index is None:
        return None
    operands = program.instructions[index].operands
    name = str(rng.choice([n for n in ("dst", "src", "src2") if n in operands] or ["src"]))
    return _changed(program, index, **{name: int(rng.integers(0, 40))})


def swap(program: Program, rng: _Rng) -> Program | None:
    """Two neighbours change places; what is known of them by index stays where it was."""
    instructions = list(program.instructions)
    index = int(rng.integers(len(instructions) - 1))
    pair = instructions[index : index + 2]
    if "view" in (pair[0].mnemonic, pair[1].mnemonic) or pair[0].operands == pair[1].operands:
        return None
    instructions[index : index + 2] = pair[::-1]
    return replace(program, instructions=tuple(instructions))


def drop_instruction(program: Program, rng: _Rng) -> Program | None:
    index = int(rng.integers(len(program.instructions)))
    if rng.random() < 0.3:
        index = _one(rng, program, "loop", "end_loop", "halt", "branch") or index
    instructions = list(program.instructions)
    instructions[index] = Instruction("scalar", {})  # s0 stays 0: nothing happens
    return replace(program, instructions=tuple(instructions))


OF_WAITS: tuple[_Mutation, ...] = (drop_wait, weaken_wait, other_engine)
MUTATIONS: tuple[_Mutation, ...] = (
    *OF_WAITS, shift_address, view_size, view_stride, loop_count, step_size, counter,
    accumulators, accumulate, other_view, swap, drop_instruction,
)  # fmt: skip


# ------------------------------------------------------------------------------- judgement

_OF_DATA = ("is not finite", "block at DRAM", "indices hold")


def _judge(case: _Case, mutant: Program) -> tuple[str, set[str]]:
    """Class of a mutant, and the checkers that found something."""
    verdicts = check_program(mutant, case.hardware, case.image)
    caught = {verdict.check for verdict in verdicts if verdict.findings}
    if caught:
        return "caught", caught
    if any(verdict.unproved for verdict in verdicts):
        return "not proved", set()
    if any(int(e.operands.get("count", 1)) > 100_000 for e in mutant.instructions):
        return "too long", set()  # a million rounds, and nothing to be said against them
    try:
        execution = execute(mutant, case.image, case.hardware, taps=True)
    except (MachineError, CodecError) as error:
        if any(text in str(error) for text in _OF_DATA):
            return "stopped", set()
        raise
    assert check_races(mutant, execution.trace) == []
    found = {**execution.tapped, **execution.outputs}
    wanted = {name: case.tensors.get(name, case.outputs.get(name)) for name in execution.tapped}
    wanted |= case.outputs
    for name, array in found.items():
        left, right = np.ascontiguousarray(array, "<f4"), wanted[name]
        assert right is not None, name
        if left.tobytes() != np.ascontiguousarray(right, "<f4").tobytes():
            return "shown", set()
    return "nothing", set()


@pytest.mark.slow
def test_mutants_are_caught_or_change_nothing_or_show(
    mutations: int, tell: Callable[[str], None]
) -> None:
    cases = _cases(8)
    rng = np.random.default_rng(5)
    classes: Counter[str] = Counter()
    by: Counter[str] = Counter()
    for case in cases:
        assert _judge(case, case.program) == ("nothing", set())
    wanted = max(400, mutations // 20)
    while sum(classes.values()) < wanted:
        case = cases[int(rng.integers(len(cases)))]
        mutation = MUTATIONS[int(rng.integers(len(MUTATIONS)))]
        mutant = mutation(case.program, rng)
        if mutant is None:
            continue
        try:  # what no word can hold is no program
            instructions = decode_words(encode_program(mutant))
        except AzsimError:
            continue
        mutant = replace(mutant, instructions=instructions)
        kind, checks = _judge(case, mutant)
        classes[kind] += 1
        by.update(checks)
        if mutation in OF_WAITS:  # a wait changes no bit, so that the trace is the same
            has_race = check_races(mutant, case.trace) != []
            assert has_race == ("races" in checks), mutant
    tell(f"{dict(classes)}; findings of {dict(by)}")
    assert set(classes) <= {"caught", "not proved", "nothing", "shown", "stopped", "too long"}
    assert classes["not proved"] + classes["too long"] <= wanted // 50, classes
    for kind in ("caught", "nothing", "shown"):
        assert classes[kind] >= wanted // 50, classes
    assert set(by) == set(checkers()), by
