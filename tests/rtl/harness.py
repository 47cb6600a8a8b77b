"""Verilog of this folder as shared libraries: verilated, compiled once, driven with arrays.

The library of a design lives in azsim's cache directory, under a hash of its sources, its
parameters and the tool's version.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

__all__ = [
    "Design",
    "bits_to_bytes",
    "build_all",
    "missing_tools",
    "modules",
    "require_rtl",
    "sources",
]

_HERE = Path(__file__).parent
_WARNINGS = ["-Wall"]
_COMPILE = ["-O1", "-fPIC", "-std=c++17", "-w"]
# What every unit includes, compiled once; and what runs once at most is not optimized: together
# half of what a design's compilation took.
_COMMON = "".join(f"#include <{name}>\n" for name in ("cstring", "memory", "vector", "verilated.h"))
_UNOPTIMIZED = """#pragma GCC push_options
#pragma GCC optimize ("O0")
#include "{path}"
#pragma GCC pop_options
"""


def missing_tools() -> list[str]:
    """Return those of the tools that Verilog needs that are not there."""
    return [tool for tool in ("verilator", "g++") if shutil.which(tool) is None]


def require_rtl() -> None:
    """Skip the calling module where verilator or g++ is missing; fail if AZSIM_REQUIRE_RTL=1."""
    import pytest  # here alone: `rtl.measure` does without

    missing = missing_tools()
    if not missing:
        return
    reason = f"RTL is not compared: {' and '.join(missing)} not found (apt install verilator g++)"
    if os.environ.get("AZSIM_REQUIRE_RTL") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason, allow_module_level=True)


def sources() -> list[Path]:
    """Return every Verilog file of this folder, sorted."""
    return sorted(_HERE.glob("*.v"))


def bits_to_bytes(fields: np.ndarray, width: int) -> np.ndarray:
    """Concatenate the low `width` bits of each integer of the last axis, first in bit 0.

    Returns
    -------
    ndarray of shape (..., bytes), uint8
    """
    values = np.ascontiguousarray(fields, np.int64)
    bits = (values[..., None] >> np.arange(width)) & 1
    flat = bits.reshape(*values.shape[:-1], values.shape[-1] * width).astype(np.uint8)
    return np.ascontiguousarray(np.packbits(flat, axis=-1, bitorder="little"))


class Design:
    """One design at one set of parameters.

    Parameters
    ----------
    top : str
        Verilog module; its driver is ``<driver>.cpp`` beside it, which defines ``run``.
    parameters : mapping of str to int
        Verilog parameters, which the driver sees as macros.
    driver : str, optional
        Name of the driver, the module's unless given.
    """

    def __init__(self, top: str, parameters: Mapping[str, int], driver: str | None = None) -> None:
        self.top = top
        self.parameters = dict(parameters)
        self.driver = driver or top

    def __call__(self, *arguments: int | np.ndarray) -> int:
        """Run the driver: integers as int64, arrays by pointer to their first element."""
        converted = [
            a.ctypes.data_as(ctypes.c_void_p) if isinstance(a, np.ndarray) else ctypes.c_int64(a)
            for a in arguments
        ]
        return self._run(*converted)

    @functools.cached_property
    def _run(self) -> ctypes._NamedFuncPointer:
        function = ctypes.CDLL(str(self.library())).run
        function.restype = ctypes.c_int64
        return function

    def library(self) -> Path:
        """Path of the shared library, built if it is not there."""
        files = [*modules(self.top), _HERE / f"{self.driver}.cpp", _HERE / "bench.h"]
        digest = hashlib.sha256(_version().encode())
        digest.update(repr((self.top, sorted(self.parameters.items()), _COMPILE)).encode())
        for path in files:
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
        target = _cache() / f"{self.top}-{digest.hexdigest()[:20]}.so"
        if not target.exists():
            self._build(target)
        return target

    def _build(self, target: Path) -> None:
        common, *runtime = _runtime()
        with tempfile.TemporaryDirectory(dir=target.parent) as directory:
            work = Path(directory)
            settings = [f"-G{name}={value}" for name, value in self.parameters.items()]
            _command(
                ["verilator", "--cc", *_WARNINGS, "-O3", "--prefix", "Vtop", "--Mdir", directory,
                 "--top-module", self.top, *settings, *map(str, modules(self.top))]
            )  # fmt: skip
            macros = [f"-D{name}={value}" for name, value in self.parameters.items()]
            built, unit = work / "library.so", work / "unit.cc"
            parts = [*sorted(work.glob("*.cpp")), _HERE / f"{self.driver}.cpp"]
            unit.write_text("".join(map(_included, parts)))
            _command(
                ["g++", "-shared", *_COMPILE, "-include", str(common), *macros, f"-I{directory}",
                 f"-I{_HERE}", *_include_flags(), "-o", str(built), str(unit),
                 *map(str, runtime), "-pthread"]
            )  # fmt: skip
            built.replace(target)


def build_all(designs: Sequence[Design]) -> None:
    """Build what is not built yet, on every core."""
    _runtime()
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(Design.library, designs))


@functools.cache
def modules(top: str) -> tuple[Path, ...]:
    """Files of a module and of those that it instantiates; a file holds the module of its name."""
    found, left = [], [top]
    names = {path.stem for path in sources()}
    while left:
        path = _HERE / f"{left.pop()}.v"
        found.append(path)
        used = names & set(re.findall(r"^\s*(\w+) #?\(?", path.read_text(), re.MULTILINE))
        left += sorted(used - {other.stem for other in found} - set(left))
    return tuple(found)


def _command(arguments: Sequence[str]) -> str:
    done = subprocess.run(arguments, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{arguments[0]} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout


@functools.cache
def _version() -> str:
    return _command(["verilator", "--version"])


@functools.cache
def _cache() -> Path:
    base = os.environ.get("AZSIM_CACHE_DIR")
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    path = (Path(base) if base else Path(home) / "azsim") / "rtl"
    path.mkdir(parents=True, exist_ok=True)
    return path


@functools.cache
def _root() -> Path:
    return Path(_command(["verilator", "--getenv", "VERILATOR_ROOT"]).strip()) / "include"


def _include_flags() -> list[str]:
    return [f"-I{_root()}", f"-I{_root() / 'vltstd'}"]


def _included(path: Path) -> str:
    """A part of a unit; verilator says of what is slow that it runs once."""
    is_slow = path.name.endswith(("Slow.cpp", "Syms.cpp"))
    return _UNOPTIMIZED.format(path=path) if is_slow else f'#include "{path}"\n'


@functools.cache
def _runtime() -> tuple[Path, ...]:
    """A header with its precompiled form beside it, and objects of verilator's own runtime."""
    text = _version() + repr(_COMPILE) + _COMMON
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    common = _cache() / f"common-{digest}.h"
    compiled = common.with_name(common.name + ".gch")
    if not compiled.exists():
        part = common.with_suffix(f".{os.getpid()}.part")
        part.write_text(_COMMON)
        part.replace(common)
        _command(
            ["g++", "-x", "c++-header", *_COMPILE, *_include_flags(), "-o", str(part), str(common)]
        )
        part.replace(compiled)
    objects = [common]
    for name in ("verilated", "verilated_threads"):
        target = _cache() / f"{name}-{digest}.o"
        if not target.exists():
            part = target.with_suffix(f".{os.getpid()}.part")
            _command(
                ["g++", "-c", *_COMPILE, *_include_flags(), "-o", str(part),
                 str(_root() / f"{name}.cpp")]
            )  # fmt: skip
            part.replace(target)
        objects.append(target)
    return tuple(objects)
