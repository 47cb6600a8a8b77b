"""Options that several commands take.  Standard library only."""

from __future__ import annotations

import argparse
from pathlib import Path

from azsim.arguments.completion import FILE, HARDWARE, WORKLOAD, complete

__all__ = [
    "WORKLOAD_HELP",
    "add_data",
    "add_exact_timing",
    "add_hardware",
    "add_json",
    "add_output",
    "add_print_after",
    "add_sets",
    "add_workload",
]

WORKLOAD_HELP = "a workload's file, or a name of: azsim list workloads"


def add_workload(parser: argparse.ArgumentParser, *, chip: bool, what: str = WORKLOAD_HELP) -> None:
    """Take a workload, what to change of it and, with `chip`, on which chip."""
    complete(parser.add_argument("workload", metavar="WORKLOAD", help=what), WORKLOAD)
    if chip:
        add_hardware(parser, "the workload's")
    add_sets(parser)
    if chip:
        parser.add_argument(
            "--replan",
            action="store_true",
            help="let the compiler plan with the timing keys that --set changes, not the preset's",
        )
        parser.add_argument(
            "--no-cache",
            action="store_true",
            help="encode weights and prove the program anew, and keep neither in the user cache",
        )


def add_hardware(parser: argparse.ArgumentParser, default: str) -> None:
    """Take another chip; `default` says which one there is without."""
    hardware = parser.add_argument(
        "--hardware",
        metavar="NAME|FILE",
        help=f"a preset or a hardware file (default: {default})",
    )
    complete(hardware, HARDWARE)


def add_data(parser: argparse.ArgumentParser) -> None:
    """Take the arrays of a program."""
    data = parser.add_argument(
        "--data",
        type=Path,
        metavar="FILE",
        help="npz of the arrays that a program declares: its inputs, and the codes of its weights",
    )
    complete(data, FILE)


def add_print_after(parser: argparse.ArgumentParser) -> None:
    """Take passes of the compiler to show."""
    parser.add_argument(
        "--print-after",
        action="append",
        default=[],
        metavar="PASS",
        help="show what a pass of the compiler made; may be repeated (see: azsim list passes; "
        "all: each)",
    )


def add_exact_timing(parser: argparse.ArgumentParser) -> None:
    """Take the wish for the cycle-stepped model."""
    parser.add_argument(
        "--exact-timing",
        action="store_true",
        help="time the run cycle by cycle, hundreds of times slower, and show both models",
    )


def add_sets(
    parser: argparse.ArgumentParser,
    example: str = "workload.compression.default.weights.bits=4 or hardware.clock_hz=1000000",
) -> None:
    """Take changes of single keys."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        help=f"change a key, such as {example}; may be repeated",
    )


def add_output(
    parser: argparse.ArgumentParser, text: str, how: dict[str, str], *, required: bool = False
) -> None:
    """Take a file or a folder to write; `how` is `FILE` or `DIRECTORY`."""
    metavar = "FILE" if how is FILE else "DIR"
    action = parser.add_argument(
        "-o", "--output", type=Path, metavar=metavar, help=text, required=required
    )
    complete(action, how)


def add_json(parser: argparse.ArgumentParser, text: str) -> None:
    """Take the wish for JSON."""
    parser.add_argument("--json", action="store_true", help=text)
