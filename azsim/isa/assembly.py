"""Programs as text that a person reads and writes.

One instruction a line, ``mnemonic operand=value ...``; a comment runs from ``;`` to the end of the
line.  Lines that start with a dot carry the rest of a `Program`::

    .program vad                                  ; name
    .stream frames=31 period_s=0.032 paced=1
    .input audio addr=0x0 shape=1x576 frames=31   ; .output likewise; step=4096 bytes between frames
    .layer /conv1/Conv                            ; declares a layer
    .region h space=activation start=0x400 size=512 dtype=f32 first=0 last=9
    .tap h index=9 addr=0x400 shape=1x128 strides=512x4

    load dst=v1 src=v0 paced=1
    .in /conv1/Conv                               ; instructions from here on are of this layer
    view view=v3 space=activation addr=0x400 cols=128 region=h
    .in                                           ; and from here on of none

    again:                                        ; a label
    branch left=s1 right=s2 condition=less target=again

Views are written ``v3``, scalar registers ``s3``; numbers decimal or ``0x``; names with other
characters than letters, digits and ``_.:/+$@%~-`` as JSON strings.  An operand that is left out is
0 (an enum: its first name; rows and columns: 1).

Who writes a program by hand leaves numbers to the assembler::

    .input x shape=4x8                        ; dtype=f32 frames=1; no addr: placed
    .output y dtype=i32 shape=4
    .weight w codec=bitmap bits=4 shape=16x8  ; a compressed block of codes, in DRAM
    .buffer w_sram space=weight dtype=i4 shape=16x8
    .buffer w_block space=weight like=w       ; as many bytes as the block

    .views                                    ; view view=x addr=x, and so on for all data so far
    view view=rows addr=x                     ; space, type, shape and strides are those of x
    view view=second addr=x+32 rows=1         ; bytes further on; what is given counts
    .constant row value=32                    ; for any number, and after a +
    scalar to=count number=5
    load dst=v7 src=rows

A piece of data is a region of its name.  Registers that have names get the numbers that the text
does not use itself.  The places of blocks depend on their sizes: `read` tells what is declared,
`Source.program` takes the sizes.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from azsim.errors import AssemblyError
from azsim.isa._assembly_reader import Reader
from azsim.isa._assembly_tokens import BARE, REGISTERS, SCALAR
from azsim.isa.annotate import comments, loop_labels
from azsim.isa.assembly_data import Data
from azsim.isa.encode import canonical
from azsim.isa.program import Instruction, Port, Program, Tap
from azsim.isa.spec import Field, instruction_set

__all__ = [
    "Source",
    "format",
    "format_instruction",
    "parse",
    "parse_instruction",
    "quoted",
    "read",
]


_RULE = "-" * 90
_NOTE_COLUMN = 64  # from where notes stand, behind instructions that are no longer

# ----------------------------------------------------------------------------- to text


def format(program: Program, *, numbered: bool = False, commented: bool = False) -> str:
    """Write a program as text; `parse` gives it back.

    Parameters
    ----------
    program : Program
    numbered : bool
        Put each instruction's index behind it as a comment.
    commented : bool
        For people: headings for layers, labels for loops, and behind each instruction the tensors
        that it touches and what it waits for.

    Returns
    -------
    str

    Raises
    ------
    AssemblyError
        If the program contradicts itself: layers of another number of instructions, a layer
        twice, a region of an instruction that is no ``view``.
    EncodeError
        If an instruction cannot be encoded.
    """
    _check_layers(program)
    lines = list(_header(program))
    targets = {
        int(instruction.operands.get("target", 0))
        for instruction in program.instructions
        if instruction.mnemonic == "branch"
    }
    targets &= set(range(len(program.instructions)))  # what lies outside has no line for a label
    notes = comments(program) if commented else [""] * len(program.instructions)
    labels = loop_labels(program.instructions) if commented else {}
    depth = 0
    layer = None
    for index, instruction in enumerate(program.instructions):
        is_end = instruction.mnemonic == "end_loop"
        if program.layer_of and program.layer_of[index] != layer:
            layer = program.layer_of[index]
            name = quoted(program.layers[layer]) if layer >= 0 else ""
            if commented and name:
                lines += ["", f"; {_RULE[: -len(name) - 1]} {name}"]
            lines.append(f".in {name}".rstrip())
        if index in targets:
            lines.append(f"L{index}:")
        if index in labels and not is_end:
            lines.append(f"{'  ' * max(depth, 0)}{labels[index]}:")
        text = format_instruction(instruction)
        if text.startswith("branch ") and instruction.operands.get("target", 0) in targets:
            text = text.replace("target=", "target=L")
        if index in program.region_of_view:
            text += f" region={quoted(program.region_of_view[index])}"
        depth -= is_end
        indent = "  " * max(depth, 0)
        depth += instruction.mnemonic == "loop"
        note = "  ".join([*([str(index)] if numbered else []), *filter(None, [notes[index]])])
        text = f"{indent}{text}"
        lines.append(f"{text:<{_NOTE_COLUMN}}  ; {note}" if note else text)
    return "\n".join(lines) + "\n"


def format_instruction(instruction: Instruction) -> str:
    """One instruction as text, without a line end.

    Raises
    ------
    EncodeError
        If the instruction cannot be encoded.
    """
    given = canonical(instruction).operands
    words = [instruction.mnemonic]
    for name, operand in instruction_set().instructions[instruction.mnemonic].operands.items():
        # A reader expects to see every number, but only the waits and flags that are set, and no
        # view that is used only with a flag that is not.
        is_unused = operand.when is not None and operand.when not in given
        if name in given or not (operand.kind in ("wait", "flag") or is_unused):
            words.append(f"{name}={_value_text(operand, given.get(name, operand.default))}")
    return " ".join(words)


def _value_text(operand: Field, value: int | float | str) -> str:
    if operand.unit in REGISTERS:
        return f"{REGISTERS[operand.unit]}{value}"
    if operand.name == "addr":
        return f"{value:#x}"
    # The shortest decimal that is nearest to this float32.
    return str(np.float32(value)) if operand.kind == "float" else str(value)


def quoted(name: str) -> str:
    """A name as texts have it: bare, or as a JSON string."""
    return name if re.fullmatch(BARE, name) else json.dumps(name)


def _shape_text(numbers: Iterable[int]) -> str:
    return "x".join(str(number) for number in numbers) or SCALAR


def _check_layers(program: Program) -> None:
    count = len(program.instructions)
    if program.layer_of and len(program.layer_of) != count:
        raise AssemblyError(f"layer_of: got {len(program.layer_of)} entries, expected {count}")
    for layer in program.layer_of:
        if not -1 <= layer < len(program.layers):
            raise AssemblyError(
                f"layer_of: got {layer}, allowed is -1 to {len(program.layers) - 1}"
            )
    for name, times in Counter(program.layers).items():
        if times > 1:
            raise AssemblyError(f"layers: '{name}' is there {times} times, expected once")
    for index in program.region_of_view:
        if not 0 <= index < count or program.instructions[index].mnemonic != "view":
            raise AssemblyError(f"region_of_view: {index} is not the index of a view instruction")


def _header(program: Program) -> Iterator[str]:
    stream = program.stream
    period = "none" if stream.period_s is None else repr(float(stream.period_s))
    yield f".program {quoted(program.name)}"
    together = f" together={stream.together}" if stream.together > 1 else ""
    yield f".stream frames={stream.frames} period_s={period} paced={int(stream.paced)}{together}"
    for directive, ports in ((".input", program.inputs), (".output", program.outputs)):
        for port in ports:
            yield (
                f"{directive} {quoted(port.name)} addr={port.addr:#x} "
                f"shape={_shape_text(port.shape)} frames={port.frames}{_step(port)}{_axes(port)}"
                f"{_dtype(port)}"
            )
    for name in program.layers:
        yield f".layer {quoted(name)}"
    for region in program.regions:
        yield (
            f".region {quoted(region.name)} space={region.space} start={region.start_bytes:#x} "
            f"size={region.size_bytes} dtype={region.dtype} "
            f"first={region.first} last={region.last}"
        )
    for tap in program.taps:
        yield (
            f".tap {quoted(tap.tensor)} index={tap.index} addr={tap.addr:#x} "
            f"shape={_shape_text(tap.shape)} strides={_shape_text(tap.strides_bytes)}{_dtype(tap)}"
            f"{f' frame={tap.frame}' if tap.frame else ''}"
        )
    yield ""


def _step(port: Port) -> str:
    return f" step={port.step_bytes}" if port.step_bytes else ""


def _axes(port: Port) -> str:
    return f" axes={_shape_text(port.axes)}" if port.axes else ""


def _dtype(place: Port | Tap) -> str:
    return f" dtype={place.dtype}" if place.dtype != "f32" else ""


# --------------------------------------------------------------------------- from text


class Source:
    """Text that has been read: what it declares, and the program once sizes of blocks are known.

    Attributes
    ----------
    name : str
    data : tuple of Data
        In the order of declaration, not placed.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.name = reader.name
        self.data: tuple[Data, ...] = tuple(reader.declared)

    def raw_block_bytes(self) -> dict[str, int]:
        """Sizes that the weights' blocks would about have if nothing were compressed."""
        return {data.name: data.raw_block_bytes for data in self.data if data.kind == "weight"}

    def program(
        self, block_bytes: Mapping[str, int] | None = None
    ) -> tuple[Program, dict[str, Data]]:
        """Place the data.

        Parameters
        ----------
        block_bytes : mapping of str to int, optional
            Size of each weight's block; by default as `raw_block_bytes`.

        Returns
        -------
        tuple of Program and dict of str to Data
            The data with their addresses; weights as the bytes of their blocks.

        Raises
        ------
        AssemblyError
            As `parse`, for views that their data does not allow.
        """
        made = self._reader.program(block_bytes or self.raw_block_bytes())
        _raise(self._reader)
        return made

    def place_of(self, index: int) -> tuple[int, int]:
        """Line and column of an instruction, from 1."""
        line, columns = self._reader.places[index]
        return line, columns[""]


