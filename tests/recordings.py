"""Recordings for tests: seeded sound, lists of it, and a tiny recogniser to hear it."""

from __future__ import annotations

import csv
import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np

UNITS = ("up", "down", "left", "right", "stop")
RATE_HZ = 16_000

MODEL = """
name: tiny
model: {builder: rnnt_mlperf, features: 24, hidden: 16, pre_layers: 1, post_layers: 1,
        prediction: 8, prediction_layers: 1, joint: 16, symbols: 6, max_symbols: 2, blank_bias: 1}
compression: {default: {weights: {bits: 8}, activations: {bits: 8}, codec: raw}}
"""
FEATURES = "features: {preset: mlperf, mel_bands: 8, window: 400, normalize: none}"


def write_recording(path: Path, seconds: float, seed: int, silent: bool = False) -> None:
    """Write noise whose loudness changes."""
    rng = np.random.default_rng(seed)
    count = int(seconds * RATE_HZ)
    loudness = np.abs(np.sin(np.arange(count) / 2500 + seed))
    samples = (3000 * loudness * rng.standard_normal(count)).astype(np.int16)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes((samples * (not silent)).tobytes())


def write_list(
    folder: Path, seconds: Sequence[float], texts: Sequence[str], sets: Sequence[str] = ()
) -> None:
    """Write recordings, ``list.csv`` with what is said in them, and ``units.txt``."""
    (folder / "audio").mkdir(exist_ok=True)
    rows = [("file", "text", *(["set"] if sets else []))]
    for number, (length, text) in enumerate(zip(seconds, texts, strict=True)):
        name = f"audio/{number}.wav"
        write_recording(folder / name, length, number)
        rows.append((name, text, *([sets[number]] if sets else [])))
    with (folder / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    (folder / "units.txt").write_text("".join(f"{unit}\n" for unit in UNITS))
