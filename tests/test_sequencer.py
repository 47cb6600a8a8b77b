"""Scalar registers, branches and views by number: what decides by data what comes next."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from azsim.errors import AssemblyError, MachineError
from azsim.isa import assembly
from azsim.isa.program import DramImage
from azsim.isa.reference import EXAMPLE
from azsim.sim.exact import replay_exact
from azsim.sim.execute import execute, write_inputs
from azsim.sim.races import check_races
from azsim.sim.timing import Timing, replay
from machine_runs import CHIP, INPUT, computed, run, view

WORD = view(6, "activation", "i32", 0x200)
PYTHON = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "shift_left": lambda a, b: a << (b % 32),
    "shift_right": lambda a, b: a >> (b % 32),
    "min": min,
    "max": max,
}
HOLDS = {
    "equal": lambda a, b: a == b,
    "not_equal": lambda a, b: a != b,
    "less": lambda a, b: a < b,
    "less_equal": lambda a, b: a <= b,
    "greater": lambda a, b: a > b,
    "greater_equal": lambda a, b: a >= b,
}
INT32 = st.integers(-(2**31), 2**31 - 1)


def written(*lines: str) -> int:
    """What the lines leave in s1."""
    out = view(6, "activation", "i32", 0x400)
    found = computed(*lines, out, "scalar_write dst=v6 left=s1", rows=1, cols=1, dtype="i32")
    return int(found[0, 0])


def int32(number: int) -> int:
    return int(np.array(number & 0xFFFF_FFFF, np.uint32).astype(np.int32))


@given(st.sampled_from(list(PYTHON)), INT32, INT32, INT32)
def test_scalars_compute_as_python_does_and_wrap(operation: str, a: int, b: int, c: int) -> None:
    found = written(
        f"scalar to=s2 number={a}",
        f"scalar to=s3 number={b}",
        f"scalar to=s1 left=s2 right=s3 number={c} operation={operation}",
    )
    assert found == int32(PYTHON[operation](a, int32(b + c)))


def test_the_first_scalar_stays_0() -> None:
    assert written("scalar to=s0 number=7", "scalar to=s1 left=s0 number=1") == 1


@given(st.sampled_from(list(HOLDS)), INT32, INT32)
def test_branches_compare(condition: str, a: int, b: int) -> None:
    lines = [
        f"scalar to=s2 number={a}",
        f"scalar to=s3 number={b}",
        f"branch left=s2 right=s3 condition={condition} target=taken",
        "branch target=end",
        "taken:",
        "scalar to=s1 number=1",
        "end:",
    ]
    assert written(*lines) == HOLDS[condition](a, b)


def test_a_loop_that_data_ends() -> None:
    """Halve a number until it is 0, and count."""
    lines = [
        "scalar to=s2 number=1000",
        "again: branch left=s2 condition=equal target=done",
        "scalar to=s2 left=s2 number=1 operation=shift_right",
        "scalar to=s1 left=s1 number=1",
        "branch target=again",
        "done:",
    ]
    assert written(*lines) == 10


@pytest.mark.parametrize(("n", "total"), [(0, 0), (1, 1), (10, 55)])
def test_the_program_of_the_manual_runs(n: int, total: int) -> None:
    program = assembly.parse(EXAMPLE)
    inputs = {"n": np.full((1, 1), n, np.float32)}
    image = write_inputs(program, DramImage(np.zeros(128, np.uint8)), inputs)
    found = execute(program, image, CHIP)
    assert found.outputs["sum"] == total
    assert check_races(program, found.trace) == []


def test_a_branch_out_of_loops_ends_them() -> None:
    lines = [
        "scalar to=s2 number=7",
        "loop count=5",
        "loop count=5",
        "scalar to=s1 left=s1 number=1",
        "branch left=s1 right=s2 condition=equal target=out",
        "end_loop",
        "end_loop",
        "out: loop count=3",
        "scalar to=s1 left=s1 number=100",
        "end_loop",
    ]
    assert written(*lines) == 307


def test_a_branch_may_go_on_with_the_next_round() -> None:
    """Only odd rounds of ten count, of the outer loop each time anew."""
    lines = [
        "loop count=2",
        "loop count=5",
        "scalar to=s3 left=s3 number=1",
        "scalar to=s4 left=s3 number=1 operation=and",
        "branch left=s4 condition=equal target=next",
        "scalar to=s1 left=s1 number=1",
        "next: end_loop",
        "end_loop",
    ]
    assert written(*lines) == 5


def test_data_decides_after_a_wait() -> None:
    """The column of the largest element comes back as a scalar, and is doubled."""
    lines = [
        view(0, "dram", "f32", 0, 1, 6),
        view(1, "activation", "f32", 0, 1, 6),
        "load dst=v1 src=v0",
        WORD,
        "vector_arg wait_load=1 dst=v6 src=v1",
        "scalar_read wait_vector=1 src=v6 to=s2",
        "scalar to=s1 left=s2 right=s2",
    ]
    assert written(*lines) == 2 * INPUT[:6].argmax()


def test_views_by_number_gather_rows() -> None:
    rows = [3, 0, 2]
    lines = [
        view(0, "dram", "f32", 0, 4, 6),
        view(1, "activation", "f32", 0, 4, 6),
        "load dst=v1 src=v0",
        view(2, "activation", "f32", 0, 1, 6),
        view(3, "activation", "f32", 0x400, 1, 6),
    ]
    for row in rows:
        lines += [
            f"scalar to=s1 number={row}",
            "view_at view=v2 left=s1 step=24",
            "vector_copy dst=v3 src=v2",
            "view_step view=v3 step=24",
            "view_step view=v2 step=8",  # forgotten by the next view_at
        ]
    found = computed(*lines, rows=3, cols=6)
    assert (found == INPUT[:24].reshape(4, 6)[rows]).all()


def test_a_view_placed_outside_its_region_is_an_error_when_it_is_used() -> None:
    lines = [
        ".region x space=activation start=0x0 size=96 dtype=f32 first=0 last=9",
        view(2, "activation", "f32", 0, 1, 6, region="x"),
        view(3, "activation", "f32", 0x400, 1, 6),
        "scalar to=s1 number=4",
        "view_at view=v2 left=s1 step=24",
        "vector_copy dst=v3 src=v2",
    ]
    with pytest.raises(MachineError) as error:
        run(*lines)
    assert str(error.value) == (
        "instruction 4: view v2 reaches activation bytes [0x60, 0x78), outside its region 'x' "
        "[0x0, 0x60)"
    )


WRONG = [
    (
        ["branch target=40"],
        "instruction 0 (branch): target is 40, the program ends with 1",
    ),
    (
        ["branch target=inside", "loop count=2", "inside: fence", "end_loop"],
        "instruction 0 (branch): target 2 lies inside another loop",
    ),
    (
        [view(6, "dram", "f32", 0x200), "scalar_read src=v6 to=s1"],
        "instruction 1 (scalar_read): src has to be 1 x 1 i32 in activation, is 1 x 1 f32 in dram",
    ),
    (
        [view(6, "dram", "i32", 0x200, 2), "scalar_write dst=v6 left=s1"],
        "instruction 1 (scalar_write): dst has to be 1 x 1 i32 in activation, is 2 x 1 i32 in dram",
    ),
]


@pytest.mark.parametrize(("lines", "sentence"), WRONG)
def test_what_the_sequencer_refuses(lines: list[str], sentence: str) -> None:
    with pytest.raises(MachineError) as error:
        run(*lines)
    assert str(error.value) == sentence


def test_a_jump_to_itself_comes_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("azsim.sim.execute._MAX_CONTROL_INSTRUCTIONS", 50)
    with pytest.raises(MachineError) as error:
        run("fence", "x: branch target=x")
    assert str(error.value) == (
        "instruction 1 (branch): the program does not come to its end, more than "
        "50 control instructions in a row"
    )
    run("loop count=24", "fence", "end_loop")  # 50 with the halt
    with pytest.raises(MachineError, match="50 control instructions in a row"):
        run("loop count=24", "fence", "end_loop", "fence")


def test_a_frame_comes_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("azsim.sim.execute._MAX_CONTROL_INSTRUCTIONS", 50)
    monkeypatch.setattr("azsim.sim.execute._MAX_FRAME_INSTRUCTIONS", 100)
    views = [view(0, "dram", "f32", 0), view(1, "activation", "f32", 0)]
    with pytest.raises(MachineError) as error:
        run(*views, "x: vector_fill dst=v1 value=1.0", "branch target=x")
    assert str(error.value) == (
        "instruction 3 (branch): the program does not come to its end, more than "
        "100 instructions without a paced load"
    )
    run(*views, "loop count=70", "load dst=v1 src=v0 paced=1", "end_loop")
    with pytest.raises(MachineError, match="100 instructions without a paced load"):
        run(*views, "loop count=70", "load dst=v1 src=v0", "end_loop")


def test_labels_are_checked_with_everything_else() -> None:
    text = "a: fence\na: fence\nbranch target=b\nbranch target=40\nscalar to=v1\nhalt"
    with pytest.raises(AssemblyError) as error:
        assembly.parse(text)
    assert str(error.value).split("\n") == [
        "2:1: label 'a' is set twice",
        "3:15: target: no label 'b'",
        "5:11: scalar: to: got 'v1', expected a scalar, s0 to s31",
    ]


UNRUNNABLE = [
    ("", ["1:1: the program ends without halt"]),
    ("\nx: fence ; on and on\n  branch target=x\n", ["3:3: the program ends without halt"]),
    (
        "branch target=in\n\nloop count=2\nin: fence\nend_loop\n  branch left=s1 target=999\nhalt",
        [
            "1:15: branch: target: instruction 2 lies inside another loop",
            "6:25: branch: target: got 999, allowed: 0 to 5",
        ],
    ),
    (
        "branch target=end\nhalt\nend:",
        ["1:15: branch: target: got 2, allowed: 0 to 1"],
    ),
    (
        "end_loop\nx: loop count=2\nfence\n  halt",
        [
            "1:1: end_loop: no loop is open",
            "2:4: loop: has no end_loop",
            "4:3: halt: lies inside the loop of instruction 1",
        ],
    ),
    (
        "loop count=2\n" * 9 + "end_loop\n" * 9 + "halt",
        ["9:1: loop: loops nest deeper than 8"],
    ),
]


@pytest.mark.parametrize(("text", "sentences"), UNRUNNABLE)
def test_what_can_never_run_is_refused(text: str, sentences: list[str]) -> None:
    assembly.parse(text)  # a part of a program may be like that
    with pytest.raises(AssemblyError) as error:
        assembly.parse(text, is_whole=True)
    assert str(error.value).split("\n") == sentences


def test_a_loop_may_be_left_and_gone_on_with() -> None:
    text = """
    again: loop count=2
    next: loop count=3
    branch left=s1 right=s2 condition=less target=next
    branch left=s1 right=s3 condition=less target=again
    branch left=s1 right=s4 condition=less target=out
    end_loop
    end_loop
    out: halt
    """
    assert len(assembly.parse(text, is_whole=True).instructions) == 8


def test_labels_come_back_as_text() -> None:
    program = assembly.parse("fence\nx: fence\nbranch left=s1 target=x\nhalt")
    text = assembly.format(program)
    assert "L1:\nfence\nbranch left=s1 right=s0 condition=equal target=L1\n" in text
    assert assembly.parse(text).instructions == program.instructions


def test_a_target_outside_the_program_stays_a_number() -> None:
    program = assembly.parse("branch target=40\nbranch target=2\nhalt")
    text = assembly.format(program)
    assert "condition=equal target=40\n" in text
    assert assembly.parse(text).instructions == program.instructions


# ---------------------------------------------------------------------------------- races


def races(*lines: str) -> list[str]:
    program = assembly.parse("\n".join([*lines, "halt"]))
    image = np.zeros(8192, np.uint8)
    return check_races(program, execute(program, DramImage(image), CHIP).trace)


LOAD = [view(0, "dram", "i32", 0), view(1, "activation", "i32", 0), "load dst=v1 src=v0"]


def test_a_read_without_a_wait_is_a_race() -> None:
    assert races(*LOAD, "scalar_read wait_load=1 src=v1 to=s1") == []
    (sentence,) = races(*LOAD, "scalar_read src=v1 to=s1")
    assert sentence == (
        "instruction 3 (scalar_read) reads activation bytes [0x0, 0x4) that instruction 2 (load) "
        "writes, and no wait orders the two"
    )


def test_what_comes_after_a_scalar_wait_knows_what_it_waited_for() -> None:
    copy = ["vector_copy dst=v2 src=v1"]
    ordered = [*LOAD, view(2, "activation", "i32", 64), "scalar_read wait_load=1 src=v1 to=s1"]
    assert races(*ordered, *copy) == []
    assert len(races(*LOAD, view(2, "activation", "i32", 64), *copy)) == 1


def test_a_write_has_to_wait_for_readers() -> None:
    lines = [*LOAD, view(2, "dram", "i32", 64), "store wait_load=1 dst=v2 src=v1"]
    assert races(*lines, "scalar_write wait_store=1 dst=v1 left=s1") == []
    assert len(races(*lines, "scalar_write dst=v1 left=s1")) == 2  # with load and with store


# --------------------------------------------------------------------------------- timing


def times(*lines: str) -> Timing:
    program = assembly.parse("\n".join([*lines, "halt"]))
    trace = execute(program, DramImage(np.zeros(8192, np.uint8)), CHIP).trace
    return replay(trace, program, CHIP)


def test_the_sequencer_holds_until_a_scalar_can_be_read() -> None:
    after = [view(2, "activation", "i32", 64), "vector_fill dst=v2 value=1.0"]
    held = times(*LOAD, "scalar_read wait_load=1 src=v1 to=s1", *after)
    free = times(*LOAD, "scalar to=s1", *after)
    loaded = held.end[0]
    assert loaded == free.end[0]
    assert (held.start[1], held.end[1]) == (loaded, loaded)
    assert held.start[2] == loaded + 2  # view and fill are issued after it
    assert free.start[1] < loaded
    assert held.end_cycles > free.end_cycles


def test_a_wait_for_the_second_to_last_completion() -> None:
    fills = ["vector_fill dst=v1 value=1.0"] * 3
    found = times(view(1, "activation", "i32", 0), *fills, "scalar_read wait_vector=2 src=v1 to=s1")
    assert found.end[3] == found.end[1]


def test_both_clocks_agree_on_programs_that_wait_for_scalars() -> None:
    lines = [
        view(0, "dram", "f32", 0, 1, 64),
        view(1, "activation", "f32", 0, 1, 64),
        view(3, "activation", "f32", 0x400, 1, 64),
        WORD,
        "scalar to=s2 number=5",
        "again: load wait_vector=1 dst=v1 src=v0",
        "vector_arg wait_load=1 dst=v6 src=v1",
        "vector_fill dst=v3 value=1.0",
        "scalar_read wait_vector=2 src=v6 to=s3",
        "scalar to=s1 left=s1 number=1",
        "branch left=s1 right=s2 condition=less target=again",
        "scalar_write wait_vector=1 dst=v6 left=s1",
        "fence",
    ]
    program = assembly.parse("\n".join([*lines, "halt"]))
    trace = execute(program, DramImage(np.zeros(8192, np.uint8)), CHIP).trace
    fast, exact = replay(trace, program, CHIP), replay_exact(trace, program, CHIP)
    assert (fast.engine == 6).sum() == 6
    for name in ("engine", "dispatch", "start", "end"):
        np.testing.assert_array_equal(getattr(fast, name), getattr(exact, name), name)
