"""Stretches against instructions one by one: the same memory, trace and errors."""

from __future__ import annotations

import dataclasses
import gc
import pickle
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from azsim.codecs import encode_block
from azsim.compiler.compile import compile_graph
from azsim.errors import CodecError, MachineError
from azsim.frontend.workload import load_workload
from azsim.hardware import load_hardware
from azsim.hardware.description import Hardware
from azsim.isa import assembly
from azsim.isa.program import DramImage, Program
from azsim.machine.trace import Site, Trace
from azsim.pipeline import prepare
from azsim.sim import translate
from azsim.sim.draft import Draft
from azsim.sim.execute import Execution, execute, write_inputs
from azsim.sim.stretch import Stretch
from machine_runs import CHIP, INPUT, view
from transducer import Sizes, transducer_workload, write_workload

pytestmark = pytest.mark.kernels

AZ1 = load_hardware("az1")
SIZES = Sizes(features=24, encoder=48, prediction=16, joint=32, symbols=9)


def both(
    program: Program, image: DramImage, hardware: Hardware = AZ1, *, taps: bool = False
) -> tuple[Execution, int]:
    """Execute with and without stretches, compare, and return how many instructions ran in them.

    With stretches twice, the second execution with the first one's translation; and without trace.
    """
    ran = []
    run = translate.Stretches.run

    def counted(self: translate.Stretches, index: int) -> Stretch | None:
        stretch = run(self, index)
        ran.append(0 if stretch is None else stretch.end - index)
        return stretch

    with mock.patch.object(translate.Stretches, "run", counted):
        found = execute(program, image, hardware, taps=taps)
        count = sum(ran)
        again = execute(program, image, hardware, taps=taps)
        untraced = execute(program, image, hardware, taps=taps, traced=False)
    wanted = one_by_one(program, image, hardware, taps=taps)
    assert_same(found, wanted)
    assert_same(again, wanted)
    assert_same(dataclasses.replace(untraced, trace=wanted.trace), wanted)
    assert not len(untraced.trace.sequence) + len(untraced.trace.sites) + len(untraced.trace.masks)
    return found, count


def one_by_one(
    program: Program, image: DramImage, hardware: Hardware = AZ1, *, taps: bool = False
) -> Execution:
    """Execute without stretches, and with a translation of its own."""
    with mock.patch.object(translate.Stretches, "run", return_value=None):
        return execute(dataclasses.replace(program), image, hardware, taps=taps)


def assert_same(found: Execution, wanted: Execution) -> None:
    """Compare traces, outputs and what was seen on the way, bit for bit."""
    assert found.trace.sites == wanted.trace.sites
    for name in ("sequence", "payload", "tile_of", "gathered"):
        np.testing.assert_array_equal(getattr(found.trace, name), getattr(wanted.trace, name), name)
    assert masks_of(found.trace) == masks_of(wanted.trace)
    for one, other in zip(found.trace.tiles, wanted.trace.tiles, strict=True):
        assert (one.digest, one.encoded) == (other.digest, other.encoded)
    for results in ("outputs", "tapped"):
        one, other = getattr(found, results), getattr(wanted, results)
        assert one.keys() == other.keys()
        for name in one:
            assert np.array(one[name]).tobytes() == np.array(other[name]).tobytes()


