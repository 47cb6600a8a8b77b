"""Drains through functions of the chip's tables, and to codes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azsim import arith
from azsim.errors import MachineError
from azsim.isa import assembly
from azsim.isa.program import DramImage
from azsim.sim.exact import replay_exact
from azsim.sim.execute import execute
from azsim.sim.races import check_races
from azsim.sim.timing import replay
from compiled import chip
from machine_runs import computed, run, view

pytestmark = pytest.mark.kernels

F = np.float32
# Accumulators of a product of 3 x 4 by 5 x 4 codes; bias row, row scales and scales are small.
PRODUCT = [
    view(0, "dram", "f32", 0, 3, 4),
    view(1, "activation", "f32", 0, 3, 4),
    "load dst=v1 src=v0",
    view(2, "activation", "i8", 0x100, 3, 4),
    view(3, "activation", "f32", 0x140, 3, 1),
    "vector_quantize wait_load=1 dst=v2 src=v1 scale=v3",
    view(4, "dram", "i8", 0x80, 5, 4),
    view(5, "weight", "i8", 0, 5, 4),
    "load dst=v5 src=v4",
    view(6, "activation", "f32", 0x180, 1, 5, 0, 0),
    view(7, "activation", "f32", 0x180),
    "vector_fill dst=v7 value=0.0078125",
    view(8, "activation", "f32", 0, 1, 5),
    view(9, "activation", "f32", 0x200, 3, 5),
    view(10, "activation", "f32", 0x1A0),
    view(11, "activation", "i8", 0x300, 3, 5),
    "mac_matmul wait_load=1 wait_vector=1 src=v2 src2=v5",
]


@pytest.mark.parametrize("function", ["sigmoid", "tanh", "relu"])
def test_a_drain_has_the_bits_of_the_vector_engine(function: str) -> None:
    plain = "mac_drain dst=v9 src=v3 scale=v6 bias=v8 use_bias=1"
    separate = [*PRODUCT, plain, f"vector_unary dst=v9 src=v9 function={function}"]
    wanted = computed(*separate, rows=3, cols=5, addr=0x200)
    fused = [*PRODUCT, plain + f" function={function}"]
    assert len(np.unique(wanted)) > 4
    assert computed(*fused, rows=3, cols=5, addr=0x200).tobytes() == wanted.tobytes()


@settings(max_examples=20)
@given(
    bits=st.sampled_from([8, 16]),
    function=st.sampled_from(list(arith.DRAIN_FUNCTIONS)),
    scale=st.sampled_from([0.0009765625, 0.03125, 1.0, 0.00787401571869850158691]),
)
def test_a_drain_to_codes_is_a_static_quantization(bits: int, function: str, scale: float) -> None:
    drain = f"mac_drain src=v3 scale=v6 bias=v8 use_bias=1 function={function}"
    codes = [view(11, "activation", f"i{bits}", 0x300, 3, 5), f"vector_fill dst=v10 value={scale}"]
    separate = [*PRODUCT, *codes, drain + " dst=v9",
                "vector_quantize dst=v11 src=v9 scale=v10 static=1"]  # fmt: skip
    fused = [*PRODUCT, *codes, drain + " dst=v11 code_scale=v10 requantize=1"]
    wanted, found = (
        computed(*lines, rows=3, cols=5, dtype=f"i{bits}", addr=0x300)
        for lines in (separate, fused)
    )
    assert wanted.any()
    assert (found == wanted).all()


DRAIN = "mac_drain src=v3 scale=v6 code_scale=v10 requantize=1 dst="
WRONG = [
    ([], DRAIN + "v9", "codes have to be i8 or i16, dst is f32"),
    ([], DRAIN + "v11 accumulate=1", "codes cannot be accumulated"),
    ([], DRAIN + "v11 peak=v7 use_peak=1", "peak is of f32, dst is i8"),
    ([view(10, "activation", "f32", 0x1A0, 2, 1)], DRAIN + "v11", "code_scale is 2 x 1, not 1 x 1"),
    ([view(10, "activation", "i32", 0x1A0)], DRAIN + "v11", "code_scale has to be f32, is i32"),
    ([view(10, "dram", "f32", 0x1A0)], DRAIN + "v11", "code_scale lies in dram"),
    ([view(10, "activation", "f32", 0x300)], DRAIN + "v11", "code_scale and dst overlap"),
]


@pytest.mark.parametrize(("views", "line", "sentence"), WRONG)
def test_operands_that_do_not_belong_together(views: list[str], line: str, sentence: str) -> None:
    with pytest.raises(MachineError) as error:
        run(*PRODUCT, *views, line)
    assert str(error.value) == f"instruction {len(PRODUCT) + len(views)} (mac_drain): {sentence}"


def test_what_is_not_finite_has_no_code() -> None:
    lines = ["vector_fill dst=v7 value=3.0e38", "vector_fill dst=v10 value=1.0", DRAIN + "v11"]
    with pytest.raises(MachineError) as error:
        run(*PRODUCT, *lines)
    assert str(error.value) == (
        f"instruction {len(PRODUCT) + 2} (mac_drain): a value to be quantized is not finite"
    )


@pytest.mark.parametrize("pipeline", [0, 1, 6])
@pytest.mark.parametrize("lanes", [1, 4, 16])
@pytest.mark.parametrize(
    ("dst", "rest", "group"),
    [
        ("v9", "", 1),
        ("v9", " function=relu", 1),
        ("v9", " function=tanh", 3),
        ("v9", " function=sigmoid", 3),
        ("v11", " code_scale=v10 requantize=1", 5),
        ("v11", " code_scale=v10 requantize=1 function=tanh", 5),
    ],
)
def test_cycles_of_both_models(dst: str, rest: str, group: int, lanes: int, pipeline: int) -> None:
    hardware = chip(
        mac__drain_lanes=lanes, mac__pipeline_cycles=pipeline, vector__table_cycles=3,
        vector__divide_cycles=5,
    )  # fmt: skip
    fill = "vector_fill dst=v10 value=1.0"
    drains = [f"mac_drain dst={dst} src=v3 scale=v6{rest}"] * 2
    program = assembly.parse("\n".join([*PRODUCT, fill, "fence", *drains, "halt"]))
    trace = execute(program, DramImage(np.zeros(8192, np.uint8)), hardware).trace
    wanted = pipeline + -(-15 // lanes) * group
    for model in (replay, replay_exact):
        timing = model(trace, program, hardware)
        assert timing.work[-3:-1].tolist() == [wanted] * 2
        assert (timing.end - timing.start)[-3:-1].tolist() == [wanted] * 2


def test_a_race_for_the_scale_of_codes_is_found() -> None:
    lines = ["vector_fill dst=v10 value=1.0", DRAIN + "v11", "halt"]
    program = assembly.parse("\n".join([*PRODUCT, *lines]))
    trace = execute(program, DramImage(np.zeros(8192, np.uint8)), chip()).trace
    first = len(PRODUCT)
    race = (
        f"instruction {first + 1} (mac_drain) reads activation bytes [0x1a0, 0x1a4) that "
        f"instruction {first} (vector_fill) writes, and no wait orders the two"
    )
    assert check_races(program, trace) == [race]
