"""Making a corpus: every set is spoken, then mixed and heard by the front end.

Both steps run in processes, in pieces whose order decides nothing: all that is random was drawn
before (`azsim.speech.plan`) or has a seed of its own, from the set, the utterance and the copy.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import json
import multiprocessing
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from azsim.errors import InputError
from azsim.inputs.features import preset_features
from azsim.inputs.front_end import log_mel_features
from azsim.speech.corpus import MADE_BY, SCHEMA_VERSION, UtteranceSet
from azsim.speech.engines import SAMPLE_RATE_HZ, check_installed, speak, versions
from azsim.speech.noise import LEVEL, channel, mix, noise
from azsim.speech.plan import SETS, PlannedUtterance, Settings, plan

__all__ = ["FEATURES", "Progress", "check_room", "make_corpus"]

FEATURES = "commands"
"""The preset of the features."""

Progress = Callable[[str, int, int], None]

_PIECE = 50
_BABBLE = "babble"
_BABBLE_UTTERANCES = 60
_LONGEST_S = 12.0
_BYTES_PER_UTTERANCE = 100_000
_BYTES_PER_COPY = 60_000
_LOUDEST = 0.98
_COLUMNS = (
    *("start", "samples", "speech_start", "speech_samples", "text"),
    *("engine", "voice", "base_voice", "accent", "speed", "pitch", "size"),
)


def check_room(settings: Settings, folder: Path, sets: Sequence[str] = SETS) -> None:
    """Check that the corpus will find room.

    Raises
    ------
    InputError
        If the disk of the folder, which need not exist, has too little of it.
    """
    while not folder.exists():
        folder = folder.parent
    needed = 0
    for name in sets:
        copies = settings.copies if name == "train" else 1
        needed += settings.size(name) * (_BYTES_PER_UTTERANCE + copies * _BYTES_PER_COPY)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"{folder}: too little room, found {free / 1e9:.1f} GB free, "
            f"the corpus needs about {needed / 1e9:.1f} GB; allowed: fewer utterances or copies"
        )


def make_corpus(
    folder: Path,
    settings: Settings,
    progress: Progress,
    processes: int = 1,
    sets: Sequence[str] = SETS,
) -> dict[str, Any]:
    """Fill a folder with a corpus.

    Parameters
    ----------
    folder : Path
        Exists and is empty.
    settings : Settings
    progress : callable
        Told the stage, the utterances that are done, and all.
    processes : int
        That work at the same time.
    sets : sequence of str
        Those to make; each has the same bytes alone as with the others.

    Returns
    -------
    dict
        The content of ``corpus.json``, and ``seconds``.

    Raises
    ------
    InputError
        If an engine is missing or fails, or the disk is full.
    """
    check_installed()
    start_s = time.monotonic()
    plans = {name: plan(settings, name) for name in SETS if name in sets}
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, mp_context=spawn)
    try:
        _speak_all(pool, folder, plans, progress)
        if plans.keys() != {"train"}:
            _speak_all(pool, folder, {_BABBLE: _babble_plan(settings)}, _untold)
        _hear_all(pool, folder, settings, plans, progress)
        shutil.rmtree(folder / _BABBLE, ignore_errors=True)
        document = _document(folder, settings, plans)
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        (folder / "corpus.json").write_text(text, encoding="utf-8")
    except BrokenProcessPool:
        raise InputError("corpus: one of the processes was ended; is the memory full?") from None
    except OSError as error:
        raise InputError(f"{folder}: cannot be written, {error.strerror or error}") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return document | {"seconds": time.monotonic() - start_s}


def _babble_plan(settings: Settings) -> list[PlannedUtterance]:
    """Voices for the babble of all sets but training; how large any set is changes none of them."""
    return plan(replace(settings, tests=_BABBLE_UTTERANCES), "development")


def _untold(stage: str, done: int, total: int) -> None:
    """No progress: it takes a second."""


def _pieces(planned: Sequence[PlannedUtterance]) -> Iterator[tuple[int, list[PlannedUtterance]]]:
    for first in range(0, len(planned), _PIECE):
        yield first, list(planned[first : first + _PIECE])


# ----------------------------------------------------------------------------------- speech

_Plans = Mapping[str, Sequence[PlannedUtterance]]


def _speak_all(pool: ProcessPoolExecutor, folder: Path, plans: _Plans, progress: Progress) -> None:
    total = sum(map(len, plans.values()))
    done = 0
    for name, planned in plans.items():
        (folder / name).mkdir()
        lengths: list[int] = []
        with _GrowingArray(folder / name / "audio.npy") as audio:
            for spoken in pool.map(_spoken_piece, [piece for _, piece in _pieces(planned)]):
                for samples in spoken:
                    audio.append(samples)
                    lengths.append(len(samples))
                done += len(spoken)
                progress("speaking", done, total)
        _write_table(folder / name / "utterances.csv", planned, lengths)


def _spoken_piece(planned: Sequence[PlannedUtterance]) -> list[np.ndarray]:
    """Say utterances; each has the level of a gain of 0 dB, and silence before and after."""
    requests = [utterance.request for utterance in planned if utterance.request]
    spoken = iter(speak(requests))
    made = []
    for utterance in planned:
        voice = next(spoken) if utterance.request else np.zeros(0)
        if len(voice) > _LONGEST_S * SAMPLE_RATE_HZ:
            raise InputError(
                f"corpus: {utterance.text!r} takes too long, found "
                f"{len(voice) / SAMPLE_RATE_HZ:.1f} s, allowed: up to {_LONGEST_S:g} s"
            )
        if len(voice):
            loudness = LEVEL / np.sqrt(np.mean(voice**2))
            voice = voice * min(loudness, _LOUDEST / abs(voice).max())
        samples = np.pad(np.round(voice * 32767), (utterance.before, utterance.after))
        made.append(samples.astype(np.int16))
    return made


@dataclass
class _GrowingArray:
    """A file of int16 samples whose number is known at the end."""

    path: Path
    length: int = field(default=0, init=False)

    def __enter__(self) -> _GrowingArray:
        self._file = self.path.open("w+b")
        self._write_head()
        return self

    def append(self, samples: np.ndarray) -> None:
        self._file.write(samples.astype("<i2").tobytes())
        self.length += len(samples)

    def __exit__(self, *_: object) -> None:
        self._file.seek(0)
        self._write_head()  # as long as before: numpy leaves room for any length
        self._file.close()

    def _write_head(self) -> None:
        head = {"descr": "<i2", "fortran_order": False, "shape": (self.length,)}
        np.lib.format.write_array_header_1_0(self._file, head)


def _write_table(path: Path, planned: Sequence[PlannedUtterance], lengths: Sequence[int]) -> None:
    copies = len(planned[0].mixings)
    suffixes = [f"_{copy}" for copy in range(copies)] if copies > 1 else [""]
    mixed = [f"{key}{suffix}" for suffix in suffixes for key in ("noise", "snr_db", "gain_db")]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*_COLUMNS, *mixed])
        for utterance, start, length in zip(planned, starts, lengths, strict=False):
            request, speaker = utterance.request, utterance.speaker
            spoken = length - utterance.before - utterance.after
            who = [""] * 7
            if request and speaker:
                said = (request.speed, request.pitch, request.size)
                who = [request.engine, request.voice, speaker.name, request.accent, *said]
            row = [start, length, utterance.before, spoken, utterance.text, *who]
            for mixing in utterance.mixings:
                row += [mixing.noise, mixing.snr_db if request else "", mixing.gain_db]
            writer.writerow(row)


# ---------------------------------------------------------------------------------- hearing


@dataclass(frozen=True)
class _Piece:
    """Utterances of a set that are to be heard; `first` is the number of the first one."""

    folder: Path
    seed: int
    name: str
    first: int
    copy: int
    planned: list[PlannedUtterance]


def _hear_all(
    pool: ProcessPoolExecutor,
    folder: Path,
    settings: Settings,
    plans: _Plans,
    progress: Progress,
) -> None:
    pieces = []
    for name, planned in plans.items():
        copies = len(planned[0].mixings)
        _lay_out_features(_set(folder, name), copies)
        for copy in range(copies):
            for first, piece in _pieces(planned):
                pieces.append(_Piece(folder, settings.seed, name, first, copy, piece))
    total = sum(len(piece.planned) for piece in pieces)
    done = 0
    for count in pool.map(_hear_piece, pieces):
        done += count
        progress("mixing and features", done, total)


@functools.lru_cache(maxsize=8)  # a table of 16,000 lines takes a tenth of a second
def _set(folder: Path, name: str) -> UtteranceSet:
    return UtteranceSet.open(folder / name)


def _lay_out_features(made: UtteranceSet, copies: int) -> None:
    features = preset_features(FEATURES)
    counts = [features.num_frames(int(length)) for length in made.integers("samples")]
    rows = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    np.savez(made.folder / "rows.npz", rows=rows)
    shape = (int(rows[-1]), features.width)
    for copy in range(copies):
        path = made.folder / f"features_{copy}.npy"
        np.lib.format.open_memmap(path, "w+", np.float32, shape).flush()
        if hasattr(os, "posix_fallocate"):  # a full disk is told of now, not by a signal later
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def _hear_piece(piece: _Piece) -> int:
    """Mix a piece's utterances and write their features; but for training the mix is the audio."""
    made = _set(piece.folder, piece.name)
    voices = _voices(piece.folder, "train" if piece.name == "train" else _BABBLE)
    features = preset_features(FEATURES)
    heard = np.load(made.folder / f"features_{piece.copy}.npy", mmap_mode="r+")
    audio = None if piece.name == "train" else np.load(made.folder / "audio.npy", mmap_mode="r+")
    starts, rows = made.integers("start"), made.rows
    for number, utterance in enumerate(piece.planned, piece.first):
        seed = [piece.seed, SETS.index(piece.name), number, piece.copy]
        mixed = _mixed(
            made.samples(number), utterance, piece.copy, np.random.default_rng(seed), voices
        )
        if audio is not None:
            audio[starts[number] : starts[number] + len(mixed)] = mixed
        heard[rows[number] : rows[number + 1]] = log_mel_features(mixed / 32768, features)
    return len(piece.planned)


