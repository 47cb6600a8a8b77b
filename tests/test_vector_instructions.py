"""Vector instructions that work along rows, by number or by comparison."""

from __future__ import annotations

import numpy as np
import pytest

from azsim import arith
from azsim.errors import MachineError
from azsim.isa import assembly
from azsim.isa.program import DramImage
from azsim.sim.execute import execute
from azsim.sim.timing import replay
from compiled import chip
from machine_runs import INPUT, computed, run, view

F = np.float32
X = INPUT[:24].reshape(4, 6)
ROW = INPUT[24:30]
LOADED = [
    view(0, "dram", "f32", 0, 1, 64),
    view(1, "activation", "f32", 0, 1, 64),
    "load dst=v1 src=v0",
    view(1, "activation", "f32", 0, 4, 6),
    view(5, "activation", "f32", 96, 1, 6),  # a row after the matrix
]
MATRIX = view(2, "activation", "f32", 0x400, 4, 6)
COLUMN = view(2, "activation", "f32", 0x400, 4, 1)
NUMBERS = view(2, "activation", "i32", 0x400, 4, 1)
INDICES = np.array([2, 0, 3, 3], np.int32)


def image_with(words: np.ndarray, at: int = 0x800) -> np.ndarray:
    """`INPUT`, and other words at an address."""
    image = np.zeros(8192, np.uint8)
    image[: INPUT.nbytes] = INPUT.view(np.uint8)
    image[at : at + words.nbytes] = words.reshape(-1).view(np.uint8)
    return image


def indexed(words: np.ndarray) -> list[str]:
    """Lines that load int32 words into v6."""
    rows, cols = words.shape
    return [
        view(3, "dram", "i32", 0x800, rows, cols),
        view(6, "activation", "i32", 0x200, rows, cols),
        "load dst=v6 src=v3",
    ]


@pytest.mark.parametrize("name", list(arith.REDUCE_FUNCTIONS))
def test_vector_reduce(name: str) -> None:
    lines = [*LOADED, COLUMN, f"vector_reduce dst=v2 src=v1 reduction={name}"]
    found = computed(*lines, rows=4, cols=1)
    assert (found[:, 0] == arith.REDUCE_FUNCTIONS[name](X)).all()


@pytest.mark.parametrize("name", list(arith.ARG_FUNCTIONS))
def test_vector_arg(name: str) -> None:
    lines = [*LOADED, NUMBERS, f"vector_arg dst=v2 src=v1 rank={name}"]
    found = computed(*lines, rows=4, cols=1, dtype="i32")
    assert (found[:, 0] == (X.argmax(1) if name == "max" else X.argmin(1))).all()


def test_vector_softmax_also_in_place() -> None:
    for dst, addr in ((2, 0x400), (1, 0)):
        lines = [*LOADED, MATRIX, f"vector_softmax dst=v{dst} src=v1"]
        found = computed(*lines, rows=4, cols=6, addr=addr)
        assert (found == arith.softmax(X)).all()


@pytest.mark.parametrize("name", list(arith.NORM_FUNCTIONS))
@pytest.mark.parametrize("use_bias", [False, True])
def test_vector_norm(name: str, use_bias: bool) -> None:
    rest = " bias=v5 use_bias=1" if use_bias else ""
    line = f"vector_norm dst=v2 src=v1 scale=v5 norm={name} value=1e-05{rest}"
    found = computed(*LOADED, MATRIX, line, rows=4, cols=6)
    assert (found == arith.NORM_FUNCTIONS[name](X, ROW, ROW if use_bias else None, 1e-5)).all()


def test_vector_scan_and_cumulative_sum() -> None:
    backwards = view(3, "activation", "f32", 72, 4, 6, row_stride=-6)
    lines = [*LOADED, MATRIX, backwards, "vector_scan dst=v2 src=v1 src2=v3 initial=v5"]
    assert (computed(*lines, rows=4, cols=6) == arith.scan(X, X[::-1], ROW)).all()
    lines = [*LOADED, MATRIX, "vector_cumulative_sum dst=v2 src=v1"]
    assert (computed(*lines, rows=4, cols=6) == arith.cumulative_sum(X)).all()
    across = [
        view(3, "activation", "f32", 0, 6, 4, row_stride=1, col_stride=6),
        view(2, "activation", "f32", 0x400, 6, 4, row_stride=1, col_stride=6),
    ]
    lines = [*LOADED, *across, "vector_cumulative_sum dst=v2 src=v3"]
    assert (arith.cumulative_sum(X.T) == computed(*lines, rows=4, cols=6).T).all()


