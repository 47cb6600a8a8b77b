"""The one place with numba options and the compilation cache.

Numba's disk cache does not see that a function in *another* file changed, nor that
NUMBA_BOUNDSCHECK or the processor's name were set otherwise, and raises at import where its
directory cannot be written.  So the cache lives in a directory named by a hash of the modules that
hold kernels (those that import this one), of numba's version and of those settings, and without
any writable directory there is no cache.  In it a module's kernels lie under the module's name and
not under its path, so that an installed copy and a checkout of the same sources share them.  A
kernel takes numbers from its arguments or from a
module that holds kernels itself; a constant from elsewhere would be compiled in and grow stale.
"""

from __future__ import annotations

import functools
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

import numba
import numba.core.caching
import numba.core.config
from numba.core.registry import cpu_target

__all__ = ["has_feature", "inlined_kernel", "inner_kernel", "kernel", "sources_digest"]

_SETTINGS = ("BOUNDSCHECK", "CPU_NAME", "CPU_FEATURES")


@functools.cache
def sources_digest() -> str:
    """Hash of every module that holds kernels: the first 16 hex digits of a sha256."""
    root = Path(__file__).parent
    digest = hashlib.sha256(numba.__version__.encode())
    for path in sorted(root.rglob("*.py")):
        source = path.read_bytes()
        if b"azsim.jit" in source or path == Path(__file__):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + source)
    return digest.hexdigest()[:16]


def _settings_digest() -> str:
    """Hash of numba's settings that change what is compiled and that its cache does not see."""
    values = (str(getattr(numba.core.config, name)) for name in _SETTINGS)
    return hashlib.sha256("\0".join(values).encode()).hexdigest()[:8]


def _usable(directory: Path) -> bool:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            return True
    except OSError:
        return False


@functools.cache
def _cache_directory() -> Path | None:
    if named := os.environ.get("AZSIM_CACHE_DIR"):
        base = Path(named)
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "azsim"
        if not base.is_absolute():  # a user without a home
            return None
    directory = base / "jit" / f"{sources_digest()}-{_settings_digest()}"
    return directory if _usable(directory) else None


def kernel(*signatures: Any) -> Any:
    """Compile a function with azsim's one set of options; a decorator, bare or with signatures.

    No fast-math: float32 operations keep their order and are never fused, so that every host
    gives the same bits.  Division by zero gives IEEE values instead of a Python exception.

    With signatures (numba's strings) exactly these are compiled, when the module is imported;
    without, one is compiled for each combination of argument types and array layouts.
    """
    if len(signatures) == 1 and callable(signatures[0]):
        return numba.njit(**_options())(signatures[0])
    return numba.njit(list(signatures), **_options())


def inner_kernel(function: Any) -> Any:
    """Compile a short function that kernels call very often; it must not make or keep arrays.

    It borrows its caller's arrays.  A function compiled by `kernel` counts a reference to each of
    them, atomically, which takes longer than a few lines of arithmetic.
    """
    return numba.njit(**_options(_nrt=False))(function)


def inlined_kernel(function: Any) -> Any:
    """Compile a function into each kernel that calls it, however long it is.

    A loop that calls one without branches can then work on several numbers at once.
    """
    return numba.njit(**_options(forceinline=True))(function)


def has_feature(name: str) -> bool:
    """Whether kernels are compiled for a processor with an extension, by LLVM's name for it."""
    target: Any = cpu_target.target_context
    _, _, features = target.codegen().magic_tuple()
    return f"+{name}" in features.split(",")


_Located: Any = getattr(numba.core.caching, "UserProvidedCacheLocator", object)
"""numba's own, which goes by the path; public from the version on that takes others."""


class Locator(_Located):
    """Says where numba caches a kernel of this package: by the names of folder and module."""

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> Any:
        """Give a locator for a function of this package, and None for others."""
        is_ours = Path(py_file).is_relative_to(Path(__file__).parent)
        return super().from_function(py_func, py_file) if is_ours else None

    @classmethod
    def get_suitable_cache_subpath(cls, py_file: str) -> str:
        """Folder in the cache."""
        return ".".join(Path(py_file).relative_to(Path(__file__).parent).parent.parts)


def _locators() -> str:
    """What numba asks where to cache a function, one after another: this package, then its own."""
    names = ("UserProvided", "InTree", "UserWide", "IPython", "Zip")
    known = [f"{name}CacheLocator" for name in names]
    return ",".join([f"{__name__}.Locator", *(n for n in known if hasattr(numba.core.caching, n))])


def _options(**more: Any) -> dict[str, Any]:
    directory = _cache_directory()
    if directory is not None:
        config: Any = numba.core.config
        config.CACHE_DIR = str(directory)
        if _Located is not object and not getattr(config, "CACHE_LOCATOR_CLASSES", "?"):
            config.CACHE_LOCATOR_CLASSES = _locators()
    return {"cache": directory is not None, "error_model": "numpy", "fastmath": False, **more}
