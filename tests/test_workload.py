"""Workload files, and the arrays that their input sections stand for."""

from __future__ import annotations

import hashlib
import io
import wave
import zipfile
from pathlib import Path

import numpy as np
import pytest

from azsim.codecs import codec_names
from azsim.compression.scheme import resolve
from azsim.config import json_schema
from azsim.errors import ConfigError, FetchError, InputError
from azsim.frontend.workload import Workload, load_workload, workload_names
from azsim.frontend.workload_file import Bound, GraphModel, WorkloadFile
from azsim.frontend.workload_inputs import calibration_arrays, input_arrays, onnx_path
from azsim.hardware import preset_names
from azsim.inputs.patterns import sparse_activations
from azsim.inputs.spec import AudioInput, Framing, RandomInput, RandomNumbers
from azsim.ir import TensorType
from azsim.resources import workloads_directory

PRESETS = ", ".join(preset_names())
CODECS = ", ".join((*codec_names(), "auto"))
SMALL = "name: small\nmodel: {graph: {}}\ninput: {random: {}}\n"


def load(tmp_path: Path, text: str, *overrides: str) -> Workload:
    path = tmp_path / "w.yaml"
    path.write_text(text)
    return load_workload(path, overrides)


def problems(tmp_path: Path, text: str, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, *overrides)
    return [line.removeprefix(f"{tmp_path / 'w.yaml'}:") for line in caught.value.problems]


@pytest.mark.parametrize("name", workload_names())
def test_workload_is_called_like_its_file(name: str) -> None:
    workload = load_workload(name)
    path = workloads_directory() / f"{name}.yaml"
    assert workload.name == name
    assert workload.source.path == path
    assert workload.source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.read_text().startswith("# ")


def test_vad_silero() -> None:
    workload = load_workload("vad_silero")
    assert isinstance(workload.input, AudioInput)
    assert workload.input.framing == Framing(576, 512, 64, "zero_pad")
    assert workload.stream is not None
    assert workload.stream.time_axis == {"input": 0}
    assert workload.stream.state == {"h": "hn", "c": "cn"}
    assert workload.stream.arrival == "paced"
    rule = workload.compression.default
    assert rule.weights is not None
    assert (rule.weights.bits, rule.weights.scale) == (8, "per_channel")
    assert rule.activations is not None
    assert (rule.activations.bits, rule.activations.scale) == (16, "dynamic")
    assert rule.prune is not None
    assert rule.prune.sparsity == 0.5
    assert workload.hardware_reference == "az1"


def test_smallest_file_and_its_defaults(tmp_path: Path) -> None:
    workload = load(tmp_path, SMALL)
    assert workload.model == GraphModel({})
    assert workload.input == RandomInput(RandomNumbers(seed=0, scale=1.0))
    assert workload.stream is None
    assert workload.compression.rules == ()
    assert workload.hardware == "az1"
    assert workload.expect is None
    assert workload.folder == tmp_path
    assert onnx_path(workload) is None


def test_expectations(tmp_path: Path) -> None:
    text = SMALL + "expect: {hardware: az1, cycles: {max: 1_200_000}, output_sqnr_db: {min: 30}}\n"
    expect = load(tmp_path, text).expect
    assert expect is not None
    assert expect.bounds() == {
        "cycles": Bound(max=1_200_000),
        "output_sqnr_db": Bound(min=30),
    }


def test_overrides(tmp_path: Path) -> None:
    workload = load(
        tmp_path,
        SMALL,
        "workload.compression.default.weights.bits=4",
        "stream.chunk_frames=3",
        "hardware=az2",
        "compression.rules=[{match: 'a.*', codec: {name: bitmap, palette: true}}]",
    )
    assert workload.compression.default.weights is not None
    assert workload.compression.default.weights.bits == 4
    assert workload.stream is not None
    assert workload.stream.chunk_frames == 3
    assert workload.hardware == "az2"
    assert workload.compression.rules[0].match == "a.*"
    assert len(workload.source.overrides) == 4


