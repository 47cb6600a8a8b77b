"""What executions of a program share: whatever of it does not depend on data.

Instructions as operations, windows, sites and stretches are found at a program's first execution.
They are kept for as long as a trace of the program is in use, as are its decoded weights.  Every
execution compares the blocks that a stretch was made of with those in its own DRAM.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from weakref import ReferenceType, WeakValueDictionary, ref

import numpy as np

from azsim.hardware.description import Hardware
from azsim.isa.control_flow import loops_around
from azsim.isa.program import DramImage, Program
from azsim.isa.spec import instruction_set
from azsim.machine.engines.clock import ENGINES
from azsim.machine.instructions import instructions
from azsim.machine.operation import Operation
from azsim.machine.state import memory_sizes
from azsim.machine.trace import Path, Site, Trace, make_site
from azsim.machine.window import Moved, Windows
from azsim.sim.stretch import Stretch

__all__ = ["Sites", "Translation", "keep_translation", "take_translation"]

_WAITS = frozenset(f"wait_{engine}" for engine in ENGINES)


class Sites:
    """Gives each operation its site: operand shapes, liveness and legality, once for each shape.

    Parameters
    ----------
    program : Program
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        self._table = instructions()
        spec = instruction_set().instructions
        self._engines = {name: entry.engine for name, entry in spec.items()}
        self._operands = {
            name: [
                (operand, field.when)
                for operand, field in entry.operands.items()
                if field.unit == "view"
            ]
            for name, entry in spec.items()
        }
        self._wait_fields = {
            name: [
                (each, each.removeprefix("wait_"))
                for each in entry.operands
                if each.startswith("wait_")
            ]
            for name, entry in spec.items()
        }
        self._numbers: dict[int, dict[str, int]] = {}
        self._of_engines: dict[tuple[int, ...], Site] = {}
        self._of_control: dict[int, Site] = {}

    def of_engine(self, op: Operation, shown: Mapping[str, Moved]) -> Site:
        """Site of an engine operation whose operands show this; checked if it is new.

        Raises
        ------
        MachineError
            If a region is not alive, or the machine forbids such operands.
        """
        key = (op.index, *[one.window.shape for one in shown.values()])
        site = self._of_engines.get(key)
        if site is not None:
            return site
        views = {name: one.window.stepped(one.offset_bytes) for name, one in shown.items()}
        for one in shown.values():
            one.window.check_live(op.index)
        numbers = self.registers(op)
        by_number = {numbers[name]: view for name, view in views.items()}
        self._table[op.mnemonic].footprint(op, by_number.__getitem__)
        site = make_site(op, self._engines[op.mnemonic], self._waits(op), views)
        self._of_engines[key] = site
        return site

    def of_control(self, op: Operation) -> Site:
        """Site of a control operation."""
        site = self._of_control.get(op.index)
        if site is None:
            site = self._of_control[op.index] = make_site(op, "control", self._waits(op), {})
        return site

    def registers(self, op: Operation) -> dict[str, int]:
        """Registers of an operation's views by operand."""
        numbers = self._numbers.get(op.index)
        if numbers is None:
            numbers = self._numbers[op.index] = {
                name: getattr(op, name)
                for name, flag in self._operands[op.mnemonic]
                if flag is None or getattr(op, flag)
            }
        return numbers

    def _waits(self, op: Operation) -> dict[str, int]:
        operands = self._program.instructions[op.index].operands
        if operands.keys().isdisjoint(_WAITS):
            return {}
        return {
            engine: int(operands[name])
            for name, engine in self._wait_fields[op.mnemonic]
            if name in operands
        }


class Translation:
    """A program for one chip and one size of DRAM; one execution at a time may use it.

    Attributes
    ----------
    program : Program
    hardware : Hardware
    sizes_bytes : dict of str to int
        Of the memories.
    operations : list of Operation
    around : list of tuple of int
        Loops around each instruction.
    windows : Windows
    sites : Sites
    stretches : dict of int to list of Stretch
        By the instruction where they begin, the one made last first.
    joins : list of bool
        For each instruction, whether it may be part of a stretch.
    starts : list of bool
        For each instruction, whether to ask there for a stretch.
    epoch : int
        Above those of the last execution, see `Machine`.
    arena : ndarray or None
        Of the last execution: its pages are there already.
    path : reference to Path
        What the last execution took, for as long as a trace has it.
    """

    def __init__(self, program: Program, image: DramImage, hardware: Hardware) -> None:
        self.program, self.hardware = program, hardware
        self.sizes_bytes = memory_sizes(image, hardware)
        table = instructions()
        self.operations = [
            Operation(index, instruction.mnemonic, instruction.operands)
            for index, instruction in enumerate(program.instructions)
        ]
        for op in self.operations:
            op.execute = table[op.mnemonic].execute if op.mnemonic in table else None
        self.around = loops_around(program.instructions)
        self.windows = Windows(program, self.sizes_bytes)
        self.sites = Sites(program)
        self.stretches: dict[int, list[Stretch]] = {}
        self.joins: list[bool] = []
        self.starts: list[bool] = []
        self.epoch = 0
        self.arena: np.ndarray | None = None
        self.path: ReferenceType[Path] | None = None

    def fits(self, program: Program, image: DramImage, hardware: Hardware) -> bool:
        """Whether an execution may use it."""
        return (
            self.program is program
            and self.sizes_bytes == memory_sizes(image, hardware)
            and self.hardware == hardware
        )


_kept: WeakValueDictionary[int, Translation] = WeakValueDictionary()
"""By the id of the program, which a translation holds."""


def take_translation(program: Program, image: DramImage, hardware: Hardware) -> Translation:
    """Translation of an earlier execution whose trace is in use, else a new one.

    Nobody else gets it before it is kept again.
    """
    known = _kept.pop(id(program), None)
    if known is None or not known.fits(program, image, hardware):
        return Translation(program, image, hardware)
    return known


def keep_translation(translation: Translation, trace: Trace) -> Trace:
    """Let the next execution take it, for as long as the trace is in use.

    Returns the trace, with the path of the execution before it if both took the same.
    """
    path = translation.path() if translation.path is not None else None
    if path is not None and path.equals(trace.path):
        trace = replace(trace, path=path)
    translation.path = ref(trace.path)
    trace.derived["translation"] = translation
    _kept[id(translation.program)] = translation
    return trace
