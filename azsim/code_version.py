"""Code version: a hash of the sources and libraries that a stage's result depends on.

Dependence is told by rooms, as imports may be late and tables are found by folder: a stage depends
on a file of its own, and on all of every room that can be reached from it by import statements.
"""

from __future__ import annotations

import functools
import hashlib
import platform
import re
from importlib import metadata
from pathlib import Path

from azsim.resources import isa_directory

__all__ = ["code_version", "rooms_of"]

_PACKAGE = Path(__file__).parent
_IMPORT = re.compile(
    r"^\s*(?:from azsim\.|import azsim\.|from azsim import )([\w.]+)", re.MULTILINE
)
_LIBRARIES = ("numpy", "numba", "onnx")
_DATA = (".py", ".yaml", ".json")


@functools.cache
def code_version(module: str) -> str:
    """Hash of all that a module's results depend on besides its arguments.

    Parameters
    ----------
    module : str
        Such as ``azsim.sim.timing``.
    """
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr([platform.python_version(), *map(_version, _LIBRARIES)]).encode())
    for unit in sorted({_unit(module.removeprefix("azsim.")), *rooms_of(module)}):
        digest.update(f"{unit} {_unit_digest(unit)}\n".encode())
    return digest.hexdigest()


@functools.cache
def rooms_of(module: str) -> frozenset[str]:
    """Units that a module may reach: rooms, top-level modules, and files of the room `stages`."""
    found: set[str] = set()
    ahead = [_unit(module.removeprefix("azsim."))]
    while ahead:
        unit = ahead.pop()
        if unit not in found:
            found.add(unit)
            ahead += _imported(unit)
    return frozenset(found)


def _unit(name: str) -> str:
    """Which unit a dotted name below ``azsim`` belongs to.

    `stages` joins everything, so its files stand for themselves.
    """
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0] == "stages" else parts[0]


def _files(unit: str) -> list[Path]:
    path = _PACKAGE.joinpath(*unit.split("."))
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.suffix in _DATA)
    return [path.with_suffix(".py")]


@functools.cache
def _imported(unit: str) -> frozenset[str]:
    texts = (file.read_text("utf-8") for file in _files(unit) if file.suffix == ".py")
    return frozenset(_unit(name) for text in texts for name in _IMPORT.findall(text))


@functools.cache
def _unit_digest(unit: str) -> str:
    digest = hashlib.blake2b(digest_size=16)
    files = _files(unit)
    if unit == "isa":
        files = [*files, *sorted(isa_directory().rglob("*.yaml"))]
    for file in files:
        digest.update(f"{file.name}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
