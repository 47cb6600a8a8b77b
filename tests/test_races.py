from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from azsim.hardware import load_hardware, preset_names
from azsim.isa import assembly
from azsim.isa.program import DramImage, Instruction, Program
from azsim.isa.spec import instruction_set
from azsim.machine.engines.clock import ENGINES
from azsim.machine.operation import Operation
from azsim.machine.trace import Trace
from azsim.machine.view import View
from azsim.sim.execute import execute, write_inputs
from azsim.sim.races import check_races
from compiled import (
    AZ1,
    MIXED_STATE,
    VARIANTS,
    execute_graph,
    frames_for,
    graph_of,
    mixed_graph,
    node,
)
from graphs import compress, random_graph

# ------------------------------------------------------------- a slow, obvious second opinion


@dataclass(frozen=True)
class _Done:
    """An executed engine instruction: what it touches, byte by byte."""

    index: int
    engine: int
    reads: frozenset[tuple[str, int]]
    writes: frozenset[tuple[str, int]]


def _bytes_of(view: View) -> Iterator[tuple[str, int]]:
    for row in range(view.rows):
        for col in range(view.cols):
            first_bit = (row * view.row_stride + col * view.col_stride) * view.element_bits
            for bit in range(first_bit, first_bit + view.element_bits, min(8, view.element_bits)):
                yield view.space, view.addr + bit // 8


def _executed(program: Program, trace: Trace) -> list[_Done]:
    views: dict[int, View] = {}
    done = []
    for number in trace.sequence:
        index = trace.sites[number].index
        instruction = program.instructions[index]
        given = instruction.operands
        if instruction.mnemonic == "view":
            window = Operation(index, "view", given).window
            assert window is not None
            views[int(given.get("view", 0))] = window
        elif instruction.mnemonic == "view_step":
            register = int(given.get("view", 0))
            views[register] = views[register].stepped(int(given.get("step", 0)))
        elif trace.sites[number].engine in ENGINES:
            reads, writes = _operands(instruction)
            touched = [
                frozenset(b for name in names for b in _bytes_of(views[int(given.get(name, 0))]))
                for names in (reads, writes)
            ]
            done.append(_Done(index, ENGINES.index(trace.sites[number].engine), *touched))
    return done


def _operands(instruction: Instruction) -> tuple[list[str], list[str]]:
    names = instruction_set().instructions[instruction.mnemonic].operands
    flags = instruction.operands
    reads = [name for name in ("src", "src2", "scale") if name in names]
    writes = [name for name in ("dst",) if name in names]
    if instruction.mnemonic == "vector_quantize" and not flags.get("static"):
        reads.remove("scale")
        writes.append("scale")
    if flags.get("use_bias"):
        reads.append("bias")
    if flags.get("requantize"):
        reads.append("code_scale")
    if flags.get("use_peak"):
        (reads if instruction.mnemonic == "vector_quantize" else writes).append("peak")
    if instruction.mnemonic == "mac_drain" and flags.get("accumulate"):
        reads.append("dst")
    return reads, writes


def _conflicts(done: list[_Done]) -> list[tuple[int, int]]:
    """Pairs of executed instructions of different engines that share bytes, one writing."""
    return [
        (early, late)
        for late, second in enumerate(done)
        for early, first in enumerate(done[:late])
        if first.engine != second.engine
        and (first.writes & (second.reads | second.writes) or first.reads & second.writes)
    ]


def _unordered(
    program: Program, done: list[_Done], conflicts: list[tuple[int, int]]
) -> set[tuple[int, int]]:
    """Instruction indices of the conflicting pairs that no chain of waits orders."""
    members: list[list[int]] = [[] for _ in ENGINES]
    ahead: list[int] = []  # for each, the set (as bits) of those that are complete when it starts
    for position, entry in enumerate(done):
        known = 0
        direct = members[entry.engine][-1:]
        for other, name in enumerate(ENGINES):
            wait = int(program.instructions[entry.index].operands.get(f"wait_{name}", 0))
            if wait:
                direct += members[other][: len(members[other]) - wait + 1]
        for one in direct:
            known |= ahead[one] | 1 << one
        ahead.append(known)
        members[entry.engine].append(position)
    return {
        (done[late].index, done[early].index)
        for early, late in conflicts
        if not ahead[late] >> early & 1
    }


