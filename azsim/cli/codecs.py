"""``azsim codecs``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from azsim.cli.loading import load, load_chip
from azsim.cli.terminal import progress_bars, show_tables
from azsim.errors import InputError

if TYPE_CHECKING:
    from azsim.hardware import Hardware
    from azsim.survey.tensors import TensorSet

__all__ = ["codecs"]

_WORKLOAD_SUFFIXES = ("", ".yaml", ".yml")
_BELOW_ONE = 1 - 2**-53


def codecs(arguments: argparse.Namespace) -> int:
    """Compare all codecs on the tensors of a file."""
    from azsim.report import files
    from azsim.report.json_text import json_text
    from azsim.survey.codec_table import codec_table, codec_variants, records

    _check_range("--bits", arguments.bits, 2, 8, "2 to 8")
    _check_range("--sparsity", arguments.sparsity, 0, _BELOW_ONE, "at least 0, below 1")
    if arguments.csv:
        files.check_file_writable(arguments.csv)
    variants = codec_variants(arguments.codec)
    tensors, hardware = _read_tensors(arguments)
    with progress_bars() as progress:
        rows = codec_table(tensors.matrices, hardware, variants, progress=progress)
    if arguments.csv:
        from azsim.survey.listings import codec_csv

        files.write_file(arguments.csv, codec_csv(rows).encode())
    if arguments.json:
        sys.stdout.write(json_text(records(rows)))
        for name, reason in tensors.skipped.items():
            print(f"azsim: note: {name} is skipped: {reason}", file=sys.stderr)
    else:
        from azsim.survey.listings import codec_listings

        show_tables(codec_listings(rows, hardware.name, tensors.skipped))
        if arguments.csv:
            print(f"\nWritten to {arguments.csv}")
    return 0


def _check_range(option: str, value: float | None, least: float, most: float, text: str) -> None:
    if value is not None and not least <= value <= most:
        raise InputError(f"{option} {value}: out of range, allowed: {text}")


def _read_tensors(arguments: argparse.Namespace) -> tuple[TensorSet, Hardware]:
    from azsim.survey.tensors import read_file, read_workload

    path = Path(arguments.file)
    if path.suffix in _WORKLOAD_SUFFIXES:
        workload, hardware = load(argparse.Namespace(**vars(arguments), workload=arguments.file))
        return (
            read_workload(workload, arguments.bits, arguments.sparsity, arguments.tensor),
            hardware,
        )
    hardware = load_chip(arguments)
    bits = 8 if arguments.bits is None else arguments.bits
    return read_file(path, bits, arguments.sparsity or 0.0, arguments.tensor), hardware
