"""A folder of modules as a table: one file, one entry, and the file's name is its public name."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Mapping
from types import MappingProxyType, ModuleType

__all__ = ["load_folder"]


@functools.cache
def load_folder(
    package: str, required: tuple[str, ...], besides: tuple[str, ...] = ()
) -> Mapping[str, ModuleType]:
    """Import every public module of a package and check what it defines.

    Parameters
    ----------
    package : str
        Dotted name of the package.
    required : tuple of str
        Names that each module must define.
    besides : tuple of str
        Public modules of the package that are no entries of the table.

    Returns
    -------
    mapping of str to module
        Sorted by name; modules that start with an underscore are left out.

    Raises
    ------
    TypeError
        If a module lacks one of the required names.
    """
    path = importlib.import_module(package).__path__
    table: dict[str, ModuleType] = {}
    for name in sorted(info.name for info in pkgutil.iter_modules(path)):
        if name.startswith("_") or name in besides:
            continue
        module = importlib.import_module(f"{package}.{name}")
        missing = [entry for entry in required if not hasattr(module, entry)]
        if missing:
            raise TypeError(f"{package}.{name} does not define {', '.join(missing)}")
        table[name] = module
    return MappingProxyType(table)