def test_hardware_file_beside_the_workload(tmp_path: Path) -> None:
    (tmp_path / "chip.yaml").write_text("")
    assert load(tmp_path, SMALL + "hardware: chip.yaml\n").hardware_reference == (
        tmp_path / "chip.yaml"
    )


def test_unknown_names() -> None:
    with pytest.raises(ConfigError) as caught:
        load_workload("vad_sileo")
    names = ", ".join(workload_names())
    assert str(caught.value) == (
        f"unknown workload 'vad_sileo', did you mean 'vad_silero'? allowed: {names}, "
        f"or a .yaml file"
    )
    with pytest.raises(ConfigError, match=r"^nowhere/x\.yaml: no such file$"):
        load_workload("nowhere/x.yaml")


SENTENCES = {
    "compression: {default: {weights: {bits: 9}}}": (
        "4:41: $.compression.default.weights.bits: out of range, found 9, "
        "allowed: an integer from 2 to 8"
    ),
    "compression: {default: {prune: {sparsity: 1.5}}}": (
        "4:43: $.compression.default.prune.sparsity: out of range, found 1.5, "
        "allowed: a number from 0 to below 1"
    ),
    "compression: {default: {prune: {sparsity: 5e-1}}}": (
        "4:43: $.compression.default.prune.sparsity: '5e-1' is a string in YAML 1.1; "
        "write 5.0e-1; allowed: a number from 0 to below 1"
    ),
    "compression: {default: {activations: {bits: 12}}}": (
        "4:45: $.compression.default.activations.bits: not one of the choices, found 12, "
        "allowed: 8 or 16"
    ),
    "compression: {default: {weights: {scale: per_chanel}}}": (
        "4:42: $.compression.default.weights.scale: not one of the choices, found the string "
        "'per_chanel', did you mean 'per_channel'? "
        "allowed: 'per_tensor' or 'per_channel' or 'per_group'"
    ),
    "compression: {default: {wieghts: {bits: 4}}}": (
        "4:25: $.compression.default.wieghts: unknown key 'wieghts', did you mean 'weights'? "
        "allowed: 'match', 'weights', 'activations', 'prune', 'codec'"
    ),
    "compression: {default: {codec: bitmp}}": (
        "4:32: $.compression.default.codec: unknown codec 'bitmp', did you mean 'bitmap'? "
        f"allowed: {CODECS}"
    ),
    "compression: {default: {match: 'a*'}}": (
        "4:32: $.compression.default.match: the default has no pattern; move it to rules"
    ),
    "compression: {rules: [{codec: raw}]}": (
        "4:23: $.compression.rules[0].match: missing key, allowed: a pattern of initializer names"
    ),
    "compression: {default: {activations: {scale: static}}}": (
        "4:46: $.compression.default.activations.scale: static scales need an input of their "
        "own, found none; give calibration"
    ),
    "stream: {arrival: paced}": (
        "4:19: $.stream.arrival: paced arrival needs a time between frames, found none; "
        "give input.period_s"
    ),
    "stream: {chunk_frames: 0}": (
        "4:24: $.stream.chunk_frames: out of range, found 0, allowed: an integer from 1 to 65536"
    ),
    "stream: {state: {h: no}}": (
        "4:21: $.stream.state.h: 'no' is a boolean in YAML 1.1; quote it: \"no\"; allowed: a string"
    ),
    "hardware: az11": (
        f"4:11: $.hardware: unknown hardware 'az11', did you mean 'az1'? allowed: {PRESETS}, "
        f"or the path of a .yaml file"
    ),
    "expect: {cycles: {}}": (
        "4:18: $.expect.cycles: no limit, found neither, allowed: 'min', 'max' or both"
    ),
    "expect: {cycles: {min: 3, max: 2}}": ("4:18: $.expect.cycles: min above max, found 3 and 2"),
    "expect: {cycles: {max: 1e6}}": (
        "4:24: $.expect.cycles.max: '1e6' is a string in YAML 1.1; write 1.0e+6 or 1000000; "
        "allowed: a number"
    ),
    "calibration: {audio: 'pypi:a==1#b', framing: {window: 4, hop: 2}}": (
        "4:14: $.calibration.sha256: missing key; a file of a package must be pinned: pypi:a==1#b"
    ),
    "calibration: {audio: 'pypi:a', framing: {window: 4, hop: 2}}": (
        "4:22: $.calibration.audio: pypi:a: not a reference to a package's file, "
        "allowed: pypi:NAME==VERSION#path/of/the/file"
    ),
    "calibration: {audio: a, framing: {window: 4, hop: 2, left_context: 4}}": (
        "4:68: $.calibration.framing.left_context: no room for new samples, found 4, "
        "allowed: 0 to 3"
    ),
    "calibration: {audio: a, framing: {window: 4, hop: 2}, sha256: ABC}": (
        "4:63: $.calibration.sha256: wrong form, found the string 'ABC', allowed: 64 digits 0-9 a-f"
    ),
    "calibration: {random: {}, audio: a}": (
        "4:14: $.calibration: fits none of the alternatives, found a mapping with the keys "
        "'random', 'audio', allowed: a mapping with the keys 'audio', 'framing', 'features', "
        "'sha256', 'archive_sha256', 'sample_rate_hz', 'name', 'text', or a mapping with the keys "
        "'utterances', 'set', 'first', 'framing', 'features', 'sha256', 'sample_rate_hz', 'name', "
        "or a mapping with the keys 'npz', 'sha256', 'archive_sha256', 'period_s', or a mapping "
        "with the keys 'random', 'period_s'"
    ),
}


