"""Store: every finished point in ``results.sqlite``, committed before anybody is told of it.

The file is SQLite with a write-ahead log: others may read while a sweep writes, and what was
committed outlives the process, whenever it ends.  One process writes; a second one is refused.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from azsim.errors import InputError
from azsim.sweeps.folder_lock import FolderLock
from azsim.sweeps.outcome import Outcome, State

if TYPE_CHECKING:
    from azsim.sweeps.space import Sweep

__all__ = ["FILE_NAME", "SCHEMA_VERSION", "Point", "Store", "StoreError", "open_store"]

FILE_NAME = "results.sqlite"
SCHEMA_VERSION = 1

_WAY_OUT = "choose another folder with -o, or --restart, which sets the file aside as {}"
_MOST_DIFFERENCES = 4
_WAIT_S = 30.0
_TABLES = """
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
_COLUMNS = (
    "number, rung, state, design, figures, key, summary, message, traceback, reused, tries, "
    "seconds, worker, finished"
)


class StoreError(InputError):
    """The file of a sweep cannot be made, read or written."""


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
    reused : mapping of str to mapping of str to int
    seconds : float
    """

    state: State
    design: Mapping[str, Any]
    rung: int
    figures: Mapping[str, float | None]
    reused: Mapping[str, Mapping[str, int]]
    seconds: float


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
        rows = connection.execute(
            "select number, state, design, rung, figures, reused, seconds from points"
        )
        for number, state, design, rung, figures, reused, seconds in rows:
            self.points[number] = Point(
                state, json.loads(design), rung, json.loads(figures), json.loads(reused), seconds
            )

    def add(self, outcomes: Iterable[Outcome], *, replaces: bool = False) -> list[Outcome]:
        """Commit outcomes; when this returns, they are on disk.

        Parameters
        ----------
        outcomes : iterable of Outcome
        replaces : bool
            Write over points that are there.

        Returns
        -------
        list of Outcome
            Those that are new: a point that is there already stays as it is, unless `replaces`.

        Raises
        ------
        StoreError
            If they cannot be written; then none of them is.
        """
        fresh: dict[int, Outcome] = {}
        for outcome in outcomes:
            number = outcome.trial.number
            if replaces or (number not in self.points and number not in fresh):
                fresh[number] = outcome
        marks = ", ".join("?" * len(_COLUMNS.split(", ")))
        verb = "insert or replace" if replaces else "insert"
        try:
            with _transaction(self._connection):
                self._connection.executemany(
                    f"{verb} into points ({_COLUMNS}) values ({marks})",
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
                {stage: dict(counts) for stage, counts in outcome.reused.items()},
                outcome.seconds,
            )
        return list(fresh.values())

    def _unwritable(self, error: sqlite3.Error) -> StoreError:
        kept = f"{len(self.points):,} points are kept; mend that and run the same command again"
        return StoreError(f"{self.path}: cannot be written, {_reason(error)}; {kept}")

    def close(self) -> None:
        """Close the file and let go of the folder."""
        with contextlib.suppress(sqlite3.Error):  # what is committed stays in the log
            self._connection.close()
        self._lock.release()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_store(
    folder: Path, sweep: Sweep, code: str, versions: Mapping[str, str], *, restart: bool = False
) -> Store:
    """Open the results of a sweep, or begin them.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    sweep : Sweep
    code : str
        Hash of all code that decides figures.
    versions : mapping of str to str
        Of azsim, Python and libraries, for the reader.
    restart : bool
        Set an existing file aside, as ``results.1.sqlite`` or the next free number, and begin anew.

    Raises
    ------
    StoreError
        If the folder or the file cannot be written, another process writes there, or the file is
        none of this very sweep and code.
    """
    path = folder / FILE_NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FolderLock(folder)
    except FileExistsError:
        raise StoreError(f"{folder}: is not a folder; choose another name") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise StoreError(f"{folder}: cannot be written, {reason}; choose another folder") from None
    try:
        if restart:
            _set_aside(path)
        connection = _connected(path)
        try:
            _begin_or_check(connection, path, _meta(sweep, code, versions), sweep)
            return Store(connection, path, lock)
        except BaseException:
            connection.close()
            raise
    except BaseException:
        lock.release()
        raise


# ----------------------------------------------------------------------------- open and check


def _connected(path: Path) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None)
    except sqlite3.Error as error:
        raise StoreError(f"{path}: cannot be opened, {_reason(error)}") from None
    return connection


def _begin_or_check(
    connection: sqlite3.Connection, path: Path, meta: Mapping[str, str], sweep: Sweep
) -> None:
    is_new = not path.exists() or path.stat().st_size == 0
    try:
        if not connection.execute("select count(*) from sqlite_master").fetchone()[0]:
            _begin(connection, meta, sweep)
            return
        found = _read_meta(connection, path)
        _check_sweep(path, found, meta, sweep)
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = full")
        with _transaction(connection):  # now, and not after the first point
            connection.execute("update meta set value = value where key = 'name'")
    except sqlite3.Error as error:
        if is_new:
            connection.close()
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        raise _unusable(path, error) from None


def _unusable(path: Path, error: sqlite3.Error) -> StoreError:
    if getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        way_out = _WAY_OUT.format(_aside(path).name)
        return StoreError(f"{path}: is no SQLite file that can be read; {way_out}")
    return StoreError(f"{path}: cannot be written, {_reason(error)}; mend that and run it again")


def _begin(connection: sqlite3.Connection, meta: Mapping[str, str], sweep: Sweep) -> None:
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = full")
    with _transaction(connection):
        for statement in filter(str.strip, _TABLES.split(";")):
            connection.execute(statement)
        connection.execute(_view(sweep))
        connection.executemany("insert into meta values (?, ?)", meta.items())


def _view(sweep: Sweep) -> str:
    """One column an axis and one an objective, so that one line of pandas reads everything."""
    columns = ["number", "rung", "state", "message"]
    for source, names in (
        ("design", [axis.name for axis in sweep.axes]),
        ("figures", [objective.name for objective in sweep.objectives]),
    ):
        for name in names:
            path = _literal(f"$.{json.dumps(name, ensure_ascii=False)}")
            columns.append(f"json_extract({source}, {path}) as {_name(name)}")
    return f"create view results as select {', '.join(columns)} from points order by number"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _name(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _meta(sweep: Sweep, code: str, versions: Mapping[str, str]) -> dict[str, str]:
    definition = json.dumps(sweep.definition, ensure_ascii=False, sort_keys=True)
    return {
        "schema_version": str(SCHEMA_VERSION),
        "name": sweep.name,
        "definition": definition,
        "definition_sha256": hashlib.sha256(definition.encode()).hexdigest(),
        "code_sha256": code,
        "axes": _json([{"name": a.name, "kind": a.kind, "target": a.target} for a in sweep.axes]),
        "objectives": _json(
            [
                {"name": entry.name, "key": entry.key, "goal": entry.goal, "unit": entry.unit}
                for entry in sweep.objectives
            ]
        ),
        "versions": _json(dict(versions)),
        "created": _now(),
    }


def _read_meta(connection: sqlite3.Connection, path: Path) -> dict[str, str]:
    way_out = _WAY_OUT.format(_aside(path).name)
    try:
        meta = dict(connection.execute("select key, value from meta"))
        version = int(meta["schema_version"])
        json.loads(meta["definition"])
        connection.execute(f"select {_COLUMNS} from points limit 0")
    except (sqlite3.OperationalError, KeyError, ValueError):
        raise StoreError(f"{path}: holds no sweep of azsim that can go on; {way_out}") from None
    if version != SCHEMA_VERSION:
        found = f"schema {version}, allowed: {SCHEMA_VERSION}"
        raise StoreError(f"{path}: was written by another azsim, {found}; {way_out}")
    return meta


def _check_sweep(
    path: Path, found: Mapping[str, str], wanted: Mapping[str, str], sweep: Sweep
) -> None:
    way_out = _WAY_OUT.format(_aside(path).name)
    if found.get("definition_sha256") != wanted["definition_sha256"]:
        changed = _differences(json.loads(found["definition"]), json.loads(wanted["definition"]))
        shown = ", ".join(changed[:_MOST_DIFFERENCES])
        more = len(changed) - _MOST_DIFFERENCES
        also = f" and {more} more" if more > 0 else ""
        raise StoreError(
            f"{path}: holds another sweep than {sweep.path}: {shown}{also} changed; {way_out}"
        )
    if found.get("code_sha256") != wanted["code_sha256"]:
        before, now = (json.loads(meta.get("versions", "{}")) for meta in (found, wanted))
        changed = [
            f"{name} {before.get(name)} is {now.get(name)} now"
            for name in sorted({*before, *now})
            if before.get(name) != now.get(name)
        ]
        what = ", ".join(changed) or "azsim's sources changed"
        raise StoreError(f"{path}: was written by other code: {what}; {way_out}")


def _differences(before: Any, now: Any, place: str = "") -> list[str]:
    """Dotted places in which two documents differ; the deepest that say it."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        inner = []
        for key in dict.fromkeys((*before, *now)):
            inner += _differences(
                before.get(key), now.get(key), f"{place}.{key}" if place else str(key)
            )
        return inner
    return [] if before == now and type(before) is type(now) else [place or "all"]


