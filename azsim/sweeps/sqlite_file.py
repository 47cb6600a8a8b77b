"""SQLite as sweeps use it: one writer, short transactions, errors that a sentence can hold."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from azsim.errors import InputError

__all__ = [
    "FILE_NAME",
    "WAIT_S",
    "StoreError",
    "connect",
    "free_name",
    "reason",
    "set_aside",
    "transaction",
]

FILE_NAME = "results.sqlite"
WAIT_S = 30.0
"""That another program may hold the file locked."""


class StoreError(InputError):
    """The file of a sweep cannot be made, read or written."""


def connect(path: Path) -> sqlite3.Connection:
    """Open a file, made if it is not there; transactions are begun by hand."""
    try:
        connection = sqlite3.connect(path, timeout=WAIT_S, isolation_level=None)
    except sqlite3.Error as error:
        raise StoreError(f"{path}: cannot be opened, {reason(error)}") from None
    return connection


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Write all that is done inside, or nothing of it."""
    connection.execute("begin immediate")
    try:
        yield
        connection.execute("commit")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("rollback")
        raise


def reason(error: sqlite3.Error) -> str:
    """What went wrong, as part of a sentence."""
    text = str(error)
    return {
        "database is locked": "another program holds it locked",
        "attempt to write a readonly database": "it is read-only",
        "unable to open database file": "no file can be made there",
    }.get(text, text)


def free_name(path: Path) -> Path:
    """Return the first free name for a file that is set aside."""
    number = 1
    while (free := path.with_name(f"{path.stem}.{number}{path.suffix}")).exists():
        number += 1
    return free


def set_aside(path: Path) -> None:
    """Give a file, with its log, the first free name."""
    if not path.exists():
        return
    with contextlib.suppress(sqlite3.Error):  # takes the log into the file, if it is one
        connection = sqlite3.connect(path, timeout=WAIT_S)
        try:
            connection.execute("pragma wal_checkpoint(truncate)")
        finally:
            connection.close()
    aside = free_name(path)
    try:
        for suffix in ("-wal", "-shm", ""):
            beside = path.with_name(path.name + suffix)
            if beside.exists():
                beside.rename(aside.with_name(aside.name + suffix))
    except OSError as error:
        why = error.strerror or str(error)
        raise StoreError(f"{path}: cannot be set aside as {aside.name}, {why}") from None
