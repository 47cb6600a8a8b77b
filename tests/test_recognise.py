"""What the chip hears in many utterances, against whole runs and against the host."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from azsim.errors import InputError
from azsim.frontend.workload import Workload, load_workload
from azsim.hardware import load_hardware
from azsim.pipeline import export_arrays, run
from azsim.stages.host_transducer import greedy
from azsim.stages.model import load_model
from azsim.stages.prepare import prepare
from azsim.stages.recognise import Recogniser, recognise
from azsim.stages.transcribe import read_transcript, symbols_of
from recordings import FEATURES, MODEL, write_list

WIDTH = 24
MAX_SYMBOLS = 2


def workload(folder: Path, overrides: tuple[str, ...] = ()) -> Workload:
    path = folder / "w.yaml"
    path.write_text(
        f"{MODEL}input: {{utterances: list.csv, {FEATURES}}}\ntranscript: {{units: units.txt}}\n"
    )
    return load_workload(path, overrides)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_list(tmp_path, (0.5, 0.2, 0.37), ("", "", ""))
    return tmp_path


def utterances(count: int, seed: int = 0) -> list[np.ndarray]:
    """Features that move slowly, as those of speech."""
    rng = np.random.default_rng(seed)
    return [
        (0.3 * rng.standard_normal((int(rng.integers(3, 40)), WIDTH)).cumsum(axis=0)).astype(
            np.float32
        )
        for _ in range(count)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("chunk_frames", [1, 4, 8])
def test_a_run_hears_the_same(folder: Path, chunk_frames: int) -> None:
    """Frames of zeros that fill up a last chunk say nothing, here as there."""
    given = workload(folder, (f"stream.chunk_frames={chunk_frames}",))
    ready = prepare(given)
    reading = read_transcript(given, ready)
    assert reading is not None
    wanted = symbols_of(reading, run(given, timeline=False, verify=True).outputs)
    chunks = ready.frames["features"]
    rows = [
        chunks[part].reshape(-1, WIDTH)[: utterance.frames]
        for part, utterance in zip(ready.parts, ready.utterances, strict=True)
    ]
    assert recognise(given, rows) == wanted
    assert sum(map(len, wanted)) > 5


@pytest.mark.slow
@pytest.mark.parametrize("batch_chunks", [1, 21, 300])
def test_batches_change_nothing(folder: Path, batch_chunks: int) -> None:
    features = utterances(12)
    alone = [recognise(workload(folder), [rows])[0] for rows in features]
    assert Recogniser(workload(folder), None, batch_chunks).symbols(features) == alone
    assert len({tuple(symbols) for symbols in alone}) > 6


def test_another_chip_hears_the_same(folder: Path) -> None:
    features = utterances(5)
    small = load_hardware("az1", ["weight_sram.bytes=4096", "mac.lanes=16"])
    assert recognise(workload(folder), features, small) == recognise(workload(folder), features)


def test_uncompressed_the_chip_hears_what_the_host_hears(folder: Path) -> None:
    """With the very weights that the chip stores, and activations of 16 bits."""
    given = workload(folder, ("compression.default.activations.bits=16",))
    weights = {**load_model(given).graph.initializers, **export_arrays(given)}
    features = utterances(60)
    host = greedy(weights, features, MAX_SYMBOLS)
    assert recognise(given, features) == [list(heard.symbols) for heard in host]
    assert sum(len(heard.symbols) for heard in host) > 60


def test_the_host_is_not_the_chip(folder: Path) -> None:
    """A test that always holds would show nothing: two bits hear something else."""
    coarse = workload(folder, ("compression.default.weights.bits=2",))
    features = utterances(60)
    host = greedy(load_model(coarse).graph.initializers, features, MAX_SYMBOLS)
    assert recognise(coarse, features) != [list(heard.symbols) for heard in host]


def test_margin_is_what_the_closest_decision_was_ahead_by(folder: Path) -> None:
    weights = load_model(workload(folder)).graph.initializers
    (heard,) = greedy(weights, utterances(1), MAX_SYMBOLS)
    assert 0 < heard.margin < np.inf
    scale = np.float32(0.5)
    halved = {
        name: array * scale if name.startswith("joint.output") else array
        for name, array in weights.items()
    }
    (again,) = greedy(halved, utterances(1), MAX_SYMBOLS)
    assert again.symbols == heard.symbols
    assert np.isclose(again.margin, heard.margin / 2)


def test_a_model_that_gives_no_symbols() -> None:
    with pytest.raises(InputError) as caught:
        Recogniser(load_workload("lstm_cell"))
    assert str(caught.value).splitlines() == [
        "lstm_cell: unknown graph output 'symbols', allowed: y, lstm.h.next, lstm.c.next",
        "lstm_cell: unknown graph output 'counts', allowed: y, lstm.h.next, lstm.c.next",
    ]


def test_features_that_are_none(folder: Path) -> None:
    rows = np.zeros((4, WIDTH), np.float32)
    with pytest.raises(InputError) as caught:
        recognise(workload(folder), [rows, rows[:, 1:], rows.astype(np.float64), rows[:0]])
    assert str(caught.value).splitlines() == [
        "utterance 1: found float32[4, 23], allowed: float32[frames, 24]",
        "utterance 2: found float64[4, 24], allowed: float32[frames, 24]",
        "utterance 3: found float32[0, 24], allowed: float32[frames, 24]",
    ]
    assert recognise(workload(folder), []) == []
