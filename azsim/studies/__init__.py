"""Questions with their answers in the tree: one file a study, its name is the public name.

A study's module starts with its question.  It defines ``run(directory, progress)``, which writes
the answer anew, and ``sample()``, which computes a few of its figures anew for a test to compare
with those of ``reports/``.  One that is made of what takes hours, such as trained weights, may also
define ``run_anew(directory, work, progress)``, which makes that first, in the folder `work`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

from azsim.folder import load_folder

__all__ = ["studies"]


def studies() -> Mapping[str, ModuleType]:
    """Return every study by name; cheap, as a study imports what it runs when it runs."""
    return load_folder("azsim.studies", ("run", "sample"))