def _waits(program: Program) -> list[tuple[int, str]]:
    return [
        (index, name)
        for index, instruction in enumerate(program.instructions)
        for name in instruction.operands
        if name.startswith("wait_")
    ]


def _without(program: Program, index: int, name: str) -> Program:
    changed = list(program.instructions)
    operands = {key: value for key, value in changed[index].operands.items() if key != name}
    changed[index] = Instruction(changed[index].mnemonic, operands)
    return replace(program, instructions=tuple(changed))


def _pairs(sentences: list[str]) -> set[tuple[int, int]]:
    """The two instruction indices of each sentence."""
    found = set()
    for sentence in sentences:
        second, first = sentence.split("instruction ")[1:]
        found.add((int(second.split()[0]), int(first.split()[0])))
    return found


# ------------------------------------------------------------------------------- what it says


def _ran(frames: int = 3, variant: str = "az1") -> tuple[Program, Trace]:
    graph = mixed_graph()
    zeros = {name: np.zeros(graph.inputs[name].shape, np.float32) for name in MIXED_STATE}
    ran = execute_graph(
        compress(graph), VARIANTS[variant], frames_for(graph, frames, 0, list(MIXED_STATE)),
        MIXED_STATE, zeros,
    )  # fmt: skip
    return ran.compiled.program, ran.execution.trace


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_compiled_graphs_have_no_race(variant: str) -> None:
    program, trace = _ran(5, variant)
    assert len(_waits(program)) > 20
    assert check_races(program, trace) == []


@pytest.mark.slow
@given(seed=st.integers(0, 1 << 32))
def test_random_graphs_have_no_race(seed: int) -> None:
    graph = random_graph(seed)
    frames = {name: np.abs(array) + 0.1 for name, array in frames_for(graph, 4, seed).items()}
    try:
        ran = execute_graph(compress(graph), AZ1, frames)
    except Exception as error:
        if "not finite" in str(error):
            return
        raise
    assert check_races(ran.compiled.program, ran.execution.trace) == []


def test_a_reader_of_a_late_round_of_a_loop_waits_for_it() -> None:
    # The last of twenty states is stored; a walk that cut the loop to three rounds missed it.
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.standard_normal((1, 8, 3)).astype(np.float32),
        "r": rng.standard_normal((1, 8, 2)).astype(np.float32),
    }
    graph = graph_of(
        {"x": (20, 1, 3)},
        weights,
        [node("LSTM", ["x", "w", "r"], ("y", "yh"), hidden_size=2)],
        ("yh",),
    )
    ran = execute_graph(compress(graph), AZ1, frames_for(graph, 2))
    assert check_races(ran.compiled.program, ran.execution.trace) == []
    (store,) = [i for i in ran.compiled.program.instructions if i.mnemonic == "store"]
    assert store.operands["wait_vector"] == 1


@pytest.mark.slow
def test_each_dropped_wait_is_reported_or_implied_by_others() -> None:
    program, trace = _ran()
    done = _executed(program, trace)
    conflicts = _conflicts(done)
    assert _unordered(program, done, conflicts) == set()
    reported = 0
    for index, name in _waits(program):
        cut = _without(program, index, name)
        expected = _unordered(cut, done, conflicts)
        found = _pairs(check_races(cut, trace))
        assert found <= expected
        assert bool(found) == bool(expected), (index, name)
        reported += bool(found)
    assert reported >= 15  # most others are implied: waits name more than they have to


@pytest.mark.slow
def test_each_wait_shortened_by_one_is_judged_as_the_closure_judges_it() -> None:
    program, trace = _ran(2, "tiny weight SRAM")
    done = _executed(program, trace)
    conflicts = _conflicts(done)
    reported = 0
    for index, name in _waits(program):
        changed = list(program.instructions)
        operands = dict(changed[index].operands)
        operands[name] = min(15, int(operands[name]) + 1)
        changed[index] = Instruction(changed[index].mnemonic, operands)
        cut = replace(program, instructions=tuple(changed))
        expected = _unordered(cut, done, conflicts)
        found = _pairs(check_races(cut, trace))
        assert found <= expected
        assert bool(found) == bool(expected), (index, name)
        reported += bool(found)
    assert reported