@pytest.mark.parametrize("line", SENTENCES)
def test_sentence(tmp_path: Path, line: str) -> None:
    assert problems(tmp_path, f"{SMALL}{line}\n") == [SENTENCES[line]]


def test_alternatives_give_one_sentence(tmp_path: Path) -> None:
    text = "name: ../up\nmodel: {onx: m.onnx}\ninput: {}\n"
    assert problems(tmp_path, text) == [
        (
            "1:7: $.name: wrong form, found the string '../up', "
            "allowed: letters, digits, '_', '-' and '.', as it names a folder"
        ),
        (
            "2:9: $.model.onx: unknown key 'onx', did you mean 'onnx'? "
            "allowed: 'onnx', 'sha256', 'archive_sha256'"
        ),
        (
            "3:8: $.input: fits none of the alternatives, found an empty mapping, allowed: "
            "a mapping with the keys 'audio', 'framing', 'features', 'sha256', 'archive_sha256', "
            "'sample_rate_hz', 'name', 'text', or a mapping with the keys 'utterances', 'set', "
            "'first', 'framing', 'features', 'sha256', 'sample_rate_hz', 'name', or a mapping with "
            "the keys 'npz', 'sha256', "
            "'archive_sha256', 'period_s', or a mapping with the keys 'random', 'period_s'"
        ),
    ]
    text = "name: x\nmodel: {onnx: a, graph: {}}\ninput: {random: {}}\n"
    assert problems(tmp_path, text) == [
        (
            "2:8: $.model: fits none of the alternatives, found a mapping with the keys 'onnx', "
            "'graph', allowed: a mapping with the keys 'onnx', 'sha256', 'archive_sha256', "
            "or a mapping with the keys 'graph', or a mapping with the keys 'builder', 'seed', "
            "'weights', 'sha256', 'archive_sha256'"
        )
    ]


def test_everything_at_once(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        SMALL + "hardware: az11\ncompression: {default: {weights: {bits: 9}, codec: bitmp}}\n",
        "compression.default.prune.sparsity=1.5",
    )
    assert [line.split(": ")[0] for line in found] == [
        "4:11",
        "5:41",
        "5:52",
        "--set compression.default.prune.sparsity=1.5",
    ]


