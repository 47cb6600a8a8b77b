"""Workloads whose input is features of a recording: keys, sample rates, and what a run says."""

from __future__ import annotations

import wave
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from azsim.errors import ConfigError, InputError
from azsim.frontend.workload import load_workload
from azsim.frontend.workload_inputs import input_arrays
from azsim.inputs.features import Features, preset_features
from azsim.inputs.front_end import log_mel_features
from azsim.inputs.resample import resample
from azsim.inputs.spec import AudioInput
from azsim.ir import TensorType
from azsim.pipeline import run
from azsim.report import tables, text
from azsim.report.files import run_document

TEXT = """
name: spoken
model:
  graph:
    inputs: {x: {shape: [1, 240]}}
    initializers: {w: {shape: [240, 6], random: {seed: 1}}}
    nodes: [{op: MatMul, inputs: [x, w], outputs: [y]}]
    outputs: [y]
input: {audio: a.wav, features: {preset: mlperf, normalize: running}}
stream: {time_axis: {x: 0}, arrival: paced}
"""
FRAME = {"x": TensorType("float32", (1, 240))}


def write_wav(path: Path, num_samples: int, sample_rate_hz: int = 16_000) -> np.ndarray:
    codes = np.random.default_rng(0).integers(-9_000, 9_000, num_samples).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate_hz)
        file.writeframes(codes.tobytes())
    return codes / np.float32(1 << 15)


def written(folder: Path, content: str = TEXT) -> Path:
    path = folder / "w.yaml"
    path.write_text(content)
    return path


def test_frames_are_features(tmp_path: Path) -> None:
    samples = write_wav(tmp_path / "a.wav", 5_000)
    found = input_arrays(load_workload(written(tmp_path)), FRAME)
    expected = log_mel_features(samples, preset_features("mlperf", normalize="running"))
    assert found.arrays["x"].dtype == np.float32
    np.testing.assert_array_equal(found.arrays["x"], expected.astype(np.float32))
    assert found.period_s == 0.03
    assert found.notes == ()
    assert found.front_end is not None
    assert (found.front_end.frames, found.front_end.width) == (11, 240)


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("features: google", preset_features("google")),
        ("features: {}", Features()),
        ("features: {normalize: none}", preset_features("mlperf", normalize="none")),
        (
            "features: {preset: google, mel_bands: 64, low_hz: 20}",
            preset_features("google", mel_bands=64, low_hz=20.0),
        ),
    ],
)
def test_a_preset_and_what_replaces_it(tmp_path: Path, section: str, expected: Features) -> None:
    content = TEXT.replace("features: {preset: mlperf, normalize: running}", section)
    spec = load_workload(written(tmp_path, content), ["stream.arrival=asap"]).input
    assert isinstance(spec, AudioInput)
    assert spec.features == expected


def test_another_sample_rate_is_said(tmp_path: Path) -> None:
    samples = write_wav(tmp_path / "a.wav", 9_000, 44_100)
    found = input_arrays(load_workload(written(tmp_path)), FRAME)
    slower = resample(samples, 44_100, 16_000, "a.wav").astype(np.float32)
    features = preset_features("mlperf", normalize="running")
    expected = log_mel_features(slower, features).astype(np.float32)
    np.testing.assert_array_equal(found.arrays["x"], expected)
    assert found.notes == ("a.wav was resampled from 44100 Hz to 16000 Hz",)


@pytest.mark.parametrize(
    ("num_samples", "override", "sentence"),
    [
        (0, "", "a.wav: no samples"),
        (
            300,
            "",
            (
                "a.wav: features: shorter than one window, found 300 samples, "
                "allowed: at least 320 at 16 kHz"
            ),
        ),
        (
            400,
            "stream.arrival=asap, input.features.normalize=utterance",
            (
                "a.wav: features: normalize: utterance needs 2 frames, found 1; "
                "allowed: a longer recording, or normalize: running, adaptive, fixed or none"
            ),
        ),
        (
            5_000,
            "input.features.mel_bands=40",
            (
                "input x: wrong frame, found 120 features, allowed: 240, "
                "as the graph wants float32[1, 240] with time on axis 0"
            ),
        ),
    ],
)
def test_recordings_that_do_not_do(
    tmp_path: Path, num_samples: int, override: str, sentence: str
) -> None:
    write_wav(tmp_path / "a.wav", num_samples)
    workload = load_workload(written(tmp_path), override.split(", ") if override else [])
    with pytest.raises(InputError) as caught:
        input_arrays(workload, FRAME)
    assert str(caught.value) == sentence


