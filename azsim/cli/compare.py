"""``azsim compare``: two runs side by side, and a red light where the second one is worse."""

from __future__ import annotations

import argparse
import sys

from azsim.cli.terminal import FAILED, show_tables
from azsim.errors import InputError

__all__ = ["compare"]

_MOST_PERCENT = 1000.0


def compare(arguments: argparse.Namespace) -> int:
    """Show what differs between two runs; 1 where bits differ or a cost grew."""
    from azsim.report import comparison

    percent: float = arguments.tolerance
    if not 0 <= percent <= _MOST_PERCENT:
        raise InputError(
            f"--tolerance {percent:g}: out of range, allowed: 0 to {_MOST_PERCENT:g} percent"
        )
    runs = []
    problems: list[str] = []
    for path in (arguments.before, arguments.after):
        try:
            runs.append(comparison.read_run(path))
        except InputError as error:
            problems.append(str(error))
    if problems:
        raise InputError("\n".join(problems))
    found = comparison.compare(*runs)
    regressions = found.regressions(percent / 100)
    if arguments.json:
        from azsim.report.json_text import json_text

        sys.stdout.write(json_text(found.document(percent / 100)))
    else:
        print(f"before: {found.before.title}, {arguments.before}")
        print(f"after:  {found.after.title}, {arguments.after}\n")
        tables = comparison.comparison_tables(found)
        show_tables([table for table in tables if table.rows])
        for table in tables:
            if not table.rows and table.note:
                print(f"{table.title}: none; {table.note}")
    for sentence in regressions:
        print(f"azsim: check failed: {sentence}", file=sys.stderr)
    return FAILED if regressions else 0
