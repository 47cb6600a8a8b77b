"""Programs as people handle them: text files, and tables of what is inside."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from azsim.isa.program import DramImage, Program
from azsim.isa.spec import instruction_set
from azsim.report.listing import Listing, listing
from azsim.report.units import byte_count, counted
from azsim.stages.kernel import place_source, read_source

__all__ = ["program_tables", "read_assembly"]


def read_assembly(path: Path) -> Program:
    """Read a file of assembly text; blocks of weights get the room that raw codes would take.

    Raises
    ------
    InputError
        If the file cannot be read.
    AssemblyError
        As `azsim.stages.kernel.read_source`.
    """
    return place_source(read_source(path), str(path))[0]


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
            port.step_bytes or port.frame_bytes,
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
        listing("Ports", ("name", "kind", "shape", "frames", "address", "step, B"), ports),
        listing(
            f"Program {program.name}",
            ("mnemonic", "engine", "count", "meaning"),
            instructions,
            note,
        ),
        listing("Layers", ("name", "instructions"), layer_rows),
        listing("Regions", ("memory", "regions"), sorted(regions.items())),
    ]