KEYS = ", ".join(repr(field.name) for field in fields(Features))
WRONG = {
    "features: mlprf": (
        "33: $.input.features: unknown preset 'mlprf', allowed: mlperf, google, conformer, commands"
    ),
    "features: {preset: google, normalise: none}": (
        "50: $.input.features.normalise: unknown key 'normalise', did you mean 'normalize'? "
        f"allowed: {KEYS}"
    ),
    "features: {normalize: utterance}": (
        "45: $.input.features.normalize: paced arrival cannot wait for the whole utterance, "
        "found utterance, allowed: 'running', 'adaptive', 'fixed' or 'none'"
    ),
    "features: {high_hz: 9000, normalize: none}": (
        "43: $.input.features.high_hz: above half the sample rate, found 9000, allowed: up to 8000"
    ),
    "framing: {window: 4, hop: 2}, features: google": (
        "8: $.input: audio needs 'framing' or 'features', found both, allowed: one of them"
    ),
    "sample_rate_hz: 16000": (
        "8: $.input: audio needs 'framing' or 'features', found neither, allowed: one of them"
    ),
    "sample_rate_hz: 8000, features: google": (
        "39: $.input.sample_rate_hz: two sample rates, found 8000, "
        "the features have 16000; give it in 'features'"
    ),
}


@pytest.mark.parametrize("section", WRONG)
def test_sections_that_are_wrong(tmp_path: Path, section: str) -> None:
    content = TEXT.replace("features: {preset: mlperf, normalize: running}", section)
    path = written(tmp_path, content)
    with pytest.raises(ConfigError) as caught:
        load_workload(path)
    assert list(caught.value.problems) == [f"{path}:9:{WRONG[section]}"]


def test_a_run_says_what_the_host_did(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", 9_000, 44_100)
    result = run(written(tmp_path), verify=True, timeline=False)
    assert result.comparison is not None
    assert result.comparison.bit_exact
    said = {
        "where": "host",
        "features": "mlperf",
        "frames": 7,
        "width": 240,
        "period_s": 0.03,
        "lookahead_s": 0.0,
    }
    assert result.summary["front_end"] == said
    document = run_document(result)
    front_end = document["front_end"]
    assert isinstance(front_end, dict)
    assert front_end.pop("seconds") > 0
    assert front_end == said
    note = "a.wav was resampled from 44100 Hz to 16000 Hz"
    assert document["notes"] == [note]
    shown = tables.render([text.summary(result), text.legend(result.notes)], 160)
    (line,) = (line for line in shown.splitlines() if "front end" in line)
    assert "on the host, in no figure above: mlperf features, 7 frames of 240" in line
    assert f"Note: {note}." in shown
    assert result.statistics.deadline_misses == 0


SMALL_RNNT = """
name: small
model: {builder: rnnt_mlperf, hidden: 16, prediction: 8, joint: 8, pre_layers: 1, post_layers: 1}
input: {audio: a.wav, features: {preset: mlperf, normalize: running}}
stream: {chunk_frames: 1, arrival: paced}
"""


@pytest.mark.slow
def test_speech_through_a_model_in_chunks(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", 16_000)  # 34 feature frames, 17 frames of 60 ms
    encoded = {}
    for chunk_frames in (1, 4, 17):
        workload = load_workload(
            written(tmp_path, SMALL_RNNT), [f"stream.chunk_frames={chunk_frames}"]
        )
        result = run(workload, verify=True, timeline=False)
        assert result.comparison is not None
        assert result.comparison.bit_exact
        assert result.statistics.frames == 17
        filled = "features: 34 frames are no whole number of chunks of 8; 6 frames of zeros follow"
        assert result.notes == ((filled,) if chunk_frames == 4 else ())
        latency = result.statistics.frame_latency_s
        assert latency is not None
        assert 0 < latency["max"] - (chunk_frames - 1) * 0.06 < 1e-3
        encoded[chunk_frames] = result.outputs["encoded"].reshape(-1, 8)[:17]
    np.testing.assert_array_equal(encoded[4], encoded[1])
    np.testing.assert_array_equal(encoded[17], encoded[1])


def test_features_of_another_reference(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", 16_000)
    path = written(tmp_path, SMALL_RNNT)
    given = {"preset": "google", "left_frames": 2, "edges": "reflect"}
    overrides = [f"input.features.{key}={value}" for key, value in given.items()]
    result = run(load_workload(path, overrides), timeline=False)
    assert result.notes == ("the model takes mlperf features, it was given google",)
    slow = load_workload(path, ["input.features.hop=240"])
    with pytest.raises(ConfigError) as caught:
        run(slow)
    assert caught.value.problems == (
        (
            f"{path}:4:33: $.input.features: frames at the wrong rate, found one every 45 ms "
            "(mlperf), the model takes one every 30 ms (mlperf)"
        ),
    )


@pytest.mark.slow
@pytest.mark.fetch
def test_recorded_speech_through_the_front_end() -> None:
    result = run("speech_rnnt_audio", verify=True, timeline=False)
    assert result.comparison is not None
    assert result.comparison.bit_exact
    assert result.front_end is not None
    assert result.front_end.frames == 34
    assert result.statistics.frames == 17
    assert result.statistics.deadline_misses == 0
