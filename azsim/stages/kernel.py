"""Kernel: a program written by hand, its data put where the text declares it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from azsim.arith import code_limit
from azsim.compiler.residence import encode_codes
from azsim.compiler.stored import used_codec
from azsim.errors import AssemblyError, AzsimError, CodecError, InputError
from azsim.hardware.description import Hardware
from azsim.ir import CodecChoice
from azsim.isa import assembly
from azsim.isa.assembly_data import Data
from azsim.isa.encode import nearest
from azsim.isa.program import DramImage, Port, Program
from azsim.isa.program_file import load_program
from azsim.machine.state import NUMPY_TYPES
from azsim.sim.execute import write_port
from azsim.sim.kernel_result import BlockFigures

__all__ = [
    "Kernel",
    "assemble",
    "load_kernel",
    "needed_data",
    "place_source",
    "read_source",
    "zero_image",
]

_MAX_DRAM_BYTES = 1 << 32
_Made = TypeVar("_Made")
_INSTRUCTION = re.compile(r"instruction (\d+)")


@dataclass(frozen=True)
class Kernel:
    """A program that can run.

    Attributes
    ----------
    name : str
    program : Program
    image : DramImage
        Inputs and blocks in place.
    blocks : tuple of BlockFigures
        The weights that the text declares.
    notes : tuple of str
        What a reader should know.
    places : tuple of str
        ``file:line:column`` of each instruction; empty for a program that has no text.
    """

    name: str
    program: Program
    image: DramImage
    blocks: tuple[BlockFigures, ...] = ()
    notes: tuple[str, ...] = ()
    places: tuple[str, ...] = ()

    def located(self, sentence: str) -> str:
        """Put the place of the first instruction that a sentence names in front of it."""
        match = _INSTRUCTION.search(sentence)
        if match is None or int(match[1]) >= len(self.places):
            return sentence
        return f"{self.places[int(match[1])]}: {sentence}"

    def located_error(self, error: AzsimError) -> AzsimError:
        """Return the error with the place of its instruction, where it names one."""
        return type(error)(self.located(str(error)))


def load_kernel(
    path: Path, data: Mapping[str, np.ndarray] | None, data_name: str, hardware: Hardware
) -> Kernel:
    """Read assembly text (``.azs``) or a program file (``.npz``), and put data in its place.

    Parameters
    ----------
    path : Path
    data : mapping of str to ndarray, or None
        Arrays by the names of inputs and weights.  A program file's image has what is not given.
    data_name : str
        What errors call the data.
    hardware : Hardware

    Raises
    ------
    InputError
        If a file cannot be read, or the data is not what the program declares; all at once.
    AssemblyError
        As `read_source`.
    """
    if path.suffix != ".npz":
        return assemble(read_source(path), str(path), data, data_name, hardware)
    program, image = load_program(path)
    _raise(_port_problems(path, program, image))
    inputs = {port.name: port for port in program.inputs}
    given = {name: array for name, array in (data or {}).items() if name in inputs}
    if data and not given:
        names = ", ".join(inputs) or "none"
        raise InputError(f"{data_name}: holds {', '.join(data)}; the program's inputs are {names}")
    places = {name: f"{path}: input {name}" for name in given}
    _raise(
        problem
        for name, where in places.items()
        for problem in _input_problems(where, inputs[name], given)
    )
    memory = image.data.copy()
    for name, array in given.items():
        write_port(memory, inputs[name], array)
    notes = _unused(data or {}, list(inputs), data_name)
    if kept := [name for name in inputs if name not in given]:
        notes = (*notes, f"the program file's image has what {', '.join(kept)} hold")
    return Kernel(program.name, program, DramImage(memory), notes=notes)


def _port_problems(path: Path, program: Program, image: DramImage) -> Iterator[str]:
    for kind, ports in (("input", program.inputs), ("output", program.outputs)):
        for port in ports:
            if port.step_bytes and port.step_bytes < port.frame_bytes:
                yield (
                    f"{path}: {kind} {port.name}: frames are {port.step_bytes} bytes apart, each "
                    f"has {port.frame_bytes}"
                )
            elif port.axes_problem:
                yield f"{path}: {kind} {port.name}: axes: {port.axes_problem}"
            elif port.addr < 0 or port.end > image.data.size:
                yield (
                    f"{path}: {kind} {port.name}: lies at bytes {port.addr} to {port.end} of DRAM, "
                    f"the image has {image.data.size}"
                )


def read_source(path: Path) -> assembly.Source:
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
    return _in_file(str(path), lambda: assembly.read(text, name=path.stem, is_whole=True))


def place_source(
    source: assembly.Source, where: str, block_bytes: Mapping[str, int] | None = None
) -> tuple[Program, dict[str, Data]]:
    """Place a text's data, see `azsim.isa.assembly.Source.program`; `where` begins each error."""
    return _in_file(where, lambda: source.program(block_bytes))


