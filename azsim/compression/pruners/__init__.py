"""Pruners, one file each: which weights become zero.

A pruner is one module of this package that defines

``PARAMETERS``
    tuple of str, keys of ``prune:`` that it takes beside `method`.
``REQUIRED``
    tuple of str, those of them that have no default.
``prune(matrices, rules, column_power) -> dict of str to ndarray``
    Of all matrices that name the pruner, in their order: float32, finite, of shape (N, K), left
    as they are; an array from which nothing was taken may be the given one.  `column_power` holds
    the mean squared activation of each input column (K,) of those that were calibrated.
"""

from __future__ import annotations

from types import ModuleType

from azsim.folder import folder_names, load_folder

__all__ = ["pruner", "pruner_names"]

_REQUIRED = ("PARAMETERS", "REQUIRED", "prune")


def pruner_names() -> tuple[str, ...]:
    """Names of all pruners, sorted; imports none of them."""
    return folder_names(__name__)


def pruner(name: str) -> ModuleType:
    """Return a pruner's module, by one of `pruner_names`."""
    return load_folder(__name__, _REQUIRED)[name]
