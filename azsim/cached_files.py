"""Files of a cache: written whole, and those that were used longest ago deleted."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

__all__ = ["make_room", "write_whole"]


def write_whole(path: Path, data: bytes | memoryview) -> None:
    """Write a file beside its place and move it there: it is whole, or it is not there.

    Raises
    ------
    OSError
        If it cannot be written, such as on a full disk; nothing is left then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        try:
            file.write(data)
            file.flush()
        except OSError:
            Path(file.name).unlink(missing_ok=True)
            raise
    Path(file.name).replace(path)


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
