"""Peaks: what an instruction has written, as the next one's quantization needs it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azsim import arith
from azsim.compiler.step_cycles import vector_cycles
from azsim.errors import MachineError
from azsim.isa import assembly
from azsim.isa.program import DramImage
from azsim.ops.lowering import Access, Lowering, Quantize
from azsim.sim.exact import replay_exact
from azsim.sim.execute import execute
from azsim.sim.races import check_races
from azsim.sim.timing import replay
from compiled import chip, graph_of, node
from graphs import compress
from machine_runs import INPUT, computed, run, view

pytestmark = pytest.mark.kernels

F = np.float32
X = INPUT[:24].reshape(4, 6)
LOADED = [
    view(0, "dram", "f32", 0, 4, 6),
    view(1, "activation", "f32", 0, 4, 6),
    "load dst=v1 src=v0",
    view(2, "activation", "f32", 0x400, 4, 6),
    view(3, "activation", "f32", 0x600),  # a peak
    view(4, "activation", "f32", 0x610),  # a scale
    view(5, "activation", "i8", 0x620, 4, 6),
]


def peak_of(*lines: str) -> np.ndarray:
    return computed(*LOADED, *lines, rows=1, cols=1, addr=0x600)


@pytest.mark.parametrize("function", list(arith.UNARY_FUNCTIONS))
def test_vector_unary_keeps_its_peak(function: str) -> None:
    line = f"vector_unary dst=v2 src=v1 function={function} peak=v3 use_peak=1"
    with np.errstate(invalid="ignore"):
        wanted = arith.peak(np.asarray(arith.UNARY_FUNCTIONS[function](X), F))
    assert peak_of(line) == wanted  # NaN of sqrt are passed over
    assert peak_of(line.replace("dst=v2", "dst=v1")) == wanted


@pytest.mark.parametrize("function", ["add", "sub", "mul", "div", "max", "min"])
def test_vector_binary_keeps_its_peak(function: str) -> None:
    turned = view(6, "activation", "f32", 0, 4, 6, row_stride=1, col_stride=4)
    line = f"vector_binary dst=v2 src=v1 src2=v6 function={function}"
    out = computed(*LOADED, turned, line, rows=4, cols=6)
    assert len(np.unique(out)) > 5
    assert peak_of(turned, f"{line} peak=v3 use_peak=1") == np.abs(out).max()


@pytest.mark.parametrize("bias", ["", " bias=v7 use_bias=1"])
@pytest.mark.parametrize("norm", ["layer_norm", "rms_norm"])
def test_vector_norm_keeps_its_peak(norm: str, bias: str) -> None:
    rows = [view(6, "activation", "f32", 0, 1, 6), view(7, "activation", "f32", 24, 1, 6)]
    line = f"vector_norm dst=v2 src=v1 scale=v6 norm={norm} value=1e-5{bias}"
    out = computed(*LOADED, *rows, line, rows=4, cols=6)
    assert len(np.unique(out)) > 5
    assert peak_of(*rows, f"{line} peak=v3 use_peak=1") == np.abs(out).max()


def test_vector_multiply_add_keeps_its_peak() -> None:
    turned = view(6, "activation", "f32", 0, 4, 6, row_stride=1, col_stride=4)
    line = "vector_multiply_add dst=v2 src=v1 src2=v6 other=v1"
    out = computed(*LOADED, turned, line, rows=4, cols=6)
    assert peak_of(turned, f"{line} peak=v3 use_peak=1") == np.abs(out).max()


def test_load_gather_keeps_the_peak_of_the_rows_it_fetched() -> None:
    number = [
        view(7, "activation", "i32", 0x700),
        view(8, "activation", "f32", 0x720),
        "vector_fill dst=v8 value=2.5",
        "vector_convert dst=v7 src=v8",
        view(2, "activation", "f32", 0x400, 1, 6),
    ]
    line = "load_gather wait_vector=1 dst=v2 src=v0 indices=v7 peak=v3 use_peak=1"
    assert peak_of(*number, line) == np.abs(X[2]).max()


def test_vector_copy_keeps_the_peak_of_what_it_wrote() -> None:
    some = view(1, "activation", "f32", 8, 4, 2, row_stride=6)
    there = view(2, "activation", "f32", 0x400, 4, 2, row_stride=3)
    line = "vector_copy dst=v2 src=v1 peak=v3 use_peak=1"
    assert peak_of("vector_fill dst=v2 value=99.0", some, there, line) == np.abs(X[:, 2:4]).max()


def test_mac_drain_keeps_the_peak_of_what_it_wrote() -> None:
    scales = view(7, "activation", "f32", 0x700, 4, 1)
    lines = [
        scales,
        "vector_quantize dst=v5 src=v1 scale=v7",
        view(6, "weight", "i8", 0, 5, 6),
        view(9, "dram", "i8", 0x100, 5, 6),
        "load dst=v6 src=v9",
        view(8, "activation", "f32", 0, 1, 5),
        view(2, "activation", "f32", 0x400, 4, 5),
        "mac_matmul src=v5 src2=v6",
        "mac_drain dst=v2 src=v7 scale=v8 bias=v8 use_bias=1 accumulate=1 peak=v3 use_peak=1",
    ]
    out = computed(*LOADED, "vector_fill dst=v2 value=0.25", *lines, rows=4, cols=5)
    assert len(np.unique(out)) > 5
    assert peak_of("vector_fill dst=v2 value=0.25", *lines) == np.abs(out).max()


@settings(max_examples=30)
@given(
    bits=st.sampled_from([8, 16]),
    cuts=st.sets(st.integers(1, 3)),
    scale=st.sampled_from([1.0, 0.0, 1e-45, 3e38]),
)
def test_a_scale_of_peaks_gives_the_bits_of_a_search(
    bits: int, cuts: set[int], scale: float
) -> None:
    """The parts of a matrix are copied one by one, each with its peak."""
    image = np.zeros(8192, np.uint8)
    x = INPUT[:24] if scale == 1 else np.where(np.arange(24) == 7, F(scale), F(0)).astype(F)
    image[:96] = x.view(np.uint8)
    codes = [view(5, "activation", f"i{bits}", 0x680, 4, 6)]
    rows = [0, *sorted(cuts), 4]
    copies = []
    for number, (first, last) in enumerate(itertools.pairwise(rows)):
        copies += [
            view(1, "activation", "f32", 24 * first, last - first, 6),
            view(2, "activation", "f32", 0x400 + 24 * first, last - first, 6),
            view(3, "activation", "f32", 0x600 + 4 * number),
            "vector_copy dst=v2 src=v1 peak=v3 use_peak=1",
        ]
    whole = [
        view(2, "activation", "f32", 0x400, 4, 6),
        view(3, "activation", "f32", 0x600, len(rows) - 1, 1),
    ]
    found = []
    for peaks in ("", " peak=v3 use_peak=1"):
        lines = [*LOADED, *codes, *copies, *whole, f"vector_quantize dst=v5 src=v2 scale=v4{peaks}"]
        found.append(
            computed(*lines, rows=4, cols=6, dtype=f"i{bits}", addr=0x680, image=image).tobytes()
            + computed(*lines, rows=1, cols=1, addr=0x610, image=image).tobytes()
        )
    assert found[0] == found[1]


QUANTIZE = "vector_quantize dst=v5 src=v1 scale=v4 peak=v3 use_peak=1"
WRONG = [
    ([view(3, "activation", "f32", 0x600, 2, 1)],
     "vector_unary dst=v2 src=v1 function=abs peak=v3 use_peak=1", "peak is 2 x 1, not 1 x 1"),
    ([view(3, "activation", "i32", 0x600)],
     "vector_copy dst=v2 src=v1 peak=v3 use_peak=1", "peak has to be f32, is i32"),
    ([view(3, "weight", "f32", 0)],
     "vector_copy dst=v2 src=v1 peak=v3 use_peak=1", "peak lies in weight, not in activation"),
    ([view(3, "activation", "f32", 0x404)],
     "vector_copy dst=v2 src=v1 peak=v3 use_peak=1", "dst and peak overlap"),
    ([view(3, "activation", "f32", 4)],
     "vector_copy dst=v2 src=v1 peak=v3 use_peak=1", "src and peak overlap"),
    ([view(6, "activation", "f32", 0x600, 1, 1, row_stride=0), view(2, "activation", "f32", 0x400),
      view(1, "activation", "f32", 0)],
     "vector_binary dst=v2 src=v1 src2=v6 function=mul peak=v3 use_peak=1",
     "src2 and peak overlap"),
    ([view(6, "activation", "f32", 0x600, 1, 6)],
     "vector_norm dst=v2 src=v1 scale=v6 norm=rms_norm peak=v3 use_peak=1",
     "scale and peak overlap"),
    ([view(2, "activation", "f32", 0x400, 1, 6), view(3, "activation", "i32", 0x600)],
     "load_gather dst=v2 src=v0 indices=v3 peak=v3 use_peak=1", "peak has to be f32, is i32"),
    ([view(2, "activation", "i8", 0x700, 4, 6)],
     "vector_copy dst=v2 src=v5 peak=v3 use_peak=1", "peak is of f32, dst is i8"),
    ([], QUANTIZE + " static=1", "a static scale is not made of peaks"),
    ([view(4, "activation", "f32", 0x700, 4, 1)], QUANTIZE,
     "scale is 4 x 1, has to be 1 x 1 with peaks"),
    ([view(3, "activation", "f32", 0x700, 2, 2)], QUANTIZE,
     "peak is 2 x 2, has to be one column"),
    ([view(3, "activation", "i32", 0x700)], QUANTIZE, "peak has to be f32, is i32"),
    ([view(3, "dram", "f32", 0)], QUANTIZE, "peak lies in dram"),
    ([view(3, "activation", "f32", 0x610)], QUANTIZE, "peak and scale overlap"),
    ([view(3, "activation", "f32", 0x620)], QUANTIZE, "peak and dst overlap"),
]  # fmt: skip


@pytest.mark.parametrize(("views", "line", "sentence"), WRONG)
def test_operands_that_do_not_belong_together(views: list[str], line: str, sentence: str) -> None:
    with pytest.raises(MachineError) as error:
        run(*LOADED, *views, line)
    index = len(LOADED) + len(views)
    assert str(error.value) == f"instruction {index} ({line.split()[0]}): {sentence}"


def test_a_drain_writes_its_peak_apart_from_what_it_reads() -> None:
    lines = [view(2, "activation", "f32", 0x400, 1, 1), view(3, "activation", "f32", 0x610)]
    with pytest.raises(MachineError) as error:
        run(*LOADED, *lines, "mac_drain dst=v2 src=v1 scale=v4 peak=v3 use_peak=1")
    assert str(error.value) == "instruction 9 (mac_drain): src is 4 x 6, has to be 1 x 1 or 1 x 1"
    lines.append(view(1, "activation", "f32", 0, 1, 1))
    with pytest.raises(MachineError) as error:
        run(*LOADED, *lines, "mac_drain dst=v2 src=v1 scale=v4 peak=v3 use_peak=1")
    assert str(error.value) == "instruction 10 (mac_drain): scale and peak overlap"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_peaks_and_values_have_to_be_finite(bad: float) -> None:
    image = np.zeros(8192, np.uint8)
    image[:96] = X.copy().reshape(-1).view(np.uint8)
    image[96:100] = np.array([bad], F).view(np.uint8)
    word = [view(9, "dram", "f32", 96), view(3, "activation", "f32", 0x600), "load dst=v3 src=v9"]
    with pytest.raises(MachineError) as error:
        run(*LOADED, *word, QUANTIZE, image=image)
    assert str(error.value) == "instruction 10 (vector_quantize): a peak is not finite"
    word = [view(9, "dram", "f32", 96), view(10, "activation", "f32", 20), "load dst=v10 src=v9",
            "vector_fill dst=v3 value=1.0"]  # fmt: skip
    with pytest.raises(MachineError) as error:
        run(*LOADED, *word, QUANTIZE, image=image)
    assert str(error.value) == (
        "instruction 11 (vector_quantize): a value to be quantized is not finite"
    )


def test_a_peak_saves_the_search_and_costs_nothing() -> None:
    # 24 elements on 4 lanes are 6 groups, 5 peaks 2; pipeline 8, divide 4.
    text = [
        *LOADED,
        "vector_copy dst=v2 src=v1",
        "vector_copy dst=v2 src=v1 peak=v3 use_peak=1",
        "vector_quantize dst=v5 src=v2 scale=v4",
        view(3, "activation", "f32", 0x600, 5, 1, row_stride=0),
        "vector_quantize dst=v5 src=v2 scale=v4 peak=v3 use_peak=1",
        "halt",
    ]
    program, hardware = assembly.parse("\n".join(text)), chip(vector__lanes=4)
    image = np.zeros(8192, np.uint8)
    trace = execute(program, DramImage(image), hardware).trace
    wanted = [8 + 6, 8 + 6, 8 + 6 + 8 + 24, 8 + 2 + 8 + 24]
    assert replay(trace, program, hardware).work[1:5].tolist() == wanted
    assert replay_exact(trace, program, hardware).work[1:5].tolist() == wanted


def test_one_pass_makes_the_scales_of_many_steps() -> None:
    """So that no bound on the engine's work may count a pass for each of them."""
    count, cols = 8, 16
    codes, scales = 0x800, 0x900
    lines = []
    for row in range(count):
        lines += [
            view(0, "dram", "f32", 64 * row, 1, cols),
            view(1, "activation", "f32", 64 * row, 1, cols),
            view(3, "activation", "f32", 0x600 + 4 * row),
            "load dst=v1 src=v0 peak=v3 use_peak=1",
        ]
    each = [
        view(1, "activation", "f32", 0, count, cols),
        view(5, "activation", "i8", codes, count, cols),
        view(4, "activation", "f32", scales, count, 1),
        "vector_quantize wait_load=1 dst=v5 src=v1 scale=v4",
    ]
    batched = [
        view(3, "activation", "f32", 0x600, count, 1),
        view(6, "activation", "i8", 0x700, count, 1),
        view(4, "activation", "f32", scales, count, 1),
        "vector_quantize wait_load=1 dst=v6 src=v3 scale=v4",
    ]
    for row in range(count):
        batched += [
            view(1, "activation", "f32", 64 * row, 1, cols),
            view(5, "activation", "i8", codes + cols * row, 1, cols),
            view(4, "activation", "f32", scales + 4 * row),
            "vector_quantize dst=v5 src=v1 scale=v4 static=1",
        ]
    image = np.zeros(8192, np.uint8)
    image[: INPUT.nbytes] = INPUT.view(np.uint8)
    found = []
    for more in (each, batched):
        kept = [
            computed(*lines, *more, rows=count, cols=n, dtype=kind, addr=at, image=image).tobytes()
            for n, kind, at in ((cols, "i8", codes), (1, "f32", scales))
        ]
        found.append(kept)
    assert found[0] == found[1]
    hardware = chip(vector__lanes=16)
    program = assembly.parse("\n".join([*lines, *batched, "halt"]))
    timing = replay(execute(program, DramImage(image), hardware).trace, program, hardware)
    vector = hardware.vector
    one = vector.pipeline_cycles + vector.divide_cycles
    work = timing.work[count:-1].tolist()
    assert work == [vector.pipeline_cycles + 1 + one, *[one] * count]
    lowering = Lowering(compress(graph_of({"x": (1, 4)}, {}, [node("Relu", ["x"], "y")], ("y",))))
    windows = []
    for name, dtype, length in (("codes", "i8", cols), ("x", "f32", cols), ("scale", "f32", 1)):
        lowering.buffer(name, dtype, length)
        windows.append(Access(name, 0, 1, length, length, 1))
    step = Quantize(*windows, static=False)
    assert count * vector_cycles(step, lowering, hardware) <= sum(work)


