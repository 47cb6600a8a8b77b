"""Builders: their tables, weights and errors; what one model computes is tested in its own file."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from azsim import pipeline
from azsim.cli import main
from azsim.errors import ConfigError, InputError
from azsim.frontend.builder_file import builder_type
from azsim.frontend.workload import load_workload
from azsim.frontend.workload_file import BuilderModel
from azsim.models import builder, builder_names
from azsim.models._network import Network
from azsim.models._weights import ArrayWeights, RandomWeights, Tensor, student_t

HEAD = "name: small\ninput: {random: {seed: 1, frames: 3}}\n"


def write(folder: Path, model: str, rest: str = "") -> Path:
    path = folder / "small.yaml"
    path.write_text(f"{HEAD}model: {model}\n{rest}")
    return path


def save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    np.savez(path, allow_pickle=False, **arrays)


def problems(path: Path) -> list[str]:
    with pytest.raises(InputError) as caught:
        pipeline.prepare(load_workload(path))
    return [line.replace(f"{path.parent}/", "") for line in str(caught.value).splitlines()]


@pytest.mark.parametrize("name", builder_names())
def test_every_builder_keeps_the_contract(name: str) -> None:
    module = builder(name)
    own = {entry.name for entry in fields(module.Parameters)}
    assert not own & {entry.name for entry in fields(BuilderModel)}
    assert module.Parameters() == module.Parameters()  # all have defaults
    assert issubclass(builder_type(name), module.Parameters)
    assert module.__doc__


# ------------------------------------------------------------------------------------- weights


def test_random_weights_have_heavy_tails_and_the_size_that_is_promised() -> None:
    numbers = student_t(np.random.default_rng(0), 3_000_000).astype(np.float64)
    assert abs(numbers.mean()) < 0.003
    assert abs(numbers.std() - 1) < 0.005
    kurtosis = (numbers**4).mean() / (numbers**2).mean() ** 2 - 3
    assert 2 < kurtosis < 4  # 3 without the clip, 0 for normal numbers
    assert np.abs(numbers).max() <= 12


def test_a_tensor_depends_on_its_name_and_the_seed_alone() -> None:
    tensors = {"a": Tensor((4, 3), 9), "b": Tensor((4, 3), 9), "c": Tensor((700, 2000), 9)}
    every = RandomWeights(5).arrays(tensors, tensors)
    alone = RandomWeights(5).arrays({"b": tensors["b"]}, ["b"])
    np.testing.assert_array_equal(every["b"], alone["b"])
    assert not np.array_equal(every["a"], every["b"])
    assert not np.array_equal(every["a"], RandomWeights(6).arrays(tensors, ["a"])["a"])
    assert every["c"].dtype == np.float32
    assert abs(every["c"].std() * 3 - 1) < 0.01


def test_all_that_is_wrong_with_given_weights_is_said_at_once() -> None:
    tensors = {"a": Tensor((2,)), "b": Tensor((2, 3)), **dict.fromkeys("cdf", Tensor((1,)))}
    given = {
        "b": np.zeros((3, 2), np.float32),
        "c": np.zeros(1, np.int64),
        "d": np.array([np.nan], np.float32),
        "e": np.zeros(1),
        "f": np.array([1e39]),
    }
    with pytest.raises(InputError) as caught:
        ArrayWeights(given, "w.npz").arrays(tensors, tensors)
    assert str(caught.value).splitlines() == [
        "w.npz: tensor 'a' is missing, allowed: float32[2]",
        "w.npz: tensor 'b': wrong shape, found float32[3, 2], allowed: float32[2, 3]",
        "w.npz: tensor 'c': wrong type, found int64[1], allowed: numbers with a fraction",
        "w.npz: tensor 'd': holds numbers that are not finite",
        "w.npz: tensor 'f': holds numbers too large for float32",
        "w.npz: tensor 'e' is none of the model's",
    ]


@pytest.mark.parametrize("suffix", ["npz", "safetensors", "onnx"])
def test_weights_come_from_a_file(tmp_path: Path, suffix: str) -> None:
    weights = np.arange(12, dtype=np.float32).reshape(3, 4) / 7
    if suffix == "npz":
        save(tmp_path / "w.npz", {"gemm.W": weights})
    elif suffix == "safetensors":
        header = b'{"gemm.W": {"dtype": "F32", "shape": [3, 4], "data_offsets": [0, 48]}}'
        data = len(header).to_bytes(8, "little") + header + weights.tobytes()
        (tmp_path / "w.safetensors").write_bytes(data)
    else:
        onnx = pytest.importorskip("onnx")
        tensor = onnx.numpy_helper.from_array(weights, "gemm.W")
        graph = onnx.helper.make_graph([], "g", [], [], [tensor])
        onnx.save(onnx.helper.make_model(graph), tmp_path / "w.onnx")
    path = write(tmp_path, f"{{builder: gemm, k: 4, n: 3, weights: w.{suffix}}}")
    prepared = pipeline.prepare(load_workload(path))
    np.testing.assert_array_equal(prepared.compressed.graph.initializers["gemm.W"], weights)
    assert f"w.{suffix}" in prepared.files


def test_static_scales_are_the_same_for_every_chunk(tmp_path: Path) -> None:
    """Float sums of several rows may be rounded otherwise than those of one."""
    scales = []
    for chunk in (1, 3, 8):
        path = write(
            tmp_path,
            "{builder: mamba, d_model: 40, n_layer: 3, vocab: 60}",
            "calibration: {random: {seed: 2, below: 60, frames: 24}}\n"
            f"stream: {{chunk_frames: {chunk}}}\n"
            "compression: {default: {activations: {scale: static}}}\n",
        )
        workload = load_workload(path, ["input.random.below=60"])
        weights = pipeline.compress_workload(workload).weights
        scales.append({name: weight.activation_scale for name, weight in weights.items()})
    assert None not in scales[0].values()
    assert scales[0] == scales[1] == scales[2]


# -------------------------------------------------------------------------------------- errors


def test_wrong_parameters_are_all_named_with_their_place(tmp_path: Path) -> None:
    path = write(tmp_path, "{builder: gemm, k: 0, nn: 4, seed: -1, weights: w.txt}", "hardwar: az1")
    with pytest.raises(ConfigError) as caught:
        load_workload(path)
    keys = "'m', 'k', 'n', 'bias', 'builder', 'seed', 'weights', 'sha256', 'archive_sha256'"
    assert [line.replace(f"{tmp_path}/", "") for line in caught.value.problems] == [
        "small.yaml:3:27: $.model.k: out of range, found 0, allowed: an integer from 1 to 1048576",
        f"small.yaml:3:30: $.model.nn: unknown key 'nn', did you mean 'n'? allowed: {keys}",
        (
            "small.yaml:3:43: $.model.seed: out of range, found -1, "
            "allowed: an integer from 0 to 9223372036854775807"
        ),
        (
            "small.yaml:3:56: $.model.weights: not a weights file, found 'w.txt', "
            "allowed: .npz, .safetensors, .onnx"
        ),
        (
            "small.yaml:4:1: $.hardwar: unknown key 'hardwar', did you mean 'hardware'? allowed: "
            "'name', 'model', 'input', 'description', 'stream', 'compression', 'calibration', "
            "'hardware', 'decisions', 'transcript', 'expect'"
        ),
    ]


def test_unknown_builders_and_what_they_know_themselves(tmp_path: Path) -> None:
    path = write(tmp_path, "{builder: gem, k: 0}")
    names = ", ".join(builder_names())
    assert problems(path) == [
        (
            "small.yaml:3:18: $.model.builder: unknown builder 'gem', did you mean 'gemm'? "
            f"allowed: {names}"
        )
    ]
    path = write(tmp_path, "{builder: gemm}", "stream: {state: {a: b}, time_axis: {x: 0}}\n")
    assert problems(path) == [
        "small.yaml:4:17: $.stream.state: the builder knows it, found a mapping, allowed: nothing",
        (
            "small.yaml:4:36: $.stream.time_axis: the builder knows it, found a mapping, "
            "allowed: nothing"
        ),
    ]


def test_weights_that_do_not_fit_name_the_place(tmp_path: Path) -> None:
    save(tmp_path / "w.npz", {"gemm.W": np.zeros((4, 3), np.float32)})
    path = write(tmp_path, "{builder: gemm, k: 4, n: 3, weights: w.npz}")
    assert problems(path) == [
        (
            "small.yaml:3:45: $.model.weights: w.npz: tensor 'gemm.W': wrong shape, "
            "found float32[4, 3], allowed: float32[3, 4]"
        )
    ]
    path = write(tmp_path, "{builder: gemm, weights: none.npz}")
    assert problems(path) == ["small.yaml:3:33: $.model.weights: none.npz: no such file"]


def test_a_model_beyond_memory_is_refused_before_it_is_made(tmp_path: Path) -> None:
    path = write(tmp_path, "{builder: gemm, k: 1048576, n: 1048576}")
    assert problems(path) == [
        (
            "small.yaml:3:8: $.model: too large, found 4398050705408 bytes of weights and inputs, "
            "allowed: 2147483648 bytes"
        )
    ]


# -------------------------------------------------------------------------------------- gemm


@pytest.mark.parametrize("chunk_frames", [1, 2, 3])
def test_gemm_runs_bit_exact_and_counts_its_closed_form(tmp_path: Path, chunk_frames: int) -> None:
    path = write(tmp_path, "{builder: gemm, m: 1, k: 40, n: 24, bias: true}")
    workload = load_workload(path, [f"stream.chunk_frames={chunk_frames}"])
    model = pipeline.load_model(workload)
    assert model.macs == {"chunk": chunk_frames * 40 * 24}
    assert (model.num_parameters, model.num_matrix_weights) == (40 * 24 + 24, 40 * 24)
    found = pipeline.run(workload, verify=True)
    assert found.comparison is not None
    assert found.comparison.bit_exact
    chunks = -(-3 // chunk_frames)  # the last one is filled up with zeros
    assert found.statistics.macs == chunks * model.macs["chunk"]
    filled = "x: 3 frames are no whole number of chunks of 2; 1 frames of zeros follow"
    assert (filled in found.notes) == (chunk_frames == 2)
    assert found.outputs["y"].size == chunks * chunk_frames * 24
    one = pipeline.run(load_workload(path), timeline=False).outputs["y"]
    np.testing.assert_array_equal(found.outputs["y"].reshape(-1, 24)[:3], one.reshape(-1, 24))


def test_names_that_are_taken_get_a_number() -> None:
    net = Network("twice")
    x = net.input("x", (1, 2))
    with net.scope("a"):
        y = net.node("Relu", net.node("Relu", x))
    model = net.finish({"y": y})
    assert [node.name for node in model.graph.nodes] == ["a.Relu", "a.Relu_2"]
    assert model.graph.outputs == ("y",)


# ------------------------------------------------------------------------------------ commands


def test_inspect_shows_what_a_builder_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, "{builder: lstm_cell, inputs: 5, hidden: 3}")
    assert main(["inspect", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == [
        {"what": "parameters", "number": 4 * 3 * (5 + 3) + 2 * 4 * 3},
        {"what": "weights of matrices", "number": 4 * 3 * (5 + 3)},
        {"what": "numbers of state", "number": 2 * 3},
        {"what": "MACs, chunk", "number": 4 * 3 * (5 + 3)},
    ]


def test_a_built_model_is_exported_as_arrays_and_read_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, "{builder: gemm, k: 4, n: 3}")
    assert main(["export", str(path), "-o", str(tmp_path / "w.onnx")]) == 2
    sentence = "the model is built by azsim; export it to .npz instead"
    assert capsys.readouterr().err == f"azsim: error: {path}: {sentence}\n"
    assert main(["export", str(path), "-o", str(tmp_path / "w.npz")]) == 0
    first = pipeline.compress_workload(load_workload(path)).weights["gemm.W"]
    path = write(tmp_path, "{builder: gemm, k: 4, n: 3, weights: w.npz}")
    again = pipeline.compress_workload(load_workload(path)).weights["gemm.W"]
    np.testing.assert_array_equal(first.codes, again.codes)
