"""Recorded sound: samples out of WAV files, and frames out of samples."""

from __future__ import annotations

import io
import wave

import numpy as np

from azsim.errors import InputError

__all__ = ["check_size", "frame", "num_frames", "read_wav"]

_LARGEST_ARRAY_BYTES = 1 << 31


def check_size(num_elements: int, where: str, what: str, element_bytes: int = 4) -> None:
    """Refuse an array that is far too large, before memory is asked for.

    Raises
    ------
    InputError
        If it has more than 2**31 bytes.
    """
    size_bytes = num_elements * element_bytes
    if size_bytes > _LARGEST_ARRAY_BYTES:
        raise InputError(
            f"{where}: {what} too large, found {size_bytes} bytes, "
            f"allowed: up to {_LARGEST_ARRAY_BYTES} bytes"
        )


def read_wav(data: bytes, where: str) -> tuple[np.ndarray, int]:
    """Read a mono PCM recording.

    Parameters
    ----------
    data : bytes
        A WAV file with 8, 16, 24 or 32 bits per sample.
    where : str
        What errors call it.

    Returns
    -------
    samples : ndarray of shape (samples,), float32
        In [-1, 1): the integer divided by 2**(bits - 1), exact up to 24 bits.
    sample_rate_hz : int

    Raises
    ------
    InputError
        If it is no WAV file, not PCM, not mono, empty or cut short.
    """
    pcm = b""
    try:
        with wave.open(io.BytesIO(data)) as file:
            num_channels, width_bytes = file.getnchannels(), file.getsampwidth()
            sample_rate_hz, num_samples = file.getframerate(), file.getnframes()
            if num_channels == 1 and width_bytes in (1, 2, 3, 4):
                check_size(num_samples, where, "recording")
                pcm = file.readframes(num_samples)
    except (wave.Error, EOFError, RuntimeError) as error:  # RuntimeError: a chunk beyond the end
        reason = str(error) or "its header is cut short or malformed"
        raise InputError(f"{where}: not a PCM WAV file: {reason}") from None
    if num_channels != 1:
        raise InputError(f"{where}: wrong channels, found {num_channels}, allowed: 1 (mono)")
    if width_bytes not in (1, 2, 3, 4):
        raise InputError(
            f"{where}: wrong sample width, found {8 * width_bytes} bits, allowed: 8, 16, 24 or 32"
        )
    if sample_rate_hz < 1:
        raise InputError(f"{where}: wrong sample rate, found {sample_rate_hz}, allowed: above 0")
    if len(pcm) != num_samples * width_bytes:
        raise InputError(
            f"{where}: cut short, found {len(pcm) // width_bytes} samples, "
            f"its header says {num_samples}"
        )
    if not num_samples:
        raise InputError(f"{where}: no samples")
    return _to_float(pcm, width_bytes), sample_rate_hz


def _to_float(pcm: bytes, width_bytes: int) -> np.ndarray:
    if width_bytes == 1:  # alone among the widths unsigned
        codes = np.frombuffer(pcm, np.uint8).astype(np.int16) - 128
    elif width_bytes == 3:
        padded = np.zeros((len(pcm) // 3, 4), np.uint8)
        padded[:, 1:] = np.frombuffer(pcm, np.uint8).reshape(-1, 3)
        codes = padded.view("<i4")[:, 0] >> 8
    else:
        codes = np.frombuffer(pcm, f"<i{width_bytes}")
    scale = 2.0 ** -(8 * width_bytes - 1)
    samples = (codes * scale).astype(np.float32)
    # 32-bit codes within half a float32 step of full scale would round to 1.
    return np.minimum(samples, np.nextafter(np.float32(1), np.float32(0)))


def num_frames(num_samples: int, window: int, hop: int, left_context: int, tail: str) -> int:
    """Count the frames of a recording; see `frame`."""
    new = window - left_context
    if tail == "zero_pad":
        return -(-num_samples // hop)
    return max(0, (num_samples - new) // hop + 1)


def frame(
    samples: np.ndarray,
    window: int,
    hop: int,
    left_context: int = 0,
    tail: str = "zero_pad",
) -> np.ndarray:
    """Cut samples into overlapping frames.

    Frame ``i`` holds the `left_context` samples before position ``i * hop`` and the
    ``window - left_context`` samples from there on; zeros stand before the start.

    Parameters
    ----------
    samples : ndarray of shape (samples,), float32
    window : int
        Samples in a frame.
    hop : int
        Samples from one frame to the next.
    left_context : int
        Samples of a frame that lie before its position, below `window`.
    tail : str
        ``zero_pad``: every sample starts or lies in a frame, zeros fill the last ones.
        ``drop``: only frames that the recording fills.

    Returns
    -------
    ndarray of shape (frames, window), float32

    Raises
    ------
    InputError
        If the numbers fit nothing, no frame results, or the frames are far too large.
    """
    if window < 1 or hop < 1:
        raise InputError(f"framing: window and hop start at 1, found {window} and {hop}")
    if not 0 <= left_context < window:
        raise InputError(
            f"framing: left_context out of range, found {left_context}, allowed: 0 to {window - 1}"
        )
    if tail not in ("zero_pad", "drop"):
        raise InputError(f"framing: unknown tail {tail!r}, allowed: 'zero_pad' or 'drop'")
    count = num_frames(samples.size, window, hop, left_context, tail)
    if count < 1:
        needed = window - left_context
        raise InputError(f"framing: no frame, found {samples.size} samples, one needs {needed}")
    check_size(count * window, "framing", "frames")
    length = (count - 1) * hop + window
    padded = np.zeros(max(length, left_context + samples.size), np.float32)
    padded[left_context : left_context + samples.size] = samples
    windows = np.lib.stride_tricks.sliding_window_view(padded, window)
    return np.ascontiguousarray(windows[::hop][:count])