# ------------------------------------------------------------------------------------- rows


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("begin immediate")
    try:
        yield
        connection.execute("commit")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("rollback")
        raise


def _row(outcome: Outcome) -> Sequence[object]:
    trial = outcome.trial
    return (
        trial.number,
        trial.rung,
        outcome.state,
        _json(dict(trial.design)),
        _json(dict(outcome.figures)),
        outcome.key,
        None if outcome.summary is None else _json(outcome.summary),
        outcome.message,
        outcome.traceback,
        _json({stage: dict(counts) for stage, counts in outcome.reused.items()}),
        outcome.tries,
        outcome.seconds,
        outcome.worker,
        _now(),
    )


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no place in JSON")


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def _reason(error: sqlite3.Error) -> str:
    text = str(error)
    return {
        "database is locked": "another program holds it locked",
        "attempt to write a readonly database": "it is read-only",
        "unable to open database file": "no file can be made there",
    }.get(text, text)


# -------------------------------------------------------------------------------- set aside


def _aside(path: Path) -> Path:
    """Return the first free name for a file that is set aside."""
    number = 1
    while (free := path.with_name(f"{path.stem}.{number}{path.suffix}")).exists():
        number += 1
    return free


def _set_aside(path: Path) -> None:
    if not path.exists():
        return
    with contextlib.suppress(sqlite3.Error):  # takes the log into the file, if it is one
        connection = sqlite3.connect(path, timeout=_WAIT_S)
        try:
            connection.execute("pragma wal_checkpoint(truncate)")
        finally:
            connection.close()
    aside = _aside(path)
    try:
        for suffix in ("-wal", "-shm", ""):
            beside = path.with_name(path.name + suffix)
            if beside.exists():
                beside.rename(aside.with_name(aside.name + suffix))
    except OSError as error:
        reason = error.strerror or str(error)
        raise StoreError(f"{path}: cannot be set aside as {aside.name}, {reason}") from None
