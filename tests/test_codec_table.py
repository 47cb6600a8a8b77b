"""`azsim codecs`: what it reads, what it computes, what it prints, what it refuses."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from azsim.cli import main
from azsim.codecs import (
    block_decode_cycles,
    block_hardware_cost,
    block_lane_steps,
    codec_names,
    encode_block,
)
from azsim.errors import CodecError, InputError
from azsim.hardware import load_hardware, preset_names
from azsim.inputs.tensors import read_npz, read_safetensors
from azsim.report.tables import render, table
from azsim.survey import codec_table as measuring
from azsim.survey.codec_table import codec_table, codec_variants, records
from azsim.survey.listings import codec_csv, codec_listings
from azsim.survey.tensors import CodeMatrix, as_matrix, read_file

GOLDEN = Path(__file__).parent / "golden" / "test_codec_table"
# Codecs whose streams do not depend on rules of thumb.
FIXED = ("raw", "bitmap", "bitmap+palette", "palette", "zero_run", "csc", "nm", "nm+n=2+m=4")
KEYS = [
    "tensor",
    "codec",
    "weights",
    "bits",
    "zeros",
    "entropy_bits",
    "on_chip",
    "refused",
    "encoded_bytes",
    "bits_per_weight",
    "decode_weights_per_cycle",
    "bound_by",
    "decode_cycles",
    "lane_cycles",
    "bus_cycles",
    "port_cycles",
    "dram_cycles",
    "encode_weights_per_s",
    "decode_weights_per_s",
    "decoder_table_bits",
    "decoder_register_bits",
    "decoder_multiplexers",
    "decoder_adders",
    "decoder_comparators",
]


def weights(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).laplace(size=shape).astype(np.float32)


def codes(seed: int, bits: int, zeros: float, *shape: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    limit = 2 ** (bits - 1) - 1
    found = rng.integers(-limit, limit + 1, shape).astype(np.int8)
    found[rng.random(shape) < zeros] = 0
    return found


def write_npz(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)  # pyright: ignore[reportArgumentType]
    return path


def write_safetensors(path: Path, tensors: Mapping[str, tuple[str, list[int], bytes]]) -> Path:
    header, data = {}, b""
    for name, (dtype, shape, content) in tensors.items():
        offsets = [len(data), len(data) + len(content)]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        data += content
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def entropy(array: np.ndarray) -> float:
    _, counts = np.unique(array, return_counts=True)
    return float(-sum(n / array.size * math.log2(n / array.size) for n in counts.tolist()))


def quantized(matrix: np.ndarray, bits: int, sparsity: float) -> np.ndarray:
    """What the compression stage does, written out."""
    flat = matrix.reshape(-1).copy()
    order = np.argsort(np.abs(flat), kind="stable")
    flat[order[: round(sparsity * flat.size)]] = 0
    pruned = flat.reshape(matrix.shape)
    scales = np.abs(pruned).max(axis=1, keepdims=True) / np.float32(2 ** (bits - 1) - 1)
    scales[scales == 0] = 1
    return np.rint(pruned / scales).astype(np.int8)


def run_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> list[dict[str, Any]]:
    assert main(["codecs", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def error_of(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["codecs", *map(str, arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("azsim: error: ")
    return captured.err.removeprefix("azsim: error: ")[:-1]


# ------------------------------------------------------------------------------- figures


def test_json_has_one_object_a_tensor_and_codec(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_npz(tmp_path / "a.npz", first=weights(1, 32, 40), second=weights(2, 8, 5, 3))
    rows = run_json(capsys, path, "--bits", 4, "--sparsity", 0.5)
    assert [(row["tensor"], row["codec"]) for row in rows] == [
        (tensor, codec) for tensor in ("first", "second") for codec in codec_names()
    ]
    assert all(list(row) == KEYS for row in rows)
    for row in rows:
        assert row["weights"] == {"first": 1280, "second": 120}[row["tensor"]]
        assert row["bits"] == 4
        assert row["refused"] is None
        assert row["bits_per_weight"] == 8 * row["encoded_bytes"] / row["weights"]
        assert row["encode_weights_per_s"] > 0
        assert row["decode_weights_per_s"] > 0


@pytest.mark.parametrize(("bits", "sparsity"), [(8, 0.0), (4, 0.5), (2, 0.75)])
def test_floats_are_quantized_as_the_compression_stage_does(
    tmp_path: Path, bits: int, sparsity: float
) -> None:
    matrix = weights(3, 48, 50)
    found = read_file(write_npz(tmp_path / "a.npz", w=matrix), bits, sparsity).matrices[0]
    assert found.bits == bits
    np.testing.assert_array_equal(found.codes, quantized(matrix, bits, sparsity))


def test_figures_are_those_of_a_direct_computation() -> None:
    matrix = CodeMatrix("w", codes(4, 5, 0.6, 64, 96), 5)
    for chip in preset_names():
        hardware = load_hardware(chip)
        for row in codec_table([matrix], hardware, speed=False):
            block = encode_block(row.codec, matrix.codes, 5, columns=96)
            lanes = block_lane_steps(block, hardware.decoder.lanes).most_steps
            port = -(-64 * 96 // hardware.weight_sram.write_bytes_per_cycle)  # 8 bits a code
            dram = len(block) * hardware.clock_hz / hardware.dram.bytes_per_s
            decoder = hardware.decoder
            bus = -(-len(block) // decoder.bus_bytes_per_cycle)
            together = block_decode_cycles(
                block,
                decoder.lanes,
                8 * decoder.bus_bytes_per_cycle,
                hardware.weight_sram.write_bytes_per_cycle,
            )
            assert row.decode_cycles == together
            assert max(lanes, bus, port) <= together
            slowest = max(together, dram)
            assert row.encoded_bytes == len(block)
            assert row.bits_per_weight == len(block) * 8 / 6144
            assert row.entropy_bits == pytest.approx(entropy(matrix.codes), abs=1e-12)
            assert row.zeros == pytest.approx(float((matrix.codes == 0).mean()))
            assert (row.lane_cycles, row.bus_cycles, row.port_cycles) == (lanes, bus, port)
            assert row.dram_cycles == pytest.approx(dram)
            assert row.decode_weights_per_cycle == pytest.approx(6144 / slowest)
            largest = max(lanes, bus, port)
            parts = {"lanes": lanes, "bus": bus, "port": port}
            slowest_parts = {name for name, cycles in parts.items() if cycles == largest}
            assert row.bound_by in ({"dram"} if dram > together else slowest_parts)
            assert row.on_chip == (row.codec in hardware.decoder.codecs)
            assert row.cost == block_hardware_cost(block, hardware.decoder.lanes)
            assert row.encode_weights_per_s is None


def test_each_bound_binds_where_it_should() -> None:
    matrix = CodeMatrix("w", codes(5, 8, 0.5, 64, 64), 8)
    bounds = {}
    for override in ("dram.bytes_per_s=100_000_000", "weight_sram.write_bytes_per_cycle=1"):
        hardware = load_hardware("az1", [override])
        (row,) = codec_table([matrix], hardware, codec_variants(["raw"]), speed=False)
        bounds[override] = row.bound_by, row.decode_weights_per_cycle
    one_lane = load_hardware("az1", ["decoder.lanes=1"])
    (row,) = codec_table([matrix], one_lane, codec_variants(["huffman"]), speed=False)
    assert list(bounds.values()) == [
        ("dram", pytest.approx(4096 / (4112 * 5))),
        ("port", pytest.approx(1.0, rel=0.002)),
    ]
    assert row.bound_by == "lanes"


@given(
    st.integers(2, 8), st.integers(1, 12), st.integers(6, 40), st.floats(0, 0.99), st.integers(0)
)
def test_bits_and_entropy_for_any_matrix(
    bits: int, rows: int, columns: int, zeros: float, seed: int
) -> None:
    array = codes(seed, bits, zeros, rows, columns)
    matrix = CodeMatrix("w", array, bits)
    variants = codec_variants(["raw", "bitmap", "zero_run"])
    for row in codec_table([matrix], load_hardware("az1"), variants, speed=False):
        assert row.bits_per_weight is not None
        assert row.bits_per_weight == 8 * (row.encoded_bytes or 0) / array.size
        assert row.entropy_bits == pytest.approx(entropy(array), abs=1e-9)


def test_a_codec_that_refuses_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_npz(tmp_path / "a.npz", w=np.ones((16, 16), np.int8))
    arguments = [path, "--hardware", "dense_npu", "--codec", "raw", "nm+n=2+m=4"]
    raw, refused = run_json(capsys, *arguments)
    assert raw["encoded_bytes"] == 272
    assert refused["refused"] == "codec nm: group 0 has 4 non-zeros, allowed: 2 of 4"
    assert refused["entropy_bits"] == 0
    assert {key for key, value in refused.items() if value is None} == set(KEYS[8:])
    assert main(["codecs", *map(str, arguments)]) == 0
    printed = capsys.readouterr().out
    sentence = "nm+n=2+m=4 refuses it: codec nm: group 0 has 4 non-zeros, allowed: 2 of 4\n"
    assert sentence in printed
    assert "no; refuses 1" in printed


def test_a_wrong_decode_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "decode_block", lambda block: (np.zeros(64, np.int8), 8))
    matrix = CodeMatrix("w", np.ones((8, 8), np.int8), 8)
    with pytest.raises(CodecError) as caught:
        codec_table([matrix], load_hardware("az1"), codec_variants(["raw"]))
    assert str(caught.value) == "codec raw: w does not decode to its codes"


def test_golden_table(update_golden: bool) -> None:
    rng = np.random.default_rng(6)
    sparse = np.clip(np.rint(rng.laplace(scale=2.0, size=(64, 48))), -7, 7).astype(np.int8)
    sparse[np.abs(sparse) < 2] = 0
    pairs = codes(7, 8, 0.0, 32, 64)
    pairs[:, ::2] = 0
    matrices = [CodeMatrix("sparse", sparse, 4), CodeMatrix("pairs [2:4]", pairs, 8)]
    chip = load_hardware("az1", ["decoder.codecs=[raw, bitmap, zero_run]"])
    rows = codec_table(matrices, chip, codec_variants(FIXED), speed=False)
    listings = [table(entry) for entry in codec_listings(rows, "az1", {"b": "4 weights"})]
    found = {"table.txt": render(listings, 100), "table.csv": codec_csv(rows)}
    for name, content in found.items():
        if update_golden:
            GOLDEN.mkdir(parents=True, exist_ok=True)
            (GOLDEN / name).write_text(content, encoding="utf-8")
        assert (GOLDEN / name).read_text(encoding="utf-8") == content


def test_csv_holds_what_json_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_npz(tmp_path / "a.npz", w=codes(8, 8, 0.5, 16, 16))
    rows = run_json(capsys, path, "--csv", tmp_path / "out.csv")
    written = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))
    assert written == [
        {key: "" if value is None else str(value) for key, value in row.items()} for row in rows
    ]


def test_records_of_nothing() -> None:
    assert records([]) == []
    assert codec_csv([]) == "\n"


# --------------------------------------------------------------------------------- files


def test_integers_are_codes_and_are_not_quantized_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    array = codes(9, 4, 0.3, 24, 30)
    path = write_npz(tmp_path / "a.npz", a=array, b=array.astype(np.int64), c=array.reshape(-1))
    found = read_file(path, bits=4, sparsity=0.9).matrices
    assert [matrix.name for matrix in found] == ["a", "b", "c"]
    for matrix in found:
        np.testing.assert_array_equal(matrix.codes.reshape(-1), array.reshape(-1))
    assert found[2].codes.shape == (1, 720)
    (row,) = run_json(capsys, path, "--bits", 4, "--codec", "raw", "--tensor", "b")
    assert row["encoded_bytes"] == 16 + 360


@pytest.mark.parametrize(
    ("shape", "matrix"),
    [
        ((6, 5), (6, 5)),
        ((1, 30), (1, 30)),
        ((30, 1), (30, 1)),
        ((30,), (1, 30)),
        ((6, 5, 2, 2), (6, 20)),
        ((1, 6, 5), (6, 5)),
        ((1, 30, 1), (1, 30)),
        ((6, 1, 5), (6, 5)),
        ((1, 1, 1), (1, 1)),
    ],
)
def test_every_tensor_is_a_matrix(shape: tuple[int, ...], matrix: tuple[int, int]) -> None:
    array = np.arange(math.prod(shape))
    found = as_matrix(array.reshape(shape))
    assert found.shape == matrix
    np.testing.assert_array_equal(found.reshape(-1), array)


def test_small_tensors_and_vectors_of_models_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    floats = weights(10, 10, 10)
    path = write_safetensors(
        tmp_path / "m.safetensors",
        {
            "w": ("F32", [10, 10], floats.tobytes()),
            "bias": ("F32", [100], floats.tobytes()),
            "small": ("F16", [3, 2], bytes(12)),
            "one": ("F32", [], bytes(4)),
            "mask": ("BOOL", [10, 10], bytes(100)),
            "index": ("I64", [10, 10], bytes(800)),
        },
    )
    assert main(["codecs", str(path), "--json"]) == 0
    captured = capsys.readouterr()
    assert {row["tensor"] for row in json.loads(captured.out)} == {"w"}
    assert captured.err.splitlines() == [
        "azsim: note: bias is skipped: vector",
        "azsim: note: small is skipped: 6 weights",
        "azsim: note: one is skipped: 1 weight",
        "azsim: note: mask is skipped: type bool",
        "azsim: note: index is skipped: type int64",
    ]
    assert main(["codecs", str(path), "--codec", "raw"]) == 0
    assert "Skipped: bias (vector), small (6 weights), one" in capsys.readouterr().out


def test_safetensors_of_every_type(tmp_path: Path) -> None:
    values = np.array([[0, 1, 2], [3, 100, 127]])
    kinds = {"U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4"}
    kinds |= {"U64": "<u8", "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8"}
    tensors = {k: (k, [2, 3], values.astype(dtype).tobytes()) for k, dtype in kinds.items()}
    tensors["BOOL"] = ("BOOL", [2, 3], bytes([0, 1, 1, 1, 1, 1]))
    halves = (values.astype(np.float32).view(np.uint32) >> 16).astype("<u2")
    tensors["BF16"] = ("BF16", [2, 3], halves.tobytes())
    tensors["empty"] = ("F32", [0, 4], b"")
    found = read_safetensors(write_safetensors(tmp_path / "m.safetensors", tensors))
    assert list(found) == list(tensors)
    for name in kinds:
        assert found[name].dtype == np.dtype(kinds[name])
        np.testing.assert_array_equal(found[name], values)
    assert found["BOOL"].tolist() == [[False, True, True], [True, True, True]]
    assert found["BF16"].dtype == np.float32
    np.testing.assert_array_equal(found["BF16"], values)
    assert found["empty"].shape == (0, 4)


def test_onnx_initializers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    matrix, array = weights(11, 16, 8), codes(12, 8, 0.5, 12, 12)
    values = matrix.reshape(-1).tolist()
    constants = [
        numpy_helper.from_array(matrix, "w"),
        numpy_helper.from_array(array, "codes"),
        helper.make_tensor("brain", TensorProto.BFLOAT16, [16, 8], values),
        numpy_helper.from_array(matrix[0], "bias"),
    ]
    node = helper.make_node("Strange", ["x"], ["y"], domain="nowhere")
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([node], "g", ports[:1], ports[1:], constants)
    path = tmp_path / "m.onnx"
    path.write_bytes(helper.make_model(graph).SerializeToString())
    assert onnx.__version__
    found = {m.name: m.codes for m in read_file(path, 8, 0.5).matrices}
    assert list(found) == ["w", "codes", "brain"]
    np.testing.assert_array_equal(found["w"], quantized(matrix, 8, 0.5))
    np.testing.assert_array_equal(found["codes"], array)
    assert np.abs(found["brain"].astype(int) - found["w"]).max() <= 2
    rows = run_json(capsys, path, "--codec", "huffman", "--tensor", "w", "c*")
    assert [row["tensor"] for row in rows] == ["w", "codes"]


WORKLOAD = """\
name: small
model:
  graph:
    inputs: {x: {shape: [1, 16]}}
    initializers:
      w: {shape: [16, 8], random: {seed: 1, scale: 0.3}}
    nodes:
      - {op: MatMul, name: /first, inputs: [x, w], outputs: [/y]}
    outputs: [/y]
