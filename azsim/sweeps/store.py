"""Store: every finished point in ``results.sqlite``, committed before anybody is told of it.

The file is SQLite with a write-ahead log: others may read while a sweep writes, and what was
committed outlives the process, whenever it ends.  One process writes; a second one is refused.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azsim.sweeps.folder_lock import FolderLock
from azsim.sweeps.outcome import Outcome, State
from azsim.sweeps.sqlite_file import StoreError, reason, transaction

__all__ = ["COLUMNS", "TABLES", "Point", "Store", "json_text", "utc_now"]

TABLES = """
create table meta (key text primary key, value text not null) without rowid;
create table points (
    number integer primary key,
    rung integer not null,
    state text not null check (state in ('done', 'infeasible', 'failed')),
    design text not null,
    figures text not null,
    key text,
    summary text,
    message text,
    traceback text,
    reused text not null,
    tries integer not null,
    seconds real not null,
    worker text not null,
    finished text not null
);
"""
COLUMNS = (
    "number, rung, state, design, figures, key, summary, message, traceback, reused, tries, "
    "seconds, worker, finished"
)


@dataclass(frozen=True)
class Point:
    """What a sweep that goes on must know of a point that is finished.

    Attributes
    ----------
    state : str
    design : mapping of str to value
    rung : int
    figures : mapping of str to float or None
        By objective.
    """

    state: State
    design: Mapping[str, Any]
    rung: int
    figures: Mapping[str, float | None]


class Store:
    """The results of a sweep, open for writing.

    Made by `open_store`; a context manager that closes the file and lets go of the folder.

    Attributes
    ----------
    path : Path
    points : mapping of int to Point
        Those that are committed, by number.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path, lock: FolderLock) -> None:
        self._connection = connection
        self._lock = lock
        self.path = path
        self.points: dict[int, Point] = {}
        rows = connection.execute("select number, state, design, rung, figures from points")
        for number, state, design, rung, figures in rows:
            self.points[number] = Point(state, json.loads(design), rung, json.loads(figures))

    def add(self, outcomes: Iterable[Outcome]) -> list[Outcome]:
        """Commit outcomes; when this returns, they are on disk.

        Parameters
        ----------
        outcomes : iterable of Outcome

        Returns
        -------
        list of Outcome
            Those that are new: a point that is there already stays as it is.

        Raises
        ------
        StoreError
            If they cannot be written; then none of them is.
        """
        fresh: dict[int, Outcome] = {}
        for outcome in outcomes:
            if outcome.trial.number not in self.points:
                fresh.setdefault(outcome.trial.number, outcome)
        if not fresh:
            return []
        marks = ", ".join("?" * len(COLUMNS.split(", ")))
        try:
            with transaction(self._connection):
                self._connection.executemany(
                    f"insert into points ({COLUMNS}) values ({marks})",
                    [_row(outcome) for outcome in fresh.values()],
                )
        except sqlite3.Error as error:
            raise self._unwritable(error) from None
        for number, outcome in fresh.items():
            self.points[number] = Point(
                outcome.state,
                dict(outcome.trial.design),
                outcome.trial.rung,
                dict(outcome.figures),
            )
        return list(fresh.values())

    def _unwritable(self, error: sqlite3.Error) -> StoreError:
        kept = f"{len(self.points):,} points are kept; mend that and run the same command again"
        return StoreError(f"{self.path}: cannot be written, {reason(error)}; {kept}")

    def close(self) -> None:
        """Close the file and let go of the folder."""
        with contextlib.suppress(sqlite3.Error):  # what is committed stays in the log
            self._connection.close()
        self._lock.release()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _row(outcome: Outcome) -> Sequence[object]:
    trial = outcome.trial
    return (
        trial.number,
        trial.rung,
        outcome.state,
        json_text(dict(trial.design)),
        json_text(dict(outcome.figures)),
        outcome.key,
        None if outcome.summary is None else json_text(outcome.summary),
        outcome.message,
        outcome.traceback,
        json_text({stage: dict(counts) for stage, counts in outcome.reused.items()}),
        outcome.tries,
        outcome.seconds,
        outcome.worker,
        utc_now(),
    )


def json_text(value: object) -> str:
    """JSON of a row's field."""
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no place in JSON")


def utc_now() -> str:
    """ISO 8601, UTC, to the millisecond."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
