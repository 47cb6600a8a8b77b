"""What a workload's outputs say in words: the section ``transcript`` of its file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

from azsim.config import DocumentPath
from azsim.inputs.spec import Sha256

__all__ = ["Transcript", "transcript_rules"]

_Name = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True)
class Transcript:
    """How symbols that a decoder gives, frame by frame, become words.

    What is right comes with the recordings: ``input.text``, or the column ``text`` of
    ``input.utterances``.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)
    units: _Name
    """A text file beside the workload, or ``pypi:NAME==VERSION#member/path``: line n is what symbol
    n - 1 stands for, ``<space>`` a blank; the decoder's blank, its last symbol, has no line."""
    separator: str = " "
    """Between two units: a blank where units are words, nothing where they are characters."""
    symbols: _Name = "symbols"
    """Graph output of int32 with a row of symbols for each frame."""
    counts: _Name = "counts"
    """Graph output of int32: how many symbols of each row there are."""
    sha256: Sha256 | None = None
    """Of the file; needed for ``pypi:``."""
    archive_sha256: Sha256 | None = None
    """Of the package's archive that holds it."""


def transcript_rules(transcript: Transcript) -> Iterator[tuple[DocumentPath, str]]:
    """Yield the path and the sentence of what no single key shows."""
    if transcript.symbols == transcript.counts:
        found = f"found {transcript.counts!r} for both"
        yield ("transcript", "counts"), f"symbols and counts are two outputs, {found}"
