"""Waits: enough of them, and none for what the same engine has waited for."""

from __future__ import annotations

import random

import numpy as np
import pytest

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


def test_a_wait_for_an_engine_that_has_done_nothing_is_left_out() -> None:
    """As where what it was for is loaded elsewhere since."""
    text = ROUNDS.replace("load dst=v2 src=v0", "load wait_vector=1 dst=v2 src=v0", 1)
    program = assembly.parse(text)
    assert waits_of(program)[0] == ("load", {"wait_vector": 1})
    assert waits_of(synchronize(program)) == waits_of(synchronize(assembly.parse(ROUNDS)))


# -------------------------------------------------------------------------- random programs


def random_program(rng: random.Random, frames: int) -> str:
    """A frame loop with loops in it, items that its last round leaves out, and data's branches."""
    count = rng.choice([2, 3, 4, 6])
    labels = iter(range(1_000))

    def view(number: int, addr: int, space: str = "activation", dtype: str = "f32") -> str:
        cols = 8 if dtype == "f32" else 1
        place = f"space={space} dtype={dtype} addr={addr:#x}"
        return f"view view=v{number} {place} cols={cols} col_stride=1"

    def item(other: str = "") -> str:
        def one() -> str:
            return other if other and rng.random() < 0.5 else f"v{3 + rng.randrange(count)}"

        shared = rng.choice([f"load dst={one()} src=v2", f"store dst=v2 src={one()}"])
        return rng.choice(
            [
                f"load dst={one()} src=v0",
                f"store dst=v1 src={one()}",
                f"vector_unary dst={one()} src={one()} function=neg",
                f"vector_binary dst={one()} src={one()} src2={one()} function=add",
                shared,
            ]
        )

    def items(most: int, *, depth: int, in_frame: bool) -> list[str]:
        found: list[str] = []
        for _ in range(rng.randint(1, most)):
            kind = rng.random()
            if in_frame and kind < 0.2:  # not in the last round
                label = f"l{next(labels)}"
                found += [f"branch left=s1 right=s2 target={label}", item(), f"{label}:"]
            elif depth and kind < 0.3:
                found += [view(11, 0x20 * rng.randrange(count)), f"loop count={rng.choice([2, 9])}"]
                found += [item("v11") for _ in range(rng.randint(1, 3))]
                found += [f"view_step view=v11 step={32}", "end_loop"]
            elif in_frame and depth and kind < 0.36:
                label = f"l{next(labels)}"
                found += ["load dst=v10 src=v12", "fence", "scalar_read src=v10 to=s3"]
                found += [f"branch left=s3 right=s0 target={label}", "fence"]
                found += [*items(3, depth=0, in_frame=False), "fence", f"{label}:"]
            else:
                found += [item() for _ in range(rng.choice([1, 1, 1, 20]))]
        return found

    lines = [f".stream frames={frames} period_s=0.001 paced=0"]
    lines += [view(0, 0, "dram"), view(1, 0x8000, "dram"), view(2, 0x10000, "dram")]
    lines += [view(3 + number, 0x20 * number) for number in range(count)]
    lines += [view(10, 0x1000, dtype="i32"), view(12, 0x18000, "dram", "i32")]
    lines += items(3, depth=0, in_frame=False)
    lines += [f"scalar to=s2 number={frames - 1}", f"loop count={frames}"]
    lines += items(12, depth=1, in_frame=True)
    lines += [
        f"view_step view=v{number} step={step}" for number, step in ((0, 32), (1, 32), (12, 4))
    ]
    lines += ["scalar to=s1 left=s1 number=1", "end_loop"]
    lines += [*items(3, depth=0, in_frame=False), "halt"]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("seed", range(40))
def test_no_race_is_left(seed: int) -> None:
    rng = random.Random(seed)
    text = random_program(rng, rng.choice([2, 3, 4, 5, 9]))
    program = synchronize(assembly.parse(text))
    words = np.random.default_rng(seed).integers(0, 2, 0x8000, dtype=np.int32)
    trace = execute(program, DramImage(words.view(np.uint8)), AZ1).trace
    assert check_races(program, trace) == []
