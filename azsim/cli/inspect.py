"""``azsim inspect`` and ``azsim export``: what is in a file, and its weights."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from azsim.cli.loading import ASSEMBLY_SUFFIX, PROGRAM_SUFFIX, read_workload
from azsim.cli.terminal import show_tables
from azsim.errors import InputError

__all__ = ["export", "inspect"]


def inspect(arguments: argparse.Namespace) -> int:
    """Show what is in a workload, an ONNX file or a program."""
    name, note = arguments.file, ""
    path = Path(name)
    if path.suffix == ".onnx":
        from azsim.report import inspection

        shapes = dict(_shape(text) for text in arguments.shape)
        tables, note = inspection.onnx_tables(path, shapes)
    elif path.suffix in (PROGRAM_SUFFIX, ASSEMBLY_SUFFIX):
        from azsim.isa.program_file import load_program
        from azsim.report import programs

        is_file = path.suffix == PROGRAM_SUFFIX
        parts = load_program(path) if is_file else (programs.read_assembly(path), None)
        tables = programs.program_tables(*parts)
    else:
        from azsim import pipeline
        from azsim.report import inspection

        workload = read_workload(name, arguments.set)
        model = pipeline.load_model(workload)
        compressed = pipeline.compress_model(workload, model)
        tables = inspection.model_tables(model) + inspection.graph_tables(compressed.graph)
        tables.append(inspection.scheme_table(compressed))
    if arguments.json:
        from azsim.report.json_text import json_text

        document: dict[str, object] = {_key(table.title): table.records() for table in tables}
        sys.stdout.write(json_text({**document, "unsupported": note or None}))
    else:
        show_tables(tables)
        if note:
            print(f"\nNot supported: {note}")
    return 0


def _key(title: str) -> str:
    return title.lower().replace(" ", "_")


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    name, _, lengths = text.rpartition("=")
    words = lengths.replace(",", "x").split("x")
    if not name or not all(word.isdecimal() for word in words):
        raise InputError(f"--shape {text}: not a shape, allowed: INPUT=1x576")
    return name, tuple(int(word) for word in words)


def export(arguments: argparse.Namespace) -> int:
    """Write the pruned and quantized weights."""
    from azsim.report import files

    path: Path = arguments.output
    if path.suffix not in (".npz", ".onnx"):
        raise InputError(f"{path}: unknown kind of file {path.suffix!r}, allowed: .npz, .onnx")
    files.check_file_writable(path)
    workload = read_workload(arguments.workload, arguments.set)
    from azsim import pipeline

    is_model = path.suffix == ".onnx"
    data = (
        pipeline.export_onnx(workload)
        if is_model
        else files.npz_bytes(pipeline.export_arrays(workload))
    )
    files.write_file(path, data)
    print(f"Written to {path}")
    return 0
