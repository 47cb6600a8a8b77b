"""Encoded blocks and finished proofs, kept from one compilation to the next in the user's cache.

A block is a function of its codes, its codec and parameters, and the codecs' sources: their hash is
the name of its file.  So it is with the proof of a program, whose file says no more than that there
was nothing to find: a function of program, image, chip and all of azsim's sources.

A file begins with a hash of what follows it, so that one that is broken or cut short is as good as
none.  Files are written beside their place and moved there, which is safe with other processes at
work.  When they take more than `MOST_BYTES`, those that were used longest ago go.  Small blocks are
encoded faster than they are found.  `without_cache` leaves the folder alone.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

import azsim.codecs
from azsim.hardware.description import Hardware
from azsim.inputs.fetch import cache_directory
from azsim.isa.encode import encode_program
from azsim.isa.program import DramImage, Program
from azsim.isa.spec import instruction_set

__all__ = [
    "MOST_BYTES",
    "is_proved",
    "load_block",
    "note_proof",
    "proof_key",
    "save_block",
    "without_cache",
]

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
    return _load(_path(name, parameters, codes, bits))


def _load(path: Path) -> bytes | None:
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
    _save(_path(name, parameters, codes, bits), block)


def _save(path: Path, block: bytes) -> None:
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(_digest(block) + block)
        Path(file.name).replace(path)
    if _state["writes"] % _WRITES_BETWEEN_LOOKS == 0:
        _make_room(_folder())
    _state["writes"] += 1


def proof_key(program: Program, image: DramImage, hardware: Hardware) -> bytes:
    """Name of what the checkers find in a program."""
    key = hashlib.blake2b(_package_digest(), digest_size=20)
    key.update(repr((replace(program, instructions=()), hardware)).encode())
    key.update(encode_program(program).tobytes())
    key.update(image.data.data)
    return key.digest()


def is_proved(key: bytes) -> bool:
    """Whether the checkers had nothing to find in this very program."""
    return not _state["is_off"] and _load(_named(key.hex())) == b"proved"


def note_proof(key: bytes) -> None:
    """Keep that the checkers had nothing to find."""
    if not _state["is_off"]:
        _save(_named(key.hex()), b"proved")


def _named(text: str) -> Path:
    return _folder() / text[:2] / text[2:]


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
    key.update(codes.tobytes())
    return _named(key.hexdigest())


@functools.cache
def _sources_digest() -> bytes:
    """Hash of everything that decides what a block looks like."""
    digest = hashlib.blake2b(np.__version__.encode(), digest_size=_DIGEST_BYTES)
    folder = Path(azsim.codecs.__path__[0])
    for path in sorted(folder.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.digest()


@functools.cache
def _package_digest() -> bytes:
    """Hash of all sources, and of the instruction set."""
    digest = hashlib.blake2b(np.__version__.encode(), digest_size=_DIGEST_BYTES)
    for path in sorted(Path(azsim.codecs.__path__[0]).parent.rglob("*.py")):
        digest.update(path.as_posix().encode() + b"\0" + path.read_bytes())
    digest.update(repr(instruction_set()).encode())
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