def _in_file(where: str, work: Callable[[], _Made]) -> _Made:
    try:
        return work()
    except AssemblyError as error:
        lines = [f"{where}:{line}" for line in str(error).splitlines()]
        raise AssemblyError("\n".join(lines)) from None


def needed_data(source: assembly.Source) -> str:
    """What a text wants to be given, as ``x (f32 4x8), w (4-bit codes 16x8)``; may be empty."""
    return ", ".join(
        f"{data.name} ({_kind(data)} {_shape_text(data)})"
        for data in source.data
        if data.kind in ("input", "weight")
    )


def assemble(
    source: assembly.Source,
    where: str,
    data: Mapping[str, np.ndarray] | None,
    data_name: str,
    hardware: Hardware,
) -> Kernel:
    """Encode the weights, place everything, and fill the DRAM image.

    Parameters
    ----------
    source : Source
    where : str
        What errors call the text.
    data, data_name, hardware
        As for `load_kernel`.

    Raises
    ------
    InputError
        If data is missing, of another shape or type, has values that do not fit, or does not fit
        the chip; all at once, each with the place of its declaration.
    AssemblyError
        If a view asks for what its data does not allow.
    """
    if data is None:
        if needed := needed_data(source):
            raise InputError(f"{where}: needs --data FILE.npz with {needed}")
        data = {}
    problems: list[str] = []
    blocks: dict[str, bytes] = {}
    for entry in source.data:
        place = f"{where}:{entry.line}:{entry.column}: .{entry.kind} {entry.name}"
        if entry.kind == "input":
            problems += _input_problems(place, entry.port, data)
        elif entry.kind == "weight":
            found = [*_code_problems(place, entry, data), *_codec_problems(place, entry, hardware)]
            problems += found
            if not found:
                try:
                    blocks[entry.name] = _encoded(entry, data[entry.name], hardware)
                except CodecError as error:
                    problems.append(f"{place}: {error}")
    sizes = {name: len(block) for name, block in blocks.items()}
    sizes = {**source.raw_block_bytes(), **sizes}
    try:
        program, placed = place_source(source, where, sizes)
    except AssemblyError as error:
        if problems:
            raise InputError("\n".join([*problems, str(error)])) from None
        raise
    _raise([*problems, *_capacity_problems(where, placed, hardware)])
    image = zero_image(program)
    for entry in placed.values():
        if entry.kind == "input":
            write_port(image.data, entry.port, data[entry.name])
    for port in program.inputs:  # those that have addresses and share a name with an output
        write_port(image.data, port, data[port.name])
    for name, block in blocks.items():
        start = placed[name].addr or 0
        image.data[start : start + len(block)] = np.frombuffer(block, np.uint8)
    places = tuple(
        f"{where}:{line}:{column}"
        for line, column in map(source.place_of, range(len(program.instructions)))
    )
    return Kernel(
        name=source.name,
        program=program,
        image=image,
        blocks=tuple(
            BlockFigures(
                entry.name,
                entry.codec,
                entry.bits,
                int(data[entry.name].size),
                int((data[entry.name] == 0).sum()),
                len(blocks[entry.name]),
            )
            for entry in source.data
            if entry.kind == "weight"
        ),
        notes=_unused(data, [entry.name for entry in source.data], data_name),
        places=places,
    )


def zero_image(program: Program) -> DramImage:
    """Return a DRAM image of zeros, as large as the program's regions and ports reach.

    Raises
    ------
    InputError
        If that is more than 4 GiB.
    """
    regions = (entry for entry in program.regions if entry.space == "dram")
    ends = [entry.start_bytes + entry.size_bytes for entry in regions]
    ends += [port.end for port in (*program.inputs, *program.outputs)]
    size = max(ends, default=0)
    if size > _MAX_DRAM_BYTES:
        raise InputError(
            f"{program.name}: DRAM too large, found {size} bytes, allowed: {_MAX_DRAM_BYTES}"
        )
    return DramImage(np.zeros(size, np.uint8))


