"""Folder lock: one process at a time writes to a folder; the system lets go when it ends."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

from azsim.errors import InputError

try:
    import fcntl
except ImportError:  # Windows: SQLite keeps the file whole, but a second sweep is not noticed
    fcntl = None

__all__ = ["LOCK_NAME", "FolderLock"]

LOCK_NAME = "results.lock"


class FolderLock:
    """Holds a folder until it is released or the process ends, however that is.

    Parameters
    ----------
    folder : Path

    Raises
    ------
    InputError
        If another process holds it.
    OSError
        If nothing can be written there.
    """

    def __init__(self, folder: Path) -> None:
        self._file = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if fcntl is not None:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        except BlockingIOError:
            holder = os.pread(self._file, 256, 0).decode(errors="replace") or "another process"
            os.close(self._file)
            raise InputError(
                f"{folder}: {holder} writes there now; wait for it or end it, or choose another "
                "folder with -o"
            ) from None
        except OSError:
            os.close(self._file)
            raise

    def release(self) -> None:
        """Let go; the file stays, as another process may have it open to wait for it."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._file, 0)
        os.close(self._file)