input: {random: {seed: 3}}
compression:
  default: {weights: {bits: 4}, prune: {sparsity: 0.5}}
hardware: az2
"""


def test_a_workload_is_compressed_by_its_scheme(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(WORKLOAD)
    one = ["--codec", "bitmap"]
    (own,) = run_json(capsys, path, *one)
    assert (own["bits"], own["zeros"] >= 0.5) == (4, True)
    (other,) = run_json(capsys, path, *one, "--bits", 3)
    assert other["bits"] == 3
    (pruned,) = run_json(capsys, path, *one, "--sparsity", 0.75)
    assert (pruned["bits"], pruned["zeros"] >= 0.75) == (8, True)
    (changed,) = run_json(
        capsys, path, *one, "--set", "workload.compression.default.weights.bits=6"
    )
    assert changed["bits"] == 6
    assert main(["codecs", str(path), *one]) == 0
    assert "1 tensor on az2" in capsys.readouterr().out
    slow = ["--hardware", "az1_lite", "--set", "hardware.dram.bytes_per_s=1_000_000"]
    (row,) = run_json(capsys, path, *one, *slow)
    assert row["bound_by"] == "dram"


# ---------------------------------------------------------------------------- bad input


def test_options_out_of_range(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "missing.npz"
    for bits in (1, 9, -8):
        sentence = f"--bits {bits}: out of range, allowed: 2 to 8"
        assert error_of(capsys, path, f"--bits={bits}") == sentence
    for sparsity in ("1.0", "-0.1", "nan"):
        sentence = f"--sparsity {sparsity}: out of range, allowed: at least 0, below 1"
        assert error_of(capsys, path, f"--sparsity={sparsity}") == sentence
    assert error_of(capsys, path, "--bits", "two") == (
        "argument --bits: invalid int value: 'two'; see azsim codecs --help"
    )


def test_codecs_that_are_not_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ", ".join(codec_names())
    wanted = ["bitmp", "nm+q", "nm+n=x", "raw+x=1", "palette+n"]
    assert error_of(capsys, tmp_path / "missing.npz", "--codec", *wanted).splitlines() == [
        f"codec bitmp: unknown codec 'bitmp', did you mean 'bitmap'? allowed: {names}",
        "codec nm+q: unknown parameter 'q', allowed: m, n, palette",
        "codec nm+n=x: n=x, expected an integer",
        "codec raw+x=1: unknown parameter 'x', allowed: palette",
        "codec palette+n: unknown parameter 'n', allowed: none",
    ]


def test_files_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kinds = "allowed: .npz, .onnx, .safetensors, or a workload"
    assert error_of(capsys, "a.bin") == f"a.bin: unknown kind of file '.bin', {kinds}"
    for suffix in (".npz", ".onnx", ".safetensors"):
        path = tmp_path / f"missing{suffix}"
        assert error_of(capsys, path) == f"{path}: cannot be read: No such file or directory"
    path = tmp_path / "bad.npz"
    path.write_bytes(b"nothing")
    assert error_of(capsys, path) == f"{path}: not an npz file: File is not a zip file"
    found = error_of(capsys, "no_such_workload")
    assert "no_such_workload" in found
    assert error_of(capsys, path, "--hardware", "az9").startswith("unknown hardware 'az9'")


def test_nothing_to_encode(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    what = "no float tensors and no codes of at least 64 elements"
    path = write_npz(tmp_path / "a.npz", a=np.ones(63), s=np.array(["x"] * 100), e=np.ones((0, 9)))
    skipped = "a (63 weights), s (type str32), e (0 weights)"
    assert error_of(capsys, path) == f"{path}: {what}; skipped: {skipped}"
    path = write_npz(tmp_path / "b.npz")
    assert error_of(capsys, path) == f"{path}: {what}; skipped: none"
    path = write_npz(tmp_path / "c.npz", first=np.ones(64), second=np.ones(64))
    assert error_of(capsys, path, "--tensor", "x*") == (
        f"{path}: --tensor x*: no tensor matches; tensors: first, second"
    )


def test_all_wrong_tensors_are_named_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    array = codes(13, 8, 0.0, 8, 8)
    array[3, 3] = -128
    large = np.full((8, 8), 1 << 40)
    infinite = weights(14, 8, 8)
    infinite[1, 2] = np.inf
    path = write_npz(tmp_path / "a.npz", a=array, b=large, c=infinite, d=np.full((8, 8), 1e300))
    end = "; integers are taken as codes"
    assert error_of(capsys, path).splitlines() == [
        f"{path}: a: code -128, allowed at 8 bits: ±127{end}",
        f"{path}: b: code {1 << 40}, allowed at 8 bits: ±127{end}",
        f"{path}: c: 1 of 64 weights are not finite, the first at row 1, column 2: inf",
        f"{path}: d: 64 of 64 weights are not finite, the first at row 0, column 0: inf",
    ]
    path = write_npz(tmp_path / "b.npz", w=np.full((8, 8), 8))
    assert error_of(capsys, path, "--bits", 4) == (f"{path}: w: code 8, allowed at 4 bits: ±7{end}")


def test_nothing_is_written_where_the_table_cannot_go(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_npz(tmp_path / "a.npz", w=np.ones((8, 8), np.int8))
    place = tmp_path / "none" / "a.csv"
    assert error_of(capsys, path, "--csv", place) == (
        f"{place}: cannot be written, there is no folder {tmp_path / 'none'}"
    )


def _safetensors(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


_ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def _entry(**changes: object) -> bytes:
    return _safetensors({"a": {**_ENTRY, **changes}}, bytes(8))


_WRONG = "not a safetensors file"


_MALFORMED: list[tuple[bytes, str]] = [
    (b"1234567", f"{_WRONG}: found 7 bytes, expected at least 8"),
    (struct.pack("<Q", 9) + b"{}", f"{_WRONG}: header of 9 bytes, allowed: up to 2"),
    (b"\xff" * 20, f"{_WRONG}: header of {2**64 - 1} bytes, allowed: up to 12"),
    (_safetensors(b"[]"), f"{_WRONG}: its header is no JSON object"),
    (_safetensors(b'{"a": 1, "a": 2}'), f"{_WRONG}: its header is no JSON: 'a' is there twice"),
    (_safetensors({"a": 1}), "tensor 'a': expected dtype, shape and data_offsets"),
    (_entry(x=1), "tensor 'a': expected dtype, shape and data_offsets"),
    (_entry(shape=[-2]), "tensor 'a': shape [-2], expected a list of lengths"),
    (_entry(shape=[True]), "tensor 'a': shape [True], expected a list of lengths"),
    (_entry(data_offsets=[0]), "tensor 'a': data_offsets [0], expected two places"),
    (_entry(data_offsets=[1, 9]), "tensor 'a': lies at bytes 1 to 9 of 8 bytes of data"),
    (_entry(data_offsets=[8, 0]), "tensor 'a': lies at bytes 8 to 0 of 8 bytes of data"),
    (
        _entry(shape=[1 << 62, 1 << 62]),
        f"tensor 'a': 8 bytes, F32 of shape [{1 << 62}, {1 << 62}] takes {1 << 126}",
    ),
]


@pytest.mark.parametrize(("data", "sentence"), _MALFORMED)
def test_malformed_safetensors(tmp_path: Path, data: bytes, sentence: str) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_safetensors(path)
    assert str(caught.value) == f"{path}: {sentence}"


def test_every_wrong_tensor_of_a_safetensors_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    wrong = {**_ENTRY, "dtype": "F8_E4M3"}
    path.write_bytes(_safetensors({"a": wrong, "b": _ENTRY, "c": {}}, bytes(8)))
    kinds = "BOOL, U8, I8, U16, I16, U32, I32, U64, I64, F16, BF16, F32, F64"
    with pytest.raises(InputError) as caught:
        read_safetensors(path)
    assert str(caught.value).splitlines() == [
        f"{path}: tensor 'a': type 'F8_E4M3' is not supported, allowed: {kinds}",
        f"{path}: tensor 'c': expected dtype, shape and data_offsets",
    ]


@given(st.binary(max_size=64), st.integers(0, 80))
def test_no_bytes_crash_the_safetensors_reader(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes, length: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "junk.safetensors"
    path.write_bytes(struct.pack("<Q", length) + junk)
    with contextlib.suppress(InputError):
        read_safetensors(path)


def test_objects_in_an_npz_are_refused(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "a.npz", w=np.array([{}, []], object))
    with pytest.raises(InputError) as caught:
        read_npz(path)
    assert str(caught.value).startswith(f"{path}: array 'w' cannot be read: Object arrays cannot")


@pytest.mark.parametrize(("rows", "columns"), [(1, 600), (40, 600), (600, 1), (40, 40)])
def test_what_is_compiled_is_not_timed(
    rows: int, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first call of each codec is not timed, and compiles for the memory layout of the rest."""
    calls: list[tuple[str, bool, bool]] = []
    is_timed = False

    def timed(call: Any, is_repeated: bool) -> tuple[Any, float]:
        nonlocal is_timed
        is_timed = True
        result = call()
        is_timed = False
        return result, 1.0

    def encode(name: str, codes: np.ndarray, *given: Any, **settings: Any) -> bytes:
        calls.append((name, is_timed, codes.T.flags.c_contiguous))
        return encode_block(name, codes, *given, **settings)

    monkeypatch.setattr(measuring, "_timed", timed)
    monkeypatch.setattr(measuring, "encode_block", encode)
    codes = np.random.default_rng(2).integers(-3, 4, (rows, columns)).astype(np.int8)
    matrix = CodeMatrix("w", codes, 8)
    codec_table([matrix], load_hardware("az1"), codec_variants(FIXED))
    layout = codes.T.flags.c_contiguous
    for variant in codec_variants(FIXED):
        of_codec = [call for call in calls if call[0] == variant.name]
        assert of_codec[0] == (variant.name, False, layout)
        assert {call[2] for call in of_codec} == {layout}
