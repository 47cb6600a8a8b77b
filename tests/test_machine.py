from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from azsim import arith
from azsim.codecs import codec_names, encode_block
from azsim.errors import AzsimError, CodecError, MachineError
from azsim.hardware.description import Hardware
from azsim.isa import assembly
from azsim.isa.program import DramImage
from azsim.isa.spec import instruction_set
from azsim.machine.engines.clock import ENGINES
from azsim.machine.engines.mac import geometry, matmul_cycles
from azsim.machine.instructions import instructions
from azsim.machine.state import Machine
from azsim.machine.tile import pack, unpack
from azsim.machine.view import View
from azsim.sim.execute import execute, read_port, write_inputs
from azsim.sim.timing import replay
from compiled import AZ1, chip
from machine_runs import CHIP, INPUT, computed, run, view

F = np.float32

LOADED = [
    view(0, "dram", "f32", 0, 4, 6),
    view(1, "activation", "f32", 0, 4, 6),
    "load dst=v1 src=v0",
]
X = INPUT[:24].reshape(4, 6)
DST = view(2, "activation", "f32", 0x400, 4, 6)

# ---------------------------------------------------------------------------- the tables


def test_every_engine_instruction_has_its_file() -> None:
    wanted = {n for n, entry in instruction_set().instructions.items() if entry.engine in ENGINES}
    assert set(instructions()) == wanted
    for name, module in instructions().items():
        engine = instruction_set().instructions[name].engine
        by_shape = engine == "vector" or name == "mac_drain"
        assert hasattr(module, "cycles") == by_shape, name


# ----------------------------------------------------------------------- what they compute


def test_load_and_store_move_strided_matrices() -> None:
    lines = [
        view(0, "dram", "f32", 8, 3, 4, row_stride=6),
        view(2, "activation", "f32", 0x400, 3, 4),
    ]
    found = computed(*lines, "load dst=v2 src=v0", rows=3, cols=4)
    assert (found == INPUT[2:].reshape(-1)[:18].reshape(3, 6)[:, :4]).all()
    found = computed(*lines[:1], view(2, "activation", "f32", 0x408, 3, 4, -1, 3),
                     "load dst=v2 src=v0", rows=4, cols=3)  # fmt: skip
    assert (found == INPUT[2:20].reshape(3, 6)[:, :4].T[:, ::-1]).all()


@pytest.mark.parametrize("function", list(arith.UNARY_FUNCTIONS))
def test_vector_unary(function: str) -> None:
    lines = [*LOADED, DST, f"vector_unary dst=v2 src=v1 function={function}"]
    with np.errstate(invalid="ignore"):
        expected = np.asarray(arith.UNARY_FUNCTIONS[function](X), F)
    found = computed(*lines, rows=4, cols=6)
    assert np.array_equal(found, expected, equal_nan=True)
    in_place = computed(
        *LOADED, f"vector_unary dst=v1 src=v1 function={function}", rows=4, cols=6, addr=0
    )
    assert np.array_equal(in_place, expected, equal_nan=True)


@pytest.mark.parametrize("function", list(arith.BINARY_FUNCTIONS))
def test_vector_binary_broadcasts_by_strides_of_zero(function: str) -> None:
    row = view(3, "activation", "f32", 0, 4, 6, row_stride=0)
    column = view(4, "activation", "f32", 0, 4, 6, row_stride=6, col_stride=0)
    lines = [*LOADED, DST, row, column, f"vector_binary dst=v2 src=v3 src2=v4 function={function}"]
    expected = arith.BINARY_FUNCTIONS[function](X[:1], X[:, :1])
    assert (computed(*lines, rows=4, cols=6) == expected).all()


def test_vector_copy_transposes_reverses_and_interleaves() -> None:
    transposed = view(3, "activation", "f32", 0, 6, 4, row_stride=1, col_stride=6)
    lines = [*LOADED, transposed, view(2, "activation", "f32", 0x400, 6, 4)]
    assert (computed(*lines, "vector_copy dst=v2 src=v3", rows=6, cols=4) == X.T).all()
    backwards = view(3, "activation", "f32", 23 * 4, 4, 6, row_stride=-6, col_stride=-1)
    lines = [*LOADED, backwards, DST]
    assert (computed(*lines, "vector_copy dst=v2 src=v3", rows=4, cols=6) == X[::-1, ::-1]).all()
    even, odd = (view(3 + n, "activation", "f32", 4 * n, 12, 1, row_stride=2) for n in (0, 1))
    found = computed(*LOADED, even, odd, "vector_copy dst=v4 src=v3", rows=4, cols=6, addr=0)
    assert (found == X.reshape(-1, 2)[:, :1].repeat(2, axis=1).reshape(4, 6)).all()


