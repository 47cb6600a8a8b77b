"""The front end: against plain definitions, in pieces, and with input that is wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from azsim.errors import InputError
from azsim.inputs.features import PRESETS, Features, find_feature_problems, preset_features
from azsim.inputs.front_end import FrontEnd, log_mel_features
from azsim.inputs.mel import mel_filters
from azsim.inputs.resample import resample
from plain_features import plain_features, plain_filters


def recording(num_samples: int, seed: int = 0) -> np.ndarray:
    """Noise whose loudness changes, with a stretch of silence."""
    generator = np.random.default_rng(seed)
    samples = generator.standard_normal(num_samples) * 0.1
    samples *= np.linspace(0.1, 2, num_samples) * generator.uniform(0.5, 1)
    samples[num_samples // 3 : num_samples // 2] = 0
    return samples.astype(np.float32)


def largest_error(found: np.ndarray, expected: np.ndarray) -> float:
    assert found.shape == expected.shape
    return float(abs(found - expected).max() / abs(expected).max())


@pytest.mark.parametrize("normalize", ["none", "utterance", "running", "fixed", "adaptive"])
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("num_samples", [1_600, 1_761, 4_000])
def test_presets_equal_the_plain_definition(preset: str, normalize: str, num_samples: int) -> None:
    features = preset_features(preset, normalize=normalize)
    samples = recording(num_samples)
    found = log_mel_features(samples, features)
    assert found.shape == (features.num_frames(num_samples), features.width)
    assert largest_error(found, plain_features(samples, features)) < 1e-9


@st.composite
def front_ends(draw: st.DrawFn) -> Features:
    """Small ones, of every kind."""
    window = 2 * draw(st.integers(2, 16))
    return Features(
        sample_rate_hz=1_000,
        preemphasis=draw(st.sampled_from([0.0, 0.97])),
        window=window,
        hop=draw(st.integers(1, 20)),
        taper=draw(st.sampled_from(["hann_symmetric", "hann_periodic"])),
        n_fft=window + 2 * draw(st.integers(0, 8)),
        edges=draw(st.sampled_from(["reflect", "inside"])),
        spectrum=draw(st.sampled_from(["power", "magnitude"])),
        mel_bands=draw(st.integers(1, 3)),
        mel_scale=draw(st.sampled_from(["slaney", "htk"])),
        mel_norm=draw(st.sampled_from(["slaney", "none"])),
        high_hz=500.0,
        log_floor=draw(st.sampled_from([0.0, 1e-3])),
        log_offset=draw(st.sampled_from([1e-20, 1e-3])),
        left_frames=draw(st.integers(0, 3)),
        right_frames=draw(st.integers(0, 3)),
        stride=draw(st.integers(1, 4)),
        beyond=draw(st.sampled_from(["zero", "repeat"])),
        normalize=draw(st.sampled_from(["none", "running", "fixed", "adaptive"])),
        fixed_mean=draw(st.sampled_from([0.0, -3.5])),
        fixed_std=draw(st.sampled_from([1.0, 0.7])),
        prior_frames=draw(st.sampled_from([1.0, 20.0])),
        loud_within=draw(st.sampled_from([-0.5, 2.0])),
    )


@given(front_ends(), st.integers(0, 90), st.integers(0, 99))
def test_any_front_end_equals_the_plain_definition(
    features: Features, more: int, seed: int
) -> None:
    samples = np.random.default_rng(seed).standard_normal(features.window + more)
    found = log_mel_features(samples, features)
    np.testing.assert_allclose(found, plain_features(samples, features), rtol=1e-6, atol=1e-6)
    assert len(found) == features.num_frames(len(samples))


@given(st.data(), front_ends())
def test_any_split_gives_the_same_bits(data: st.DataObject, features: Features) -> None:
    samples = recording(features.window + data.draw(st.integers(0, 120)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(samples)), max_size=12)))
    front_end = FrontEnd(features)
    state = front_end.start()
    pieces = []
    for piece in np.split(samples, cuts):
        state, frames = front_end.push(state, piece)
        pieces.append(frames)
    pieces.append(front_end.finish(state))
    assert np.concatenate(pieces).tobytes() == log_mel_features(samples, features).tobytes()


@pytest.mark.parametrize("preset", PRESETS)
def test_a_stream_sample_by_sample(preset: str) -> None:
    features = preset_features(preset, normalize="running")
    samples = recording(1_500)
    front_end = FrontEnd(features)
    state, given_at, pieces = front_end.start(), [], []
    for number, sample in enumerate(samples):
        state, frames = front_end.push(state, np.array([sample]))
        given_at += [number + 1] * len(frames)
        pieces.append(frames)
    pieces.append(front_end.finish(state))
    assert np.concatenate(pieces).tobytes() == log_mel_features(samples, features).tobytes()
    # Frames come no later than is said of them; the mirror of the first window costs one sample.
    late = [at - (i + 1) * features.frame_samples for i, at in enumerate(given_at)]
    assert max(late[1:]) / features.sample_rate_hz <= features.lookahead_s
    assert (late[0] - 1) / features.sample_rate_hz <= features.lookahead_s
    assert len(state.samples.kept) < 2 * features.window


def test_a_state_can_be_used_again() -> None:
    front_end = FrontEnd(preset_features("mlperf", normalize="running"))
    first, second = recording(2_000), recording(2_000, seed=1)
    state, _ = front_end.push(front_end.start(), first)
    once = front_end.push(state, second)[1]
    front_end.push(state, -second)
    assert front_end.push(state, second)[1].tobytes() == once.tobytes()


def test_running_statistics_end_at_those_of_the_utterance() -> None:
    samples = recording(8_000)
    running = log_mel_features(samples, preset_features("mlperf", normalize="running"))
    whole = log_mel_features(samples, preset_features("mlperf"))
    np.testing.assert_allclose(running[-1], whole[-1], rtol=1e-9, atol=1e-9)
    assert (running[0] == 0).all()


def test_adaptive_features_get_used_to_a_microphone() -> None:
    """After a while a gain and a slope over the bands make no difference; pauses change nothing."""
    features = preset_features("commands")
    speech = np.tile(recording(16_000), 20)
    louder = log_mel_features(np.convolve(3 * speech, [1, 0.5])[: len(speech)], features)
    same = log_mel_features(speech, features)
    assert abs(louder[:10] - same[:10]).mean() > 0.25
    assert abs(louder[-10:] - same[-10:]).mean() < 0.1
    pause = 100 * features.frame_samples
    with_pause = log_mel_features(np.concatenate([np.zeros(pause), speech]), features)
    # Two windows hold the end of the pause and the beginning of what is said.
    np.testing.assert_allclose(with_pause[100:], same, atol=0.05)


def test_silence_and_faint_noise_are_no_huge_features() -> None:
    features = preset_features("commands")
    silence = log_mel_features(np.zeros(4_000), features)
    assert (silence == (np.log(1e-7) - features.fixed_mean) / features.fixed_std).all()  # not loud
    faint = log_mel_features(recording(4_000) * 1e-4, features)  # 20 dB under one step of 16 bits
    assert abs(faint - silence).max() < 0.5
    assert abs(silence).max() < 3


@pytest.mark.parametrize("num_samples", [480, 481, 800, 960, 961, 100_000])
def test_mlperf_lengths(num_samples: int) -> None:
    # facts: n1 = ceil(samples / 160), T = ceil(n1 / 3); the last frame holds what follows n1.
    features = preset_features("mlperf", normalize="none")
    n1 = -(-num_samples // 160)
    frames = log_mel_features(recording(num_samples), features)
    assert frames.shape == (-(-n1 // 3), 240)


def test_numbers_of_the_presets() -> None:
    said = {
        name: (features.width, features.period_s, features.lookahead_s)
        for name in PRESETS
        for features in [preset_features(name)]
    }
    assert said == {
        "mlperf": (240, 0.03, 0.0),
        "google": (320, 0.03, 0.0),
        "conformer": (80, 0.01, 0.0025),
        "commands": (120, 0.03, 0.015),
    }


@pytest.mark.parametrize("preset", PRESETS)
def test_mel_filters_equal_the_plain_definition(preset: str) -> None:
    features = preset_features(preset)
    found = mel_filters(features)
    np.testing.assert_allclose(found, plain_filters(features), rtol=0, atol=1e-6 * found.max())


def test_triangles_of_height_one_add_up_to_one() -> None:
    features = preset_features("google")
    bins = np.arange(513) * 16_000 / 1024
    centres = bins[mel_filters(features).argmax(axis=1)]
    inside = (bins > centres[0] + 16) & (bins < centres[-1] - 16)
    np.testing.assert_allclose(mel_filters(features).sum(axis=0)[inside], 1, rtol=1e-12)


@pytest.mark.parametrize(
    ("num_samples", "normalize", "sentence"),
    [
        (
            0,
            "running",
            "features: shorter than one window, found no samples, allowed: at least 320 at 16 kHz",
        ),
        (
            319,
            "utterance",
            "features: shorter than one window, found 319 samples, allowed: at least 320 at 16 kHz",
        ),
        (
            480,
            "utterance",
            (
                "features: normalize: utterance needs 2 frames, found 1; "
                "allowed: a longer recording, or normalize: running, adaptive, fixed or none"
            ),
        ),
    ],
)
def test_recordings_that_are_too_short(num_samples: int, normalize: str, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        log_mel_features(recording(num_samples), preset_features("mlperf", normalize=normalize))
    assert str(caught.value) == sentence


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers(value: float) -> None:
    front_end = FrontEnd(preset_features("google"))
    state, _ = front_end.push(front_end.start(), recording(1_000))
    samples = recording(100)
    samples[7] = value
    with pytest.raises(InputError) as caught:
        front_end.push(state, samples)
    assert str(caught.value) == f"features: sample 1007 is not finite, found {value}"


def test_no_stream_knows_the_utterance() -> None:
    with pytest.raises(InputError) as caught:
        FrontEnd(preset_features("mlperf"))
    assert str(caught.value) == (
        "features: normalize: utterance needs the whole recording, allowed in a stream: "
        "running, adaptive, fixed or none"
    )


@pytest.mark.parametrize(
    ("changes", "key", "sentence"),
    [
        ({"window": 600}, "window", "longer than the transform, found 600, allowed: up to 512"),
        ({"window": 321}, "window", "no such window, found 321, allowed: an even number"),
        (
            {"window": 1, "edges": "inside"},
            "window",
            "no such window, found 1, allowed: at least 2",
        ),
        (
            {"sample_rate_hz": 8_000},
            "high_hz",
            "above half the sample rate, found 8000, allowed: up to 4000",
        ),
        ({"low_hz": 8e3}, "low_hz", "not below high_hz, found 8000, allowed: below 8000"),
        (
            {"mel_bands": 256},
            "mel_bands",
            (
                "band 0 holds no frequency, found 256 bands and n_fft = 512, "
                "allowed: fewer bands or a longer transform"
            ),
        ),
        (
            {"log_offset": 0.0},
            "log_offset",
            "the logarithm of 0 is none, found 0, allowed: above 0, or a log_floor",
        ),
    ],
)
def test_parameters_that_fit_nothing(changes: dict[str, object], key: str, sentence: str) -> None:
    features = replace(Features(), **changes)
    assert list(find_feature_problems(features)) == [(key, sentence)]


# -------------------------------------------------------------------------------- sample rates


def sine(hz: float, rate_hz: int, seconds: float = 0.5) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)


@pytest.mark.parametrize("from_hz", [8_000, 11_025, 22_050, 44_100, 48_000])
def test_a_tone_stays_where_it_was(from_hz: int) -> None:
    found = resample(sine(1_000, from_hz), from_hz, 16_000, "x")
    expected = sine(1_000, 16_000)[: len(found)]
    inside = slice(200, -200)
    np.testing.assert_allclose(found[inside], expected[inside], atol=1e-5)
    assert len(found) == -(-round(0.5 * from_hz) * 16_000 // from_hz)


def test_what_the_new_rate_cannot_hold_is_gone() -> None:
    found = resample(sine(9_000, 44_100), 44_100, 16_000, "x")
    assert abs(found[200:-200]).max() < 1e-5


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 60))
def test_resampling_equals_the_sum_that_defines_it(up: int, down: int, length: int) -> None:
    samples = np.random.default_rng(up * down).standard_normal(length)
    found = resample(samples, down, up, "x")
    assert len(found) == -(-length * up // down)
    cutoff = 0.95 * min(1, up / down)
    reach = np.ceil(32 / cutoff)
    for m in range(0, len(found), 7):
        time = m * down / up - np.arange(length)
        window = np.i0(12 * np.sqrt(np.clip(1 - (time / reach) ** 2, 0, None))) / np.i0(12)
        window[abs(time) >= reach] = 0
        expected = (samples * cutoff * np.sinc(cutoff * time) * window).sum()
        np.testing.assert_allclose(found[m], expected, atol=1e-9)


def test_rates_that_are_too_far_apart() -> None:
    with pytest.raises(InputError) as caught:
        resample(np.zeros(9), 200, 16_000, "a.wav")
    assert str(caught.value) == (
        "a.wav: cannot be resampled to 16000 Hz, found 200 Hz, allowed: 250 to 1024000 Hz"
    )
