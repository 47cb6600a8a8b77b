"""Lists of recordings, and what is said in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from azsim.errors import InputError
from azsim.inputs.csv_file import read_csv

__all__ = ["ListedRecording", "Utterance", "read_utterances"]

_FILE, _TEXT, _SET = "file", "text", "set"


@dataclass(frozen=True)
class Utterance:
    """One recording of an input.

    Attributes
    ----------
    name : str
        File as the workload or the list names it.
    text : str or None
        What is said: words with one blank between each; None where nobody knows.
    frames : int
        Steps of the input's time axis.
    """

    name: str
    text: str | None
    frames: int


@dataclass(frozen=True)
class ListedRecording:
    """A line of a list: the file as it is written there, where it lies, and what is said."""

    name: str
    path: Path
    text: str


def read_utterances(
    path: Path, set_name: str | None = None, first: int | None = None
) -> tuple[ListedRecording, ...]:
    """Read a list of recordings.

    Parameters
    ----------
    path : Path
        CSV with a header; the columns ``file``, relative to the list, and ``text`` are needed,
        ``set`` with `set_name`, others are passed over.
    set_name : str, optional
        Take only lines whose column ``set`` is this.
    first : int, optional
        Take only so many of them.

    Raises
    ------
    InputError
        If the list cannot be read or has no such line, or files that it names are not there.
    """
    header, lines = _table(path)
    needed = (_FILE, _TEXT) if set_name is None else (_FILE, _TEXT, _SET)
    if missing := [name for name in needed if name not in header]:
        found = ", ".join(header) or "none"
        raise InputError(
            f"{path}: no column {' and '.join(map(repr, missing))}, found: {found}, "
            f"needed: {', '.join(needed)}"
        )
    if problems := list(_malformed(path, header, lines)):
        raise InputError("\n".join(problems))
    rows = [(number, dict(zip(header, line, strict=True))) for number, line in lines]
    if set_name is not None:
        known = sorted({row[_SET] for _, row in rows})
        rows = [(number, row) for number, row in rows if row[_SET] == set_name]
        if not rows and known:
            found = f"found {set_name!r}, allowed: {', '.join(known)}"
            raise InputError(f"{path}: no recording of such a set, {found}")
    if not rows:
        raise InputError(f"{path}: no recordings")
    rows = rows[:first]
    if problems := [
        f"{path}:{number}: no such file, found {row[_FILE]!r}"
        for number, row in rows
        if not (path.parent / row[_FILE]).is_file()
    ]:
        raise InputError("\n".join(problems))
    return tuple(
        ListedRecording(row[_FILE], path.parent / row[_FILE], " ".join(row[_TEXT].split()))
        for _, row in rows
    )


def _table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header, and the lines below with their numbers."""
    lines = read_csv(path)
    if not lines:
        raise InputError(f"{path}: no lines, a header is needed")
    return [name.strip() for name in lines[0][1]], lines[1:]


def _malformed(path: Path, header: list[str], lines: list[tuple[int, list[str]]]) -> Iterator[str]:
    if twice := sorted({name for name in header if header.count(name) > 1}):
        yield f"{path}:1: column {', '.join(map(repr, twice))} is there twice"
    for number, line in lines:
        if len(line) != len(header):
            yield f"{path}:{number}: found {len(line)} fields, the header has {len(header)}"