@pytest.mark.parametrize("name", list(arith.COMPARE_FUNCTIONS))
def test_vector_compare_and_select(name: str) -> None:
    row = view(5, "activation", "f32", 0, 4, 6, row_stride=0)  # the first row, again and again
    lines = [*LOADED, MATRIX, row, f"vector_compare dst=v2 src=v1 src2=v5 comparison={name}"]
    holds = arith.COMPARE_FUNCTIONS[name](X, X[:1])
    found = computed(*lines, rows=4, cols=6)
    assert (found == holds).all()
    if name != "less":
        assert holds[0].all()
    chosen = [*lines, "vector_select dst=v2 src=v2 src2=v1 other=v5"]
    assert (computed(*chosen, rows=4, cols=6) == np.where(holds, X, X[:1])).all()


@pytest.mark.parametrize("matrix", ["src", "src2", "other"])
@pytest.mark.parametrize("is_in_place", [False, True])
def test_vector_multiply_add_rounds_twice(matrix: str, is_in_place: bool) -> None:
    """A matrix, and a row that strides of 0 repeat, for both of the others."""
    row = view(5, "activation", "f32", 96, 4, 6, row_stride=0)
    names = dict.fromkeys(("src", "src2", "other"), "v5") | {matrix: "v1"}
    values = dict.fromkeys(names, np.broadcast_to(ROW, X.shape)) | {matrix: X}
    operands = " ".join(f"{name}={register}" for name, register in names.items())
    target, addr = ("v1", 0) if is_in_place else ("v2", 0x400)
    line = f"vector_multiply_add dst={target} {operands}"
    found = computed(*LOADED, MATRIX, row, line, rows=4, cols=6, addr=addr)
    exact = values["src"].astype(float) * values["src2"] + values["other"]
    assert (found == values["src"] * values["src2"] + values["other"]).all()
    assert (found != exact.astype(np.float32)).any()


def test_vector_top_k() -> None:
    values, numbers = arith.top_k(X, 3)
    lines = [
        *LOADED,
        view(2, "activation", "f32", 0x400, 4, 3),
        view(3, "activation", "i32", 0x600, 4, 3),
        "vector_top_k dst=v2 src=v1 indices=v3",
    ]
    assert (computed(*lines, rows=4, cols=3) == values).all()
    found = computed(*lines, rows=4, cols=3, dtype="i32", addr=0x600)
    assert (found == numbers).all()


def test_vector_gather_and_scatter() -> None:
    image = image_with(INDICES[:, None])
    lines = [*LOADED, *indexed(INDICES[:, None]), MATRIX]
    found = computed(*lines, "vector_gather dst=v2 src=v1 indices=v6", rows=4, cols=6, image=image)
    assert (found == X[INDICES]).all()
    fill = "vector_fill dst=v2 value=9.0"
    line = "vector_scatter dst=v2 src=v1 indices=v6"
    found = computed(*lines, fill, line, rows=4, cols=6, image=image)
    assert (found[[0, 2, 3]] == X[[1, 0, 3]]).all()
    assert (found[1] == 9).all()


@pytest.mark.parametrize(("wrong", "row"), [(4, 1), (-1, 3)])
@pytest.mark.parametrize("mnemonic", ["vector_gather", "vector_scatter"])
def test_numbers_that_are_no_row_are_named(mnemonic: str, wrong: int, row: int) -> None:
    numbers = np.zeros((4, 1), np.int32)
    numbers[row] = wrong
    lines = [*LOADED, *indexed(numbers), MATRIX, f"{mnemonic} dst=v2 src=v1 indices=v6"]
    with pytest.raises(MachineError) as error:
        run(*lines, image=image_with(numbers))
    assert str(error.value) == (
        f"instruction 9 ({mnemonic}): indices hold {wrong} at row {row}, allowed are 0 to 3"
    )


def test_vector_convert_there_and_back() -> None:
    whole = view(3, "activation", "i32", 0x600, 4, 6)
    lines = [*LOADED, whole, MATRIX, "vector_convert dst=v3 src=v1", "vector_convert dst=v2 src=v3"]
    assert (computed(*lines, rows=4, cols=6) == np.rint(X)).all()
    found = computed(*lines, rows=4, cols=6, dtype="i32", addr=0x600)
    assert (found == arith.to_integer(X)).all()


def test_vector_hash() -> None:
    words = np.arange(12, dtype=np.int32).reshape(4, 3) * 77
    lines = [*LOADED, *indexed(words), NUMBERS, "vector_hash dst=v2 src=v6 buckets=37"]
    found = computed(*lines, rows=4, cols=1, dtype="i32", image=image_with(words))
    assert (found[:, 0] == arith.hash_rows(words, 37)).all()


