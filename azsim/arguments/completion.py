"""What a shell completes: files, folders and names of what there is.  Standard library only."""

from __future__ import annotations

import argparse
from pathlib import Path

from azsim.resources import checkout_root

__all__ = [
    "DIRECTORY",
    "FILE",
    "HARDWARE",
    "STUDY",
    "SWEEP",
    "WORKLOAD",
    "complete",
    "shell_functions",
    "study_names",
]

_PACKAGE = Path(__file__).parents[1]

# What shtab completes, by shell; functions of `shell_functions` or its own.
FILE = {"bash": "_shtab_compgen_files", "zsh": "_files", "tcsh": "f"}
DIRECTORY = {"bash": "_shtab_compgen_dirs", "zsh": "_files -/", "tcsh": "d"}
WORKLOAD = {"bash": "_azsim_workloads", "zsh": "_azsim_workloads", "tcsh": "f"}
HARDWARE = {"bash": "_azsim_hardware", "zsh": "_azsim_hardware", "tcsh": "f"}
SWEEP = {"bash": "_azsim_sweeps", "zsh": "_azsim_sweeps", "tcsh": "f"}
STUDY = {"bash": "_azsim_studies", "zsh": "_azsim_studies", "tcsh": "f"}


def complete(action: argparse.Action, how: dict[str, str]) -> None:
    """Say what a shell completes an argument with: one of the constants above."""
    action.complete = how  # pyright: ignore[reportAttributeAccessIssue]


def shell_functions() -> dict[str, str]:
    """Functions that complete names and files, by shell."""
    names = {
        "workloads": _names("../workloads" if checkout_root() else "_data/workloads", ".yaml"),
        "hardware": _names("hardware/presets", ".yaml"),
        "studies": _names("studies", ".py"),
        "sweeps": [
            *_names(
                "../workloads/sweeps" if checkout_root() else "_data/workloads/sweeps", ".yaml"
            ),
            "export",
            "report",
        ],
    }
    bash, zsh = [], []
    for kind, entries in names.items():
        words = " ".join(entries)
        files = "" if kind == "studies" else "compgen -f -- $1; "
        bash.append(f'_azsim_{kind}() {{ {files}compgen -W "{words}" -- $1; }}')
        files = "" if kind == "studies" else "; _files"
        zsh.append(f"_azsim_{kind}() {{ compadd -- {words}{files} }}")
    return {"bash": "\n".join(bash), "zsh": "\n".join(zsh)}


def study_names() -> list[str]:
    """Names of the studies, sorted; imports none of them."""
    return _names("studies", ".py")


def _names(folder: str, suffix: str) -> list[str]:
    """Entries of one of the package's folders."""
    return sorted(path.stem for path in (_PACKAGE / folder).glob(f"[!_]*{suffix}"))
