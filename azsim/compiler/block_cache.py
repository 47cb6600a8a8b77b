"""Encoded blocks, kept from one compilation to the next in the user's cache folder.

A block is a function of its codes, its codec and parameters, and the codecs' sources: their hash is
the name of its file.  A file begins with a hash of what follows it, so that one that is broken or
cut short is as good as none.  Files are written beside their place and moved there, which is safe
with other processes at work.  When they take more than `MOST_BYTES`, those that were used longest
ago go.  Small blocks are encoded faster than they are found.

`without_cache` leaves the folder alone.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import azsim.codecs
from azsim.inputs.fetch import cache_directory

__all__ = ["MOST_BYTES", "load_block", "save_block", "without_cache"]

MOST_BYTES = 1 << 30
_LEAST_CODES = 4096
_DIGEST_BYTES = 16
_WRITES_BETWEEN_LOOKS = 512

_state = {"is_off": False, "writes": 0}


@contextlib.contextmanager
def without_cache() -> Iterator[None]:
    """Neither read nor write any block."""
    before, _state["is_off"] = _state["is_off"], True
    try:
        yield
    finally:
        _state["is_off"] = before


def load_block(
    name: str, parameters: tuple[tuple[str, int | bool], ...], codes: np.ndarray, bits: int
) -> bytes | None:
    """Block of a tile, (N, K) int8, if it was encoded before."""
    if not _is_worth_it(codes):
        return None
    path = _path(name, parameters, codes, bits)
    try:
        data = path.read_bytes()
        if _digest(data[_DIGEST_BYTES:]) != data[:_DIGEST_BYTES]:
            return None
        os.utime(path)
    except OSError:
        return None
    return data[_DIGEST_BYTES:]


def save_block(
    name: str,
    parameters: tuple[tuple[str, int | bool], ...],
    codes: np.ndarray,
    bits: int,
    block: bytes,
) -> None:
    """Keep a tile's block; a folder that cannot be written keeps nothing."""
    if not _is_worth_it(codes):
        return
    path = _path(name, parameters, codes, bits)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(_digest(block) + block)
        Path(file.name).replace(path)
    if _state["writes"] % _WRITES_BETWEEN_LOOKS == 0:
        _make_room(_folder())
    _state["writes"] += 1


def _is_worth_it(codes: np.ndarray) -> bool:
    return codes.size >= _LEAST_CODES and not _state["is_off"]


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest()


def _folder() -> Path:
    return cache_directory() / "blocks"


def _path(
    name: str, parameters: tuple[tuple[str, int | bool], ...], codes: np.ndarray, bits: int
) -> Path:
    key = hashlib.blake2b(_sources_digest(), digest_size=20)
    key.update(repr((name, parameters, codes.shape, bits)).encode())
    key.update(np.ascontiguousarray(codes).data)
    text = key.hexdigest()
    return _folder() / text[:2] / text[2:]


@functools.cache
def _sources_digest() -> bytes:
    """Hash of everything that decides what a block looks like."""
    digest = hashlib.blake2b(np.__version__.encode(), digest_size=_DIGEST_BYTES)
    folder = Path(azsim.codecs.__path__[0])
    for path in sorted(folder.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.digest()


def _make_room(folder: Path) -> None:
    """Delete what was used longest ago, until three quarters of the most are left."""
    files: list[tuple[float, int, str]] = []
    for inner in folder.glob("*/*"):
        with contextlib.suppress(OSError):
            found = inner.stat()
            files.append((found.st_mtime, found.st_size, str(inner)))
    total = sum(size for _, size, _ in files)
    if total <= MOST_BYTES:
        return
    for _, size, path in sorted(files):
        if total <= MOST_BYTES * 3 // 4:
            break
        with contextlib.suppress(OSError):
            Path(path).unlink()
        total -= size
