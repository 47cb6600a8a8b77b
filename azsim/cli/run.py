"""``azsim run`` and ``azsim verify``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from azsim.cli.compile import pass_tables, show_passes
from azsim.cli.loading import (
    ASSEMBLY_SUFFIX,
    DATA_OF_WORKLOAD,
    PROGRAM_SUFFIX,
    load,
    load_chip,
    planning_chip,
)
from azsim.cli.terminal import (
    FAILED,
    progress_bars,
    show,
    show_tables,
    shown_path,
)
from azsim.errors import InputError
from azsim.resources import default_directory

if TYPE_CHECKING:
    from azsim.frontend.workload import Workload
    from azsim.hardware import Hardware
    from azsim.report.passes import PassTables
    from azsim.sim.result import RunResult

__all__ = ["run", "verify"]

_OF_WORKLOADS = {
    "verify": "compares a workload with its reference; a program has none",
    "explain": "explains what the compiler chose; a program is taken as it is",
    "replan": "lets the compiler plan anew; a program is taken as it is",
    "print_after": "shows what the compiler's passes made; a program is taken as it is",
}


def run(arguments: argparse.Namespace) -> int:
    """Run a workload or a program, write and show its results."""
    from azsim.report import files
    from azsim.report.json_text import json_text

    if Path(arguments.workload).suffix in (PROGRAM_SUFFIX, ASSEMBLY_SUFFIX):
        return _run_kernel(arguments)
    if arguments.data:
        raise InputError(f"--data {arguments.data}: {DATA_OF_WORKLOAD}")
    workload, hardware = load(arguments)
    directory = arguments.output or default_directory("runs", workload.name)
    files.check_writable(directory)
    shown = pass_tables(arguments) if arguments.print_after else None
    result = _simulate(
        arguments, workload, hardware, verify=arguments.verify, timeline=True, observe=shown
    )
    files.write_run(result, directory)
    explanation = result.explanation
    if arguments.json:
        from azsim.report.explain import explanation_document

        more: dict[str, object] = {} if shown is None else {"passes": shown.records()}
        if explanation is not None:
            more["explanation"] = explanation_document(explanation)
        sys.stdout.write(json_text({**result.summary, **more}))
    else:
        if shown is not None:
            show_passes(shown)
        from azsim.report import text

        show(text.run_report(result))
        if explanation is not None:
            from azsim.report.explain import explanation_tables

            print()
            show_tables(explanation_tables(explanation))
        print(f"\nWritten to {shown_path(directory)}")
    return _check(workload, result)


def _run_kernel(arguments: argparse.Namespace) -> int:
    from azsim import pipeline
    from azsim.report import files
    from azsim.report.json_text import json_text

    path = Path(arguments.workload)
    for option, reason in _OF_WORKLOADS.items():
        if getattr(arguments, option):
            raise InputError(f"--{option.replace('_', '-')}: {reason}")
    directory = arguments.output or default_directory("runs", path.stem)
    files.check_writable(directory)
    hardware = load_chip(arguments)
    with progress_bars() as progress:
        result = pipeline.run_kernel(
            path,
            arguments.data,
            hardware,
            exact_timing=arguments.exact_timing,
            progress=progress,
        )
    files.write_kernel(result, directory)
    if arguments.json:
        sys.stdout.write(json_text(result.summary))
    else:
        from azsim.report import text
        from azsim.report.kernel import kernel_tables
        from azsim.report.tables import table

        first, *others = (table(entry) for entry in kernel_tables(result))
        show([first, text.engines(result), *others])
        print(f"\nWritten to {shown_path(directory)}")
    for race in result.races or ():
        print(f"azsim: check failed: {race}", file=sys.stderr)
    return FAILED if result.races else 0


def verify(arguments: argparse.Namespace) -> int:
    """Compare a run with the reference evaluator."""
    from azsim.report import files
    from azsim.report.json_text import json_text

    workload, hardware = load(arguments)
    if arguments.output:
        files.check_writable(arguments.output)
    keeps = bool(arguments.output)
    result = _simulate(arguments, workload, hardware, verify=True, timeline=keeps)
    if arguments.output:
        files.write_run(result, arguments.output)
    comparison = result.comparison
    assert comparison is not None
    if arguments.json:
        document = files.run_document(result)["comparison"]
        sys.stdout.write(json_text({**result.summary, "comparison": document}))
    else:
        from azsim.report import text

        print(f"{result.workload} on {result.hardware}\n")
        show([text.verification(comparison), *text.exact_timing(result)])
    return _check(workload, result)


def _simulate(
    arguments: argparse.Namespace,
    workload: Workload,
    hardware: Hardware,
    *,
    verify: bool,
    timeline: bool,
    observe: PassTables | None = None,
) -> RunResult:
    from azsim import pipeline

    with progress_bars() as progress:
        return pipeline.run(
            workload,
            hardware,
            preset=planning_chip(arguments),
            verify=verify,
            exact_timing=arguments.exact_timing,
            explained=getattr(arguments, "explain", False),
            timeline=timeline,
            observe=observe,
            progress=progress,
        )


def _check(workload: Workload, result: RunResult) -> int:
    """Say on stderr what a run should have kept and did not."""
    from azsim import pipeline

    failures = [f"expect: {sentence}" for sentence in pipeline.check_expectations(workload, result)]
    if result.comparison is not None and not result.comparison.bit_exact:
        failures.append(f"not bit exact: {result.comparison.first_difference}")
    for failure in failures:
        print(f"azsim: check failed: {failure}", file=sys.stderr)
    return FAILED if failures else 0
