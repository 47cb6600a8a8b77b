"""A sweep's results as arrays, read from its SQLite file; the sweep may still be running."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from azsim.errors import InputError
from azsim.sweeps.objectives import Objective

__all__ = ["FILE_NAME", "Results", "read_results", "read_summaries"]

FILE_NAME = "results.sqlite"

_WAIT_S = 30.0
_POINTS = """
    select number, rung, state, design, message, tries, seconds, worker, finished, reused, key
    from points order by number
"""


@dataclass(frozen=True)
class Results:
    """Points of a sweep, in the order of their numbers.

    Attributes
    ----------
    path : Path
        Of the SQLite file.
    name : str
        Of the sweep.
    definition : mapping
        What the sweep file said.
    axes : mapping of str to str
        What each axis sets, such as ``hardware.clock_hz``.
    objectives : tuple of Objective
    number, rung : ndarray of int64, shape (n,)
    state : ndarray of str, shape (n,)
        ``done``, ``infeasible`` or ``failed``.
    designs : tuple of mapping
        Values of the axes that are active at a point.
    figures : ndarray of float64, shape (n, objectives)
        NaN where a point has none.
    messages : tuple of str or None
        Why a point failed or is infeasible.
    records : tuple of mapping
        ``key``, ``tries``, ``seconds``, ``worker``, ``finished`` and ``reused`` of each point.
    meta : mapping of str to str
        Versions, hashes and times of the sweep.
    """

    path: Path
    name: str
    definition: Mapping[str, Any]
    axes: Mapping[str, str]
    objectives: tuple[Objective, ...]
    number: np.ndarray
    rung: np.ndarray
    state: np.ndarray
    designs: tuple[Mapping[str, Any], ...]
    figures: np.ndarray
    messages: tuple[str | None, ...]
    records: tuple[Mapping[str, Any], ...]
    meta: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        """Points that are finished, one way or another."""
        return len(self.number)

    @property
    def goals(self) -> tuple[str, ...]:
        """``minimize`` or ``maximize`` for each objective."""
        return tuple(objective.goal for objective in self.objectives)

    @property
    def last_rung(self) -> np.ndarray:
        """Which points ran on the whole input; figures of shorter ones compare with no other."""
        return self.rung == self.rung.max(initial=0)

    @property
    def feasible(self) -> np.ndarray:
        """Which points may be on the front: on the whole input, done, with every figure."""
        whole = ~np.isnan(self.figures).any(axis=1)
        return self.last_rung & (self.state == "done") & whole

    @property
    def incomplete(self) -> np.ndarray:
        """Which points are done, on the whole input, and lack a figure: they are on no front."""
        return self.last_rung & (self.state == "done") & np.isnan(self.figures).any(axis=1)

    @property
    def measured(self) -> np.ndarray:
        """Which points ran on the whole input and have a figure, feasible or not."""
        return self.last_rung & ~np.isnan(self.figures).all(axis=1)

    def values(self, axis: str) -> list[Any]:
        """Values of an axis, one a point; None where it is not active."""
        return [design.get(axis) for design in self.designs]


def read_results(folder_or_file: str | Path) -> Results:
    """Read what a sweep has found so far.

    Parameters
    ----------
    folder_or_file : str or path
        Folder of the sweep, or the SQLite file itself; opened read-only, so that a sweep may go
        on writing to it.

    Returns
    -------
    Results
        Of one moment.

    Raises
    ------
    InputError
        If there is no such file, or it holds no sweep of azsim.
    """
    path = _find(folder_or_file)
    try:
        with _opened(path) as connection:
            meta = dict(connection.execute("select key, value from meta"))
            points = connection.execute(_POINTS).fetchall()
            objectives = tuple(Objective(**entry) for entry in json.loads(meta["objectives"]))
            columns = [_quoted(objective.name) for objective in objectives]
            sql = f"select {', '.join(['number', *columns])} from results order by number"
            figures = [[_number(value) for value in row[1:]] for row in connection.execute(sql)]
            axes = {entry["name"]: entry["target"] for entry in json.loads(meta["axes"])}
            definition = json.loads(meta["definition"])
            designs = tuple(json.loads(row["design"]) for row in points)
    except (sqlite3.DatabaseError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path}: holds no sweep of azsim: {error}") from None
    return Results(
        path=path,
        name=meta.get("name", ""),
        definition=definition,
        axes=axes,
        objectives=objectives,
        number=np.array([row["number"] for row in points], np.int64),
        rung=np.array([row["rung"] for row in points], np.int64),
        state=np.array([row["state"] for row in points], dtype="U10"),
        designs=designs,
        figures=np.array(figures, np.float64).reshape(len(points), len(objectives)),
        messages=tuple(row["message"] for row in points),
        records=tuple(
            {key: row[key] for key in row.keys()[5:]}  # behind the columns named above
            for row in points
        ),
        meta=meta,
    )


def read_summaries(results: Results) -> list[dict[str, Any]]:
    """Read ``summary.json`` of every point, without its layers; empty where there is none.

    Parameters
    ----------
    results : Results
        Points that finished since are left out.
    """
    with _opened(results.path) as connection:
        texts = dict(connection.execute("select number, summary from points"))
    return [json.loads(texts.get(int(number)) or "{}") for number in results.number]


def _find(folder_or_file: str | Path) -> Path:
    path = Path(folder_or_file)
    if path.is_dir():
        path = path / FILE_NAME
        if not path.is_file():
            sentence = f"holds no {FILE_NAME}; azsim sweep FILE -o {folder_or_file} makes one"
            raise InputError(f"{folder_or_file}: {sentence}")
    elif not path.is_file():
        raise InputError(f"{path}: no such file or folder; give the folder of a sweep")
    return path


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open read-only, in one transaction: what is read is of one moment."""
    uri = f"file:{quote(str(path.absolute()))}?mode=ro"
    log = path.with_name(f"{path.name}-wal")
    if not os.access(path.parent, os.W_OK) and not (log.exists() and log.stat().st_size):
        uri += "&immutable=1"  # SQLite would make files beside it, to share it with a writer
    connection = sqlite3.connect(uri, uri=True, timeout=_WAIT_S, isolation_level=None)
    connection.row_factory = sqlite3.Row
    try:
        connection.execute("begin")
        yield connection
    finally:
        connection.close()


def _quoted(name: str) -> str:
    """As a column's name in SQL."""
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else np.nan
