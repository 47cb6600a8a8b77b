"""Some utterances of a corpus as WAV files with a table, as workloads take them.

``python -m azsim.speech.excerpt CORPUS workloads/speech_commands`` makes the one in the tree:
recordings of the test sets in ``audio/``, ``utterances.csv``, and the units of both kinds of
recognisers.
"""

from __future__ import annotations

import csv
import sys
import wave
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from azsim.errors import InputError
from azsim.speech.corpus import Corpus, UtteranceSet
from azsim.speech.engines import SAMPLE_RATE_HZ
from azsim.speech.grammar import CHARACTERS, WORDS

__all__ = ["EXCERPT", "choose", "write_excerpt", "write_recordings", "write_units"]

EXCERPT = {"unseen_voices": 28, "unseen_engines": 27, "noise_only": 3}
"""How many recordings of each set are in the tree."""
_LONGEST_S = 2.3


def choose(utterances: UtteranceSet, count: int, longest_s: float = _LONGEST_S) -> list[int]:
    """Choose short utterances that say every word about equally often.

    Parameters
    ----------
    utterances : UtteranceSet
    count : int
    longest_s : float

    Returns
    -------
    list of int
        Their numbers, ascending; fewer where there are no more that are so short.
    """
    short = np.flatnonzero(utterances.integers("samples") <= longest_s * SAMPLE_RATE_HZ)
    words = {int(number): set(utterances.texts[number].split()) for number in short}
    said: Counter[str] = Counter()
    texts: Counter[str] = Counter()

    def worth(number: int) -> tuple[int, float]:
        rare = sum(0.5 ** said[word] for word in words[number])
        return -texts[utterances.texts[number]], rare

    chosen: list[int] = []
    while words and len(chosen) < count:
        best = max(words, key=worth)
        chosen.append(best)
        said.update(words.pop(best))
        texts[utterances.texts[best]] += 1
    return sorted(chosen)


def write_excerpt(corpus: Corpus, folder: Path, counts: Mapping[str, int] = EXCERPT) -> None:
    """Write recordings of some sets, their table and the units.

    Parameters
    ----------
    corpus : Corpus
    folder : Path
        Made where it is missing; its recordings are replaced, other files in it stay.
    counts : mapping of str to int
        Recordings of each set.
    """
    chosen = {name: choose(corpus.set(name), count) for name, count in counts.items()}
    write_recordings(corpus, chosen, folder)
    write_units(folder)


def write_recordings(corpus: Corpus, chosen: Mapping[str, Sequence[int]], folder: Path) -> None:
    """Write utterances as ``audio/SET_NUMBER.wav`` and list them in ``utterances.csv``.

    Parameters
    ----------
    corpus : Corpus
    chosen : mapping of str to sequence of int
        Numbers of utterances, by the name of their set.
    folder : Path
        Recordings that were in its ``audio`` before are deleted.
    """
    (folder / "audio").mkdir(parents=True, exist_ok=True)
    for old in (folder / "audio").glob("*.wav"):
        old.unlink()
    heads = ("engine", "voice", "base_voice", "accent", "noise", "snr_db")
    with (folder / "utterances.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("file", "text", "set", *heads))
        for name, numbers in chosen.items():
            utterances = corpus.set(name)
            for number in numbers:
                path = Path("audio") / f"{name}_{number:04}.wav"
                _write_wav(folder / path, utterances.samples(number))
                more = [utterances.columns[head][number] for head in heads]
                writer.writerow((path.as_posix(), utterances.texts[number], name, *more))


def write_units(folder: Path) -> None:
    """Write ``words.txt`` and ``characters.txt``: one unit a line, the blank has none."""
    folder.mkdir(parents=True, exist_ok=True)
    characters = ["<space>" if character == " " else character for character in CHARACTERS]
    for name, units in (("words", WORDS), ("characters", characters)):
        (folder / f"{name}.txt").write_text("\n".join(units) + "\n", encoding="utf-8")


def _write_wav(path: Path, samples: np.ndarray) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(samples.astype("<i2").tobytes())


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m azsim.speech.excerpt CORPUS FOLDER")
    try:
        write_excerpt(Corpus.open(sys.argv[1]), Path(sys.argv[2]))
    except InputError as error:
        sys.exit(f"azsim: error: {error}")