def test_schema_for_editors() -> None:
    schema = json_schema(WorkloadFile)
    assert set(schema["required"]) == {"name", "model", "input"}
    assert "source" not in schema["properties"]


# --- the arrays of the input section ---

FRAMES = {"x": TensorType("float32", (1, 6))}


def write_wav(path: Path, num_samples: int, sample_rate_hz: int = 8_000) -> np.ndarray:
    codes = np.arange(num_samples, dtype="<i2") * 64
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate_hz)
        file.writeframes(codes.tobytes())
    return codes / np.float32(1 << 15)


AUDIO = """
name: a
model: {graph: {}}
input: {audio: a.wav, framing: {window: 6, hop: 4, left_context: 2}}
stream: {time_axis: {x: 0}, state: {h: hn}, arrival: paced}
"""


def test_audio(tmp_path: Path) -> None:
    samples = write_wav(tmp_path / "a.wav", 9)
    types = {"h": TensorType("float32", (1, 4))} | FRAMES
    found = input_arrays(load(tmp_path, AUDIO), types)
    assert list(found.arrays) == ["x"]
    expected = [[0, 0, *samples[:4]], samples[2:8], [*samples[6:9], 0, 0, 0]]
    np.testing.assert_array_equal(found.arrays["x"], np.array(expected, np.float32))
    assert found.period_s == 4 / 8_000
    digest = hashlib.sha256((tmp_path / "a.wav").read_bytes()).hexdigest()
    assert found.files == {"a.wav": digest}


