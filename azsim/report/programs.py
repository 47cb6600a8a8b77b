"""Programs as people handle them: text files, and tables of what is inside."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from azsim.errors import AssemblyError, InputError
from azsim.isa import assembly
from azsim.isa.program import DramImage, Program
from azsim.isa.spec import instruction_set
from azsim.report.listing import Listing, listing
from azsim.report.units import byte_count, counted

__all__ = ["program_tables", "read_assembly", "zero_image"]

_MAX_DRAM_BYTES = 1 << 32


def read_assembly(path: Path) -> Program:
    """Read a file of assembly text.

    Raises
    ------
    InputError
        If the file cannot be read.
    AssemblyError
        With every problem, each with file, line and column; a program that can never run is one.
    """
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read, {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not text in UTF-8") from None
    try:
        return assembly.parse(text, name=path.stem, is_whole=True)
    except AssemblyError as error:
        lines = [f"{path}:{line}" for line in str(error).splitlines()]
        raise AssemblyError("\n".join(lines)) from None


def zero_image(program: Program) -> DramImage:
    """Return a DRAM image of zeros, as large as the program's regions and ports reach.

    Raises
    ------
    InputError
        If that is more than 4 GiB.
    """
    regions = (entry for entry in program.regions if entry.space == "dram")
    ends = [entry.start_bytes + entry.size_bytes for entry in regions]
    ends += [port.addr + port.num_bytes for port in (*program.inputs, *program.outputs)]
    size = max(ends, default=0)
    if size > _MAX_DRAM_BYTES:
        raise InputError(
            f"{program.name}: DRAM too large, found {size} bytes, allowed: {_MAX_DRAM_BYTES}"
        )
    return DramImage(np.zeros(size, np.uint8))


def program_tables(program: Program, image: DramImage | None = None) -> list[Listing]:
    """Ports, instructions and layers of a program."""
    table = instruction_set().instructions
    ports = [
        (
            port.name,
            kind,
            "x".join(map(str, port.shape)) or "scalar",
            port.frames,
            f"{port.addr:#x}",
        )
        for kind, entries in (("input", program.inputs), ("output", program.outputs))
        for port in entries
    ]
    counts = Counter(instruction.mnemonic for instruction in program.instructions)
    instructions = [
        (name, table[name].engine, counts[name], table[name].summary)
        for name in table
        if name in counts
    ]
    stream = program.stream
    period = "" if stream.period_s is None else f" every {1000 * stream.period_s:g} ms"
    paced = ", paced" if stream.paced else ""
    note = (
        f"{counted(len(program.instructions), 'instruction')} for {counted(stream.frames, 'frame')}"
    )
    note += f"{period}{paced}"
    if image is not None:
        note += f"; DRAM image of {byte_count(image.data.size)}"
    layers = Counter(program.layer_of)
    layer_rows = [(name, layers[index]) for index, name in enumerate(program.layers)]
    regions = Counter(region.space for region in program.regions)
    return [
        listing("Ports", ("name", "kind", "shape", "frames", "address"), ports),
        listing(
            f"Program {program.name}",
            ("mnemonic", "engine", "count", "meaning"),
            instructions,
            note,
        ),
        listing("Layers", ("name", "instructions"), layer_rows),
        listing("Regions", ("memory", "regions"), sorted(regions.items())),
    ]
