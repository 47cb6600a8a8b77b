"""``azsim compile``, and the tables of the compiler's passes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from azsim.cli.loading import ASSEMBLY_SUFFIX, PROGRAM_SUFFIX, load, planning_chip
from azsim.cli.terminal import show_tables
from azsim.errors import InputError, unknown

if TYPE_CHECKING:
    from azsim.report.passes import PassTables

__all__ = ["compile_", "pass_tables", "show_passes"]


def compile_(arguments: argparse.Namespace) -> int:
    """Compile a workload and show the tables of its passes."""
    from azsim import pipeline

    if Path(arguments.workload).suffix in (PROGRAM_SUFFIX, ASSEMBLY_SUFFIX):
        raise InputError(f"{arguments.workload}: is a program already, allowed: a workload")
    shown = pass_tables(arguments)
    workload, hardware = load(arguments)
    pipeline.compile_workload(workload, hardware, shown, planning_chip(arguments))
    if arguments.json:
        from azsim.report.json_text import json_text

        sys.stdout.write(json_text(shown.records()))
        return 0
    show_passes(shown)
    show_tables([shown.overview()])
    return 0


def pass_tables(arguments: argparse.Namespace) -> PassTables:
    """Return what collects the values of the passes that `--print-after` names."""
    from azsim.compiler.compile import PASSES
    from azsim.report.passes import PassTables

    allowed = (*PASSES, "all")
    strange = [name for name in arguments.print_after if name not in allowed]
    if strange:
        raise InputError("\n".join(unknown("pass", name, allowed) for name in strange))
    return PassTables(PASSES if "all" in arguments.print_after else arguments.print_after)


def show_passes(shown: PassTables) -> None:
    """Print the tables of each pass that was asked for."""
    for tables in shown.tables.values():
        show_tables(tables)
        print()
