"""Rows that go to places of a table in DRAM by number: `load_gather` the other way round."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azsim.errors import MachineError
from azsim.isa import assembly
from azsim.isa.program import DramImage
from azsim.sim.execute import execute
from azsim.sim.races import check_races
from compiled import chip
from machine_runs import run, view
from test_gather import TABLE_AT, bursts_of, check, image_of, numbered, timed

pytestmark = pytest.mark.kernels

ROWS_AT = 0x1400
TABLE_BYTES = 0xC00
OUT = f".output y addr={TABLE_AT} shape={TABLE_BYTES // 4} frames=1"
SCATTER = "store_scatter wait_load=1 dst=v0 src=v1 indices=v3"


def rows_in(dtype: str, count: int, cols: int) -> list[str]:
    """Lines that load rows into v1."""
    return [
        view(5, "dram", dtype, ROWS_AT, count, cols),
        view(1, "activation", dtype, 0x400, count, cols),
        "load dst=v1 src=v5",
    ]


@settings(max_examples=40)
@given(
    dtype=st.sampled_from(["u8", "i8", "i16", "i32"]),
    rows=st.integers(1, 12),
    cols=st.integers(1, 17),
    gap=st.integers(0, 9),
    data=st.data(),
)
def test_rows_go_where_their_numbers_say_and_no_others_change(
    dtype: str, rows: int, cols: int, gap: int, data: st.DataObject
) -> None:
    numbers = data.draw(st.lists(st.integers(0, rows - 1), min_size=1, max_size=9))
    kind = np.dtype({"u8": np.uint8, "i8": np.int8, "i16": np.int16, "i32": np.int32}[dtype])
    lines = [
        OUT,
        *numbered(len(numbers)),
        *rows_in(dtype, len(numbers), cols),
        view(0, "dram", dtype, TABLE_AT, rows, cols, cols + gap),
        SCATTER,
    ]
    image = image_of(np.array(numbers))
    found = run(*lines, image=image).outputs["y"].reshape(-1).view(np.uint8)
    new = image[ROWS_AT:].view(kind)[: len(numbers) * cols].reshape(-1, cols)
    expected = image[TABLE_AT : TABLE_AT + TABLE_BYTES].copy()
    words = expected.view(kind)
    for row, number in enumerate(numbers):
        words[number * (cols + gap) :][:cols] = new[row]
    assert found.tobytes() == expected.tobytes()


TABLE = view(0, "dram", "f32", TABLE_AT, 4, 6)
SOURCE = view(1, "activation", "f32", 0x400, 3, 6)
WRONG = [
    ([SOURCE, view(0, "activation", "f32", 0, 4, 6)], "dst lies in activation, not in dram"),
    ([TABLE, view(1, "weight", "f32", 0, 3, 6)], "src lies in weight, not in activation"),
    ([TABLE, SOURCE, view(3, "weight", "i32", 0, 3, 1)],
     "indices lie in weight, not in activation"),
    ([TABLE, view(1, "activation", "i32", 0x400, 3, 6)], "views of one unpacked type"),
    ([SOURCE, view(0, "dram", "f32", TABLE_AT, 4, 6, 12, 2)], "rows of dst have to be contiguous"),
    ([TABLE, view(1, "activation", "f32", 0x400, 3, 5)], "dst has 6 columns, src has 5"),
    ([TABLE, SOURCE, view(3, "activation", "f32", 0x1C00, 3, 1)], "indices has to be i32, is f32"),
    ([TABLE, view(1, "activation", "f32", 0x400, 2, 6)], "indices is 3 x 1, has to be 2 x 1"),
    ([SOURCE, view(0, "dram", "f32", TABLE_AT, 4, 6, 0)],
     "dst shows one element at several positions"),
]  # fmt: skip


@pytest.mark.parametrize(("views", "sentence"), WRONG)
def test_operands_that_do_not_belong_together(views: list[str], sentence: str) -> None:
    with pytest.raises(MachineError) as error:
        run(*numbered(3), *views, SCATTER)
    assert str(error.value) == f"instruction {3 + len(views)} (store_scatter): {sentence}"


@pytest.mark.parametrize("wrong", [4, -1])
def test_a_number_that_is_no_row_is_named(wrong: int) -> None:
    with pytest.raises(MachineError) as error:
        run(*numbered(3), TABLE, SOURCE, SCATTER, image=image_of(np.array([0, 3, wrong])))
    assert str(error.value) == (
        f"instruction 5 (store_scatter): indices hold {wrong} at row 2, allowed are 0 to 3"
    )


def test_races_with_loads_of_the_table_are_found() -> None:
    lines = [
        *numbered(3), TABLE, SOURCE, view(6, "activation", "f32", 0x800, 4, 6), SCATTER,
        "load {} dst=v6 src=v0", "halt",
    ]  # fmt: skip
    for wait, found in (("", 1), ("wait_store=1", 0)):
        program = assembly.parse("\n".join(lines).replace("{}", wait))
        trace = execute(program, DramImage(image_of(np.zeros(3))), chip()).trace
        sentences = check_races(program, trace)
        assert len(sentences) == found
        if found:
            assert sentences[0] == (
                "instruction 7 (load) reads dram bytes [0x400, 0x460) that instruction 6 "
                "(store_scatter) writes, and no wait orders the two"
            )


@settings(max_examples=30)
@given(
    numbers=st.lists(st.integers(0, 15), min_size=1, max_size=12),
    cols=st.integers(1, 20),
    gap=st.integers(0, 20),
    row_bytes=st.sampled_from([64, 256]),
    banks=st.sampled_from([1, 2, 8]),
)
def test_the_bursts_of_the_rows_are_stored_one_row_after_the_other(
    numbers: list[int], cols: int, gap: int, row_bytes: int, banks: int
) -> None:
    lines = [
        *numbered(len(numbers)),
        view(0, "dram", "f32", TABLE_AT, 16, cols, row_stride=cols + gap),
        view(1, "activation", "f32", 0x400, len(numbers), cols),
        SCATTER,
    ]
    timings = timed(
        lines, image_of(np.array(numbers)), dram__burst_bytes=8, dram__row_bytes=row_bytes,
        dram__latency_ns=20, dram__banks=banks,
    )  # fmt: skip
    at = [TABLE_AT + 4 * (cols + gap) * number for number in numbers]
    before = bursts_of([0], 4 * len(numbers), 8)
    check(timings, bursts_of(at, 4 * cols, 8), before, row_bytes, banks)
    assert timings[0].useful_bytes[-2] == 4 * cols * len(numbers)