HAND = """
.layer one
.region a space=activation start=0x0 size=32 dtype=f32 first=0 last=99
view view=v0 space=dram dtype=f32 addr=0x0 cols=8 col_stride=1
view view=v1 space=activation dtype=f32 addr=0x0 cols=8 col_stride=1 region=a
view view=v2 space=activation dtype=f32 addr=0x40 cols=8 col_stride=1
view view=v3 space=dram dtype=f32 addr=0x40 cols=8 col_stride=1
.in one
load dst=v1 src=v0
vector_unary wait_load=1 dst=v2 src=v1 function=relu
store wait_vector=1 dst=v3 src=v2
halt
"""


def _hand(text: str) -> list[str]:
    program = assembly.parse(text)
    trace = execute(program, DramImage(np.zeros(4096, np.uint8)), AZ1).trace
    return check_races(program, trace)


def test_the_sentence_names_both_instructions() -> None:
    assert _hand(HAND) == []
    assert _hand(HAND.replace("wait_load=1 ", "")) == [
        (
            "instruction 5 (vector_unary, layer 'one') reads activation bytes [0x0, 0x20) of "
            "region 'a' that instruction 4 (load, layer 'one') writes, and no wait orders the two"
        )
    ]
    assert _hand(HAND.replace("wait_vector=1 ", "")) == [
        (
            "instruction 6 (store, layer 'one') reads activation bytes [0x40, 0x60) that "
            "instruction 5 (vector_unary, layer 'one') writes, and no wait orders the two"
        )
    ]


def test_swapped_order_is_caught() -> None:
    lines = HAND.split("\n")
    load, unary = (next(n for n, line in enumerate(lines) if line.startswith(m)) for m in
                   ("load", "vector_unary"))  # fmt: skip
    lines[load], lines[unary] = lines[unary], lines[load]
    assert _hand("\n".join(lines)) == [
        (
            "instruction 5 (load, layer 'one') writes activation bytes [0x0, 0x20) of region 'a' "
            "that instruction 4 (vector_unary, layer 'one') reads, and no wait orders the two"
        )
    ]


def test_waits_are_transitive_and_a_fence_orders_all() -> None:
    # The second load overwrites what the store has read; it waits for the vector engine only,
    # which waited for the store.
    chain = HAND.replace(
        "halt",
        "vector_fill wait_store=1 dst=v1 value=1.0\nload wait_vector=1 dst=v2 src=v0\nhalt",
    )
    assert _hand(chain) == []
    broken = chain.replace("vector_fill wait_store=1", "vector_fill")
    assert len(_hand(broken)) == 1
    assert "(load, layer 'one') writes" in _hand(broken)[0]
    assert _hand(broken.replace("load wait_vector=1", "fence\nload")) == []


def test_only_bytes_that_are_touched_count() -> None:
    # Even columns are loaded while odd ones are filled: extents overlap, bytes do not.
    text = """
    view view=v0 space=dram dtype=f32 addr=0x0 cols=4 col_stride=1
    view view=v1 space=activation dtype=f32 addr=0x0 cols=4 col_stride=2
    view view=v2 space=activation dtype=f32 addr=0x4 cols=4 col_stride=2
    load dst=v1 src=v0
    vector_fill dst=v2 value=1.0
    halt
    """
    assert _hand(text) == []
    assert len(_hand(text.replace("addr=0x4 ", "addr=0x8 "))) == 1


@pytest.mark.slow
@pytest.mark.fetch
@pytest.mark.parametrize("preset", preset_names())
def test_the_speech_model_has_no_race(preset: str) -> None:
    from azsim.frontend.workload import load_workload
    from azsim.pipeline import compile_workload, prepare

    workload, hardware = load_workload("vad_silero"), load_hardware(preset)
    prepared = prepare(workload)
    compiled = compile_workload(workload, hardware)
    image = write_inputs(
        compiled.program, compiled.image, {**prepared.frames, **prepared.initial_state}
    )
    trace = execute(compiled.program, image, hardware).trace
    assert check_races(compiled.program, trace) == []
