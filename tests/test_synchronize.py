"""Waits: enough of them, and none for what the same engine has waited for."""

from __future__ import annotations

import numpy as np

from azsim.compiler.synchronize import synchronize
from azsim.isa import assembly
from azsim.isa.program import DramImage, Program
from azsim.sim.execute import execute
from azsim.sim.races import check_races
from compiled import AZ1

# What comes first is read once; then its bytes take results, in a loop that loads for itself.
ROUNDS = """
view view=v0 space=dram dtype=f32 addr=0x0 cols=8 col_stride=1
view view=v1 space=activation dtype=f32 addr=0x0 cols=8 col_stride=1
view view=v2 space=activation dtype=f32 addr=0x40 cols=8 col_stride=1
view view=v3 space=activation dtype=f32 addr=0x80 cols=8 col_stride=1
load dst=v2 src=v0
load dst=v1 src=v0
vector_unary dst=v3 src=v1 function=relu
loop count=5
vector_unary dst=v3 src=v2 function=relu
vector_unary dst=v1 src=v3 function=neg
load dst=v2 src=v0
end_loop
halt
"""


def waits_of(program: Program) -> list[tuple[str, dict[str, object]]]:
    """Mnemonic and waits of each instruction that an engine carries out."""
    return [
        (one.mnemonic, {name: value for name, value in one.operands.items() if "wait" in name})
        for one in program.instructions
        if one.mnemonic.startswith(("load", "vector"))
    ]


def test_an_engine_waits_once_for_what_another_one_did() -> None:
    program = synchronize(assembly.parse(ROUNDS))
    assert waits_of(program) == [
        ("load", {}),
        ("load", {}),
        ("vector_unary", {"wait_load": 1}),
        ("vector_unary", {"wait_load": 1}),
        ("vector_unary", {}),  # over the first load's bytes, behind a wait for that
        ("load", {"wait_vector": 2}),
    ]
    trace = execute(program, DramImage(np.zeros(4096, np.uint8)), AZ1).trace
    assert check_races(program, trace) == []