def masks_of(trace: Trace) -> list[bytes]:
    """Zero masks of each product; in a stretch, products by the same codes share them."""
    found = []
    products = np.array([site.mnemonic == "mac_matmul" for site in trace.sites], bool)
    sites = trace.sequence[products[trace.sequence]].tolist()
    for number, at in zip(sites, trace.mask_at.tolist(), strict=True):
        source, other = (trace.sites[number].views[key] for key in ("src", "src2"))
        rows = source.rows + (other.rows if other.space == "activation" else 0)
        found.append(trace.masks[at : at + rows * -(-source.cols // 8)].tobytes())
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hardware", "taps", "activations"),
    [
        ("az1", False, 8),
        ("az1", True, 16),
        ("az1_lite", False, 16),
        ("az2", True, 8),
        ("dense_npu", False, 8),
        ("eie", True, 8),
    ],
)
def test_a_transducer_runs_the_same_in_stretches(
    tmp_path: Path, hardware: str, taps: bool, activations: int
) -> None:
    compression = {
        "default": {
            "weights": {"bits": 8, "scale": "per_channel"},
            "activations": {"bits": activations, "scale": "dynamic"},
            "prune": {"method": "magnitude", "sparsity": 0.5},
            "codec": "raw" if hardware == "dense_npu" else "csc" if hardware == "eie" else "bitmap",
        }
    }
    contents = transducer_workload(SIZES, frames=6, compression=compression)
    workload = load_workload(write_workload(tmp_path, contents))
    overrides = ["weight_sram.bytes=16384"] if hardware == "az1" else []
    described = load_hardware(hardware, overrides)
    prepared = prepare(workload)
    compiled = compile_graph(
        prepared.compressed, described, prepared.stream, prepared.state, workload.name
    )
    inputs = {**prepared.frames, **prepared.initial_state}
    image = write_inputs(compiled.program, compiled.image, inputs)
    execution, ran = both(compiled.program, image, described, taps=taps)
    if hardware != "eie":  # which decodes at read
        assert ran > len(execution.trace.sequence) * (0.1 if taps else 0.4)


# ------------------------------------------------------------------- random bodies of a loop

ROWS, COLS = 2, 8
CODES_AT, SCALE_AT, ACTIVATION_BYTES = 0x800, 0xC00, 0x1000


class _Body:
    """Instructions drawn at random; nothing says that they may be executed."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.lines: list[str] = []
        self.blocks: list[tuple[int, int]] = []  # address, bytes
        self.image = np.zeros(8192, np.uint8)
        self.image[: INPUT.nbytes] = INPUT.view(np.uint8)
        for number in range(8):
            codes = self.rng.integers(-127, 128, (4, COLS)).astype(np.int8)
            block = encode_block("raw", codes.reshape(-1), 8)
            at = 0x800 + 64 * number
            self.image[at : at + len(block)] = np.frombuffer(block, np.uint8)
            self.blocks.append((at, len(block)))

    def one_of(self, *choices):
        return choices[self.rng.integers(len(choices))]

    def floats(self, number: int, rows: int = ROWS, cols: int = COLS) -> None:
        # Most bodies keep to few places, so that some of them meet.
        at = 64 * int(self.rng.integers(0, 30))
        self.lines.append(view(number, "activation", "f32", at, rows, cols))

    def codes(self, number: int) -> None:
        at = CODES_AT + 8 * int(self.rng.integers(0, 6))
        self.lines.append(view(number, "activation", "i8", at, ROWS, COLS))

    def tile(self, number: int) -> None:
        at = int(self.one_of(0, 0, 32, 64, 64, 16))
        self.lines.append(view(number, "weight", "i8", at, 4, COLS))

    def scales(self, number: int) -> None:
        space, at = self.one_of(("activation", SCALE_AT), ("weight", 0x200), ("weight", 48))
        self.lines.append(view(number, space, "f32", at, 1, 4))

    def step(self) -> None:
        choice = self.rng.integers(11)
        add = self.lines.append
        if choice == 0:
            at, size = self.blocks[self.rng.integers(3)]
            add(view(1, "dram", "u8", at, 1, size))
            self.tile(2)
            add("weight_load dst=v2 src=v1")
        elif choice <= 2:
            if self.rng.random() < 0.7:
                self.codes(3)
            self.tile(4)
            add(f"mac_matmul src=v3 src2=v4 acc={self.one_of(0, 8)} accumulate={self.one_of(0, 1)}")
        elif choice == 3:
            self.floats(5, ROWS, 4)
            self.scales(6)
            add(view(7, "activation", "f32", SCALE_AT + 64))
            add(f"mac_drain dst=v5 src=v7 scale=v6 function={self.one_of('none', 'tanh')}")
        elif choice == 4:
            self.codes(3)
            self.floats(8)
            add("vector_quantize dst=v3 src=v8 scale=v7")
        elif choice == 5:
            for number in (8, 9, 10):
                self.floats(number)
            function = self.one_of("add", "sub", "mul", "div", "max", "min")
            add(f"vector_binary dst=v8 src=v9 src2=v10 function={function}")
        elif choice == 6:
            self.floats(9)
            self.floats(11)
            function = self.one_of("relu", "sigmoid", "exp", "sqrt", "neg", "abs")
            add(f"vector_unary dst=v11 src=v9 function={function}")
        elif choice == 7:
            moved = self.one_of(12, 3)
            add(f"view_step view=v{moved} step={self.one_of(-8, 8, 16)}")
            add("vector_copy dst=v12 src=v13")
        elif choice == 8:
            self.other()
        elif choice == 9:
            # v22 and v23 move through one region of DRAM, so that some loads see what was stored.
            self.floats(9)
            add(f"store dst=v22 src=v{self.one_of(9, 12)}")
            add(f"view_step view=v{self.one_of(22, 23)} step={self.one_of(-16, 16, 32)}")
        else:
            self.floats(8)
            add(f"load dst=v{self.one_of(8, 8, 12)} src=v{self.one_of(22, 23)}")

    def other(self) -> None:
        """What is never part of a stretch."""
        at, size = self.blocks[self.rng.integers(3)]
        to, _ = self.blocks[self.rng.integers(3)]
        if self.rng.random() < 0.1:  # a block over another one
            lines = [
                view(14, "dram", "u8", at, 1, size),
                view(15, "activation", "u8", 0xE00, 1, size),
                "load dst=v15 src=v14",
                view(14, "dram", "u8", to, 1, size),
                "store dst=v14 src=v15",
            ]  # fmt: skip
        elif self.rng.random() < 0.5:
            lines = [
                view(16, "dram", "f32", 0x40, 1, 4),
                view(17, "weight", "f32", self.one_of(0x200, 48), 1, 4),
                "load dst=v17 src=v16",
            ]
        else:
            lines = ["fence"]
        self.lines += lines

    def program(self) -> str:
        for _ in range(int(self.rng.integers(4, 22))):
            self.step()
        begin = [
            view(0, "dram", "f32", 0, 12, 32), view(1, "activation", "f32", 0, 12, 32),
            "load dst=v1 src=v0",
            view(22, "dram", "f32", 0x300, ROWS, COLS, region="d"),
            view(23, "dram", "f32", 0x300, ROWS, COLS, region="d"),
            view(0, "dram", "f32", 0, 1, 32), view(1, "activation", "f32", SCALE_AT, 1, 32),
            "load dst=v1 src=v0",
            view(3, "activation", "i8", CODES_AT, ROWS, COLS),
            view(12, "activation", "f32", 0x780, ROWS, COLS),
            view(13, "activation", "f32", 0x40, ROWS, COLS),
            view(7, "activation", "f32", SCALE_AT + 64),
            view(18, "dram", "u8", self.blocks[0][0], 1, self.blocks[0][1]),
            view(19, "weight", "i8", 0, 4, COLS), "weight_load dst=v19 src=v18",
            view(19, "weight", "i8", 64, 4, COLS), "weight_load dst=v19 src=v18",
        ]  # fmt: skip
        end = [
            view(20, "activation", "u8", 0, 1, ACTIVATION_BYTES),
            view(21, "dram", "u8", 0x1000, 1, ACTIVATION_BYTES),
            "store dst=v21 src=v20",
        ]
        output = f".output y addr=0x1000 shape={ACTIVATION_BYTES} frames=1 dtype=u8"
        region = ".region d space=dram start=0x200 size=0x400 dtype=f32 first=0 last=999"
        lines = [output, region, *begin, "loop count=5", *self.lines, "end_loop", *end, "halt"]
        return "\n".join(lines)


@pytest.mark.parametrize("seed", range(4))
def test_random_loops_run_the_same_in_stretches(seed: int) -> None:
    in_stretches = whole = 0
    for number in range(30):
        body = _Body(1000 * seed + number)
        program, image = assembly.parse(body.program()), DramImage(body.image)
        errors = [_error(program, image), ""]
        with mock.patch.object(translate.Stretches, "run", return_value=None):
            errors[1] = _error(program, image)
        assert errors[0] == errors[1]
        if not errors[0]:
            whole += 1
            in_stretches += both(program, image, CHIP)[1]
    assert whole > 20
    assert in_stretches > 50


def _error(program: Program, image: DramImage) -> str:
    try:
        execute(program, image, CHIP)
    except MachineError as error:
        return str(error)
    return ""


# ------------------------------------------------------------------------------ what may change

LOOP = [
    view(0, "dram", "f32", 0, ROWS, COLS), view(1, "activation", "f32", 0, ROWS, COLS),
    "load dst=v1 src=v0",
    view(2, "activation", "f32", 0x100, 5, 4), view(3, "activation", "f32", 0x200),
    "vector_fill dst=v3 value=0.5",
    view(4, "activation", "i8", 0x300, ROWS, COLS),
    "vector_quantize dst=v4 src=v1 scale=v3 static=1",
    view(5, "activation", "f32", 0x400, 1, 4, col_stride=0), "vector_fill dst=v3 value=0.5",
    view(9, "activation", "u8", 0x600, 1, 48),
    view(6, "activation", "f32", 0x500, ROWS, 4),
]  # fmt: skip


def _loop_program(body: list[str], before: Sequence[str] = ()) -> tuple[Program, DramImage]:
    blocks = _Body(0)
    out = ["view view=v30 space=activation dtype=u8 addr=0 cols=4096 row_stride=4096 col_stride=1",
           view(31, "dram", "u8", 0x1000, 1, 4096), "store dst=v31 src=v30"]  # fmt: skip
    lines = [".output y addr=0x1000 shape=4096 frames=1 dtype=u8", *LOOP, *before, "loop count=6"]
    text = "\n".join([*lines, *body, "end_loop", *out, "halt"])
    return assembly.parse(text), DramImage(blocks.image)


# ------------------------------------------------------------- translations, kept for the next


def _streaming_program() -> tuple[Program, DramImage, int]:
    """Multiply by one block in every round; where in DRAM it lies."""
    at, size = _Body(0).blocks[0]
    body = [
        "view_step view=v6 step=0",
        view(7, "dram", "u8", at, 1, size), view(8, "weight", "i8", 0, 4, COLS),
        "weight_load dst=v8 src=v7", "mac_matmul src=v4 src2=v8",
        "mac_drain dst=v6 src=v3 scale=v10 accumulate=1", "view_step view=v6 step=16",
    ]  # fmt: skip
    before = [view(10, "activation", "f32", 0, 1, 4)]
    return *_loop_program(body, before), at


def _made(program: Program, image: DramImage, hardware: Hardware = CHIP) -> tuple[Execution, int]:
    """Execute, and count the stretches that were made."""
    finish, made = Draft.finish, []

    def counted(self: Draft, first: int, end: int, sites: list[Site]) -> Stretch:
        made.append(first)
        return finish(self, first, end, sites)

    with mock.patch.object(Draft, "finish", counted):
        return execute(program, image, hardware), len(made)


def test_the_next_execution_finds_all_stretches_made_while_a_trace_is_in_use() -> None:
    program, image, _ = _streaming_program()
    first, made = _made(program, image)
    assert made > 0
    again, made = _made(program, image)
    assert made == 0
    assert_same(again, first)
    found = pickle.loads(pickle.dumps(first))
    del first, again
    gc.collect()
    assert _made(program, image)[1] > 0  # a trace that was stored has no translation
    assert_same(execute(program, image, CHIP), found)


def test_another_chip_or_another_size_of_dram_gets_a_translation_of_its_own() -> None:
    program, image, _ = _streaming_program()
    kept = execute(program, image, CHIP)
    larger = DramImage(np.concatenate([image.data, np.zeros(64, np.uint8)]))
    for other, chip in ((larger, CHIP), (image, load_hardware("az1"))):
        found, made = _made(program, other, chip)
        assert made > 0
        assert_same(found, one_by_one(program, other, chip))
    assert_same(execute(program, image, CHIP), kept)


def test_a_stretch_of_another_execution_is_not_run_on_other_blocks() -> None:
    program, image, at = _streaming_program()
    kept = execute(program, image, CHIP)
    data = image.data.copy()
    later = _Body(0).blocks[1][0]
    data[at : at + 64] = image.data[later : later + 64]
    other = DramImage(data)
    found = execute(program, other, CHIP)
    assert_same(found, one_by_one(program, other, CHIP))
    assert found.outputs["y"].tobytes() != kept.outputs["y"].tobytes()
    assert_same(execute(program, image, CHIP), kept)


def test_a_flipped_bit_is_told_by_an_execution_that_finds_stretches_made() -> None:
    program, image, at = _streaming_program()
    kept = execute(program, image, CHIP)
    data = image.data.copy()
    data[at] ^= 1
    with pytest.raises((CodecError, MachineError)) as told:
        execute(program, DramImage(data), CHIP)
    with pytest.raises((CodecError, MachineError)) as alone:
        one_by_one(program, DramImage(data), CHIP)
    assert str(told.value) == str(alone.value)
    assert_same(execute(program, image, CHIP), kept)


def test_a_store_to_a_block_is_seen_by_the_stretch_that_loads_it() -> None:
    # Each round multiplies by the block at v7, and then puts one more in its place.
    at, size = _Body(0).blocks[0]
    later = _Body(0).blocks[1][0]
    body = [
        "view_step view=v6 step=0",
        view(7, "dram", "u8", at, 1, size), view(8, "weight", "i8", 0, 4, COLS),
        "weight_load dst=v8 src=v7", "mac_matmul src=v4 src2=v8",
        "mac_drain dst=v6 src=v3 scale=v10 accumulate=1",
        "fence",
        "load dst=v11 src=v12", "store dst=v7 src=v11", "view_step view=v12 step=64",
    ]  # fmt: skip
    before = [
        view(10, "activation", "f32", 0, 1, 4),
        view(11, "activation", "u8", 0x600, 1, size), view(12, "dram", "u8", later, 1, size),
    ]  # fmt: skip
    program, image = _loop_program(body, before)
    assert both(program, image, CHIP)[1] > 0


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            ["view_step view=v2 step=1600", "vector_unary dst=v2 src=v2 function=neg"],
            "view v2 reaches activation bytes [0x2040, 0x2090), outside its 8192 bytes",
        ),
        (
            ["vector_binary dst=v1 src=v1 src2=v1 function=mul", "view_step view=v6 step=4"]
            + ["vector_binary dst=v1 src=v1 src2=v1 function=mul"] * 3
            + ["vector_quantize dst=v4 src=v1 scale=v3"],
            "a value to be quantized is not finite",
        ),
    ],
)
def test_what_goes_wrong_in_a_stretch_is_told_as_ever(body: list[str], message: str) -> None:
    program, image = _loop_program(["view_step view=v6 step=4"] * 6 + body)
    errors = [_error(program, image), ""]
    with mock.patch.object(translate.Stretches, "run", return_value=None):
        errors[1] = _error(program, image)
    assert errors[0] == errors[1]
    assert errors[0].endswith(message)


def test_scalars_and_branches_that_are_known_do_not_end_a_stretch() -> None:
    # The inner loop has three rounds, the last of which leaves an instruction out.
    body = [
        "scalar to=s3 number=2", "loop count=3",
        "vector_unary dst=v2 src=v2 function=neg", "vector_unary dst=v2 src=v2 function=abs",
        "branch condition=equal left=s3 right=s0 target=out",
        "vector_unary dst=v2 src=v2 function=exp",
        "out:", "vector_unary dst=v2 src=v2 function=neg",
        "scalar to=s3 left=s3 number=-1", "end_loop",
    ]  # fmt: skip
    program, image = _loop_program(body)
    execution, ran = both(program, image, CHIP)
    trace = execution.trace
    executed = [trace.sites[site].mnemonic for site in trace.sequence]
    assert executed.count("branch") == 6 * 3
    assert executed.count("vector_unary") == 6 * (3 * 3 + 2)
    assert ran == len(program.instructions) - 1  # all but the halt, loops unrolled
