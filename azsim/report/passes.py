"""What the compiler's passes made, as tables: a value of each kind in a form that people read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from azsim.compiler.allocate import Allocation
from azsim.compiler.emit import Emitted
from azsim.compiler.fold import Folded
from azsim.compiler.parameters import Parameters
from azsim.compiler.schedule import FRAME_LOOP, Item, Repeat, Schedule
from azsim.compiler.tile import Cuts, Plan
from azsim.ir import CompressedGraph
from azsim.isa.assembly import format_instruction
from azsim.isa.program import DramImage, Instruction, Program
from azsim.isa.spec import instruction_set
from azsim.ops.lowering import (
    Access,
    Binary,
    Copy,
    Fill,
    Leave,
    Loop,
    Lowering,
    Matmul,
    Product,
    Quantize,
    Step,
    Unary,
    Vector,
)
from azsim.report.listing import Listing, listing
from azsim.report.units import counted

__all__ = ["PassTables", "pass_tables"]

_INDENT = "  "


@dataclass
class PassTables:
    """Collects what the passes made; give it to the compiler as `observe`.

    Attributes
    ----------
    wanted : collection of str
        Passes whose values are shown.
    tables : dict of str to list of Listing
        By pass, in the order of the passes.
    made : dict of str to str
        Of every pass, shown or not, what its value holds.
    """

    wanted: Iterable[str] = ()
    tables: dict[str, list[Listing]] = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)

    def __call__(self, name: str, value: object) -> None:
        """Take a pass's value, now: a later pass may make more of it."""
        found = pass_tables(name, value)
        self.made[name] = ", ".join(
            f"{len(table.rows):,} {table.title.rpartition(': ')[2]}" for table in found
        )
        if name in self.wanted:
            self.tables[name] = found

    def records(self) -> dict[str, object]:
        """Tables for JSON, by pass."""
        return {name: [one.records() for one in tables] for name, tables in self.tables.items()}

    def overview(self) -> Listing:
        """One row a pass."""
        return listing("Passes", ("name", "made"), self.made.items())


def pass_tables(name: str, value: object) -> list[Listing]:
    """Tables of a pass's value."""
    for kind, make in _TABLES:
        if isinstance(value, kind):
            return make(f"After {name}", value)
    raise TypeError(f"no table for the {type(value).__name__} that {name} makes")


# -------------------------------------------------------------------------- graph and steps


def _folded(title: str, value: Folded) -> list[Listing]:
    graph = value.compressed.graph
    rows = [
        (
            node.name,
            node.op,
            ", ".join(filter(None, node.inputs)),
            ", ".join(f"{name} {graph.types[name]}" for name in node.outputs if name),
        )
        for node in graph.nodes
    ]
    nodes = listing(f"{title}: nodes", ("node", "operator", "inputs", "outputs"), rows)
    gone = listing(f"{title}: tensors that are gone", ("tensor", "why"), value.gone.items())
    return [nodes, gone] if value.gone else [nodes]


def _steps(title: str, value: Lowering) -> list[Listing]:
    rows = [
        (layer, _INDENT * depth + text)
        for layer, step in value.steps
        for depth, text in _step_lines(step, 0)
    ]
    steps = listing(f"{title}: steps", ("layer", "step"), rows)
    fused = listing(f"{title}: tensors that are nowhere", ("tensor", "why"), value.fused.items())
    return [steps, fused] if value.fused else [steps]


