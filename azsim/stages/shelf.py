"""Shelf: results of stages on disk, in the user's cache, shared by processes.

A result is a pickle.  Arrays and byte strings of 32 KiB and more lie in files of their own under
their hash, once however many results hold them, and arrays are mapped into memory, so that
processes that read one result share its pages.

Every file is written beside its place and moved there: it is whole, or it is not there.  A result
that cannot be read is as good as none.  When files take more than the limit, those that were used
longest ago go.  The folder is the user's own: like numba's, its files are code to whoever reads
them, and azsim never reads one that came from elsewhere.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import pickle
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from azsim.files import make_room, write_cached

__all__ = ["MOST_BYTES", "Shelf"]

MOST_BYTES = 8 << 30
"""What a shelf may take unless told otherwise."""

_LEAST_BYTES = 1 << 15
_SAVED_BETWEEN_LOOKS = 256
_BYTES_BETWEEN_LOOKS = 1 << 28
_BROKEN = (
    OSError,
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    ImportError,
    IndexError,
)


class Shelf:
    """Results of stages in a folder.

    Parameters
    ----------
    folder : Path
        Made when something is saved.
    most_bytes : int
        What its files may take.
    """

    def __init__(self, folder: Path, most_bytes: int = MOST_BYTES) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._saved = self._saved_bytes = 0  # since the last look at how much there is

    def load(self, stage: str, key: str) -> Any | None:
        """Return a result, or None where there is none."""
        path = self._path(stage, key)
        try:
            with path.open("rb") as file:
                value = _Reader(file, self._folder).load()
            os.utime(path)
        except _BROKEN:
            return None
        return value

    def save(self, stage: str, key: str, value: Any) -> None:
        """Keep a result; where that fails, such as on a full disk, nothing is kept."""
        with contextlib.suppress(OSError):
            text = BytesIO()
            writer = _Writer(text, self._folder)
            writer.dump(value)
            write_cached(self._path(stage, key), text.getbuffer())
            self._saved += 1
            self._saved_bytes += writer.written_bytes + text.tell()
            if self._saved >= _SAVED_BETWEEN_LOOKS or self._saved_bytes >= self._between_bytes():
                make_room(self._folder, self._most_bytes)
                self._saved = self._saved_bytes = 0

    @contextlib.contextmanager
    def making(self, stage: str, key: str) -> Iterator[None]:
        """Wait until no other process makes this result; a process that dies gives it free."""
        path = self._folder / "locks" / f"{stage}-{key}"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = path.open("wb")
        except OSError:  # a folder that cannot be written: both make it
            yield
            return
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
            with contextlib.suppress(OSError):
                path.unlink()

    def _path(self, stage: str, key: str) -> Path:
        return self._folder / stage / key

    def _between_bytes(self) -> int:
        return min(_BYTES_BETWEEN_LOOKS, self._most_bytes // 4)


def _proxy(mapping: dict[Any, Any]) -> MappingProxyType[Any, Any]:
    return MappingProxyType(mapping)


class _Writer(pickle.Pickler):
    """Puts large arrays and byte strings into files of their own."""

    def __init__(self, file: Any, folder: Path) -> None:
        super().__init__(file, protocol=5)
        self._folder = folder
        self._written: dict[int, tuple[Any, tuple[Any, ...]]] = {}
        self.written_bytes = 0

    def reducer_override(self, value: Any) -> Any:
        """Pickle what pickle cannot."""
        if isinstance(value, MappingProxyType):
            return _proxy, (dict(value),)
        return NotImplemented

    def persistent_id(self, value: Any) -> Any:
        """Name the file of a large array or byte string."""
        if isinstance(value, bytes):
            return self._name(value, ()) if len(value) >= _LEAST_BYTES else None
        if type(value) is not np.ndarray or value.dtype.hasobject or value.nbytes < _LEAST_BYTES:
            return None
        return self._name(value, (value.dtype.str, value.shape))

    def _name(self, value: Any, kind: tuple[Any, ...]) -> tuple[Any, ...]:
        known = self._written.get(id(value))
        if known is None:
            data = value if isinstance(value, bytes) else np.ascontiguousarray(value).data
            if not isinstance(data, bytes):
                data = data.cast("B")
            digest = hashlib.blake2b(data, digest_size=20).hexdigest()
            path = _data_path(self._folder, digest)
            if path.exists() and path.stat().st_size == len(data):
                os.utime(path)
            else:
                write_cached(path, data)
                self.written_bytes += len(data)
            known = self._written[id(value)] = value, (digest, len(data), *kind)
        return known[1]


class _Reader(pickle.Unpickler):
    """Maps large arrays out of their files."""

    def __init__(self, file: Any, folder: Path) -> None:
        super().__init__(file)
        self._folder = folder

    def persistent_load(self, pid: Any) -> Any:
        """Return the array or byte string of a name."""
        digest, size, *kind = pid
        path = _data_path(self._folder, digest)
        if path.stat().st_size != size:
            raise EOFError(f"{path}: {path.stat().st_size} bytes, not {size}")
        os.utime(path)
        if not kind:
            return path.read_bytes()
        dtype, shape = kind
        # Private pages: whoever writes to the array changes neither the file nor others' arrays.
        return np.asarray(np.memmap(path, dtype, "c", shape=shape))


def _data_path(folder: Path, digest: str) -> Path:
    return folder / "data" / digest[:2] / digest[2:]