def _raise(problems: Iterator[str] | list[str]) -> None:
    if found := list(problems):
        raise InputError("\n".join(found))


# ---------------------------------------------------------------------------- what is wrong


def _kind(data: Data) -> str:
    return f"{data.bits}-bit codes" if data.kind == "weight" else data.dtype


def _axes(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _shape_text(data: Data) -> str:
    return _axes(_full_shape(data.shape, data.frames))


def _full_shape(shape: tuple[int, ...], frames: int) -> tuple[int, ...]:
    return (frames, *shape) if frames != 1 else shape


def _missing(where: str, name: str, data: Mapping[str, np.ndarray]) -> Iterator[str]:
    if name not in data:
        found = ", ".join(data) or "nothing"
        yield f"{where}: the data has no array of this name, found {found}{nearest(name, data)}"


def _misfits(
    where: str, values: np.ndarray, shape: tuple[int, ...], limits: tuple[int, int], what: str
) -> Iterator[str]:
    """What speaks against integers of a shape within limits."""
    if values.dtype.kind not in "iu":
        yield f"{where}: got {values.dtype}, expected integers ({what})"
        return
    if values.shape != shape:
        yield f"{where}: got shape {_axes(values.shape)}, expected {_axes(shape)}"
    low, high = limits
    wrong = (values < low) | (values > high)
    if wrong.any():
        at = np.unravel_index(int(np.argmax(wrong)), values.shape)
        place = ", ".join(str(int(i)) for i in at)
        yield f"{where}: got {values[at]} at ({place}), allowed for {what} is {low} to {high}"


def _input_problems(where: str, port: Port, data: Mapping[str, np.ndarray]) -> Iterator[str]:
    yield from _missing(where, port.name, data)
    if port.name not in data:
        return
    values, shape = data[port.name], _full_shape(port.shape, port.frames)
    kind = np.dtype(NUMPY_TYPES[port.dtype])
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        yield from _misfits(where, values, shape, (limits.min, limits.max), port.dtype)
        return
    if (values.dtype.kind, values.dtype.itemsize) != ("f", 4):
        yield f"{where}: got {values.dtype}, expected float32"
    if values.shape != shape:
        yield f"{where}: got shape {_axes(values.shape)}, expected {_axes(shape)}"


def _code_problems(where: str, weight: Data, data: Mapping[str, np.ndarray]) -> Iterator[str]:
    yield from _missing(where, weight.name, data)
    if weight.name in data:
        limit = code_limit(weight.bits)
        values, what = data[weight.name], f"{weight.bits}-bit codes"
        yield from _misfits(where, values, weight.shape, (-limit, limit), what)


def _choice(weight: Data, hardware: Hardware) -> CodecChoice:
    """The codec as the chip takes it: dealt out to its lanes, unless the text says to how many."""
    return used_codec(CodecChoice(weight.codec, dict(weight.parameters)), hardware)


def _codec_problems(where: str, weight: Data, hardware: Hardware) -> Iterator[str]:
    choice = _choice(weight, hardware)
    drops_palette = weight.parameters.get("palette") and not choice.parameters.get("palette")
    if choice.name != weight.codec or drops_palette:
        known = ", ".join(hardware.decoder.codecs)
        yield f"{where}: {hardware.name} does not decode '{weight.codec}', allowed are {known}"


def _encoded(weight: Data, codes: np.ndarray, hardware: Hardware) -> bytes:
    return encode_codes(_choice(weight, hardware), codes.astype(np.int8), weight.bits)


def _capacity_problems(where: str, placed: Mapping[str, Data], hardware: Hardware) -> Iterator[str]:
    capacity = {
        "weight": hardware.weight_sram.bytes,
        "activation": hardware.activation_sram.bytes,
    }
    for entry in placed.values():
        end = (entry.addr or 0) + entry.span_bytes
        if end > capacity.get(entry.space, end):
            yield (
                f"{where}:{entry.line}:{entry.column}: .{entry.kind} {entry.name}: ends at byte "
                f"{end} of {entry.space} SRAM, {hardware.name} has {capacity[entry.space]}"
            )


def _unused(data: Mapping[str, np.ndarray], known: list[str], data_name: str) -> tuple[str, ...]:
    unused = [name for name in data if name not in known]
    if not unused:
        return ()
    return (f"{data_name} also holds {', '.join(unused)}, which the program does not declare",)