@pytest.mark.parametrize(
    ("line", "touches"),
    [
        ("vector_quantize {} dst=v5 src=v1 scale=v11 peak=v3 use_peak=1", "reads"),
        ("vector_copy {} dst=v2 src=v1 peak=v3 use_peak=1", "writes"),
        ("vector_unary {} dst=v2 src=v1 peak=v3 use_peak=1 function=abs", "writes"),
        ("vector_binary {} dst=v2 src=v1 src2=v1 peak=v3 use_peak=1 function=add", "writes"),
    ],
)
def test_a_race_for_a_peak_is_found(line: str, touches: str) -> None:
    text = [
        *LOADED,
        view(10, "activation", "f32", 0x700),
        view(11, "activation", "f32", 0x710),
        "mac_drain dst=v10 src=v4 scale=v4 peak=v3 use_peak=1",
    ]
    race = (
        f"instruction 10 ({line.split()[0]}) {touches} activation bytes [0x600, 0x604) "
        "that instruction 9 (mac_drain) writes, and no wait orders the two"
    )
    for wait, sentences in (("", [race]), (" wait_mac=1", [])):
        lines = [*text, line.format("wait_load=1" + wait), "halt"]
        program = assembly.parse("\n".join(lines))
        trace = execute(program, DramImage(np.zeros(8192, np.uint8)), chip()).trace
        assert check_races(program, trace) == sentences
    # Without the flag the view is not looked at.
    bare = line.replace(" use_peak=1", "").format("wait_load=1")
    program = assembly.parse("\n".join([*text, bare, "halt"]))
    trace = execute(program, DramImage(np.zeros(8192, np.uint8)), chip()).trace
    assert check_races(program, trace) == []
