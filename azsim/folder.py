"""A folder of modules as a table: one file, one entry, and the file's name is its public name."""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

__all__ = ["ModuleSource", "folder_names", "load_folder", "read_folder"]


@dataclass(frozen=True)
class ModuleSource:
    """What a module's text says, for lists that need not import it.

    Attributes
    ----------
    document : str
        Docstring.
    names : mapping of str to object
        What it defines or imports, with its value where that is written as a literal; else None.
    """

    document: str
    names: Mapping[str, Any]


@functools.cache
def folder_names(package: str) -> tuple[str, ...]:
    """Names of the public modules of a package, sorted; imports neither them nor the package."""
    return tuple(path.stem for path in _modules(package))


def read_folder(package: str) -> Mapping[str, ModuleSource]:
    """Text of a package's public modules, by sorted name; imports none, reads one when asked."""
    return _Sources({path.stem: path for path in _modules(package)})


class _Sources(Mapping[str, ModuleSource]):
    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._paths = paths

    def __getitem__(self, name: str) -> ModuleSource:
        return _source(self._paths[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


def _modules(package: str) -> list[Path]:
    spec = importlib.util.find_spec(package)
    folders = (spec.submodule_search_locations if spec else None) or ()
    return sorted(path for folder in folders for path in Path(folder).glob("[!_]*.py"))


def _source(path: Path) -> ModuleSource:
    tree = ast.parse(path.read_text("utf-8"))
    names: dict[str, Any] = {}
    for statement in tree.body:
        match statement:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                names[name] = None
            case ast.Import(names=imported) | ast.ImportFrom(names=imported):
                names |= {alias.asname or alias.name: None for alias in imported}
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    found = target.elts if isinstance(target, ast.Tuple) else [target]
                    one = _literal(value) if len(found) == 1 else None
                    names |= {entry.id: one for entry in found if isinstance(entry, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                names[name] = _literal(value)
    return ModuleSource(ast.get_docstring(tree) or "", MappingProxyType(names))


def _literal(value: ast.expr) -> Any:
    try:
        return ast.literal_eval(value)
    except ValueError:
        return None


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
