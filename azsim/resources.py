"""Where the data of the package lies: beside it in a checkout, inside it in a wheel."""

from __future__ import annotations

from pathlib import Path

__all__ = [
    "DEFAULT_HARDWARE",
    "checkout_root",
    "default_directory",
    "isa_directory",
    "working_checkout",
    "workloads_directory",
]

DEFAULT_HARDWARE = "az1"
"""The preset of a workload, or of a command, that names none."""

_PACKAGE = Path(__file__).parent


def checkout_root() -> Path | None:
    """Return the root of the source tree that azsim runs from, or None for an installed wheel."""
    root = _PACKAGE.parent
    return root if _is_checkout(root) and not (_PACKAGE / "_data").is_dir() else None


def _is_checkout(root: Path) -> bool:
    return all((root / name).is_dir() for name in ("azsim", "isa", "workloads"))


def working_checkout() -> Path | None:
    """Return the source tree that azsim runs from, or that it was called in, or None."""
    return checkout_root() or next(filter(_is_checkout, (here := Path.cwd(), *here.parents)), None)


def default_directory(below: str, name: str) -> Path:
    """Return where results go unless the user says otherwise."""
    root = working_checkout()
    return Path("azsim-runs") / name if root is None else root / "reports" / below / name


def _data_directory(name: str) -> Path:
    root = checkout_root()
    return (_PACKAGE / "_data" if root is None else root) / name


def isa_directory() -> Path:
    """Return the folder of the instruction set's YAML files."""
    return _data_directory("isa")


def workloads_directory() -> Path:
    """Return the folder of the workload files that travel with azsim."""
    return _data_directory("workloads")
