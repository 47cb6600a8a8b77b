"""Encoded blocks and finished proofs, kept from one compilation to the next in the user's cache.

A block is a function of its codes, its codec and parameters, and the codecs' sources: their hash is
the name of its file.  So it is with the proof of a program, whose file says no more than that there
was nothing to find: a function of program, image, chip and the sources that checkers can reach.

A file begins with a hash of what follows it, so that one that is broken or cut short is as good as
none; other processes may be at work in the folder.  When files take more than `MOST_BYTES`, those
that were used longest ago go.  Small blocks are encoded faster than they are found.
`without_cache` leaves the folder alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from azsim.code_version import code_version
from azsim.files import make_room, write_cached
from azsim.hardware.description import Hardware
from azsim.inputs.fetch import cache_directory
from azsim.isa.encode import encode_program
from azsim.isa.program import DramImage, Program

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


def _save(path: Path, data: bytes) -> None:
    with contextlib.suppress(OSError):
        write_cached(path, _digest(data) + data)
    if _state["writes"] % _WRITES_BETWEEN_LOOKS == 0:
        make_room(_folder(), MOST_BYTES)
    _state["writes"] += 1


def proof_key(program: Program, image: DramImage, hardware: Hardware) -> bytes:
    """Name of what the checkers find in a program."""
    key = hashlib.blake2b(code_version("azsim.sim.checks").encode(), digest_size=20)
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
    key = hashlib.blake2b(code_version("azsim.codecs").encode(), digest_size=20)
    key.update(repr((name, parameters, codes.shape, bits)).encode())
    key.update(codes.tobytes())
    return _named(key.hexdigest())
