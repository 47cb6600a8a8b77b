"""Emit: from items over placed buffers to instructions over views.

Contract: takes a schedule and its allocation, gives a program without waits.  Program size does
not depend on how often loops run.

Views are set as rarely as possible: those of the frame loop's body before the loop if they all
fit the view registers, otherwise group by group inside it; and so with a loop inside it that needs
more than are left.  A window that advances with a loop keeps its register; ``view_step`` moves it
at the end of each iteration, and back after an inner loop, so that the next outer iteration finds
it where it began.

A loop with items that its last round leaves out counts its rounds down in a scalar register, and
branches around them when it is 0: s31 for the outermost loop, s30 for one inside it, and so on.

In a region (`azsim.compiler.regions`) fences stand where a loop that data may end begins, in front
of the ``scalar_read`` that decides, and where a round ends: nothing is under way wherever control
can go two ways.  A loop of one round, a body on a condition, needs no loop instruction.  What a
region does once stands behind a branch by s3, which is 1 until then.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field

from azsim.compiler.allocate import Allocation
from azsim.compiler.schedule import (
    DATA_SCALAR,
    FRAME_LOOP,
    Item,
    Repeat,
    Schedule,
    accesses,
    is_written,
    of_rounds,
    only_in_a_part,
    walk,
)
from azsim.errors import CompileError
from azsim.isa.program import Instruction, Region
from azsim.machine.view import ELEMENT_BITS, View
from azsim.ops.lowering import Access

__all__ = ["Emitted", "emit", "resolve"]

_NUM_VIEWS = 256
_LAST_SCALAR = 31
_CONTROL = ("end_loop", "view_step", "scalar", "branch")
_COMPARED = 2  # scalar register with the number that is compared
_IS_LEFT = 3  # scalar register that is 0 when a region has done what it does once


@dataclass(frozen=True)
class Emitted:
    """Instructions and what is known of them.

    Attributes
    ----------
    instructions : tuple of Instruction
    layers : tuple of str
    layer_of : tuple of int
    region_of_view : dict of int to str
    regions : tuple of Region
    last_write : dict of (str, int) to int
        Instruction after which a frame of a round writes a buffer no more.
    leaves : dict of int to int
        By number of a loop that data may end, the branch that ends it.
    """

    instructions: tuple[Instruction, ...]
    layers: tuple[str, ...]
    layer_of: tuple[int, ...]
    region_of_view: dict[int, str]
    regions: tuple[Region, ...]
    last_write: dict[tuple[str, int], int]
    leaves: dict[int, int]


@dataclass(frozen=True)
class _Register:
    """What a view register has to hold."""

    view: View
    buffer: str
    advance: tuple[tuple[int, int], ...]  # loop number, bytes


@dataclass
class _Span:
    first: int
    last: int


def resolve(access: Access, schedule: Schedule, allocation: Allocation) -> View:
    """View of a window at its first iteration."""
    storage = schedule.storages[access.buffer]
    offset_bits = access.offset * ELEMENT_BITS[storage.dtype]
    if offset_bits % 8:
        raise CompileError(f"'{access.buffer}': a window begins inside a byte")
    return View(
        storage.space,
        storage.dtype,
        allocation.addresses[access.buffer] + offset_bits // 8,
        access.rows,
        access.cols,
        access.row_stride if access.rows > 1 else 0,
        access.col_stride if access.cols > 1 or ELEMENT_BITS[storage.dtype] < 8 else 0,
    )


@dataclass
class _Emitter:
    schedule: Schedule
    allocation: Allocation
    instructions: list[Instruction] = field(default_factory=list)
    layer_of: list[int] = field(default_factory=list)
    layers: dict[str, int] = field(default_factory=dict)
    region_of_view: dict[int, str] = field(default_factory=dict)
    spans: dict[str, _Span] = field(default_factory=dict)
    last_write: dict[tuple[str, int], int] = field(default_factory=dict)
    registers: dict[_Register, int] = field(default_factory=dict)
    wanted: dict[int, _Register] = field(default_factory=dict)
    """What was found for a window, by its identity; the schedule keeps windows alive."""
    depth: int = 0
    left_out: set[int] = field(default_factory=set)
    """Instructions that some round leaves out."""
    leaves: dict[int, int] = field(default_factory=dict)
    aimed: set[int] = field(default_factory=set)
    """Indices that branches out of loops lead to."""
    around: list[int] = field(default_factory=list)
    """Numbers of the regions' loops that are being emitted."""
    left_once: int = 0
    """Items of the region that is being emitted which it carries out once, and are to come."""

    def register(self, access: Access) -> _Register:
        """What a window needs in a view register."""
        known = self.wanted.get(id(access))
        if known is None:
            storage = self.schedule.storages[access.buffer]
            size = ELEMENT_BITS[storage.dtype] // 8
            advance = tuple((loop, step * size) for loop, step in sorted(access.advance.items()))
            view = resolve(access, self.schedule, self.allocation)
            known = self.wanted[id(access)] = _Register(view, access.buffer, advance)
        return known

    def needed(self, items: Iterable[Item | Repeat]) -> dict[_Register, None]:
        """Registers of items, in order of first use."""
        return {
            self.register(access): None
            for item in walk(tuple(items))
            for _, access in accesses(item)
        }

    def put(self, mnemonic: str, layer: str | None = None, **operands: int | float | str) -> int:
        """Append an instruction; returns its index."""
        kept = {
            name: value
            for name, value in operands.items()
            if value not in (0, "none", "dram") or _is_minus_zero(value)
        }
        if mnemonic == "view":
            # u8 is the type of number 0, one row and column are what an absent operand means.
            kept = {
                name: value
                for name, value in kept.items()
                if value != "u8" and not (name in ("rows", "cols") and value == 1)
            }
        self.instructions.append(Instruction(mnemonic, kept))
        number = -1 if layer is None else self.layers.setdefault(layer, len(self.layers))
        self.layer_of.append(number)
        return len(self.instructions) - 1

    def set_view(self, register: _Register, number: int) -> None:
        """Emit the ``view`` instruction that fills a register."""
        view = register.view
        index = self.put(
            "view",
            view=number,
            space=view.space,
            dtype=view.dtype,
            addr=view.addr,
            rows=view.rows,
            cols=view.cols,
            row_stride=view.row_stride,
            col_stride=view.col_stride,
        )
        self.region_of_view[index] = register.buffer
        self.registers[register] = number

    def set_views(self, registers: Iterable[_Register], free: list[int]) -> None:
        """Fill registers, taking numbers from `free` in order."""
        for register, number in zip(registers, free, strict=False):
            self.set_view(register, number)

    def items(
        self, items: Iterable[Item | Repeat], held: Mapping[_Register, None], free: list[int]
    ) -> None:
        """Emit items; registers that are not held take numbers from `free`, group by group."""
        for group, registers in self.groups(items, held, len(free)):
            self.set_views(registers, free)
            for (is_left_out, is_once), run in itertools.groupby(group, _conditions):
                if is_left_out:
                    self.on_condition(run, self.counter())
                    continue
                if is_once:
                    self.once(run)
                    continue
                for item in run:
                    if isinstance(item, Repeat):
                        self.repeat(item, {**held, **registers}, free[len(registers) :])
                    else:
                        self.item(item)

    def once(self, items: Iterable[Item | Repeat]) -> None:
        """Emit items that a region carries out once."""
        items = list(items)
        self.on_condition(items, _IS_LEFT)
        self.left_once -= len(items)
        if not self.left_once:
            self.put("scalar", to=_IS_LEFT)

    def on_condition(self, items: Iterable[Item | Repeat], scalar: int) -> None:
        """Emit items that are left out where a scalar register is 0."""
        branch = self.put("branch")
        for item in items:
            assert isinstance(item, Item)
            self.left_out.add(len(self.instructions))
            self.item(item)
        operands = {"left": scalar, "target": len(self.instructions)}
        self.instructions[branch] = Instruction("branch", operands)

    def counter(self) -> int:
        """Scalar register that counts the rounds of the loop that is being emitted."""
        return _LAST_SCALAR - (self.depth - 1)

    def begin_loop(self, count: int, body: Iterable[Item | Repeat]) -> int:
        """Emit the start of a loop; gives the index of ``loop``."""
        self.depth += 1
        if any(map(_is_left_out, body)):
            self.put("scalar", to=self.counter(), number=count - 1)
        return self.put("loop", count=count)

    def end_loop(self, body: Iterable[Item | Repeat], moving: Iterable[tuple[int, int]]) -> int:
        """Emit the end of a loop's body; gives the index of ``end_loop``."""
        if any(map(_is_left_out, body)):
            self.put("scalar", to=self.counter(), left=self.counter(), number=-1)
        for number, step in moving:
            self.put("view_step", view=number, step=step)
        self.depth -= 1
        return self.put("end_loop")

    def item(self, item: Item) -> None:
        operands: dict[str, int | float | str] = {}
        index = len(self.instructions)
        for name, operand in item.operands.items():
            if isinstance(operand, Access):
                operands[name] = self.registers[self.register(operand)]
                self.touch(operand.buffer, index)
                if is_written(item, name):
                    self.last_write[operand.buffer, item.frame] = index
            else:
                operands[name] = operand
        if item.leave is not None:
            self.leave(item, operands)
        else:
            self.put(item.mnemonic, item.layer, **operands)

    def leave(self, item: Item, operands: dict[str, int | float | str]) -> None:
        """Read a number when nothing is under way, and branch out of the loop by it."""
        assert item.leave is not None
        self.fence()
        self.put("scalar_read", item.layer, **operands)
        if item.leave.number:
            self.put("scalar", item.layer, to=_COMPARED, number=item.leave.number)
        branch = self.put(
            "branch",
            item.layer,
            left=DATA_SCALAR,
            right=_COMPARED if item.leave.number else 0,
            condition="not_equal" if item.leave.unless else "equal",
        )
        self.leaves[self.around[-1]] = branch  # its target comes when the loop is over

    def fence(self) -> None:
        """Let everything come to its end, unless it just did."""
        if not self.instructions or self.instructions[-1].mnemonic != "fence":
            self.put("fence")

    def region(self, repeat: Repeat, held: Mapping[_Register, None], free: list[int]) -> None:
        """Emit a loop of a region."""
        if not self.around and (count := sum(item.once for item in walk((repeat,)))):
            self.left_once = count
            self.put("scalar", to=_IS_LEFT, number=1)
        self.fence()
        start = len(self.instructions) - 1
        is_loop = repeat.count > 1
        if is_loop:
            self.begin_loop(repeat.count, repeat.body)
        self.around.append(repeat.number)
        self.items(repeat.body, held, free)
        self.around.pop()
        if len(self.instructions) in self.aimed:
            self.put("fence")  # as a branch leads past the one before, and both ways end here
        self.fence()
        end = len(self.instructions) - 1
        moving = self.moving(repeat.body, repeat.number) if is_loop else []
        if is_loop:
            self.end_loop(repeat.body, moving)
        if repeat.number in self.leaves:
            self.aim(self.leaves[repeat.number])
        for number, step in moving:
            self.put("view_step", view=number, step=-step * repeat.count)
        local = only_in_a_part(repeat) | of_rounds(repeat, self.schedule.storages)
        self._touch_all(repeat.body, start, end, end, but=local)

    def aim(self, branch: int) -> None:
        """Let a branch lead to the instruction that comes next."""
        entry = self.instructions[branch]
        target = {"target": len(self.instructions)}
        self.aimed.add(len(self.instructions))
        self.instructions[branch] = Instruction("branch", {**entry.operands, **target})

    def touch(self, buffer: str, index: int) -> None:
        span = self.spans.setdefault(buffer, _Span(index, index))
        span.first, span.last = min(span.first, index), max(span.last, index)

    def repeat(self, repeat: Repeat, held: Mapping[_Register, None], free: list[int]) -> None:
        """Emit an inner loop with its steps; what is not held is set in each round."""
        if repeat.is_region:
            self.region(repeat, held, free)
            return
        start = self.begin_loop(repeat.count, repeat.body)
        self.items(repeat.body, held, free)
        moving = self.moving(repeat.body, repeat.number)
        end = self.end_loop(repeat.body, moving)
        for number, step in moving:
            self.put("view_step", view=number, step=-step * repeat.count)
        local = of_rounds(repeat, self.schedule.storages)
        self._touch_all(repeat.body, start, end, self.last_of_every_round(end), but=local)

    def _touch_all(
        self,
        body: tuple[Item | Repeat, ...],
        start: int,
        end: int,
        last_write: int,
        but: Set[str] = frozenset(),
    ) -> None:
        """Note that what a loop's body touches is in use from its begin to its end."""
        for item in walk(body):
            for _, access in accesses(item):
                if access.buffer in but and self.spans[access.buffer].first >= start:
                    continue  # nothing before the loop touched it
                self.touch(access.buffer, start)
                self.touch(access.buffer, end)
                written = access.buffer, item.frame
                if written in self.last_write:
                    self.last_write[written] = max(self.last_write[written], last_write)

    def last_of_every_round(self, end: int) -> int:
        """Index of the last instruction of a loop's body that an engine always executes."""
        index = end
        while self.instructions[index].mnemonic in _CONTROL or index in self.left_out:
            index -= 1
        return index

    def moving(self, body: tuple[Item | Repeat, ...], loop: int) -> list[tuple[int, int]]:
        """View numbers that advance with a loop, and by how many bytes."""
        return [
            (self.registers[register], dict(register.advance)[loop])
            for register in self.needed(body)
            if dict(register.advance).get(loop)
        ]

    def groups(
        self, items: Iterable[Item | Repeat], hoisted: Mapping[_Register, None], room: int
    ) -> Iterator[tuple[list[Item | Repeat], dict[_Register, None]]]:
        """Cut items into groups that need at most `room` registers each.

        A loop that needs more is a group of its own, with the registers that it moves.
        """
        group: list[Item | Repeat] = []
        registers: dict[_Register, None] = {}
        for item in items:
            own = {entry: None for entry in self.needed([item]) if entry not in hoisted}
            if len(own) > room and isinstance(item, Repeat):
                own = {e: None for e in own if dict(e.advance).get(item.number)}
                if len(own) <= room:
                    yield group, registers
                    yield [item], own
                    group, registers = [], {}
                    continue
            if len(own) > room:
                raise CompileError(
                    f"one loop needs {len(own)} views, the machine has {room} left for it"
                )
            if len(registers | own) > room:
                yield group, registers
                group, registers = [], {}
            group.append(item)
            registers |= own
        yield group, registers


