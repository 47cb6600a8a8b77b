"""Open the store of a sweep: begin it, or make sure that it is of this very sweep and code."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from azsim.sweeps.folder_lock import FolderLock
from azsim.sweeps.sqlite_file import (
    FILE_NAME,
    StoreError,
    connect,
    free_name,
    reason,
    set_aside,
    transaction,
)
from azsim.sweeps.store import COLUMNS, TABLES, Store, json_text, utc_now

if TYPE_CHECKING:
    from azsim.sweeps.space import Sweep

__all__ = ["SCHEMA_VERSION", "open_store"]

SCHEMA_VERSION = 1

_WAY_OUT = "choose another folder with -o, or --restart, which sets the file aside as {}"
_MOST_DIFFERENCES = 4


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
        why = error.strerror or str(error)
        raise StoreError(f"{folder}: cannot be written, {why}; choose another folder") from None
    try:
        if restart:
            set_aside(path)
        connection = connect(path)
        try:
            _begin_or_check(connection, path, _meta(sweep, code, versions), sweep)
            return Store(connection, path, lock)
        except BaseException:
            connection.close()
            raise
    except BaseException:
        lock.release()
        raise


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
        with transaction(connection):  # now, and not after the first point
            connection.execute("update meta set value = value where key = 'name'")
    except sqlite3.Error as error:
        if is_new:
            connection.close()
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        raise _unusable(path, error) from None


def _unusable(path: Path, error: sqlite3.Error) -> StoreError:
    if getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        way_out = _WAY_OUT.format(free_name(path).name)
        return StoreError(f"{path}: is no SQLite file that can be read; {way_out}")
    return StoreError(f"{path}: cannot be written, {reason(error)}; mend that and run it again")


def _begin(connection: sqlite3.Connection, meta: Mapping[str, str], sweep: Sweep) -> None:
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = full")
    with transaction(connection):
        for statement in filter(str.strip, TABLES.split(";")):
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
        "axes": json_text(
            [{"name": a.name, "kind": a.kind, "target": a.target} for a in sweep.axes]
        ),
        "objectives": json_text(
            [
                {"name": entry.name, "key": entry.key, "goal": entry.goal, "unit": entry.unit}
                for entry in sweep.objectives
            ]
        ),
        "versions": json_text(dict(versions)),
        "created": utc_now(),
    }


def _read_meta(connection: sqlite3.Connection, path: Path) -> dict[str, str]:
    way_out = _WAY_OUT.format(free_name(path).name)
    try:
        meta = dict(connection.execute("select key, value from meta"))
        version = int(meta["schema_version"])
        json.loads(meta["definition"])
        connection.execute(f"select {COLUMNS} from points limit 0")
    except (sqlite3.OperationalError, KeyError, ValueError):
        raise StoreError(f"{path}: holds no sweep of azsim that can go on; {way_out}") from None
    if version != SCHEMA_VERSION:
        found = f"schema {version}, allowed: {SCHEMA_VERSION}"
        raise StoreError(f"{path}: was written by another azsim, {found}; {way_out}")
    return meta


def _check_sweep(
    path: Path, found: Mapping[str, str], wanted: Mapping[str, str], sweep: Sweep
) -> None:
    way_out = _WAY_OUT.format(free_name(path).name)
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
