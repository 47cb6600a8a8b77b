"""Random programs: what the checkers say of the text is what happens when it runs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azsim.errors import MachineError
from azsim.isa.program import DramImage, Instruction, Program
from azsim.machine.engines.clock import ENGINES
from azsim.sim.checks import check_program
from azsim.sim.execute import execute
from azsim.sim.races import check_races
from compiled import chip

CHIP = chip(activation_sram__bytes=256, weight_sram__bytes=64)
IMAGE = DramImage(np.zeros(192, np.uint8))
_VIEWS = {"dram": (0, 1), "activation": (2, 3, 4, 5)}


@st.composite
def _view(draw: st.DrawFn, space: str) -> Instruction:
    number = draw(st.sampled_from(_VIEWS[space]))
    operands: dict[str, int | float | str] = {
        "view": number, "space": space, "dtype": "f32", "rows": 2, "cols": 2,
        "addr": 4 * draw(st.integers(0, 30)), "row_stride": draw(st.sampled_from([2, 4, 8])),
        "col_stride": 1 if space == "dram" else draw(st.sampled_from([1, 1, 4, -1])),
    }  # fmt: skip
    return Instruction("view", operands)


@st.composite
def _work(draw: st.DrawFn) -> Instruction:
    mnemonic = draw(
        st.sampled_from(["load", "store", "vector_unary", "vector_fill", "vector_copy"])
    )
    dram, sram = st.sampled_from(_VIEWS["dram"]), st.sampled_from(_VIEWS["activation"])
    engine = {"load": "load", "store": "store"}.get(mnemonic, "vector")
    others = [name for name in ENGINES if name in ("load", "store", "vector") and name != engine]
    operands: dict[str, int | float | str] = {
        f"wait_{name}": draw(st.sampled_from([1, 1, 2, 3]))
        for name in draw(st.lists(st.sampled_from(others), unique=True, max_size=2))
    }
    operands["dst"] = draw(dram if mnemonic == "store" else sram)
    if mnemonic != "vector_fill":
        operands["src"] = draw(dram if mnemonic == "load" else sram)
    if mnemonic == "vector_unary":
        operands["function"] = "relu"
    return Instruction(mnemonic, operands)


@st.composite
def _body(draw: st.DrawFn, depth: int = 2) -> list[Instruction]:
    found: list[Instruction] = []
    for _ in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from(["work"] * 5 + ["step", "view", "fence"] + ["loop"] * depth))
        if kind == "work":
            found.append(draw(_work()))
        elif kind == "step":
            step = 4 * draw(st.integers(-3, 3))
            found.append(Instruction("view_step", {"view": draw(st.integers(0, 5)), "step": step}))
        elif kind == "view":
            found.append(draw(_view(draw(st.sampled_from(["dram", "activation"])))))
        elif kind == "fence":
            found.append(Instruction("fence"))
        else:
            found.append(Instruction("loop", {"count": draw(st.sampled_from([1, 2, 3, 25]))}))
            found += [*draw(_body(depth - 1)), Instruction("end_loop")]
    return found


@st.composite
def _programs(draw: st.DrawFn) -> Program:
    views = []
    for space, numbers in _VIEWS.items():
        for number in numbers:
            operands = draw(_view(space)).operands
            views.append(Instruction("view", {**operands, "view": number}))
    return Program("p", (*views, *draw(_body()), Instruction("halt")))


@pytest.mark.slow
@settings(max_examples=250)
@given(_programs())
def test_what_checkers_find_is_what_happens(program: Program) -> None:
    verdicts = {verdict.check: verdict for verdict in check_program(program, CHIP, IMAGE)}
    trace = error = None
    try:
        trace = execute(program, IMAGE, CHIP).trace
    except MachineError as problem:
        error = problem
    if verdicts["bounds"].unproved:  # views that two places set, and that may never meet so
        return
    assert bool(verdicts["bounds"].findings) == (error is not None), error
    if trace is not None:
        assert not verdicts["races"].unproved
        assert bool(verdicts["races"].findings) == bool(check_races(program, trace))