def _mixed(
    samples: np.ndarray,
    utterance: PlannedUtterance,
    copy: int,
    generator: np.random.Generator,
    voices: Sequence[np.ndarray],
) -> np.ndarray:
    mixing = utterance.mixings[copy]
    added = noise(mixing.noise, len(samples), generator, voices)
    speech = samples / 32768
    if mixing.is_coloured:
        speech = channel(speech, generator)
    sounding = slice(utterance.before, len(samples) - utterance.after)
    return mix(speech, added, sounding, mixing.snr_db, mixing.gain_db)


@functools.lru_cache(maxsize=2)
def _voices(folder: Path, name: str) -> _Voices:
    return _Voices(_set(folder, name))


class _Voices(Sequence[np.ndarray]):
    """The utterances of a set that are speech, before noise: for babble."""

    def __init__(self, spoken: UtteranceSet) -> None:
        self._spoken = spoken
        self._numbers = [number for number, text in enumerate(spoken.texts) if text]

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: Any) -> Any:
        return self._spoken.samples(self._numbers[index])


# ------------------------------------------------------------------------------------- told


def _document(folder: Path, settings: Settings, plans: _Plans) -> dict[str, Any]:
    sets = {name: _described(folder, name, planned) for name, planned in plans.items()}
    return {
        "schema_version": SCHEMA_VERSION,
        "made_by": MADE_BY,
        "settings": asdict(settings),
        "engines": versions(),
        "features": FEATURES,
        **({"training_features": _moments(_set(folder, "train"))} if "train" in sets else {}),
        "sets": sets,
    }


def _moments(training: UtteranceSet) -> dict[str, float]:
    features = training.features(0)
    sampled = np.asarray(features[:: max(1, len(features) // 200_000)], np.float64)
    return {"mean": float(sampled.mean()), "std": float(sampled.std())}


def _described(folder: Path, name: str, planned: Sequence[PlannedUtterance]) -> dict[str, Any]:
    made = _set(folder, name)
    with (made.folder / "audio.npy").open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    speakers = {(u.speaker.engine, u.speaker.name) for u in planned if u.speaker}
    voices = {(u.request.engine, u.request.voice, u.request.accent) for u in planned if u.request}
    words = sum(len(text.split()) for text in made.texts)
    return {
        "utterances": len(made),
        "distinct_texts": len(set(made.texts)),
        "words": words,
        "hours": round(len(made.audio) / SAMPLE_RATE_HZ / 3600, 3),
        "speakers": len(speakers),
        "voices": len(voices),
        "copies": made.copies,
        "audio_sha256": digest,
    }