def _is_minus_zero(value: int | float | str) -> bool:
    return isinstance(value, float) and value == 0 and math.copysign(1, value) < 0


def _is_left_out(item: Item | Repeat) -> bool:
    return isinstance(item, Item) and item.but_last is not None


def _conditions(item: Item | Repeat) -> tuple[bool, bool]:
    """Whether a round may leave an item out: the last one, or all but a region's first one."""
    return _is_left_out(item), isinstance(item, Item) and item.once


def emit(schedule: Schedule, allocation: Allocation) -> Emitted:
    """Turn a schedule into instructions (without waits).

    Raises
    ------
    CompileError
        If one loop needs more views than the machine has.
    """
    emitter = _Emitter(schedule, allocation)
    every = list(range(_NUM_VIEWS))
    emitter.items(schedule.startup, {}, every)

    emitter.registers.clear()
    body = emitter.needed(schedule.body)
    if len(body) <= _NUM_VIEWS:
        hoisted = body
    else:
        hoisted = {register: None for register in body if dict(register.advance).get(FRAME_LOOP)}
    emitter.set_views(hoisted, every)
    free = every[len(hoisted) :]
    is_loop = schedule.rounds > 1
    if is_loop:
        emitter.begin_loop(schedule.rounds, schedule.body)
    emitter.items(schedule.body, hoisted, free)
    if is_loop:
        emitter.end_loop(schedule.body, emitter.moving(schedule.body, FRAME_LOOP))

    emitter.registers.clear()
    emitter.items(schedule.finish, {}, every)
    emitter.put("halt")
    for name, storage in schedule.storages.items():
        # A part is there until the whole was read.
        if storage.within is not None and {name, storage.whole} <= emitter.spans.keys():
            emitter.touch(name, emitter.spans[storage.whole].last)
    regions = tuple(
        Region(
            name,
            storage.space,
            allocation.addresses[name],
            storage.size_bytes,
            storage.dtype,
            *(
                (0, len(emitter.instructions) - 1)
                if storage.persistent
                else (emitter.spans[name].first, emitter.spans[name].last)
            ),
        )
        for name, storage in schedule.storages.items()
        if name in emitter.spans
    )
    return Emitted(
        tuple(emitter.instructions),
        tuple(emitter.layers),
        tuple(emitter.layer_of),
        emitter.region_of_view,
        regions,
        emitter.last_write,
        emitter.leaves,
    )
