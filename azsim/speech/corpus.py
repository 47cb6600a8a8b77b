"""A corpus in a folder: its sets, their utterances, audio and features."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from azsim.errors import InputError
from azsim.inputs.csv_file import read_csv
from azsim.inputs.tensors import read_npz

__all__ = ["MADE_BY", "SCHEMA_VERSION", "Corpus", "UtteranceSet", "foreign_to_corpus"]

MADE_BY = "azsim corpus"
SCHEMA_VERSION = 1
"""Of ``corpus.json`` and of what lies beside it."""
_DOCUMENT = "corpus.json"
_MAKE_ANEW = f"make it anew: {MADE_BY} -o DIR"


@dataclass(frozen=True)
class UtteranceSet:
    """One set of a corpus; audio and features stay on the disk until they are asked for.

    Attributes
    ----------
    name : str
    folder : Path
    columns : mapping of str to tuple of str
        ``utterances.csv``, by the head of each column.
    """

    name: str
    folder: Path
    columns: Mapping[str, tuple[str, ...]]

    @classmethod
    def open(cls, folder: Path) -> UtteranceSet:
        """Read the table of a set's folder.

        Raises
        ------
        InputError
            If it cannot be read, or lines of it are cut short.
        """
        path = folder / "utterances.csv"
        (_, head), *lines = read_csv(path) or [(1, ["text"])]
        for number, line in lines:
            if len(line) != len(head):
                found = f"found {len(line)} fields, the head has {len(head)}"
                raise InputError(f"{path}:{number}: {found}; {_MAKE_ANEW}")
        columns = {key: tuple(line[i] for _, line in lines) for i, key in enumerate(head)}
        return cls(folder.name, folder, columns)

    def __len__(self) -> int:
        """Count the utterances."""
        return len(self.columns["text"])

    @property
    def texts(self) -> tuple[str, ...]:
        """What is said; empty without speech."""
        return self.columns["text"]

    def integers(self, column: str) -> np.ndarray:
        """Return a column as int64: ``start``, ``samples``, and those of the speech in it."""
        return np.array([int(value) for value in self.columns[column]], np.int64)

    def numbers(self, column: str, copy: int | None = None) -> np.ndarray:
        """Return a column as float64: ``speed``, or a copy's ``snr_db`` or ``gain_db``.

        Where the column is empty, there without speech, it is not a number.
        """
        name = column if copy is None or column in self.columns else f"{column}_{copy}"
        return np.array([float(value or "nan") for value in self.columns[name]])

    @cached_property
    def _starts(self) -> np.ndarray:
        return self.integers("start")

    @cached_property
    def _counts(self) -> np.ndarray:
        return self.integers("samples")

    @cached_property
    def audio(self) -> np.ndarray:
        """All samples, one utterance after the other, int16; those of training without noise."""
        return _mapped(self.folder / "audio.npy")

    def samples(self, number: int) -> np.ndarray:
        """Return an utterance's samples, (samples,), int16, at 16 kHz."""
        start = self._starts[number]
        return self.audio[start : start + self._counts[number]]

    @property
    def copies(self) -> int:
        """Count the copies of the features."""
        return sum(1 for _ in self.folder.glob("features_*.npy"))

    @cached_property
    def rows(self) -> np.ndarray:
        """First row of each utterance in its features, and the number of rows, (n + 1,), int64."""
        return read_npz(self.folder / "rows.npz")["rows"]

    def features(self, copy: int = 0) -> np.ndarray:
        """Return the features of a copy, (rows, 120), float32, mapped from the disk."""
        return _mapped(self.folder / f"features_{copy}.npy")


@dataclass(frozen=True)
class Corpus:
    """A folder that ``azsim corpus`` made.

    Attributes
    ----------
    folder : Path
    document : mapping
        ``corpus.json``.
    """

    folder: Path
    document: Mapping[str, Any]

    @classmethod
    def open(cls, folder: Path | str) -> Corpus:
        """Open a corpus.

        Raises
        ------
        InputError
            If the folder holds none.
        """
        folder = Path(folder)
        path = folder / _DOCUMENT
        try:
            document = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is no JSON"
            raise InputError(
                f"{path}: cannot be read, {reason}; make it: {MADE_BY} -o DIR"
            ) from None
        kind = {"made_by": MADE_BY, "schema_version": SCHEMA_VERSION}
        if not isinstance(document, dict) or not kind.items() <= document.items():
            raise InputError(f"{path}: is no corpus of this azsim; {_MAKE_ANEW}")
        return cls(folder, document)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the sets."""
        return tuple(self.document["sets"])

    def set(self, name: str) -> UtteranceSet:
        """Return a set.

        Raises
        ------
        InputError
            If the corpus has none of that name, or its table cannot be read or is cut short.
        """
        if name not in self.names:
            raise InputError(
                f"{self.folder}: unknown set {name!r}, allowed: {', '.join(self.names)}"
            )
        utterances, wanted = UtteranceSet.open(self.folder / name), self.document["sets"][name]
        if len(utterances) != wanted["utterances"]:
            raise InputError(
                f"{self.folder / name}: found {len(utterances)} utterances, "
                f"{_DOCUMENT} has {wanted['utterances']}; {_MAKE_ANEW}"
            )
        return utterances


def _mapped(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no array"
        raise InputError(f"{path}: cannot be read, {reason}") from None


def foreign_to_corpus(directory: Path) -> str | None:
    """Say what speaks against replacing a folder by a corpus: the rest of a sentence, or None."""
    names = sorted(path.name for path in directory.iterdir())
    if not names:
        return None
    if _DOCUMENT not in names:
        return f"it has no {_DOCUMENT} of azsim"
    try:
        document = json.loads((directory / _DOCUMENT).read_text("utf-8"))
        sets = document["sets"] if document["made_by"] == MADE_BY else None
    except (OSError, ValueError, KeyError, TypeError):
        sets = None
    if not isinstance(sets, dict):
        return f"its {_DOCUMENT} is not azsim's"
    others = [name for name in names if name != _DOCUMENT and name not in sets]
    return f"it holds {others[0]}, which azsim did not write" if others else None
