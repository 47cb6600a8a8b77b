"""The form that every study's answer has: figures with units, tables, files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from azsim.errors import InputError

__all__ = ["Figure", "Progress", "figures_text", "table", "write_study"]


class Progress:
    """Counts the points of a study for whoever shows progress.

    Parameters
    ----------
    tell : callable or None
        ``tell(stage, done, total)``.
    total : int
        Points in all.
    """

    def __init__(self, tell: object, total: int) -> None:
        self._tell = tell if callable(tell) else None
        self._done, self._total = 0, total

    def step(self, stage: str) -> None:
        """Say that one more point is done."""
        self._done += 1
        if self._tell is not None:
            self._tell(stage, self._done, self._total)


@dataclass(frozen=True)
class Figure:
    """A number that a study found.

    Attributes
    ----------
    value : float or int
        Rounded to what holds on any machine.
    unit : str
    """

    value: float | int
    unit: str


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 1) -> str:
    """Return a Markdown table; the first `texts` columns are text, the others are numbers."""
    rule = ["---"] * texts + ["---:"] * (len(heads) - texts)
    return "\n".join("| " + " | ".join(row) + " |" for row in (heads, rule, *rows))


def figures_text(study: str, figures: Mapping[str, Figure], inputs: Mapping[str, str]) -> str:
    """Return ``data.json``: one line for each figure, so that a change shows as one line.

    Parameters
    ----------
    study : str
    figures : mapping of str to Figure
    inputs : mapping of str to str
        sha256 of every file that was read.
    """
    lines = (
        f"    {json.dumps(name)}: {json.dumps({'value': figure.value, 'unit': figure.unit})}"
        for name, figure in figures.items()
    )
    files = json.dumps(dict(sorted(inputs.items())), indent=4).replace("\n}", "\n  }")
    return (
        f'{{\n  "study": {json.dumps(study)},\n  "inputs_sha256": {files},\n'
        '  "figures": {\n' + ",\n".join(lines) + "\n  }\n}\n"
    )


def write_study(directory: Path, files: Mapping[str, str]) -> None:
    """Write a study's files, all of them made before the first is written.

    Raises
    ------
    InputError
        If the directory cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (directory / name).write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise InputError(f"{error.filename or directory}: {error.strerror}") from error