def read(text: str, *, name: str = "program", is_whole: bool = False) -> Source:
    """Read a program whose data is still to be placed; parameters and errors as `parse`."""
    reader = Reader(name)
    for line in text.split("\n"):
        reader.read(line)
    reader.resolve()
    if is_whole and not reader.problems:
        reader.check_control_flow()
    _raise(reader)
    return Source(reader)


def _raise(reader: Reader) -> None:
    problems, reader.problems = reader.problems, []
    if problems:
        raise AssemblyError("\n".join(sorted(problems, key=lambda line: int(line.split(":")[0]))))


def parse(text: str, *, name: str = "program", is_whole: bool = False) -> Program:
    """Read a program.

    Parameters
    ----------
    text : str
    name : str
        Name of a program that has no ``.program`` line.
    is_whole : bool
        Refuse also what can never run: no halt, a branch into a loop or to no instruction, loops
        without end.  Looked for when every line can be read.

    Returns
    -------
    Program
        With canonical instructions; blocks of weights get the room that raw codes would take.

    Raises
    ------
    AssemblyError
        With every problem, one a line, as ``line:column: what, found, allowed``.
    """
    return read(text, name=name, is_whole=is_whole).program()[0]


def parse_instruction(text: str) -> Instruction:
    """Read one instruction.

    Raises
    ------
    AssemblyError
        As `parse`.
    """
    instructions = parse(text).instructions
    if len(instructions) != 1:
        raise AssemblyError(f"1:1: got {len(instructions)} instructions, expected 1")
    return instructions[0]
