"""Rows that do not follow one another in DRAM: gathered by number, or strided."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azsim.errors import MachineError
from azsim.isa import assembly
from azsim.isa.program import DramImage
from azsim.sim.exact import replay_exact
from azsim.sim.execute import execute
from azsim.sim.races import check_races
from azsim.sim.timing import Timing, replay
from compiled import chip
from machine_runs import computed, run, view

pytestmark = pytest.mark.kernels

F = np.float32
RNG = np.random.default_rng(3)
BYTES = RNG.integers(0, 256, 8192).astype(np.uint8)
TABLE_AT = 0x400


def image_of(numbers: np.ndarray) -> np.ndarray:
    """Numbers of rows at 0, random bytes from `TABLE_AT` on."""
    image = BYTES.copy()
    image[:TABLE_AT] = 0
    image[: 4 * len(numbers)] = numbers.astype("<i4").view(np.uint8)
    return image


def numbered(count: int) -> list[str]:
    """Lines that load numbers into v3."""
    return [
        view(2, "dram", "i32", 0, count, 1),
        view(3, "activation", "i32", 0x1C00, count, 1),
        "load dst=v3 src=v2",
    ]


@settings(max_examples=40)
@given(
    dtype=st.sampled_from(["u8", "i8", "i16", "i32"]),
    rows=st.integers(1, 20),
    cols=st.integers(1, 17),
    gap=st.integers(0, 9),
    data=st.data(),
)
def test_rows_come_by_number(
    dtype: str, rows: int, cols: int, gap: int, data: st.DataObject
) -> None:
    numbers = np.array(data.draw(st.lists(st.integers(0, rows - 1), min_size=1, max_size=12)))
    kind = np.dtype({"u8": np.uint8, "i8": np.int8, "i16": np.int16, "i32": np.int32}[dtype])
    lines = [
        *numbered(len(numbers)),
        view(0, "dram", dtype, TABLE_AT, rows, cols, cols + gap),
        view(1, "activation", dtype, 0x400, len(numbers), cols),
        "load_gather wait_load=1 dst=v1 src=v0 indices=v3",
    ]
    found = computed(*lines, rows=len(numbers), cols=cols, dtype=dtype, image=image_of(numbers))
    words = image_of(numbers)[TABLE_AT:].view(kind)
    table = np.stack([words[row * (cols + gap) :][:cols] for row in range(rows)])
    assert (found == table[numbers]).all()


def test_a_table_may_run_backwards_and_rows_may_lie_apart() -> None:
    numbers = np.array([2, 0, 2])
    words = image_of(numbers)[TABLE_AT : TABLE_AT + 48].view(np.int32).reshape(3, 4)
    lines = [
        *numbered(3),
        view(0, "dram", "i32", TABLE_AT + 32, 3, 4, row_stride=-4),
        view(1, "activation", "i32", 0x400, 3, 4, row_stride=5),
        "load_gather wait_load=1 dst=v1 src=v0 indices=v3",
    ]
    found = computed(*lines, rows=3, cols=5, dtype="i32", image=image_of(numbers))
    assert (found[:, :4] == words[::-1][numbers]).all()
    assert not found[:, 4].any()


def test_gathered_codes_can_be_weights() -> None:
    """A tile that was there before is forgotten."""
    numbers = np.array([1, 1])
    lines = [
        *numbered(2),
        view(0, "dram", "i8", TABLE_AT, 4, 8),
        view(5, "weight", "i8", 0, 2, 8),
        view(6, "activation", "i8", 0, 1, 8),
        "mac_matmul src=v6 src2=v5",
        "load_gather wait_load=1 wait_mac=1 dst=v5 src=v0 indices=v3",
        "mac_matmul wait_load=1 src=v6 src2=v5",
    ]
    tiles = run(*lines, image=image_of(numbers)).trace.tiles
    rows = image_of(numbers)[TABLE_AT:].view(np.int8)[8:16]
    assert [tile.codes.tolist() for tile in tiles] == [[[0] * 8] * 2, [rows.tolist()] * 2]


TABLE = view(0, "dram", "f32", TABLE_AT, 4, 6)
TARGET = view(1, "activation", "f32", 0x400, 3, 6)
GATHER = "load_gather dst=v1 src=v0 indices=v3"
WRONG = [
    ([TARGET, view(0, "activation", "f32", 0, 4, 6)], "src lies in activation, not in dram"),
    ([TABLE, view(1, "dram", "f32", 0, 3, 6)], "dst lies in dram"),
    ([TABLE, TARGET, view(3, "weight", "i32", 0, 3, 1)],
     "indices lie in weight, not in activation"),
    ([TABLE, view(1, "activation", "i32", 0x400, 3, 6)], "views of one unpacked type"),
    ([TARGET, view(0, "dram", "f32", TABLE_AT, 4, 6, 12, 2)], "rows of src have to be contiguous"),
    ([TABLE, view(1, "activation", "f32", 0x400, 3, 5)], "dst has 5 columns, src has 6"),
    ([TABLE, TARGET, view(3, "activation", "f32", 0x1C00, 3, 1)], "indices has to be i32, is f32"),
    ([TABLE, view(1, "activation", "f32", 0x400, 2, 6)], "indices is 3 x 1, has to be 2 x 1"),
    ([TABLE, view(1, "activation", "f32", 0x1BF8, 3, 6)], "indices and dst overlap"),
    ([TABLE, view(1, "activation", "f32", 0x400, 3, 6, 0)],
     "dst shows one element at several positions"),
]  # fmt: skip


@pytest.mark.parametrize(("views", "sentence"), WRONG)
def test_operands_that_do_not_belong_together(views: list[str], sentence: str) -> None:
    with pytest.raises(MachineError) as error:
        run(*numbered(3), *views, GATHER)
    assert str(error.value) == f"instruction {3 + len(views)} (load_gather): {sentence}"


@pytest.mark.parametrize("wrong", [4, -1])
def test_a_number_that_is_no_row_is_named(wrong: int) -> None:
    with pytest.raises(MachineError) as error:
        run(*numbered(3), TABLE, TARGET, GATHER, image=image_of(np.array([0, 3, wrong])))
    assert str(error.value) == (
        f"instruction 5 (load_gather): indices hold {wrong} at row 2, allowed are 0 to 3"
    )


def test_races_for_numbers_and_rows_are_found() -> None:
    lines = [
        *numbered(3), TABLE, TARGET,
        "vector_fill wait_load=1 dst=v3 value=1", "load_gather {} dst=v1 src=v0 indices=v3",
        "vector_unary {} dst=v1 src=v1 function=abs", "halt",
    ]  # fmt: skip
    for waits, found in ((("", ""), 2), (("wait_vector=1", "wait_load=1"), 0)):
        text = "\n".join(lines).replace("{}", waits[0], 1).replace("{}", waits[1], 1)
        program = assembly.parse(text)
        trace = execute(program, DramImage(image_of(np.zeros(3))), chip()).trace
        sentences = check_races(program, trace)
        assert len(sentences) == found
        if found:
            assert sentences[0] == (
                "instruction 6 (load_gather) reads activation bytes [0x1c00, 0x1c0c) that "
                "instruction 5 (vector_fill) writes, and no wait orders the two"
            )


# ------------------------------------------------------------------- bursts, as they fall


def bursts_of(rows: list[int], row_bytes: int, burst_bytes: int) -> list[int]:
    """Bursts of rows at these addresses, each row for itself, byte by byte."""
    found: list[int] = []
    for low in rows:
        of_row = [byte // burst_bytes for byte in range(low, low + row_bytes)]
        found += [number for number, _ in itertools.groupby(of_row)]
    return found


def timed(lines: list[str], image: np.ndarray, **changes: int) -> list[Timing]:
    program = assembly.parse("\n".join([*lines, "halt"]))
    trace = execute(program, DramImage(image), chip()).trace
    hardware = chip(dram__refresh_interval_ns=0, **changes)
    return [model(trace, program, hardware) for model in (replay, replay_exact)]


def misses_of(rows: list[int], banks: int) -> int:
    """Rows that have to be opened: each bank for itself."""
    of_bank = [[row for row in rows if row % banks == bank] for bank in range(banks)]
    return sum(len(list(itertools.groupby(of_one))) for of_one in of_bank)


def check(
    timings: list[Timing], bursts: list[int], before: list[int], row_bytes: int, banks: int
) -> None:
    """The last transfer fetched these bursts, after others had been fetched before."""
    misses = misses_of([burst * 8 // row_bytes for burst in [*before, *bursts]], banks)
    for timing in timings:
        assert timing.bursts[-2] == len(bursts)
        assert timing.row_misses == misses
    fast, stepped = timings
    # The stepped channel asks for one burst a cycle, the fast one for all at once.
    assert abs(int(fast.end_cycles) - int(stepped.end_cycles)) <= 2 * len(timings[0].engine)


@settings(max_examples=40)
@given(
    kind=st.sampled_from(["load", "store"]),
    rows=st.integers(1, 9),
    cols=st.integers(1, 20),
    stride=st.integers(-40, 40),
    start=st.integers(0, 15),
    row_bytes=st.sampled_from([64, 256]),
    banks=st.sampled_from([1, 3, 8]),
)
def test_strided_transfers_fetch_the_bursts_of_their_rows(
    kind: str, rows: int, cols: int, stride: int, start: int, row_bytes: int, banks: int
) -> None:
    if kind == "store" and abs(stride) < cols and rows > 1:
        stride = cols + abs(stride)
    addr = 0x800 + 4 * start - min(0, stride) * 4 * rows
    lines = [
        view(0, "dram", "f32", addr, rows, cols, row_stride=stride),
        view(1, "activation", "f32", 0, rows, cols),
        "load dst=v1 src=v0" if kind == "load" else "store dst=v0 src=v1",
    ]
    timings = timed(
        lines, BYTES, dram__burst_bytes=8, dram__row_bytes=row_bytes, dram__latency_ns=20,
        dram__banks=banks,
    )  # fmt: skip
    at = [addr + 4 * stride * row for row in range(rows)]
    size = 4 * cols
    if stride == cols:  # one piece
        at, size = [addr], 4 * cols * rows
    check(timings, bursts_of(at, size, 8), [], row_bytes, banks)
    assert timings[0].useful_bytes[-2] == 4 * rows * cols


@settings(max_examples=40)
@given(
    numbers=st.lists(st.integers(0, 15), min_size=1, max_size=12),
    cols=st.integers(1, 20),
    gap=st.integers(0, 20),
    row_bytes=st.sampled_from([64, 256]),
    outstanding=st.integers(1, 9),
    banks=st.sampled_from([1, 2, 8]),
)
def test_gathers_fetch_the_bursts_of_their_rows(
    numbers: list[int], cols: int, gap: int, row_bytes: int, outstanding: int, banks: int
) -> None:
    lines = [
        *numbered(len(numbers)),
        view(0, "dram", "f32", TABLE_AT, 16, cols, row_stride=cols + gap),
        view(1, "activation", "f32", 0x400, len(numbers), cols),
        "load_gather wait_load=1 dst=v1 src=v0 indices=v3",
    ]
    timings = timed(
        lines, image_of(np.array(numbers)), dram__burst_bytes=8, dram__row_bytes=row_bytes,
        dram__latency_ns=20, dram__outstanding_bursts=outstanding, dram__banks=banks,
    )  # fmt: skip
    at = [TABLE_AT + 4 * (cols + gap) * number for number in numbers]
    before = bursts_of([0], 4 * len(numbers), 8)
    check(timings, bursts_of(at, 4 * cols, 8), before, row_bytes, banks)
    assert timings[0].useful_bytes[-2] == 4 * cols * len(numbers)


def test_a_loop_gathers_other_rows_each_time() -> None:
    """One instruction, three rounds: near rows, then far ones, then one again and again."""
    rounds = np.array([[0, 1], [0, 7], [5, 5]])
    lines = [
        view(2, "dram", "i32", 0, 2, 1),
        view(3, "activation", "i32", 0x1C00, 2, 1),
        view(0, "dram", "f32", TABLE_AT, 8, 16),  # a row of the table is a row of DRAM
        view(1, "activation", "f32", 0x400, 2, 16),
        "loop count=3",
        "load dst=v3 src=v2",
        "load_gather wait_load=1 dst=v1 src=v0 indices=v3",
        "view_step view=v2 step=8",
        "end_loop",
    ]
    image, sizes = image_of(rounds.reshape(-1)), {"dram__burst_bytes": 64, "dram__row_bytes": 64}
    for banks, misses in ((1, 3 + 3 + 2), (64, 3 + 1 + 1)):  # with many, no row is opened twice
        for timing in timed(lines, image, **sizes, dram__banks=banks):
            assert timing.bursts.tolist() == [1, 2, 1, 2, 1, 2, 0]
            assert timing.row_misses == misses