@pytest.mark.parametrize(
    ("dtype", "value"),
    [("f32", 0.1), ("f32", -0.0), ("i8", -127), ("i8", -128), ("i16", 32767), ("u8", 200)],
)
def test_vector_fill(dtype: str, value: float) -> None:
    lines = [view(2, "activation", dtype, 0x400, 3, 5), f"vector_fill dst=v2 value={value}"]
    found = computed(*lines, rows=3, cols=5, dtype=dtype)
    expected = np.full((3, 5), value).astype(found.dtype)
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("rows", [1, 4])
def test_vector_quantize_computes_its_scales(bits: int, rows: int) -> None:
    lines = [
        *LOADED,
        view(2, "activation", f"i{bits}", 0x400, 4, 6),
        view(3, "activation", "f32", 0x600, rows, 1),
        "vector_quantize dst=v2 src=v1 scale=v3",
    ]
    codes, scales = arith.quantize_rows(X if rows > 1 else X.reshape(1, -1), bits)
    assert (computed(*lines, rows=4, cols=6, dtype=f"i{bits}") == codes.reshape(4, 6)).all()
    assert (computed(*lines, rows=rows, cols=1, addr=0x600)[:, 0] == scales).all()


def test_vector_quantize_reads_a_static_scale() -> None:
    lines = [
        *LOADED,
        view(2, "activation", "i8", 0x400, 4, 6),
        view(3, "activation", "f32", 0x600),
        "vector_fill dst=v3 value=0.03125",
        "vector_quantize dst=v2 src=v1 scale=v3 static=1",
    ]
    codes, _ = arith.quantize_rows(X, 8, 0.03125)
    assert (computed(*lines, rows=4, cols=6, dtype="i8") == codes).all()
    assert computed(*lines, rows=1, cols=1, addr=0x600)[0, 0] == 0.03125


def _weights(n: int, k: int, bits: int, seed: int = 0) -> np.ndarray:
    limit = (1 << (bits - 1)) - 1
    rng = np.random.default_rng(seed)
    return (rng.integers(-limit, limit + 1, (n, k)) * (rng.random((n, k)) < 0.6)).astype(np.int8)