def _step_lines(step: Step, depth: int) -> Iterator[tuple[int, str]]:
    match step:
        case Leave(word, number, unless, stays):
            relation = "is not" if unless else "is"
            sentence = f"leave the loop if {_window(word)} {relation} {number}"
            yield depth, f"{sentence}; goes on in {stays:.0%}"
        case Loop(number, count, body):
            yield depth, _times(number, count, step.rounds)
            for inner in body:
                yield from _step_lines(inner, depth + 1)
        case Copy(dst, src):
            yield depth, f"{_window(dst)} = {_window(src)}"
        case Fill(dst, value):
            yield depth, f"{_window(dst)} = {value:g}"
        case Unary(function, dst, src):
            yield depth, f"{_window(dst)} = {function}({_window(src)})"
        case Binary(function, dst, left, right):
            yield depth, f"{_window(dst)} = {function}({_window(left)}, {_window(right)})"
        case Quantize(dst, src, scale, static):
            how = "with" if static else "sets"
            yield depth, f"{_window(dst)} = quantize({_window(src)}), {how} {_window(scale)}"
        case Matmul():
            yield depth, _product(step)
        case Product(dst, codes, scale, other, other_scale, accumulate):
            scales = f"{_window(scale)} x {_window(other_scale)}"
            sign = "+=" if accumulate else "="
            yield (
                depth,
                f"{_window(dst)} {sign} {_window(codes)} x {_window(other)}, scales {scales}",
            )
        case Vector(mnemonic, operands):
            listed = ", ".join(
                f"{name} {_window(value) if isinstance(value, Access) else value}"
                for name, value in operands.items()
                if name != "dst"
            )
            yield depth, f"{_window(step.dst)} = {mnemonic}({listed})"


def _times(number: int, count: int, rounds: float | None) -> str:
    """How often a loop's body runs."""
    often = f"{count} times" if rounds is None else f"at most {count} times, about {rounds:g}"
    return f"{often} (loop {number}):"


def _product(step: Matmul) -> str:
    text = f"{_window(step.codes)} x {step.weight}"
    if step.accumulate:
        text = f"{_window(step.dst)} + {text}"
    if step.bias is not None:
        text = f"({text}) + {_window(step.bias)}"
    if step.function != "none":
        text = f"{step.function}({text})"
    for first, last, function in step.functions:
        text += f", {function} of outputs {first} to {last - 1}"
    if step.code_scale is not None:
        text = f"quantize({text}), with {_window(step.code_scale)}"
    return f"{_window(step.dst)} = {text}"


def _window(access: Access, frame_loop: str = "frame") -> str:
    """Write buffer, offset, shape, and what moves it with which loop."""
    text = f"{access.buffer}[{access.offset}: {access.rows} x {access.cols}"
    for loop, step in sorted(access.advance.items()):
        text += f", {step:+} each {frame_loop if loop == FRAME_LOOP else f'round of loop {loop}'}"
    return f"{text}]"


# ----------------------------------------------------------------------------- weights


def _parameters(title: str, value: Parameters) -> list[Listing]:
    rows = [
        (name, "scales" if offset < value.scale_count else "bias", offset)
        for name, offset in value.offset_of.items()
    ]
    note = f"{counted(value.values.size, 'value')} of float32"
    return [listing(f"{title}: scales and biases", ("tensor", "what", "offset"), rows, note)]


def _cuts(title: str, value: Cuts) -> list[Listing]:
    rows = [
        (
            number,
            cut.slot_bytes,
            weight,
            len(tiles),
            max(tile.n1 - tile.n0 for tile in tiles),
            max(tile.k1 - tile.k0 for tile in tiles),
            cut.m_tile[weight],
        )
        for number, cut in enumerate(value.cuts)
        for weight, tiles in cut.tiles.items()
    ]
    note = f"{counted(value.room_bytes, 'byte')} of room"
    columns = ("cut", "slot bytes", "weight", "tiles", "rows", "columns", "activation rows")
    return [listing(f"{title}: ways to cut", columns, rows, note)]


def _plan(title: str, value: Plan) -> list[Listing]:
    rows = [
        (
            weight,
            f"{tile.n0} to {tile.n1 - 1}",
            f"{tile.k0} to {tile.k1 - 1}",
            value.m_tile[weight],
            "pinned"
            if tile.name in value.pinned
            else "held"
            if tile.name in value.held
            else "streamed",
        )
        for weight, tiles in value.tiles.items()
        for tile in tiles
    ]
    note = f"{counted(len(value.pinned), 'pinned tile')} of {len(rows)}"
    if value.slot_bytes:
        note += f"; two slots of {counted(value.slot_bytes, 'byte')}"
    columns = ("weight", "rows", "columns", "activation rows", "place")
    return [listing(f"{title}: tiles", columns, rows, note)]


def _codecs(title: str, value: CompressedGraph) -> list[Listing]:
    rows = [
        (
            name,
            weight.codec.name,
            ", ".join(f"{key}={number}" for key, number in weight.codec.parameters.items()),
            weight.scheme_bits,
        )
        for name, weight in value.weights.items()
    ]
    return [listing(f"{title}: codecs", ("weight", "codec", "parameters", "bits"), rows)]


