"""Products of two operands in activation SRAM, whose zeros are known only as the program runs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azsim import arith
from azsim.isa import assembly
from azsim.isa.program import DramImage, Program
from azsim.machine.engines.mac import geometry
from azsim.machine.trace import Trace
from azsim.sim.exact import replay_exact
from azsim.sim.execute import execute
from azsim.sim.races import check_races
from azsim.sim.timing import replay
from compiled import chip
from machine_runs import CHIP, computed, view

pytestmark = pytest.mark.kernels

F = np.float32


def codes_of(rng: np.random.Generator, shape: tuple[int, ...], bits: int, zeros: float):
    limit = arith.code_limit(bits)
    codes = rng.integers(1, limit + 1, shape) * rng.choice([-1, 1], shape)
    return (codes * (rng.random(shape) >= zeros)).astype(f"int{bits}")


def image_of(*arrays: np.ndarray) -> np.ndarray:
    """Matrices at 0, 0x400, 0x800 and so on of an image."""
    image = np.zeros(8192, np.uint8)
    for number, array in enumerate(arrays):
        raw = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        image[0x400 * number : 0x400 * number + raw.size] = raw
    return image


def loads(space: str, bits: int, rows: int, outputs: int, inner: int) -> list[str]:
    """Lines that bring an (M, K) and an (N, K) matrix of codes to v1 and v3."""
    return [
        view(0, "dram", f"i{bits}", 0, rows, inner),
        view(1, "activation", f"i{bits}", 0, rows, inner),
        "load dst=v1 src=v0",
        view(2, "dram", "i8", 0x400, outputs, inner),
        view(3, space, "i8", 0x400, outputs, inner),
        "load dst=v3 src=v2",
    ]


ONES = [
    view(7, "activation", "f32", 0x1800),
    "vector_fill dst=v7 value=1.0",
]


@settings(max_examples=40)
@given(
    rows=st.integers(1, 6),
    outputs=st.integers(1, 9),
    inner=st.integers(1, 33),
    bits=st.sampled_from([8, 16]),
    is_transposed=st.booleans(),
    rounds=st.integers(1, 2),
    seed=st.integers(0, 999),
)
def test_the_product_is_numpys(
    rows: int, outputs: int, inner: int, bits: int, is_transposed: bool, rounds: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    left, right = codes_of(rng, (rows, inner), bits, 0.3), codes_of(rng, (outputs, inner), 8, 0.3)
    lines = loads("activation", bits, rows, outputs, inner)
    image = image_of(left, right)
    if is_transposed:  # the values of attention lie with positions along the rows
        image = image_of(left, right.T)
        lines[-3:] = [
            view(2, "dram", "i8", 0x400, inner, outputs),
            view(3, "activation", "i8", 0x400, inner, outputs),
            "load dst=v3 src=v2",
            view(3, "activation", "i8", 0x400, outputs, inner, row_stride=1, col_stride=outputs),
        ]
    lines += [
        *ONES,
        view(8, "activation", "f32", 0x1800, 1, outputs, 0, 0),
        view(9, "activation", "f32", 0x1000, rows, outputs),
        "mac_matmul src=v1 src2=v3",
        *["mac_matmul src=v1 src2=v3 accumulate=1"] * (rounds - 1),
        "mac_drain dst=v9 src=v7 scale=v8",
    ]
    found = computed(*lines, rows=rows, cols=outputs, image=image, addr=0x1000)
    wanted = rounds * (left.astype(np.int64) @ right.astype(np.int64).T)
    assert (found == wanted.astype(F)).all()


ARRAYS = st.fixed_dictionaries(
    {
        "mac__dataflow": st.sampled_from(["inner", "outer"]),
        "mac__zero_skip": st.sampled_from(["none", "weights", "activations", "both"]),
        "mac__lanes": st.integers(1, 9),
        "mac__macs_per_lane": st.integers(1, 5),
        "mac__window": st.integers(1, 12),
        "mac__queue_depth": st.integers(1, 5),
        "mac__pipeline_cycles": st.integers(1, 7),
    }
)


def traced(text: list[str], image: np.ndarray) -> tuple[Trace, Program]:
    program = assembly.parse("\n".join([*text, "halt"]))
    return execute(program, DramImage(image), CHIP).trace, program


@pytest.mark.slow
@settings(max_examples=60)
@given(
    rows=st.integers(1, 5),
    outputs=st.integers(1, 12),
    inner=st.integers(1, 40),
    bits=st.sampled_from([8, 16]),
    changes=ARRAYS,
    seed=st.integers(0, 999),
)
def test_it_takes_as_long_as_with_weights_and_as_the_stepped_array(
    rows: int, outputs: int, inner: int, bits: int, changes: dict, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    image = image_of(
        codes_of(rng, (rows, inner), bits, 0.5), codes_of(rng, (outputs, inner), 8, 0.6)
    )
    hardware = chip(**changes)
    took = []
    for space in ("activation", "weight"):
        wait = "wait_load=1 src=v1 src2=v3"
        text = [*loads(space, bits, rows, outputs, inner), f"mac_matmul {wait}"]
        trace, program = traced(text, image)
        for model in (replay, replay_exact):
            timing = model(trace, program, hardware)
            at = len(timing.engine) - 2
            figures = timing.products
            took.append(
                (
                    int(timing.end[at] - timing.start[at]),
                    *(
                        int(array[at])
                        for array in (figures.macs, figures.executed, figures.nonzero)
                    ),
                    float(figures.ideal_cycles[at]),
                )
            )
    assert len(set(took)) == 1, took
    assert took[0][1] == rows * outputs * inner


@pytest.mark.parametrize("dataflow", ["inner", "outer"])
@pytest.mark.parametrize("zero_skip", ["weights", "both"])
def test_zeros_are_those_that_were_there_each_time(dataflow: str, zero_skip: str) -> None:
    """One instruction of a loop multiplies by other codes in every round, and by some again."""
    rng = np.random.default_rng(5)
    left = codes_of(rng, (3, 32), 8, 0.5)
    rights = [codes_of(rng, (4, 32), 8, zeros) for zeros in (0.0, 0.6, 1.0, 0.3)]
    rights += [rights[1]] * 2
    image = image_of(left)
    image[0x400 : 0x400 + 6 * 128] = np.concatenate(rights).reshape(-1).view(np.uint8)
    text = [
        *loads("activation", 8, 3, 4, 32)[:-1],
        "loop count=6",
        "load wait_mac=1 dst=v3 src=v2",
        "mac_matmul wait_load=1 src=v1 src2=v3",
        "view_step view=v2 step=128",
        "end_loop",
    ]
    trace, program = traced(text, image)
    assert check_races(program, trace) == []
    assert trace.mask_at.tolist() == [number * (3 + 4) * 4 for number in range(6)]
    hardware = chip(
        mac__dataflow=dataflow, mac__zero_skip=zero_skip, mac__lanes=2, mac__macs_per_lane=1,
        mac__window=4,
    )  # fmt: skip
    fast, stepped = (model(trace, program, hardware) for model in (replay, replay_exact))
    is_product = fast.products.macs > 0
    meets = [int(((left != 0).astype(int) @ (right != 0).T).sum()) for right in rights]
    assert fast.products.nonzero[is_product].tolist() == meets
    took = (fast.end - fast.start)[is_product].tolist()
    assert took == (stepped.end - stepped.start)[is_product].tolist()
    assert took[1] == took[4] == took[5]
    assert len(set(took)) == 4
    assert geometry(hardware.mac, 8, 8).skip_weights


def test_a_race_for_the_second_operand_is_found() -> None:
    text = loads("activation", 8, 2, 3, 4)
    text += ["mac_matmul wait_load=2 src=v1 src2=v3"]
    trace, program = traced(text, image_of())
    race = (
        f"instruction {len(text) - 1} (mac_matmul) reads activation bytes [0x400, 0x40c) that "
        f"instruction {len(text) - 2} (load) writes, and no wait orders the two"
    )
    assert check_races(program, trace) == [race]