def test_audio_of_another_sample_rate(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", 9)
    types = {"h": TensorType("float32", (1, 4))} | FRAMES
    found = input_arrays(load(tmp_path, AUDIO, "input.sample_rate_hz=16000"), types)
    assert found.arrays["x"].shape == (5, 6)  # 18 samples, a frame starts at every fourth
    assert found.period_s == 4 / 16_000
    assert found.notes == ("a.wav was resampled from 8000 Hz to 16000 Hz",)
    assert found.front_end is None


def test_audio_with_time_on_another_axis(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", 9)
    types = {"h": TensorType("float32", (1,)), "x": TensorType("float32", (2, 1, 3))}
    first = input_arrays(load(tmp_path, AUDIO), {"h": types["h"]} | FRAMES).arrays["x"]
    other = input_arrays(load(tmp_path, AUDIO, "stream.time_axis.x=1"), types).arrays["x"]
    assert other.shape == (2, 3, 3)
    np.testing.assert_array_equal(np.moveaxis(other, 1, 0).reshape(3, 6), first)


def test_audio_without_a_time_axis_fills_the_input(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", 8)
    workload = load(tmp_path, AUDIO, "stream=null")
    found = input_arrays(workload, {"x": TensorType("float32", (1, 12))})
    assert found.arrays["x"].shape == (1, 12)
    with pytest.raises(InputError) as caught:
        input_arrays(workload, {"x": TensorType("float32", (1, 13))})
    assert str(caught.value) == (
        "input x: found 2 frames of 6 samples, the graph wants float32[1, 13] and has no time axis"
    )


@pytest.mark.parametrize(
    ("override", "types", "sentence"),
    [
        (
            "input.framing.window=5",
            FRAMES,
            (
                "input x: wrong frame, found 5 samples, allowed: 6, "
                "as the graph wants float32[1, 6] with time on axis 0"
            ),
        ),
        (
            "name=b",
            {"x": TensorType("int64", (1, 6))},
            "input x: audio is float32, the graph wants int64[1, 6]",
        ),
        (
            "name=b",
            FRAMES | {"y": TensorType("float32", (1,))},
            "a.wav: audio feeds one graph input, found no name; the graph has: x, y",
        ),
        (
            "input.name=z",
            FRAMES,
            "a.wav: audio feeds one graph input, found z; the graph has: x",
        ),
    ],
)
def test_audio_that_does_not_fit(
    tmp_path: Path, override: str, types: dict[str, TensorType], sentence: str
) -> None:
    write_wav(tmp_path / "a.wav", 9)
    with pytest.raises(InputError) as caught:
        input_arrays(load(tmp_path, AUDIO, override), types | {"h": TensorType("float32", (1, 4))})
    assert str(caught.value) == sentence


def test_audio_that_is_missing(tmp_path: Path) -> None:
    types = FRAMES | {"h": TensorType("float32", (1, 4))}
    with pytest.raises(FetchError, match=r"a\.wav: no such file$"):
        input_arrays(load(tmp_path, AUDIO), types)


def test_stream_names_what_the_graph_lacks(tmp_path: Path) -> None:
    workload = load(tmp_path, AUDIO, "stream.time_axis.x=3")
    with pytest.raises(ConfigError) as caught:
        input_arrays(workload, FRAMES)
    assert caught.value.problems == (
        f"{tmp_path / 'w.yaml'}:5:40: $.stream.state.h: unknown graph input 'h', allowed: x",
        (
            "--set stream.time_axis.x=3: $.stream.time_axis.x: out of range, found 3, "
            "allowed: an axis of float32[1, 6]"
        ),
    )


def test_late_problems_get_their_place(tmp_path: Path) -> None:
    rules = "compression:\n  rules:\n    - {match: 'nothing*', codec: raw}\n"
    workload = load(tmp_path, SMALL + rules, "compression.rules[0].weights.bits=4")
    path = tmp_path / "w.yaml"
    assert str(workload.place(("compression", "rules", 0, "match"))) == f"{path}:6:15"
    with pytest.raises(ConfigError) as caught:
        resolve(workload.compression, ["encoder.weight"])
    located = workload.located(caught.value).problems
    assert located == (
        (
            f"{path}:6:15: $.compression.rules[0].match: 'nothing*' matches no weight matrix; "
            "the nearest is 'encoder.weight'; there are: encoder.weight"
        ),
    )
    other = ConfigError(["$.compression.rules[0].weights.bits: x", "no path: y", "$: z"])
    assert workload.located(other).problems == (
        ("--set compression.rules[0].weights.bits=4: $.compression.rules[0].weights.bits: x"),
        "no path: y",
        f"{path}:1:1: $: z",
    )


def test_random_gives_the_known_numbers(tmp_path: Path) -> None:
    workload = load(tmp_path, SMALL, "input.random={seed: 0, scale: 0.1}")
    found = input_arrays(workload, {"x": TensorType("float32", (1, 576))})
    expected = (np.random.default_rng(0).standard_normal((1, 576)) * 0.1).astype(np.float32)
    np.testing.assert_array_equal(found.arrays["x"], expected)
    assert found.period_s is None


def test_inputs_of_a_density(tmp_path: Path) -> None:
    types = {"x": TensorType("float32", (1, 1000)), "y": TensorType("float32", (4, 25))}
    text = "input.random={seed: 3, scale: 2.0, pattern: random, activation_density: 0.351}"
    found = input_arrays(load(tmp_path, SMALL, text), types).arrays
    generator = np.random.default_rng(3)
    for name, kind in types.items():
        expected = sparse_activations(kind.shape, 0.351, generator, 2.0)
        np.testing.assert_array_equal(found[name], expected)
    text = "input.random.activation_density={y: 0.1}"
    found = input_arrays(load(tmp_path, SMALL, text), types).arrays
    assert np.count_nonzero(found["x"]) == 1000
    assert np.count_nonzero(found["y"]) == 10


def test_densities_that_are_none(tmp_path: Path) -> None:
    workload = load(
        tmp_path, SMALL.replace("random: {}", "random: {activation_density: {xx: 0.5}}")
    )
    with pytest.raises(ConfigError) as caught:
        input_arrays(workload, FRAMES)
    assert caught.value.problems == (
        (
            f"{workload.source.path}:3:43: $.input.random.activation_density.xx: unknown graph "
            "input 'xx', did you mean 'x'? allowed: x"
        ),
    )
    allowed = "a number above 0 to 1"
    start = "$.input.random.activation_density"
    for value, sentence in (
        ("0", f"3:38: {start}: out of range, found 0, allowed: {allowed}, or a mapping"),
        ("{x: 2}", f"3:42: {start}.x: out of range, found 2, allowed: {allowed}"),
    ):
        text = SMALL.replace("random: {}", f"random: {{activation_density: {value}}}")
        assert problems(tmp_path, text) == [sentence]


def test_random_whole_numbers(tmp_path: Path) -> None:
    workload = load(tmp_path, SMALL, "input.random={seed: 2, below: 7}")
    found = input_arrays(workload, {"x": TensorType("float32", (3, 50))}).arrays["x"]
    expected = np.random.default_rng(2).integers(7, size=(3, 50)).astype(np.float32)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.float32
    for other in ("scale: 2.0", "activation_density: 0.5"):
        name = other.partition(":")[0]
        text = SMALL.replace("random: {}", f"random: {{below: 7, {other}}}")
        sentence = f"whole numbers have no {name}, found 'below' and '{name}', allowed: one of them"
        assert problems(tmp_path, text) == [f"3:25: $.input.random.below: {sentence}"]


def test_random_frames_and_calibration(tmp_path: Path) -> None:
    text = SMALL + "calibration: {random: {seed: 1, frames: 5}, period_s: 0.5}\n"
    workload = load(tmp_path, text, "stream.time_axis.x=0")
    found = calibration_arrays(workload, FRAMES)
    assert found is not None
    assert found.arrays["x"].shape == (5, 6)
    assert found.period_s == 0.5
    assert calibration_arrays(load(tmp_path, SMALL), FRAMES) is None


def test_random_frames_need_a_time_axis(tmp_path: Path) -> None:
    assert problems(tmp_path, SMALL.replace("random: {}", "random: {frames: 5}")) == [
        (
            "3:26: $.input.random.frames: no input has a time axis, found 5 frames; "
            "give stream.time_axis"
        )
    ]


def test_random_far_too_large(tmp_path: Path) -> None:
    workload = load(tmp_path, SMALL, "input.random.frames=1000000000", "stream.time_axis.x=0")
    with pytest.raises(InputError) as caught:
        input_arrays(workload, FRAMES)
    assert str(caught.value) == (
        f"{tmp_path / 'w.yaml'}:3:17: $.input.random: input x: random array too large, "
        "found 48000000000 bytes, allowed: up to 2147483648 bytes"
    )
    with pytest.raises(
        InputError, match=r"input\.random: input x: random input is float32, the graph"
    ):
        input_arrays(load(tmp_path, SMALL), {"x": TensorType("int64", (2,))})


NPZ = "name: n\nmodel: {graph: {}}\ninput: {npz: a.npz}\nstream: {time_axis: {x: 0}}\n"


def test_npz(tmp_path: Path) -> None:
    x = np.arange(12, dtype=np.float64).reshape(2, 6)
    np.savez(tmp_path / "a.npz", y=np.array([3], np.int32), x=x)
    types = FRAMES | {"y": TensorType("int64", (1,))}
    found = input_arrays(load(tmp_path, NPZ), types)
    assert list(found.arrays) == ["x", "y"]
    assert found.arrays["x"].dtype == np.float32
    assert found.arrays["y"].dtype == np.int64
    np.testing.assert_array_equal(found.arrays["x"], x)


def test_npz_that_does_not_fit(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "a.npz",
        x=np.ones((2, 5), np.float32),
        y=np.array([1.5]),
        z=np.array([np.nan], np.float32),
        v=np.array([-1e39]),
        q=np.ones(1),
    )
    types = FRAMES | {
        "v": TensorType("float32", (1,)),
        "y": TensorType("int64", (1,)),
        "z": TensorType("float32", (1,)),
        "w": TensorType("float32", (1,)),
    }
    with pytest.raises(InputError) as caught:
        input_arrays(load(tmp_path, NPZ), types)
    assert sorted(str(caught.value).splitlines()) == [
        "a.npz: array 'q' is no input of the graph, allowed: x, v, y, z, w",
        "a.npz: array 'v': holds numbers too large for float32",
        "a.npz: array 'w' is missing, found: x, y, z, v, q",
        (
            "a.npz: array 'x': wrong shape, found float32[2, 5], allowed: float32[1, 6] "
            "with any length on axis 0"
        ),
        "a.npz: array 'y': wrong type, found float64[1], allowed: int64[1]",
        "a.npz: array 'z': holds numbers that are not finite",
    ]


def test_npz_with_an_array_far_too_large(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"shape": (1 << 40, 6), "fortran_order": False, "descr": "<f4"}
    )
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", header.getvalue())
    with pytest.raises(InputError) as caught:
        input_arrays(load(tmp_path, NPZ), FRAMES)
    assert str(caught.value) == (
        f"a.npz: array 'x': array too large, found {24 << 40} bytes, "
        f"allowed: up to 2147483648 bytes"
    )


@pytest.mark.parametrize(
    ("member", "sentence"),
    [
        (None, "a.npz: not an npz file: File is not a zip file"),
        (b"text", "a.npz: array 'x' cannot be read: "),
        (b"\x93NUMPY\x01\x00\x04\x00{}  ", "a.npz: array 'x' cannot be read: "),
    ],
)
def test_npz_that_is_none(tmp_path: Path, member: bytes | None, sentence: str) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(b"no zip")
    if member is not None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.npy", member)
    with pytest.raises(InputError) as caught:
        input_arrays(load(tmp_path, NPZ), FRAMES)
    assert str(caught.value).startswith(sentence)


def test_npz_with_objects_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.array([{}], dtype=object))
    with pytest.raises(InputError, match=r"array 'x' cannot be read: Object arrays"):
        input_arrays(load(tmp_path, NPZ), FRAMES)


@pytest.mark.fetch
def test_recorded_speech() -> None:
    types = {
        "input": TensorType("float32", (1, 576)),
        "h": TensorType("float32", (1, 1, 128)),
        "c": TensorType("float32", (1, 1, 128)),
    }
    for name, num_frames in (("vad_silero", 32), ("vad_silero_60s", 1875)):
        found = input_arrays(load_workload(name), types)
        frames = found.arrays["input"]
        assert frames.shape == (num_frames, 576)
        assert found.period_s == 0.032
        assert not frames[0, :64].any()
        np.testing.assert_array_equal(frames[1:, :64], frames[:-1, -64:])
        assert 0.05 < np.abs(frames).max() <= 1


def test_a_chip_in_place_of_a_workload_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "chip.yaml"
    for text in ("extends: az1\nmac: {lanes: 8}\n", "clock_hz: 5\nname: x\n"):
        path.write_text(text)
        with pytest.raises(ConfigError) as caught:
            load_workload(path)
        assert str(caught.value) == (
            f"{path}: is a hardware description; name a workload, and this with --hardware"
        )
    with pytest.raises(ConfigError) as caught:
        load_workload("az1")
    assert str(caught.value) == (
        "'az1' is a hardware preset; name a workload, and this with --hardware"
    )
    with pytest.raises(ConfigError) as caught:
        load_workload("k.azs")
    assert str(caught.value) == (
        "k.azs: is a program written by hand; azsim run, asm and inspect take it"
    )
    path.write_text("name: x\nmodel: 3\nmac: {lanes: 8}\n")
    with pytest.raises(ConfigError, match="mac"):
        load_workload(path)
