"""``azsim sweep``, ``azsim sweep export`` and ``azsim sweep report``."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from azsim.cli.sweep_progress import sweep_progress
from azsim.cli.terminal import FAILED, INTERRUPTED, show_tables, shown_path
from azsim.errors import InputError
from azsim.resources import default_directory

if TYPE_CHECKING:
    from azsim.sweeps.cluster import Cluster
    from azsim.sweeps.progress import SweepResult
    from azsim.sweeps.space import Sweep

__all__ = ["export", "report", "sweep"]

_Kind = Literal["dask", "slurm", "lsf"]
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_PAGE = "report.html"


def sweep(arguments: argparse.Namespace) -> int:
    """Evaluate the points of a sweep that its folder does not have yet."""
    from azsim.sweeps.sweep_file import load_sweep

    budget_s = _seconds(arguments.budget)
    cluster = _cluster(arguments)
    wanted = load_sweep(arguments.file, arguments.set)
    folder = arguments.output or default_directory("runs", f"sweeps/{wanted.name}")
    for note in wanted.notes:
        print(f"azsim: note: {note}", file=sys.stderr)
    if arguments.dry_run:
        return _dry_run(arguments, wanted, folder)
    from azsim.sweeps.progress import SweepInterrupted
    from azsim.sweeps.run import run_sweep

    interrupted = False
    try:
        with sweep_progress(wanted.name) as watch:
            result = run_sweep(
                wanted,
                folder,
                jobs=arguments.jobs,
                cluster=cluster,
                budget_s=budget_s,
                restart=arguments.restart,
                progress=watch,
            )
    except SweepInterrupted as interruption:
        result, interrupted = interruption.result, True
    _show_result(arguments, wanted, result)
    if interrupted:
        return INTERRUPTED
    progress = result.progress
    return FAILED if progress.failed and not progress.done else 0


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    found = _DURATION.fullmatch(text)
    if not text or found is None:
        raise InputError(f"--budget {text}: not a time, allowed: 90s, 30m, 2h, 1h30m")
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return 3600 * hours + 60 * minutes + seconds


def _cluster(arguments: argparse.Namespace) -> Cluster | None:
    kinds: tuple[_Kind, ...] = ("dask", "slurm", "lsf")
    given: list[_Kind] = [kind for kind in kinds if getattr(arguments, kind)]
    if len(given) > 1:
        both = " and ".join(f"--{kind}" for kind in given)
        raise InputError(f"{both}: each says who does the work; give one of them")
    if not given:
        return None
    from azsim.sweeps.cluster import Cluster

    return Cluster(given[0], getattr(arguments, given[0]))


def _dry_run(arguments: argparse.Namespace, wanted: Sweep, folder: Path) -> int:
    from azsim.sweeps.plan import plan_document, plan_sweep, plan_tables

    plan = plan_sweep(wanted, folder, jobs=arguments.jobs)
    if arguments.json:
        from azsim.report.json_text import json_text

        sys.stdout.write(json_text(plan_document(plan)))
    else:
        show_tables(plan_tables(plan))
    return 0


def _show_result(arguments: argparse.Namespace, wanted: Sweep, result: SweepResult) -> None:
    from azsim.sweeps.summary import (
        missing_figures,
        result_document,
        result_lines,
        reuse_table,
    )

    for sentence in missing_figures(wanted, result):
        print(f"azsim: note: {sentence}", file=sys.stderr)
    if arguments.json:
        from azsim.report.json_text import json_text

        sys.stdout.write(json_text(result_document(result)))
        return
    for line in result_lines(result):
        print(line)
    if arguments.explain_reuse:
        print()
        show_tables([reuse_table(result.progress.stages)])
    if not result.is_complete:
        print(f"\nStopped, {result.stopped}; the same command goes on from here")
    print(f"\nWritten to {shown_path(result.folder)}; azsim sweep report shows what it found")


def export(arguments: argparse.Namespace) -> int:
    """Write a sweep's results as CSV or Parquet."""
    from azsim.report import files
    from azsim.sweeps.analysis import analyse
    from azsim.sweeps.export import csv_text, export_columns, parquet_bytes
    from azsim.sweeps.results import read_results

    if not (arguments.csv or arguments.parquet):
        raise InputError("nothing to write; give --csv FILE, --parquet FILE or both")
    for path in filter(None, (arguments.csv, arguments.parquet)):
        files.check_file_writable(path)
    results = read_results(arguments.directory)
    columns = export_columns(analyse(results), every_figure=arguments.every_figure)
    if arguments.csv:
        files.write_file(arguments.csv, csv_text(columns).encode())
        print(f"Written to {shown_path(arguments.csv)}")
    if arguments.parquet:
        files.write_file(arguments.parquet, parquet_bytes(columns, results.meta))
        print(f"Written to {shown_path(arguments.parquet)}")
    return 0


def report(arguments: argparse.Namespace) -> int:
    """Show what a sweep found, and write its page."""
    from azsim.report import files
    from azsim.sweeps.analysis import analyse
    from azsim.sweeps.page import page_html
    from azsim.sweeps.results import read_results
    from azsim.sweeps.tables import analysis_document, analysis_tables

    results = read_results(arguments.directory)
    page = arguments.output or results.path.with_name(_PAGE)
    writes = not (arguments.json or arguments.no_page)
    if writes:
        files.check_file_writable(page)
    analysis = analyse(results)
    if arguments.json:
        from azsim.report.json_text import json_text

        sys.stdout.write(json_text(analysis_document(analysis)))
        return 0
    text = page_html(analysis).encode() if writes else b""  # before the tables, if it cannot be
    show_tables(analysis_tables(analysis))
    if writes:
        files.write_file(page, text)
        print(f"\nWritten to {shown_path(page)}")
    return 0
