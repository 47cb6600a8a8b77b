"""Recordings and frames."""

from __future__ import annotations

import io
import struct
import wave

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from azsim.errors import InputError
from azsim.inputs.audio import frame, num_frames, read_wav


def wav(
    pcm: bytes, width_bytes: int = 2, num_channels: int = 1, sample_rate_hz: int = 16_000
) -> bytes:
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(num_channels)
        file.setsampwidth(width_bytes)
        file.setframerate(sample_rate_hz)
        file.writeframes(pcm)
    return stream.getvalue()


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
def test_samples_of_every_width(bits: int) -> None:
    top = 1 << (bits - 1)
    codes = [-top, -1, 0, 1, top // 2, top - 1]
    width_bytes = bits // 8
    offset = top if bits == 8 else 0
    pcm = b"".join(
        (code + offset).to_bytes(width_bytes, "little", signed=bits > 8) for code in codes
    )
    samples, sample_rate_hz = read_wav(wav(pcm, width_bytes, sample_rate_hz=8_000), "x.wav")
    assert sample_rate_hz == 8_000
    assert samples.dtype == np.float32
    assert samples[0] == -1
    assert samples.max() < 1
    expected = np.array(codes) / top
    np.testing.assert_allclose(samples, expected, rtol=2**-24)
    if bits <= 24:
        np.testing.assert_array_equal(samples, expected)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (wav(b"\0" * 8, 2, 2), "x.wav: wrong channels, found 2, allowed: 1 (mono)"),
        (wav(b""), "x.wav: no samples"),
        (wav(b"\1\2" * 9)[:-4], "x.wav: cut short, found 7 samples, its header says 9"),
        (b"", "x.wav: not a PCM WAV file: its header is cut short or malformed"),
        (b"hello, this is text", "x.wav: not a PCM WAV file: file does not start with RIFF id"),
        (
            wav(b"\1\2").replace(b"\1\0\1\0", b"\3\0\1\0", 1),
            "x.wav: not a PCM WAV file: unknown format: 3",
        ),
        (
            wav(b"\1\2").replace(b"data\2\0\0\0", b"data\xfe\xff\xff\xff"),
            "x.wav: recording too large, found 8589934588 bytes, allowed: up to 2147483648 bytes",
        ),
    ],
)
def test_wrong_recordings(data: bytes, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        read_wav(data, "x.wav")
    assert str(caught.value) == sentence


def test_wrong_sample_rate_of_zero() -> None:
    data = wav(b"\1\2").replace(struct.pack("<I", 16_000), bytes(4), 1)
    with pytest.raises(InputError, match=r"^x: wrong sample rate, found 0, allowed: above 0$"):
        read_wav(data, "x")


@given(st.binary(max_size=80), st.integers(0, 50))
def test_any_bytes_are_read_or_refused(data: bytes, position: int) -> None:
    good = wav(b"\1\2" * 4)
    damaged = good[:position] + data + good[position + len(data) :]
    try:
        samples, sample_rate_hz = read_wav(damaged, "x")
    except InputError as error:
        assert str(error).startswith("x: ")  # noqa: PT017
    else:
        assert samples.dtype == np.float32
        assert sample_rate_hz > 0


def reference(
    samples: np.ndarray, window: int, hop: int, left_context: int, tail: str
) -> list[list[float]]:
    frames: list[list[float]] = []
    for position in range(0, len(samples), hop):
        end = position + window - left_context
        if tail == "drop" and end > len(samples):
            break
        frames.append(
            [
                float(samples[i]) if 0 <= i < len(samples) else 0.0
                for i in range(position - left_context, end)
            ]
        )
    return frames


@given(st.data())
def test_frames_equal_the_obvious_loop(data: st.DataObject) -> None:
    window = data.draw(st.integers(1, 12))
    hop = data.draw(st.integers(1, 12))
    left_context = data.draw(st.integers(0, window - 1))
    tail = data.draw(st.sampled_from(["zero_pad", "drop"]))
    samples = np.arange(1, data.draw(st.integers(1, 40)) + 1, dtype=np.float32)
    expected = reference(samples, window, hop, left_context, tail)
    assert num_frames(samples.size, window, hop, left_context, tail) == len(expected)
    if expected:
        found = frame(samples, window, hop, left_context, tail)
        assert found.dtype == np.float32
        assert found.flags.c_contiguous
        np.testing.assert_array_equal(found, np.array(expected, np.float32))


def test_silero_framing() -> None:
    samples = np.arange(1, 1025 + 1, dtype=np.float32)
    frames = frame(samples, 576, 512, 64, "zero_pad")
    assert frames.shape == (3, 576)
    np.testing.assert_array_equal(frames[0, :64], 0)
    np.testing.assert_array_equal(frames[1], samples[512 - 64 : 1024])
    np.testing.assert_array_equal(frames[2, 64:], [1025] + [0] * 511)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((0, 1), "framing: window and hop start at 1, found 0 and 1"),
        ((4, 0), "framing: window and hop start at 1, found 4 and 0"),
        ((4, 1, 4), "framing: left_context out of range, found 4, allowed: 0 to 3"),
        ((4, 1, 0, "wrap"), "framing: unknown tail 'wrap', allowed: 'zero_pad' or 'drop'"),
        ((40, 1, 0, "drop"), "framing: no frame, found 10 samples, one needs 40"),
        (
            (1 << 30, 1, 0),
            "framing: frames too large, found 42949672960 bytes, allowed: up to 2147483648 bytes",
        ),
    ],
)
def test_wrong_framing(arguments: tuple, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        frame(np.ones(10, np.float32), *arguments)
    assert str(caught.value) == sentence