def _with_blocks(*blocks: bytes) -> tuple[np.ndarray, list[int]]:
    """An image with the input first and blocks from 0x800 on, at 64-byte addresses."""
    image = np.zeros(8192, np.uint8)
    image[: INPUT.nbytes] = INPUT.view(np.uint8)
    at, places = 0x800, []
    for block in blocks:
        places.append(at)
        image[at : at + len(block)] = np.frombuffer(block, np.uint8)
        at += -(-len(block) // 64) * 64
    return image, places


def _encoded(codec: str, codes: np.ndarray, bits: int) -> bytes:
    return encode_block(codec, codes.reshape(-1), bits)


def _multiply(block: bytes, at: int, n: int, k: int, held: str) -> list[str]:
    """Quantize 4 rows of k inputs, multiply by a block's weights, drain with a scale of 0.5."""
    per_byte = {"i8": 1, "i4": 2, "i2": 4}[held]
    return [
        view(0, "dram", "f32", 0, 4, k), view(1, "activation", "f32", 0, 4, k),
        "load dst=v1 src=v0",
        view(2, "activation", "i8", 0x300, 4, k), view(3, "activation", "f32", 0x700, 4, 1),
        "vector_quantize dst=v2 src=v1 scale=v3",
        view(4, "dram", "u8", at, 1, len(block)),
        view(5, "weight", held, 0x40, n, k, row_stride=-(-k // per_byte) * per_byte),
        "weight_load dst=v5 src=v4",
        view(6, "activation", "f32", 0x400, 4, n),
        view(7, "activation", "f32", 0x780, 1, n, col_stride=0), "vector_fill dst=v7 value=1.0"
        if n == 1 else view(8, "activation", "f32", 0x780), "vector_fill dst=v8 value=0.5"
        if n > 1 else "fence",
        "mac_matmul src=v2 src2=v5",
        "mac_drain dst=v6 src=v3 scale=v7",
    ]  # fmt: skip


@pytest.mark.parametrize("codec", codec_names())
@pytest.mark.parametrize(("bits", "held"), [(8, "i8"), (5, "i8"), (4, "i4"), (3, "i4"), (2, "i2")])
def test_weights_are_decoded_multiplied_and_drained(codec: str, bits: int, held: str) -> None:
    codes = _weights(5, 7, bits)
    block = _encoded(codec, codes, bits)
    image, (at,) = _with_blocks(block)
    x = INPUT[:28].reshape(4, 7)
    activations, scales = arith.quantize_rows(x, 8)
    expected = arith.drain(activations @ codes.T.astype(np.int64), scales, np.full(5, 0.5, F))
    found = computed(*_multiply(block, at, 5, 7, held), rows=4, cols=5, image=image)
    assert (found == expected).all()


def test_products_accumulate_and_drains_add_bias_and_relu() -> None:
    codes = _weights(5, 7, 8)
    block = encode_block("raw", codes.reshape(-1), 8)
    image, (at,) = _with_blocks(block)
    activations, scales = arith.quantize_rows(INPUT[:28].reshape(4, 7), 8)
    once = arith.drain(activations @ codes.T.astype(np.int64), scales, np.full(5, 0.5, F))
    twice = arith.drain(2 * activations @ codes.T.astype(np.int64), scales, np.full(5, 0.5, F))
    lines = [*_multiply(block, at, 5, 7, "i8"), "mac_matmul src=v2 src2=v5 accumulate=1"]
    bias = view(9, "activation", "f32", 0, 1, 5)
    last = "mac_drain dst=v6 src=v3 scale=v7 bias=v9 use_bias=1 accumulate=1 function=relu"
    found = computed(*lines, bias, last, rows=4, cols=5, image=image)
    assert (found == arith.relu((once + twice) + INPUT[:5])).all()
    # Without `accumulate` what was in the accumulators and in dst is replaced.
    fresh = [*lines, "mac_matmul src=v2 src2=v5", "mac_drain dst=v6 src=v3 scale=v7"]
    assert (computed(*fresh, rows=4, cols=5, image=image) == once).all()


def test_tiles_may_lie_anywhere_in_the_accumulators() -> None:
    codes = _weights(5, 7, 8)
    block = encode_block("raw", codes.reshape(-1), 8)
    image, (at,) = _with_blocks(block)
    plain = _multiply(block, at, 5, 7, "i8")
    moved = [line + " acc=236" if line.startswith("mac_") else line for line in plain]
    expected = computed(*plain, rows=4, cols=5, image=image)
    assert (computed(*moved, rows=4, cols=5, image=image) == expected).all()


@given(
    bits=st.sampled_from([2, 4, 8]), rows=st.integers(1, 5), cols=st.integers(1, 19),
    extra=st.integers(0, 2), seed=st.integers(0, 99),
)  # fmt: skip
def test_packed_codes_come_back(bits: int, rows: int, cols: int, extra: int, seed: int) -> None:
    codes = np.random.default_rng(seed).integers(-(1 << bits - 1), 1 << bits - 1, (rows, cols))
    codes = codes.astype(np.int8)
    packed = pack(codes, bits)
    per_byte = 8 // bits
    pitch = packed.shape[1] + extra
    window = View("weight", f"i{bits}", 0, rows, cols, pitch * per_byte, 1)
    memory = np.full(rows * pitch, 0x55, np.uint8)
    memory.reshape(rows, pitch)[:, : packed.shape[1]] = packed.view(np.uint8)
    array = memory if bits < 8 else memory.view(np.int8).reshape(rows, pitch)[:, :cols]
    assert (unpack(array, window) == codes).all()


def test_what_load_puts_into_weight_sram_can_be_multiplied() -> None:
    # Codes that come without a codec; the tile stays what it was when it is overwritten later.
    codes = _weights(3, 4, 8)
    image, _ = _with_blocks(codes.tobytes())
    image[0x900:0x90C] = (-codes).reshape(-1).view(np.uint8)
    lines = [
        view(0, "dram", "f32", 0, 2, 4), view(1, "activation", "f32", 0, 2, 4),
        "load dst=v1 src=v0", view(2, "activation", "i8", 0x300, 2, 4),
        view(3, "activation", "f32", 0x600, 2, 1),
        "vector_quantize dst=v2 src=v1 scale=v3",
        view(4, "dram", "i8", 0x800, 3, 4), view(5, "weight", "i8", 0, 3, 4),
        view(6, "activation", "f32", 0x400, 2, 3), view(7, "activation", "f32", 0x700, 1, 3, 0, 0),
        view(8, "activation", "f32", 0x700), "vector_fill dst=v8 value=1.0",
        "load dst=v5 src=v4", "mac_matmul src=v2 src2=v5", "mac_drain dst=v6 src=v3 scale=v7",
        view(4, "dram", "i8", 0x900, 3, 4),
        "load dst=v5 src=v4", "mac_matmul src=v2 src2=v5",
        "mac_drain dst=v6 src=v3 scale=v7 accumulate=1",
    ]  # fmt: skip
    assert (computed(*lines, rows=2, cols=3, image=image) == 0).all()
    tiles = run(*lines, image=image).trace.tiles
    assert [tile.codes.tolist() for tile in tiles] == [codes.tolist(), (-codes).tolist()]


# ------------------------------------------------------------ tiles are remembered, not assumed


def test_a_store_over_a_block_is_seen_by_the_next_load() -> None:
    first, other = _weights(5, 7, 8, 0), _weights(5, 7, 8, 1)
    blocks = [encode_block("raw", codes.reshape(-1), 8) for codes in (first, other)]
    assert len(blocks[0]) == len(blocks[1]) == 51
    padded = [block + bytes(52 - len(block)) for block in blocks]
    image, (at, other_at) = _with_blocks(*padded)
    lines = _multiply(padded[0], at, 5, 7, "i8")
    overwrite = [
        view(20, "dram", "f32", other_at, 1, 13), view(21, "activation", "f32", 0x900, 1, 13),
        view(22, "dram", "f32", at, 1, 13),
        "load dst=v21 src=v20", "store dst=v22 src=v21",
    ]  # fmt: skip
    again = ["weight_load dst=v5 src=v4", "mac_matmul src=v2 src2=v5",
             "mac_drain dst=v6 src=v3 scale=v7"]  # fmt: skip
    activations, scales = arith.quantize_rows(INPUT[:28].reshape(4, 7), 8)
    for extra, codes in (([], first), (overwrite, other)):
        found = computed(*lines, *extra, *again, rows=4, cols=5, image=image)
        product = activations @ codes.T.astype(np.int64)
        assert (found == arith.drain(product, scales, np.full(5, 0.5, F))).all()


def test_a_load_over_a_resident_tile_is_seen_by_the_next_product() -> None:
    codes = _weights(5, 7, 8)
    block = encode_block("bitmap", codes.reshape(-1), 8)
    image, (at,) = _with_blocks(block)
    zeros = [view(20, "dram", "i8", 0x1800, 5, 7), "load dst=v5 src=v20",
             "mac_matmul src=v2 src2=v5", "mac_drain dst=v6 src=v3 scale=v7"]  # fmt: skip
    found = computed(*_multiply(block, at, 5, 7, "i8"), *zeros, rows=4, cols=5, image=image)
    assert (found == 0).all()


def test_one_block_may_fill_views_of_several_shapes() -> None:
    # The decoded block is remembered: a second view has to get its own shape of it.
    codes = _weights(2, 12, 8)
    block = encode_block("raw", codes.reshape(-1), 8)
    image, (at,) = _with_blocks(block)
    lines = [view(4, "dram", "u8", at, 1, len(block))]
    shapes = [(2, 12), (4, 6), (12, 2)]
    for number, (rows, cols) in enumerate(shapes):
        lines += [view(5, "weight", "i8", 256 * number, rows, cols), "weight_load dst=v5 src=v4"]
    trace = run(*lines, image=image).trace
    assert [tile.codes.shape for tile in trace.tiles] == shapes
    assert all(tile.codes.tobytes() == codes.tobytes() for tile in trace.tiles)


def test_a_remembered_block_still_has_to_fit_the_view() -> None:
    block = encode_block("raw", _weights(2, 12, 8).reshape(-1), 8)
    image, (at,) = _with_blocks(block)
    lines = [view(4, "dram", "u8", at, 1, len(block)), view(5, "weight", "i8", 0, 2, 12),
             "weight_load dst=v5 src=v4", view(6, "weight", "i4", 0, 2, 12),
             "weight_load dst=v6 src=v4"]  # fmt: skip
    with pytest.raises(MachineError) as error:
        run(*lines, image=image)
    assert str(error.value) == (
        "instruction 4: block at DRAM 0x800 has 8-bit codes, its view holds i4"
    )


def test_the_same_codes_in_two_codecs_are_timed_as_what_they_are() -> None:
    codes = np.zeros((16, 64), np.int8)
    blocks = [encode_block(name, codes.reshape(-1), 8) for name in ("raw", "bitmap")]
    image, places = _with_blocks(*blocks)
    lines = []
    for number, (block, at) in enumerate(zip(blocks, places, strict=True)):
        lines += [
            view(4, "dram", "u8", at, 1, len(block)),
            view(5, "weight", "i8", 1024 * number, 16, 64),
            "weight_load dst=v5 src=v4",
        ]
    program = assembly.parse("\n".join([*lines, "halt"]))
    hardware = chip(decoder__lanes=1, weight_sram__write_bytes_per_cycle=1024)
    trace = execute(program, DramImage(image), hardware).trace
    work = replay(trace, program, hardware).work
    # Two cycles of the bus, for the header and the first step; 128 words of codes, or 64 groups of
    # 16 positions; the last write.
    assert work[:2].tolist() == [2 + 128 + 1, 2 + 64 + 1]


def test_masks_of_activations_are_those_of_their_bytes() -> None:
    # Codes and floats may share memory: what the product saw counts, whoever wrote it.
    codes = _weights(5, 8, 8) | 1
    block = encode_block("raw", codes.astype(np.int8).reshape(-1), 8)
    image, (at,) = _with_blocks(block)
    lines = [
        view(1, "activation", "f32", 0, 1, 2), view(2, "activation", "i8", 0, 1, 8),
        view(4, "dram", "u8", at, 1, len(block)), view(5, "weight", "i8", 0, 5, 8),
        "weight_load dst=v5 src=v4",
        "vector_fill dst=v2 value=1.0", "mac_matmul src=v2 src2=v5",
        "vector_fill dst=v1 value=0.0", "mac_matmul src=v2 src2=v5",
    ]  # fmt: skip
    hardware = chip(mac__zero_skip="activations")
    program = assembly.parse("\n".join([*lines, "halt"]))
    trace = execute(program, DramImage(image), hardware).trace
    products = replay(trace, program, hardware).products
    assert products.nonzero[products.macs > 0].tolist() == [40, 0]


# ------------------------------------------------------------------------------ bad programs


def refused(*lines: str, image: np.ndarray | None = None, hardware: Hardware = CHIP) -> str:
    with pytest.raises(AzsimError) as error:
        run(*lines, image=image, hardware=hardware)
    assert isinstance(error.value, MachineError | CodecError)
    return str(error.value)


A = view(1, "activation", "f32", 0, 4, 6)
B = view(2, "activation", "f32", 0x400, 4, 6)
ONE = view(3, "activation", "f32", 0x800)
I8 = view(4, "activation", "i8", 0x600, 4, 6)
W = view(5, "weight", "i8", 0, 5, 6)
D = view(6, "dram", "f32", 0, 4, 6)
WF = view(7, "weight", "f32", 0x100, 1, 5)
Y = view(8, "activation", "f32", 0x900, 4, 5)
SCALES = view(9, "activation", "f32", 0xA00, 4, 1)

BAD_OPERANDS = [
    ([A, D], "load dst=v6 src=v1", "src lies in activation, not in dram"),
    ([A, D], "load dst=v6 src=v6", "dst lies in dram"),
    ([I8, D], "load dst=v4 src=v6", "views of one unpacked type"),
    ([A, view(6, "dram", "f32", 0, 6, 4)], "load dst=v1 src=v6", "src is 6 x 4, dst is 4 x 6"),
    ([A, view(6, "dram", "f32", 0, 4, 6, 1, 4)], "load dst=v1 src=v6",
     "rows of src have to be contiguous"),
    ([view(1, "activation", "f32", 0, 4, 6, 0), D], "load dst=v1 src=v6",
     "dst shows one element at several positions"),
    ([A, D], "store dst=v1 src=v6", "dst lies in activation, not in dram"),
    ([WF, view(6, "dram", "f32", 0, 1, 5)], "store dst=v6 src=v7",
     "src lies in weight, not in activation"),
    ([A, view(6, "dram", "f32", 0, 4, 6, 2)], "store dst=v6 src=v1",
     "dst shows one element at several positions"),
    ([D, W], "weight_load dst=v5 src=v6", "src has to be u8 in dram"),
    ([view(6, "dram", "u8", 0, 2, 8, 16), W], "weight_load dst=v5 src=v6",
     "src has to be contiguous bytes"),
    ([view(6, "dram", "u8", 0, 1, 8), A], "weight_load dst=v1 src=v6",
     "dst lies in activation, not in weight"),
    ([view(6, "dram", "u8", 0, 1, 8), WF], "weight_load dst=v7 src=v6",
     "dst has to be i8, i4, i2 or u8, is f32"),
    ([view(6, "dram", "u8", 0, 1, 8), view(5, "weight", "u8", 0, 1, 7)],
     "weight_load dst=v5 src=v6", "dst has to be as many contiguous bytes as src"),
    ([view(6, "dram", "u8", 0, 1, 8), view(5, "weight", "u8", 0, 2, 4, 5)],
     "weight_load dst=v5 src=v6", "dst has to be as many contiguous bytes as src"),
    ([view(6, "dram", "u8", 0, 1, 8), view(5, "weight", "i4", 0, 5, 6, 2)],
     "weight_load dst=v5 src=v6", "dst shows one element at several positions"),
    ([A, W], "mac_matmul src=v1 src2=v5", "src has to be i8 or i16, is f32"),
    ([I8, WF], "mac_matmul src=v4 src2=v7", "src2 has to be i8, i4, i2 or u8, is f32"),
    ([I8, view(5, "weight", "u8", 0, 2, 4, 5)], "mac_matmul src=v4 src2=v5",
     "src2 has to be contiguous bytes"),
    ([W], "mac_matmul src=v5 src2=v5", "src lies in weight, not in activation"),
    ([I8, view(5, "dram", "i8", 0, 5, 6)], "mac_matmul src=v4 src2=v5", "src2 lies in dram"),
    ([I8, view(5, "activation", "i4", 0, 5, 6)], "mac_matmul src=v4 src2=v5",
     "src2 has to be i8, is i4"),
    ([I8, view(5, "activation", "u8", 0, 5, 6)], "mac_matmul src=v4 src2=v5",
     "src2 has to be i8, is u8"),
    ([I8, view(5, "activation", "i16", 0, 5, 6)], "mac_matmul src=v4 src2=v5",
     "src2 has to be i8, i4, i2 or u8, is i16"),
    ([I8, view(5, "activation", "i8", 0, 5, 4)], "mac_matmul src=v4 src2=v5",
     "src has 6 columns, src2 has 4"),
    ([I8, view(5, "weight", "i8", 0, 6, 5)], "mac_matmul src=v4 src2=v5",
     "src has 6 columns, src2 has 5"),
    ([Y, SCALES, WF], "mac_drain dst=v7 src=v9 scale=v7", "dst lies in weight, not in activation"),
    ([I8, SCALES, WF], "mac_drain dst=v4 src=v9 scale=v7", "dst has to be f32, is i8"),
    ([Y, SCALES, WF], "mac_drain dst=v8 src=v9 scale=v7 function=exp",
     "no function 'exp' in the drain"),
    ([Y, A, WF], "mac_drain dst=v8 src=v1 scale=v7", "src is 4 x 6, has to be 1 x 1 or 4 x 1"),
    ([Y, SCALES], "mac_drain dst=v8 src=v9 scale=v9", "scale is f32 4 x 1, has to be f32 1 x 5"),
    ([Y, SCALES, WF], "mac_drain dst=v8 src=v9 scale=v7 bias=v9 use_bias=1",
     "bias is f32 4 x 1, has to be f32 1 x 5"),
    ([Y, SCALES, view(7, "activation", "f32", 0x904, 1, 5)], "mac_drain dst=v8 src=v9 scale=v7",
     "scale and dst overlap"),
    ([Y, view(9, "activation", "f32", 0x900, 4, 1), WF], "mac_drain dst=v8 src=v9 scale=v7",
     "src and dst overlap"),
    ([Y, SCALES, view(7, "dram", "f32", 0, 1, 5)], "mac_drain dst=v8 src=v9 scale=v7",
     "scale lies in dram"),
    ([A, B], "vector_unary dst=v2 src=v1 function=add", None),
    ([A, D], "vector_unary dst=v1 src=v6 function=relu", "src lies in dram"),
    ([A, D], "vector_unary dst=v6 src=v1 function=relu", "dst lies in dram, not in activation"),
    ([A, I8], "vector_unary dst=v1 src=v4 function=relu", "views have to be f32"),
    ([A, ONE], "vector_unary dst=v1 src=v3 function=relu", "src is 1 x 1, dst is 4 x 6"),
    ([A, view(2, "activation", "f32", 4, 4, 6)], "vector_unary dst=v2 src=v1 function=relu",
     "src and dst overlap without being the same view"),
    ([A, B, D], "vector_binary dst=v1 src=v2 src2=v6 function=add", "src2 lies in dram"),
    ([A, B, ONE], "vector_binary dst=v1 src=v2 src2=v3 function=add",
     "src2 is 1 x 1, dst is 4 x 6"),
    ([A, B, view(3, "activation", "f32", 0, 4, 6, 0)],
     "vector_binary dst=v1 src=v2 src2=v3 function=add",
     "src2 and dst overlap without being the same view"),
    ([A, B], "vector_binary dst=v1 src=v2 src2=v2 function=relu", None),
    ([A, view(2, "activation", "f32", 8, 4, 6)], "vector_copy dst=v2 src=v1",
     "src and dst overlap"),
    ([A, D], "vector_copy dst=v1 src=v6", "src lies in dram"),
    ([I8], "vector_fill dst=v4 value=0.5", "value 0.5 is not exact in i8"),
    ([I8], "vector_fill dst=v4 value=128", "value 128.0 is not exact in i8"),
    ([view(4, "activation", "u8", 0)], "vector_fill dst=v4 value=-5",
     "value -5.0 is not exact in u8"),
    ([A, B, ONE], "vector_quantize dst=v2 src=v1 scale=v3", "dst has to be i8 or i16, is f32"),
    ([I8, ONE], "vector_quantize dst=v4 src=v4 scale=v3", "src and scale have to be f32"),
    ([A, I8, B], "vector_quantize dst=v4 src=v1 scale=v2",
     "scale is 4 x 6, has to be 1 x 1 or 4 x 1"),
    ([A, view(4, "activation", "i8", 0, 4, 6), ONE], "vector_quantize dst=v4 src=v1 scale=v3",
     "src and dst overlap"),
    ([A, I8, view(3, "weight", "f32", 0)], "vector_quantize dst=v4 src=v1 scale=v3",
     "scale lies in weight, not in activation"),
    ([A, I8, view(3, "activation", "f32", 4)], "vector_quantize dst=v4 src=v1 scale=v3",
     "src and scale overlap"),
    ([A, I8, view(3, "activation", "f32", 0x800, 4, 1, 0)],
     "vector_quantize dst=v4 src=v1 scale=v3", "scale shows one element at several positions"),
    ([A, D, I8], "vector_quantize dst=v4 src=v6 scale=v1",
     "scale is 4 x 6, has to be 1 x 1 or 4 x 1"),
]  # fmt: skip


@pytest.mark.parametrize(("views", "text", "sentence"), BAD_OPERANDS)
def test_operands_that_do_not_belong_together(
    views: list[str], text: str, sentence: str | None
) -> None:
    mnemonic = text.split()[0]
    place = f"instruction {len(views)} ({mnemonic}): "
    function = text.rpartition("=")[2]
    assert refused(*views, text) == place + (sentence or f"no function '{function}'")


def test_accumulators_have_an_end() -> None:
    lines = [view(4, "activation", "i8", 0, 13, 6), view(5, "weight", "i8", 0, 20, 6)]
    assert refused(*lines, "mac_matmul src=v4 src2=v5") == (
        "instruction 2 (mac_matmul): accumulators 0 to 259, there are 256"
    )
    assert refused(Y, SCALES, WF, "mac_drain dst=v8 src=v9 scale=v7 acc=250") == (
        "instruction 3 (mac_drain): accumulators 250 to 269, there are 256"
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_to_be_quantized_have_to_be_finite(bad: float) -> None:
    image = np.zeros(8192, np.uint8)
    image[:96] = np.where(np.arange(24) == 17, bad, 1).astype(F).view(np.uint8)
    lines = [*LOADED, I8, ONE, "vector_quantize dst=v4 src=v1 scale=v3"]
    assert refused(*lines, image=image) == (
        "instruction 5 (vector_quantize): a value to be quantized is not finite"
    )


def test_memories_and_regions_have_bounds() -> None:
    relu = "vector_unary dst=v1 src=v1 function=relu"
    assert refused(view(1, "activation", "f32", 8192 - 92, 4, 6), relu) == (
        "instruction 1: view v1 reaches activation bytes [0x1fa4, 0x2004), outside its 8192 bytes"
    )
    assert refused(view(1, "activation", "f32", 0, 4, 6, row_stride=-6), relu) == (
        "instruction 1: view v1 reaches activation bytes [-0x48, 0x18), outside its 8192 bytes"
    )
    region = ".region a space=activation start=0x100 size=96 dtype=f32 first={} last={}"
    inside = view(1, "activation", "f32", 0x100, 4, 6, region="a")
    run(region.format(1, 1), inside, relu)
    below = view(1, "activation", "f32", 0xFC, 4, 6, region="a")
    assert refused(region.format(1, 1), below, relu) == (
        "instruction 1: view v1 reaches activation bytes [0xfc, 0x15c), outside its region 'a' "
        "[0x100, 0x160)"
    )
    assert refused(region.format(2, 9), inside, relu) == (
        "instruction 1: region 'a' is used, but lives from instruction 2 to 9"
    )
    assert refused(view(1, "activation", "f32", 0, region="b"), "halt") == (
        "instruction 0: view v1: no region is named 'b'"
    )
    # A window may leave its region as long as nobody uses it there.
    step = "view_step view=v1 step=96"
    run(region.format(1, 1), inside, relu, step)
    assert refused(region.format(0, 9), inside, relu, step, relu) == (
        "instruction 3: view v1 reaches activation bytes [0x160, 0x1c0), outside its region 'a' "
        "[0x100, 0x160)"
    )


def test_a_register_set_anew_is_checked_anew() -> None:
    # The second round uses another region through the same instruction.
    lines = [
        ".region a space=activation start=0x0 size=64 dtype=f32 first=0 last=9",
        ".region b space=activation start=0x40 size=64 dtype=f32 first=7 last=9",
        view(1, "activation", "f32", 0, 1, 4, region="a"),
        "loop count=2",
        "vector_unary dst=v1 src=v1 function=relu",
        view(1, "activation", "f32", 0x40, 1, 4, region="b"),
        "end_loop",
    ]
    assert refused(*lines) == (
        "instruction 2: region 'b' is used, but lives from instruction 7 to 9"
    )
    lines = [
        view(1, "activation", "f32", 0, 1, 4), view(2, "activation", "f32", 0x40, 1, 4),
        "loop count=2", "vector_unary dst=v1 src=v2 function=relu",
        view(2, "activation", "f32", 0x8, 1, 4), "end_loop",
    ]  # fmt: skip
    assert refused(*lines) == (
        "instruction 3 (vector_unary): src and dst overlap without being the same view"
    )


def test_views_have_to_be_set_and_aligned() -> None:
    assert refused("vector_unary dst=v1 src=v1 function=relu") == (
        "instruction 0: view v1 was never set"
    )
    assert refused("view_step view=v3 step=4") == "instruction 0: view v3 was never set"
    assert refused(view(1, "activation", "f32", 6)) == (
        "instruction 0: view v1: address 0x6 is not aligned to 4 bytes"
    )
    assert refused(view(1, "activation", "i16", 4), "view_step view=v1 step=1") == (
        "instruction 1: view v1: address 0x5 is not aligned to 2 bytes"
    )
    assert refused(view(1, "weight", "i4", 0, 2, 3, row_stride=3)) == (
        "i4 view: rows have to start at bytes and columns to be adjacent, "
        "got row_stride=3 col_stride=1"
    )


def test_control_has_to_be_nested_and_to_end() -> None:
    deep = ["loop count=1"] * 9
    assert refused(*deep) == "instruction 8: loops nest deeper than 8"
    assert refused("end_loop") == "instruction 0: end_loop without loop"
    assert refused("loop count=1") == "instruction 1: halt inside a loop"
    with pytest.raises(MachineError, match=r"^the program ends without halt$"):
        execute(assembly.parse("fence"), DramImage(np.zeros(64, np.uint8)), CHIP)


def test_loops_nest_and_windows_step() -> None:
    # y[i, j] = x[i, j] + x[0, j], written element by element with stepping windows.
    lines = [
        *LOADED, view(2, "activation", "f32", 0x400), view(3, "activation", "f32", 0),
        view(4, "activation", "f32", 0),
        "loop count=4", "loop count=6",
        "vector_binary dst=v2 src=v3 src2=v4 function=add",
        "view_step view=v2 step=4", "view_step view=v3 step=4", "view_step view=v4 step=4",
        "end_loop", "view_step view=v4 step=-24", "end_loop",
    ]  # fmt: skip
    assert (computed(*lines, rows=4, cols=6) == X + X[:1]).all()


def test_inputs_have_to_fit_their_ports() -> None:
    program = assembly.parse(".input x addr=0x0 shape=2x3 frames=2\nhalt")
    image = DramImage(np.zeros(64, np.uint8))
    with pytest.raises(MachineError, match=r"^input 'x' is missing$"):
        write_inputs(program, image, {})
    with pytest.raises(MachineError, match=r"^input 'x' has 24 bytes, its port 48$"):
        write_inputs(program, image, {"x": np.zeros((2, 3), F)})
    written = write_inputs(program, image, {"x": INPUT[:12].reshape(2, 2, 3)})
    assert (read_port(written.data, program.inputs[0]) == INPUT[:12].reshape(2, 2, 3)).all()
    assert not image.data.any()


# ---------------------------------------------------------------------------- broken blocks


def test_blocks_have_to_be_what_the_program_says() -> None:
    codes = _weights(5, 6, 8)
    block = encode_block("zero_run", codes.reshape(-1), 8)
    image, (at,) = _with_blocks(block)
    load = [view(6, "dram", "u8", at, 1, len(block)), W, "weight_load dst=v5 src=v6"]
    run(*load, image=image)
    place = "instruction 2: block at DRAM 0x800"
    other = [load[0], view(5, "weight", "i8", 0, 5, 7), load[2]]
    assert refused(*other, image=image) == f"{place} has 30 codes, its view 5 x 7"
    raw_only = chip(decoder__codecs=("raw", "bitmap"))
    assert refused(*load, image=image, hardware=raw_only) == (
        f"{place} is coded with 'zero_run', the decoder knows bitmap, raw"
    )
    assert refused(*load) == f"{place}: block: magic byte 0x00, expected 0xa5"
    dirty = image.copy()
    dirty[at + len(block)] = 1
    longer = [view(6, "dram", "u8", at, 1, len(block) + 1), *load[1:]]
    run(*longer, image=image)
    assert refused(*longer, image=dirty) == f"{place}: block: bytes after it are not zero"


@pytest.mark.parametrize("codec", codec_names())
def test_a_flipped_bit_is_an_error_or_other_codes(codec: str) -> None:
    codes = _weights(16, 24, 8)
    block = _encoded(codec, codes, 8)
    image, (at,) = _with_blocks(block)
    lines = [view(6, "dram", "u8", at, 1, len(block)), view(5, "weight", "i8", 0, 16, 24),
             "weight_load dst=v5 src=v6"]  # fmt: skip
    assert (run(*lines, image=image).trace.tiles[0].codes == codes).all()
    flips = range(0, 8 * len(block), 97)
    sentences = []
    for bit in flips:
        broken = image.copy()
        broken[at + bit // 8] ^= 1 << (bit % 8)
        try:
            tile = run(*lines, image=broken).trace.tiles[0]
        except CodecError as error:
            sentences.append(str(error))
        else:
            assert (tile.codes != codes).any()
    assert len(sentences) == len(flips)  # the checksum sees every single bit
    assert all(text.startswith("instruction 2: block at DRAM 0x800: ") for text in sentences)


# ------------------------------------------------------------------------------------ traces


def test_a_trace_holds_addresses_tiles_and_masks() -> None:
    codes = _weights(5, 7, 8)
    block = encode_block("raw", codes.reshape(-1), 8)
    image, (at,) = _with_blocks(block)
    lines = _multiply(block, at, 5, 7, "i8")
    trace = run(*lines, "mac_matmul src=v2 src2=v5", image=image).trace
    kinds = [trace.sites[number].mnemonic for number in trace.sequence]
    by_kind = {kind: n for n, kind in enumerate(kinds)}
    assert trace.payload[by_kind["load"]] == 0
    assert trace.payload[by_kind["weight_load"]] == at
    assert trace.tile_of[by_kind["weight_load"]] == trace.tile_of[by_kind["mac_matmul"]] == 0
    assert (trace.tiles[0].codes == codes).all()
    activations, _ = arith.quantize_rows(INPUT[:28].reshape(4, 7), 8)
    assert trace.mask_at.tolist() == [0, 0]  # the second product by the same codes shares them
    marks = np.unpackbits(trace.masks.reshape(4, 1), axis=1)[:, :7]
    assert (marks == (activations != 0)).all()
    assert kinds.count("halt") == 1


def test_timing_does_not_execute_again() -> None:
    # The trace is enough: machine state and image may be gone.
    codes = _weights(5, 7, 8)
    block = encode_block("raw", codes.reshape(-1), 8)
    image, (at,) = _with_blocks(block)
    program = assembly.parse("\n".join([*_multiply(block, at, 5, 7, "i8"), "halt"]))
    data = DramImage(image)
    trace = execute(program, data, CHIP).trace
    before = replay(trace, program, CHIP).end_cycles
    image[:] = 0
    assert replay(trace, program, CHIP).end_cycles == before
    prepared = matmul_cycles(trace.tiles[0].digest, codes, geometry(AZ1.mac, 8, 8))
    assert prepared.static_row_cycles > 0


def test_a_machine_does_not_change_the_image() -> None:
    image = np.zeros(8192, np.uint8)
    machine = Machine(assembly.parse("halt"), DramImage(image), CHIP)
    machine.memory["dram"][:] = 1
    assert not image.any()
