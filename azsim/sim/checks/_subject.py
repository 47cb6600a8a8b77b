"""What the checkers look at: a program with every window that its instructions can have."""

from __future__ import annotations

import functools
import itertools
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from azsim.errors import MachineError
from azsim.hardware.description import Hardware
from azsim.isa.control_flow import loops_around
from azsim.isa.program import DramImage, Program, Region
from azsim.isa.spec import instruction_set
from azsim.machine.instructions import instructions
from azsim.machine.operation import Operation
from azsim.machine.view import Range, View, overlaps
from azsim.sim.checks._flow import AT_ENTRY, Effect, State, Value, flow, moved_by_rounds
from azsim.sim.checks._registers import view_effects
from azsim.sim.checks._resolve import Entry, resolved, rounds_of
from azsim.sim.checks._verdict import Finding
from azsim.sim.checks._windows import Access, Window, combinations, touched_views

__all__ = ["Subject"]


class Subject:
    """A program to be checked, on a chip.

    Parameters
    ----------
    program : Program
        With sound control flow.
    hardware : Hardware
    image : DramImage or None
        None where there is none: assembly text alone.
    where : sequence of int, optional
        Where each instruction comes from, if the program was written another way to be checked;
        sentences name these indices.
    """

    def __init__(
        self,
        program: Program,
        hardware: Hardware,
        image: DramImage | None,
        where: Sequence[int] | None = None,
    ) -> None:
        self.program, self.hardware, self.image = program, hardware, image
        self.where = range(len(program.instructions)) if where is None else where
        spec = instruction_set().instructions
        self.engine_of = [spec[entry.mnemonic].engine for entry in program.instructions]
        self._operations: dict[int, Operation] = {}
        self.crossing: set[int] = set()
        self._known_windows: dict[tuple[int, int], tuple[Value, tuple[Window, ...]]] = {}
        self.regions: dict[str, Region] = {region.name: region for region in program.regions}
        self.branches = tuple(
            index for index, entry in enumerate(program.instructions) if entry.mnemonic == "branch"
        )

    def operation(self, index: int) -> Operation:
        """An instruction with its operands as attributes."""
        op = self._operations.get(index)
        if op is None:
            entry = self.program.instructions[index]
            op = self._operations[index] = Operation(index, entry.mnemonic, entry.operands)
        return op

    def mnemonic(self, index: int) -> str:
        """Mnemonic of an instruction."""
        return self.program.instructions[index].mnemonic

    @functools.cached_property
    def rounds(self) -> tuple[Entry, ...] | None:
        """What runs in which order; None where that depends on data."""
        return rounds_of(self.program)

    @functools.cached_property
    def around(self) -> list[tuple[int, ...]]:
        """Loops around each instruction, the outermost first."""
        return loops_around(self.program.instructions)

    @functools.cached_property
    def without_branches(self) -> Subject:
        """The same program with its branches decided."""
        assert self.rounds is not None
        return self._along(self.rounds)

    @functools.cached_property
    def passing_branches_by(self) -> Subject | None:
        """One way through a program whose branches depend on data: none of them is taken."""
        rounds = rounds_of(self.program, passes_by=True)
        return None if rounds is None else self._along(rounds)

    def _along(self, rounds: Sequence[Entry]) -> Subject:
        program, where = resolved(self.program, rounds)
        return Subject(program, self.hardware, self.image, [self.where[index] for index in where])

    # ---- names

    def name(self, index: int) -> str:
        """An instruction with its layer, as sentences begin."""
        program = self.program
        layer = program.layer_of[index] if program.layer_of else -1
        of_layer = f", layer '{program.layers[layer]}'" if layer >= 0 else ""
        mnemonic = program.instructions[index].mnemonic
        return f"instruction {self.where[index]} ({mnemonic}{of_layer})"

    def find(self, index: int, sentence: str, *others: int) -> Finding:
        """A finding that begins with the instruction."""
        where = tuple(self.where[other] for other in others)
        return Finding(self.where[index], f"{self.name(index)}: {sentence}", where)

    def capacity_bytes(self, space: str) -> int:
        """Size of a memory; DRAM is as large as the image, or as regions and ports reach."""
        if space != "dram":
            sram = self.hardware.weight_sram if space == "weight" else self.hardware.activation_sram
            return sram.bytes
        if self.image is not None:
            return self.image.data.size
        program = self.program
        ends = [r.start_bytes + r.size_bytes for r in program.regions if r.space == "dram"]
        ends += [port.end for port in (*program.inputs, *program.outputs)]
        return max(ends, default=0)

    # ---- windows

    @functools.cached_property
    def windows(self) -> Mapping[int, Mapping[str, tuple[Window, ...]]]:
        """Windows of each operand of each instruction that can be reached and touches memory.

        An operand whose register may never have been set has a window less, and `unset` says so.
        """
        found: dict[int, Mapping[str, tuple[Window, ...]]] = {}

        def see(index: int, state: State) -> None:
            operands = self._used_views(index)
            if operands:
                found[index] = {
                    name: self._windows_of(index, name, number, state.get(number))
                    for name, number in operands.items()
                }

        watched = {
            index
            for index, entry in enumerate(self.program.instructions)
            if touched_views(entry.mnemonic)
        }
        flow(self.program.instructions, self._view_effects, see, watched)
        return found

    @functools.cached_property
    def moved_by_rounds(self) -> Mapping[int, Mapping[int, int | None]]:
        """Bytes by which a round moves view registers, by ``loop``; None if it differs."""
        return moved_by_rounds(self.program.instructions, self._view_effects)

    @functools.cached_property
    def steps(self) -> Mapping[tuple[int, int], int]:
        """Greatest common divisor of the bytes that move a view register, by it and its origin.

        Registers are used again: what one that was set there moves by is of no matter here.
        """
        moves = {
            index: (int(entry.operands.get("view", 0)), int(entry.operands.get("step", 0)))
            for index, entry in enumerate(self.program.instructions)
            if entry.mnemonic in ("view_step", "view_at")
        }
        found: dict[tuple[int, int], int] = {}

        def see(index: int, state: State) -> None:
            if index in moves:
                register, step = moves[index]
                for origin, _ in state.get(register, ()):
                    key = register, origin
                    found[key] = math.gcd(found.get(key, 0), step)

        flow(self.program.instructions, self._view_effects, see, moves)
        return found

    @functools.cached_property
    def unset(self) -> Mapping[int, tuple[str, ...]]:
        """Operands, by instruction, whose view register may not have been set."""
        _ = self.windows
        return {index: tuple(names) for index, names in self._unset.items()}

    @functools.cached_property
    def _unset(self) -> dict[int, list[str]]:
        return defaultdict(list)

    def _used_views(self, index: int) -> dict[str, int]:
        """Operands of an instruction that are views, and the registers they name."""
        instruction = self.program.instructions[index]
        names = touched_views(instruction.mnemonic)
        operands = instruction.operands
        return {
            name: int(operands.get(name, 0))
            for name, flag in names
            if flag is None or operands.get(flag)
        }

    def _windows_of(
        self, index: int, name: str, number: int, value: Value | None
    ) -> tuple[Window, ...]:
        # Registers that stand still have one and the same value at many instructions.
        known = self._known_windows.get((number, id(value)))
        if known is not None and known[0] is value:
            return known[1]
        windows = []
        for (origin, _), (low, high) in (value or {(AT_ENTRY, False): (0, 0)}).items():
            if origin == AT_ENTRY:
                self._unset[index].append(name)
                continue
            window = self._view_at(origin)
            span = None if math.isinf(low) or math.isinf(high) else int(high - low)
            view = window.stepped(int(low)) if span is not None and low else window
            region = self.program.region_of_view.get(origin)
            windows.append(Window(view, span, region, number, origin))
        if value is not None and len(windows) == len(value):
            self._known_windows[number, id(value)] = value, tuple(windows)
        return tuple(windows)

    def _view_at(self, index: int) -> View:
        """Window that a ``view`` instruction sets."""
        operands = self.program.instructions[index].operands
        return View(
            str(operands.get("space", "dram")),
            str(operands.get("dtype", "u8")),
            *(
                int(operands.get(name, default))
                for name, default in (
                    ("addr", 0), ("rows", 1), ("cols", 1), ("row_stride", 0), ("col_stride", 0)
                )
            ),
        )  # fmt: skip

    @functools.cached_property
    def _view_effects(self) -> Mapping[int, Sequence[Effect]]:
        return view_effects(self.program.instructions)

    # ---- accesses

    @functools.cached_property
    def accesses(self) -> Mapping[int, tuple[Access, ...]]:
        """Bytes that each instruction touches, over all rounds; see `illegal` for the others."""
        return self._accesses_and_errors[0]

    @functools.cached_property
    def illegal(self) -> Mapping[int, tuple[str, bool]]:
        """What the machine would say of instructions whose operands do not belong together.

        With each sentence: whether it is so for certain, or only for views that may never be
        there together.
        """
        return self._accesses_and_errors[1]

    @functools.cached_property
    def _accesses_and_errors(
        self,
    ) -> tuple[dict[int, tuple[Access, ...]], dict[int, tuple[str, bool]]]:
        accesses: dict[int, tuple[Access, ...]] = {}
        errors: dict[int, tuple[str, bool]] = {}
        for index, operands in self.windows.items():
            if index in self.unset:
                continue
            found: dict[Access, None] = {}
            wrong = None
            for chosen in combinations(operands):
                try:
                    found |= dict.fromkeys(self.touch(index, chosen))
                except MachineError as error:
                    wrong = str(error)
            if wrong is not None:
                start = f"instruction {index} ({self.mnemonic(index)}): "
                # Of registers that are set in two places one may stand as the other does not.
                choices = {w[0].register for w in operands.values() if len(w) > 1}
                certain = not found or (len(choices) == 1 and not self.branches)
                errors[index] = wrong.removeprefix(start), certain
            elif index in self.crossing:
                errors[index] = "its operands may overlap in some round", False
            accesses[index] = tuple(found)
        return accesses, errors

    def touch(self, index: int, operands: Mapping[str, Window]) -> Iterator[Access]:
        """Bytes that an instruction touches with given windows.

        Raises
        ------
        MachineError
            If the operands do not belong together.
        """
        at_low = {window.register: window.view for window in operands.values()}
        ranges = self._footprint(index, at_low)
        windows = list({window.register: window for window in operands.values()}.values())
        shown = [(window.view.space, *window.view.extent()) for window in windows]
        if all(window.span_bytes == 0 for window in windows):
            for span in ranges:
                place = (span.space, span.low, span.high)
                there = [w for w, at in zip(windows, shown, strict=True) if at == place]
                region = there[0].region if there else None
                yield Access(span, tuple(window.view for window in there), region)
            return
        at_high = {
            window.register: window.view.stepped(window.span_bytes or 0) for window in windows
        }
        ends = list(zip(ranges, self._footprint(index, at_high), strict=True))
        self._note_crossing(index, ends, windows, shown)
        for low, high in ends:
            place = (low.space, low.low, low.high)
            found, views = (min(low.low, high.low), max(low.high, high.high)), ()
            registers: set[int] = set()
            region = None
            for window, at in zip(windows, shown, strict=True):
                if at != place:
                    continue
                registers.add(window.register)
                region = window.region
                if window.span_bytes is None:
                    found = self._anywhere(window)
                elif window.span_bytes == 0:
                    views = (window.view,)
            moves = found != (low.low, low.high)
            register = registers.pop() if moves and len(registers) == 1 else None
            span = Range(low.space, *found, low.is_write)
            yield Access(span, () if moves else views, region, register)

    def _note_crossing(
        self,
        index: int,
        ends: Sequence[tuple[Range, Range]],
        windows: Sequence[Window],
        shown: Sequence[tuple[str, int, int]],
    ) -> None:
        """Note an instruction whose windows pass through what it writes between their ends."""
        register = {place: window.register for window, place in zip(windows, shown, strict=True)}
        for (low, high), (other_low, other_high) in itertools.permutations(ends, 2):
            if not low.is_write or overlaps(low, other_low) or overlaps(high, other_high):
                continue  # the footprint has told what it thinks of that
            if not overlaps(_hull(low, high), _hull(other_low, other_high)):
                continue
            mine, its = (register.get((at.space, at.low, at.high), -1) for at in (low, other_low))
            around = [self.moved_by_rounds[loop] for loop in self.around[index]]
            if -1 in (mine, its) or any(
                moved.get(mine, 0) != moved.get(its, 0) for moved in around
            ):
                self.crossing.add(index)

    def _footprint(self, index: int, views: Mapping[int, View]) -> tuple[Range, ...]:
        op = self.operation(index)
        if op.mnemonic in ("scalar_read", "scalar_write"):
            (view,) = views.values()
            found = (view.space, view.dtype, view.rows, view.cols)
            if found != ("activation", "i32", 1, 1):
                name = "src" if op.mnemonic == "scalar_read" else "dst"
                raise MachineError(
                    f"{name} has to be 1 x 1 i32 in activation, is {view.rows} x {view.cols} "
                    f"{view.dtype} in {view.space}"
                )
            return (view.writes() if op.mnemonic == "scalar_write" else view.reads(),)
        return instructions()[op.mnemonic].footprint(op, lambda number: views[number])

    def _anywhere(self, window: Window) -> tuple[int, int]:
        """Where a view can be of which nothing is known: the machine keeps it to its region."""
        region = self.regions.get(window.region or "")
        if region is None:
            return 0, self.capacity_bytes(window.view.space)
        return region.start_bytes, region.start_bytes + region.size_bytes


def _hull(left: Range, right: Range) -> Range:
    low, high = min(left.low, right.low), max(left.high, right.high)
    return Range(left.space, low, high, left.is_write)