V6 = view(6, "activation", "i32", 0x200, 4, 1)
WRONG = [
    ("vector_reduce dst=v2 src=v1", [MATRIX], "dst is 4 x 6, has to be 4 x 1"),
    ("vector_reduce dst=v2 src=v1", [NUMBERS], "dst has to be f32, is i32"),
    ("vector_arg dst=v2 src=v1", [COLUMN], "dst has to be i32, is f32"),
    ("vector_softmax dst=v2 src=v1", [COLUMN], "src is 4 x 6, dst is 4 x 1"),
    (
        "vector_norm dst=v2 src=v1 scale=v1",
        [MATRIX],
        "scale is 4 x 6, has to be 1 x 6",
    ),
    (
        "vector_norm dst=v2 src=v1 scale=v5 value=-1.0",
        [MATRIX],
        "value -1.0 is added under a square root, has to be 0 or more",
    ),
    (
        "vector_scan dst=v2 src=v1 src2=v1 initial=v1",
        [MATRIX],
        "initial is 4 x 6, has to be 1 x 6",
    ),
    ("vector_cumulative_sum dst=v2 src=v1", [NUMBERS], "dst has to be f32, is i32"),
    ("vector_compare dst=v2 src=v1 src2=v5", [MATRIX], "src2 is 1 x 6, dst is 4 x 6"),
    (
        "vector_select dst=v2 src=v1 src2=v1 other=v5",
        [MATRIX],
        "other is 1 x 6, dst is 4 x 6",
    ),
    (
        "vector_multiply_add dst=v2 src=v1 src2=v1 other=v5",
        [MATRIX],
        "other is 1 x 6, dst is 4 x 6",
    ),
    ("vector_multiply_add dst=v2 src=v1 src2=v1 other=v1", [NUMBERS], "dst has to be f32, is i32"),
    (
        "vector_top_k dst=v2 src=v5 indices=v6",
        [COLUMN, V6],
        "dst is 4 x 1, has to be 1 x 1 to 1 x 6",
    ),
    ("vector_gather dst=v2 src=v1 indices=v5", [MATRIX], "indices has to be i32, is f32"),
    ("vector_gather dst=v2 src=v1 indices=v6", [COLUMN, V6], "dst has 1 columns, src has 6"),
    (
        "vector_scatter dst=v1 src=v2 indices=v6",
        [view(2, "activation", "f32", 0x400, 2, 6), V6],
        "indices is 4 x 1, has to be 2 x 1",
    ),
    (
        "vector_convert dst=v2 src=v1",
        [MATRIX],
        "one view has to be f32, the other i32, dst is f32, src f32",
    ),
    ("vector_hash dst=v2 src=v1 buckets=3", [NUMBERS], "src has to be i32, is f32"),
]


@pytest.mark.parametrize(("line", "views", "sentence"), WRONG)
def test_operands_that_do_not_belong_together(line: str, views: list[str], sentence: str) -> None:
    with pytest.raises(MachineError) as error:
        run(*LOADED, *views, line)
    index = len(LOADED) + len(views)
    assert str(error.value) == f"instruction {index} ({line.split()[0]}): {sentence}"


TIMES = [  # 4 rows of 6 columns on 4 lanes are 8 groups; pipeline 8, divide 4, table 2
    ("vector_reduce dst=v2 src=v1", COLUMN, 8 + 8),
    ("vector_arg dst=v2 src=v1", NUMBERS, 8 + 8),
    ("vector_softmax dst=v2 src=v1", MATRIX, 3 * 8 + 8 * (1 + 2 + 4)),
    ("vector_norm dst=v2 src=v1 scale=v5 norm=layer_norm", MATRIX, 3 * 8 + 8 * (1 + 1 + 4)),
    ("vector_norm dst=v2 src=v1 scale=v5 norm=rms_norm", MATRIX, 2 * 8 + 8 * (1 + 4)),
    ("vector_scan dst=v2 src=v1 src2=v1 initial=v5", MATRIX, 8 + 3 * 8 + 2),
    ("vector_cumulative_sum dst=v2 src=v1", MATRIX, 8 + 3 * 8 + 2),
    ("vector_compare dst=v2 src=v1 src2=v1", MATRIX, 8 + 6),
    ("vector_select dst=v2 src=v1 src2=v1 other=v1", MATRIX, 8 + 6),
    ("vector_multiply_add dst=v2 src=v1 src2=v1 other=v1", MATRIX, 8 + 6),
]


@pytest.mark.parametrize(("line", "target", "cycles"), TIMES)
def test_cycles(line: str, target: str, cycles: int) -> None:
    program = assembly.parse("\n".join([*LOADED, target, line, "halt"]))
    hardware = chip(vector__lanes=4)
    trace = execute(program, DramImage(image_with(INDICES)), hardware).trace
    assert replay(trace, program, hardware).work[-2] == cycles