def _blocks(title: str, value: Mapping[str, bytes]) -> list[Listing]:
    rows = [(name, len(block)) for name, block in value.items()]
    note = counted(sum(map(len, value.values())), "byte")
    return [listing(f"{title}: compressed blocks", ("tile", "bytes"), rows, note)]


# ---------------------------------------------------------------------------- the program


def _schedule(title: str, value: Schedule) -> list[Listing]:
    parts = {"start": value.startup, "frame": value.body, "end": value.finish}
    frame_loop = "frame" if value.per_round == 1 else "round"
    rows = [
        (part, layer, engine, _INDENT * depth + text)
        for part, items in parts.items()
        for layer, engine, depth, text in _item_lines(items, 0, frame_loop)
    ]
    note = f"frame: {counted(value.rounds, 'time')}"
    if value.per_round > 1:
        note += f", {value.per_round} frames each"
    if value.last_apart:
        note += ", and once behind them"
    if left := value.left_over:
        note += f", and {counted(left, 'frame')} left over"
    return [listing(f"{title}: items", ("when", "layer", "engine", "item"), rows, note)]


def _item_lines(
    items: Iterable[Item | Repeat], depth: int, frame_loop: str
) -> Iterator[tuple[str, str, int, str]]:
    for item in items:
        if isinstance(item, Repeat):
            yield "", "", depth, _times(item.number, item.count, item.rounds)
            yield from _item_lines(item.body, depth + 1, frame_loop)
        else:
            operands = ", ".join(
                f"{name} {_window(value, frame_loop) if isinstance(value, Access) else value}"
                for name, value in item.operands.items()
            )
            engine = instruction_set().instructions[item.mnemonic].engine
            rest = "" if item.but_last is None else "; not in the last round"
            if item.once:
                rest += "; once"
            if item.leave is not None:
                relation = "is not" if item.leave.unless else "is"
                rest += f"; leave the loop if it {relation} {item.leave.number}"
            yield item.layer, engine, depth, f"{item.mnemonic} {operands}{rest}"


def _allocation(title: str, value: Allocation) -> list[Listing]:
    rows = [
        (f"{value.addresses[name]:#x}", name, f"{first} to {last}")
        for name, (first, last) in sorted(
            value.live.items(), key=lambda entry: (value.addresses[entry[0]], entry[1])
        )
    ]
    peaks = ", ".join(f"{memory} {size:,} B" for memory, size in value.peak_bytes.items())
    columns = ("address", "storage", "items")
    return [listing(f"{title}: addresses", columns, rows, f"highest used byte: {peaks}")]


def _emitted(title: str, value: Emitted | Program) -> list[Listing]:
    rows = list(_instruction_lines(value.instructions, value.layers, value.layer_of))
    return [listing(f"{title}: instructions", ("index", "layer", "instruction"), rows)]


def _instruction_lines(
    instructions: Iterable[Instruction], layers: tuple[str, ...], layer_of: tuple[int, ...]
) -> Iterator[tuple[int, str, str]]:
    depth = 0
    for index, (instruction, layer) in enumerate(zip(instructions, layer_of, strict=True)):
        depth -= instruction.mnemonic == "end_loop"
        text = _INDENT * max(depth, 0) + format_instruction(instruction)
        depth += instruction.mnemonic == "loop"
        yield index, layers[layer] if layer >= 0 else "", text


def _image(title: str, value: DramImage) -> list[Listing]:
    rows = [(value.data.size, hashlib.sha256(value.data.tobytes()).hexdigest())]
    return [listing(f"{title}: image of DRAM", ("bytes", "sha256"), rows)]


_TABLES: tuple[tuple[type, Callable[[str, Any], list[Listing]]], ...] = (
    (Folded, _folded),
    (Lowering, _steps),
    (Parameters, _parameters),
    (Cuts, _cuts),
    (Plan, _plan),
    (CompressedGraph, _codecs),
    (Schedule, _schedule),
    (Allocation, _allocation),
    (Emitted, _emitted),
    (Program, _emitted),
    (DramImage, _image),
    (dict, _blocks),
)
