"""What the checkers leave out of loops, against walks that leave nothing out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azsim.isa.program import Instruction, Program
from azsim.machine.engines.clock import ENGINES
from azsim.sim.checks._every_way import pending_on_any_way
from azsim.sim.checks._flow import State, flow
from azsim.sim.checks._order import Loop, Step, Touch, unordered
from azsim.sim.checks._order_fast import is_ordered
from azsim.sim.checks._regions import fenced_regions
from azsim.sim.checks._registers import view_effects
from azsim.sim.checks._resolve import Entry, Kept, Rounds, resolved, rounds_of

# ------------------------------------------------------------------------------------ order

_PIECES = 6


@st.composite
def _step(draw: st.DrawFn) -> Step:
    kind = draw(st.sampled_from(["engine"] * 12 + ["sequencer", "fence"]))
    if kind == "fence":
        return Step(draw(st.integers(0, 99)), -1, True, (), ())
    engine = draw(st.integers(0, len(ENGINES) - 1)) if kind == "engine" else -1
    waits = draw(
        st.dictionaries(st.integers(0, 4), st.sampled_from([1, 1, 1, 2, 3, 15]), max_size=3)
    )
    touches = []
    for _ in range(draw(st.integers(0, 2))):
        first = draw(st.integers(0, _PIECES - 1))
        last = draw(st.integers(first + 1, min(_PIECES, first + 2)))
        touches.append(Touch(range(first, last), draw(st.booleans())))
    index = draw(st.integers(0, 99))
    return Step(index, engine, False, tuple(waits.items()), tuple(touches))


def _steps(depth: int) -> st.SearchStrategy[list[Step | Loop]]:
    entry: st.SearchStrategy[Step | Loop] = _step()
    if depth:
        loop = st.builds(Loop, st.sampled_from([1, 2, 3, 20]), _steps(depth - 1).map(tuple))
        entry = st.one_of(entry, entry, entry, loop)
    return st.lists(entry, min_size=1, max_size=5)


def _written_out(steps: Sequence[Step | Loop]) -> list[Step]:
    found: list[Step] = []
    for step in steps:
        if isinstance(step, Loop):
            found += _written_out(step.body) * step.count
        else:
            found.append(step)
    return found


@pytest.mark.slow
@pytest.mark.kernels
@settings(max_examples=60)
@given(_steps(2))
def test_loops_that_are_left_early_show_what_all_their_rounds_show(
    steps: list[Step | Loop],
) -> None:
    short = {(pair.late, pair.early) for pair in unordered(steps, _PIECES)}
    every = {(pair.late, pair.early) for pair in unordered(_written_out(steps), _PIECES)}
    assert short == every
    assert is_ordered(steps, _PIECES) == (not every)
    assert is_ordered(_written_out(steps), _PIECES) == (not every)


# ------------------------------------------------------------------- branches that need data

_OF_ENGINE = ("weight_load", "load", "store", "mac_matmul", "vector_fill")


@st.composite
def _by_data(draw: st.DrawFn) -> list[Instruction]:
    """Instructions of engines with waits, fences, branches anywhere, and loops."""
    found: list[Instruction] = []
    length = draw(st.integers(3, 10))
    for _ in range(length):
        kind = draw(st.sampled_from(["engine"] * 7 + ["fence", "branch", "scalar_read"]))
        names = draw(st.lists(st.sampled_from(ENGINES), max_size=2, unique=True))
        waits = {f"wait_{name}": draw(st.sampled_from([1, 1, 2, 3])) for name in names}
        if kind == "engine":
            found.append(Instruction(draw(st.sampled_from(_OF_ENGINE)), waits))
        elif kind == "branch":
            target = draw(st.integers(0, length))
            found.append(Instruction("branch", {"left": 1, "target": target}))
        else:
            found.append(Instruction(kind, waits if kind == "scalar_read" else {}))
    return [*found, Instruction("halt")]


def _ways(
    instructions: Sequence[Instruction], choices: Sequence[bool], engine_of: dict[int, int]
) -> list[Step]:
    """Steps of the way that some choices lead along; every one touches the same piece."""
    found: list[Step] = []
    index, chosen = 0, iter(choices)
    while instructions[index].mnemonic != "halt":
        entry = instructions[index]
        if entry.mnemonic == "branch":
            taken = next(chosen, None)
            if taken is None:
                break
            index = int(entry.operands["target"]) if taken else index + 1
            continue
        waits = tuple(
            (engine, int(entry.operands[f"wait_{name}"]))
            for engine, name in enumerate(ENGINES)
            if f"wait_{name}" in entry.operands
        )
        is_fence = entry.mnemonic == "fence"
        touches = () if is_fence else (Touch(range(1), True),)
        found.append(Step(index, engine_of.get(index, -1), is_fence, waits, touches))
        index += 1
    return found


@pytest.mark.slow
@settings(max_examples=300)
@given(_by_data(), st.lists(st.booleans(), max_size=12))
def test_what_is_unordered_on_one_way_is_pending_on_any_way(
    instructions: list[Instruction], choices: list[bool]
) -> None:
    engine_of = {
        index: _OF_ENGINE.index(entry.mnemonic) if entry.mnemonic in _OF_ENGINE else -1
        for index, entry in enumerate(instructions)
        if entry.mnemonic in (*_OF_ENGINE, "scalar_read")
    }
    pending = pending_on_any_way(instructions, engine_of)
    assert pending is not None
    for pair in unordered(_ways(instructions, choices, engine_of), 1):
        late, early = pair.late.index, pair.early.index
        assert early in pending[late][engine_of[early]]


def test_a_wait_on_every_way_is_known() -> None:
    instructions = [
        Instruction("load"),
        Instruction("branch", {"left": 1, "target": 3}),
        Instruction("store", {"wait_load": 1}),
        Instruction("vector_fill", {"wait_load": 1}),
        Instruction("store", {"wait_vector": 1}),
        Instruction("halt"),
    ]
    pending = pending_on_any_way(instructions, {0: 1, 2: 2, 3: 4, 4: 2})
    assert pending is not None
    assert pending[3] == (frozenset(), frozenset(), frozenset({2}), frozenset(), frozenset())
    assert pending[4] == (frozenset(),) * 5


def test_nothing_before_a_fence_is_pending_behind_it_whatever_a_branch_leaves_out() -> None:
    instructions = [
        Instruction("store"),
        Instruction("fence"),
        Instruction("branch", {"left": 1, "target": 4}),
        Instruction("store"),
        Instruction("vector_fill"),
        Instruction("halt"),
    ]
    pending = pending_on_any_way(instructions, {0: 2, 3: 2, 4: 4})
    assert pending is not None
    assert pending[4] == (frozenset(), frozenset(), frozenset({3}), frozenset(), frozenset())


# ------------------------------------------------------------------------- counted branches


@st.composite
def _counted(draw: st.DrawFn, depth: int = 2, first: int = 0) -> list[tuple[str, dict]]:
    """Lines with loops, counters and forward branches; targets are relative."""
    lines: list[tuple[str, dict]] = []
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["fence", "set", "move", "branch", "loop"][: 4 + (depth > 0)]))
        register = draw(st.integers(1, 3))
        number = draw(st.integers(-3, 3))
        if kind == "fence":
            lines.append(("fence", {}))
        elif kind == "set":
            lines.append(("scalar", {"to": register, "number": number}))
        elif kind == "move":
            lines.append(("scalar", {"to": register, "left": register, "number": number}))
        elif kind == "branch":
            condition = draw(st.sampled_from(["equal", "not_equal", "less", "greater_equal"]))
            skipped = draw(_counted(depth=0))
            operands = {"left": register, "right": draw(st.integers(0, 3)), "condition": condition}
            lines.append(("branch", {**operands, "target": 1 + len(skipped)}))
            lines += skipped
        else:
            body = draw(_counted(depth=depth - 1))
            out = draw(st.booleans())
            if out:  # a way out of the loop
                operands = {"left": register, "right": 0, "condition": "equal"}
                body.append(("branch", {**operands, "target": 2}))
            lines.append(("loop", {"count": draw(st.sampled_from([1, 2, 5, 30]))}))
            lines += [*body, ("end_loop", {}), ("fence", {})]
    return lines


def _program(lines: list[tuple[str, dict]]) -> Program:
    instructions = [
        Instruction(
            name, {**given, "target": index + given["target"]} if name == "branch" else given
        )
        for index, (name, given) in enumerate(lines)
    ]
    return Program("p", (*instructions, Instruction("halt")))


_TRUTH = {
    "equal": lambda a, b: a == b,
    "not_equal": lambda a, b: a != b,
    "less": lambda a, b: a < b,
    "greater_equal": lambda a, b: a >= b,
}


def _run(program: Program) -> list[int]:
    """Indices as they run, loops and branches left out."""
    scalars = [0] * 32
    loops: list[list[int]] = []
    open_at: dict[int, int] = {}
    stack: list[int] = []
    for index, entry in enumerate(program.instructions):
        if entry.mnemonic == "loop":
            stack.append(index)
        elif entry.mnemonic == "end_loop":
            open_at[stack.pop()] = index
    seen: list[int] = []
    index = 0
    while True:
        entry = program.instructions[index]
        given = entry.operands
        left, right = (scalars[int(given.get(name, 0))] for name in ("left", "right"))
        if entry.mnemonic == "loop":
            loops.append([index, int(given["count"])])
        elif entry.mnemonic == "end_loop":
            loops[-1][1] -= 1
            if loops[-1][1]:
                index = loops[-1][0]
            else:
                loops.pop()
        elif entry.mnemonic == "branch":
            if _TRUTH[str(given["condition"])](left, right):
                index = int(given["target"])
                while loops and not loops[-1][0] < index <= open_at[loops[-1][0]]:
                    loops.pop()
                continue
        else:
            seen.append(index)
            if entry.mnemonic == "halt":
                return seen
            if entry.mnemonic == "scalar":
                scalars[int(given["to"])] = left + int(given["number"])
        index += 1


def _unrolled(rounds: Sequence[Entry]) -> list[int]:
    found: list[int] = []
    for item in rounds:
        if isinstance(item, Rounds):
            found += _unrolled(item.body) * item.count
        else:
            assert isinstance(item, int)
            found.append(item)
    return found


@settings(max_examples=120)
@given(_counted())
def test_branches_that_count_are_decided_as_they_run(lines: list[tuple[str, dict]]) -> None:
    program = _program(lines)
    rounds = rounds_of(program)
    assert rounds is not None
    assert _unrolled(rounds) == _run(program)


_REGION = [
    ("fence", {}),
    ("loop", {"count": 2}),
    ("fence", {}),
    ("scalar_read", {"to": 1}),
    ("branch", {"left": 1, "right": 0, "condition": "equal", "target": 3}),
    ("fence", {}),
    ("end_loop", {}),
    ("fence", {}),
]
"""What data decides between two fences."""


def _around_region(before: list[tuple[str, dict]], behind: list[tuple[str, dict]]) -> Program:
    return _program([*before, *_REGION, *behind])


def test_a_region_is_what_data_decides_between_two_fences() -> None:
    program = _around_region([("loop", {"count": 3})], [("end_loop", {})])
    assert fenced_regions(program.instructions) == {1: 8}
    assert rounds_of(program) == (Rounds(0, 9, 3, (Kept(1, 8), 8)), 10)


@pytest.mark.parametrize("missing", [0, 7])
def test_without_one_of_its_fences_it_is_none(missing: int) -> None:
    program = _around_region([], [])
    instructions = list(program.instructions)
    instructions[missing] = Instruction("scalar", {"to": 20})
    assert fenced_regions(instructions) == {}
    assert rounds_of(replace(program, instructions=tuple(instructions))) is None


def test_a_branch_into_it_makes_it_none() -> None:
    jump = ("branch", {"left": 5, "right": 6, "condition": "equal", "target": 2})
    program = _around_region([jump], [])
    assert fenced_regions(program.instructions) == {}


def test_a_kept_region_leads_where_it_did() -> None:
    """Behind a loop that is cut in two, as its last round leaves something out."""
    counted = [
        ("scalar", {"to": 31, "number": 2}),
        ("loop", {"count": 3}),
        ("branch", {"left": 31, "right": 0, "condition": "equal", "target": 2}),
        ("scalar", {"to": 20, "number": 1}),
        ("scalar", {"to": 31, "left": 31, "number": -1}),
        ("end_loop", {}),
    ]
    program = _around_region(counted, [])
    rounds = rounds_of(program)
    assert rounds is not None
    found, where = resolved(program, rounds)
    (branch,) = [n for n, entry in enumerate(found.instructions) if entry.mnemonic == "branch"]
    target = int(found.instructions[branch].operands["target"])
    assert where[branch] == 6 + 4
    assert where[target] == 6 + 7
    assert found.instructions[target].mnemonic == "fence"


def test_rounds_are_cut_where_a_counter_says_so() -> None:
    lines = [
        ("scalar", {"to": 1, "number": 999_999}), ("loop", {"count": 1_000_000}),
        ("branch", {"left": 1, "right": 0, "condition": "equal", "target": 2}), ("fence", {}),
        ("scalar", {"to": 1, "left": 1, "number": -1}), ("end_loop", {}),
    ]  # fmt: skip
    assert rounds_of(_program(lines)) == (
        0, Rounds(1, 5, 999_999, (3, 4)), Rounds(1, 5, 1, (4,)), 6
    )  # fmt: skip


# --------------------------------------------------------------------------------- windows


@st.composite
def _moves(draw: st.DrawFn, depth: int = 2) -> list[Instruction]:
    found: list[Instruction] = []
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["use", "use", "step", "view", "loop"][: 4 + (depth > 0)]))
        register = draw(st.integers(0, 2))
        if kind == "use":
            found.append(Instruction("store", {"src": register}))
        elif kind == "step":
            step = draw(st.integers(-5, 5))
            found.append(Instruction("view_step", {"view": register, "step": step}))
        elif kind == "view":
            found.append(Instruction("view", {"view": register, "addr": draw(st.integers(0, 99))}))
        else:
            count = draw(st.sampled_from([1, 2, 3, 7]))
            found.append(Instruction("loop", {"count": count}))
            found += [*draw(_moves(depth=depth - 1)), Instruction("end_loop")]
    return found


def _addresses(instructions: Sequence[Instruction]) -> dict[tuple[int, int], set[int]]:
    """Every distance from where it was set of each used register, by instruction and origin."""
    found: dict[tuple[int, int], set[int]] = {}
    now: dict[int, tuple[int, int]] = dict.fromkeys(range(3), (-1, 0))
    loops: list[list[int]] = []
    index = 0
    while index < len(instructions):
        entry = instructions[index]
        register = int(entry.operands.get("view", 0))
        match entry.mnemonic:
            case "view":
                now[register] = (index, 0)
            case "view_step":
                origin, moved = now[register]
                now[register] = (origin, moved + int(entry.operands.get("step", 0)))
            case "store":
                origin, moved = now[int(entry.operands["src"])]
                found.setdefault((index, origin), set()).add(moved)
            case "loop":
                loops.append([index, int(entry.operands["count"])])
            case "end_loop":
                loops[-1][1] -= 1
                if loops[-1][1]:
                    index = loops[-1][0]
                else:
                    loops.pop()
        index += 1
    return found


@settings(max_examples=120)
@given(_moves())
def test_the_ends_of_what_loops_move_are_reached(instructions: list[Instruction]) -> None:
    found: dict[tuple[int, int], tuple[float, float]] = {}

    def see(index: int, state: State) -> None:
        if instructions[index].mnemonic == "store":
            value = state.get(int(instructions[index].operands["src"]), {(-1, False): (0, 0)})
            for (origin, _), interval in value.items():
                found[index, origin] = interval

    flow(instructions, view_effects(instructions), see)
    every = _addresses(instructions)
    assert found == {key: (min(moved), max(moved)) for key, moved in every.items()}
