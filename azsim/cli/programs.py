"""``azsim asm``, ``azsim disasm`` and ``azsim check``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from azsim.cli.loading import (
    ASSEMBLY_SUFFIX,
    DATA_OF_WORKLOAD,
    PROGRAM_SUFFIX,
    load,
    load_chip,
    planning_chip,
)
from azsim.cli.terminal import FAILED, show_tables
from azsim.errors import InputError
from azsim.resources import DEFAULT_HARDWARE

if TYPE_CHECKING:
    from azsim.hardware import Hardware
    from azsim.isa.program import DramImage, Program
    from azsim.stages.kernel import Kernel

__all__ = ["asm", "check", "disasm"]


def asm(arguments: argparse.Namespace) -> int:
    """Make a program file."""
    from azsim.isa.program_file import load_program, save_program
    from azsim.report import files
    from azsim.stages.kernel import needed_data, place_source, read_source, zero_image

    suffix = arguments.output.suffix
    if suffix != PROGRAM_SUFFIX:
        found = f"unknown kind of file {suffix!r}, allowed: {PROGRAM_SUFFIX}"
        raise InputError(f"{arguments.output}: {found}")
    files.check_file_writable(arguments.output)
    note = ""
    if Path(arguments.workload).suffix != ASSEMBLY_SUFFIX:
        if arguments.data:
            raise InputError(f"--data {arguments.data}: {DATA_OF_WORKLOAD}")
        program, image = _compiled(arguments)
    elif arguments.data:
        if arguments.dram:
            raise InputError("--data and --dram: either makes the DRAM image; give one of them")
        kernel = _load_kernel(arguments)
        program, image = kernel.program, kernel.image
    else:
        source = read_source(Path(arguments.workload))
        if any(data.kind == "weight" for data in source.data):
            needed = needed_data(source)
            raise InputError(f"{arguments.workload}: needs --data FILE.npz with {needed}")
        program, _ = place_source(source, arguments.workload)
        image = load_program(arguments.dram)[1] if arguments.dram else zero_image(program)
        if not arguments.dram:
            note = f"its DRAM image is {image.data.size} zeros; --data or --dram fills it"
    save_program(arguments.output, program, image)
    print(f"Written to {arguments.output}{note and '; '}{note}")
    return 0


def _load_kernel(arguments: argparse.Namespace) -> Kernel:
    from azsim.inputs.tensors import read_npz
    from azsim.stages.kernel import load_kernel

    arrays, hardware = read_npz(arguments.data), load_chip(arguments)
    return load_kernel(Path(arguments.workload), arrays, str(arguments.data), hardware)


def disasm(arguments: argparse.Namespace) -> int:
    """Write a program as text."""
    from azsim.isa import assembly
    from azsim.isa.program_file import load_program
    from azsim.report import files

    if arguments.output:
        files.check_file_writable(arguments.output)
    if Path(arguments.workload).suffix == PROGRAM_SUFFIX:
        program, _ = load_program(Path(arguments.workload))
    else:
        program, _ = _compiled(arguments)
    text = assembly.format(program, numbered=arguments.numbered, commented=True)
    if arguments.output:
        files.write_file(arguments.output, text.encode())
        print(f"Written to {arguments.output}")
    else:
        sys.stdout.write(text)
    return 0


def _compiled(arguments: argparse.Namespace) -> tuple[Program, DramImage]:
    from azsim import pipeline

    workload, hardware = load(arguments)
    compiled = pipeline.compile_workload(workload, hardware, preset=planning_chip(arguments))
    return compiled.program, compiled.image


def check(arguments: argparse.Namespace) -> int:
    """Prove what can be proved of a program; exit 1 if something is wrong."""
    from azsim.report import proofs
    from azsim.report.json_text import json_text
    from azsim.sim.checks import check_program

    if arguments.limit < 1:
        raise InputError(f"--limit {arguments.limit}: out of range, allowed: at least 1")
    program, hardware, image = _to_be_proved(arguments)
    verdicts = check_program(program, hardware, image)
    if arguments.json:
        sys.stdout.write(json_text(proofs.proof_document(program, hardware.name, verdicts)))
    else:
        for line in proofs.proof_lines(program, verdicts, arguments.limit):
            print(line)
        show_tables([proofs.proof_table(program, hardware.name, verdicts)])
    wrong = any(verdict.findings for verdict in verdicts)
    unproved = any(verdict.unproved for verdict in verdicts)
    return FAILED if wrong or (arguments.strict and unproved) else 0


def _to_be_proved(arguments: argparse.Namespace) -> tuple[Program, Hardware, DramImage | None]:
    from azsim.config import split_overrides
    from azsim.hardware import load_hardware

    path = Path(arguments.workload)
    if path.suffix not in (PROGRAM_SUFFIX, ASSEMBLY_SUFFIX):
        from azsim import pipeline

        workload, hardware = load(arguments)
        compiled = pipeline.compile_workload(workload, hardware, proves=False)
        return compiled.program, hardware, compiled.image
    from azsim.isa.program_file import load_program
    from azsim.report import programs

    sets = split_overrides(arguments.set, ("hardware",))
    hardware = load_hardware(arguments.hardware or DEFAULT_HARDWARE, sets["hardware"])
    if path.suffix == ASSEMBLY_SUFFIX:
        return programs.read_assembly(path), hardware, None
    program, image = load_program(path)
    return program, hardware, image
