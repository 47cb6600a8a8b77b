"""Files: written whole or not at all, and those of a cache that were used longest ago deleted."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

__all__ = ["make_room", "umask", "whole_file", "write_cached", "write_whole"]


@contextlib.contextmanager
def whole_file(path: Path, *, private: bool = False) -> Iterator[IO[bytes]]:
    """Open a file beside its place to be written, and move it there: it is whole, or not there.

    Parameters
    ----------
    path : Path
        In a folder that exists; a file that is there is replaced.
    private : bool
        For the user alone; otherwise like any file that the user makes.

    Raises
    ------
    OSError
        If it cannot be written, such as on a full disk; what was there before stays then, and
        nothing else is left.
    """
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(prefix=".azsim-", dir=path.parent, delete=False) as file:
            temporary = Path(file.name)
            yield file
        if not private:
            temporary.chmod(0o666 & ~umask())
        temporary.replace(path)
    except BaseException:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise


def write_whole(path: Path, data: bytes | memoryview, *, private: bool = False) -> None:
    """Write bytes as `whole_file` does."""
    with whole_file(path, private=private) as file:
        file.write(data)


def write_cached(path: Path, data: bytes | memoryview) -> None:
    """Write a private file as `whole_file` does, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, data, private=True)


def umask() -> int:
    """Return the permissions that files of this process are made without."""
    found = os.umask(0)
    os.umask(found)
    return found


def make_room(folder: Path, most_bytes: int) -> None:
    """Delete what was used longest ago until three quarters are left, if there is more than most.

    Parameters
    ----------
    folder : Path
        With all that lies below it; a file's time tells when it was used.
    most_bytes : int
    """
    found: list[tuple[float, int, Path]] = []
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            if path.is_file():
                entry = path.stat()
                found.append((entry.st_mtime, entry.st_size, path))
    total = sum(size for _, size, _ in found)
    if total <= most_bytes:
        return
    for _, size, path in sorted(found):
        if total <= most_bytes * 3 // 4:
            break
        with contextlib.suppress(OSError):
            path.unlink()
        total -= size
