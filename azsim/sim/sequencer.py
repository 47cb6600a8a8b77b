"""What the sequencer executes itself: views, loops, scalar registers and branches."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence

from azsim.errors import MachineError
from azsim.isa.control_flow import MAX_LOOP_DEPTH
from azsim.machine.operation import Operation
from azsim.machine.state import Machine
from azsim.machine.trace import Recorder
from azsim.machine.view import View

__all__ = ["Sequencer", "branches", "computed"]

_WORD = 1 << 32
_CONDITIONS: dict[str, Callable[[int, int], bool]] = {
    "equal": operator.eq,
    "not_equal": operator.ne,
    "less": operator.lt,
    "less_equal": operator.le,
    "greater": operator.gt,
    "greater_equal": operator.ge,
}
_OPERATIONS: dict[str, Callable[[int, int], int]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "and": operator.and_,
    "or": operator.or_,
    "xor": operator.xor,
    "shift_left": lambda a, b: a << (b & 31),
    "shift_right": lambda a, b: a >> (b & 31),
    "min": min,
    "max": max,
}


def _wrapped(number: int) -> int:
    """An int32 of the low 32 bits."""
    return (number + _WORD // 2) % _WORD - _WORD // 2


def branches(op: Operation, scalars: Mapping[int, int] | Sequence[int]) -> bool:
    """Whether a ``branch`` is taken."""
    return _CONDITIONS[op.function](scalars[op.left], scalars[op.right])


def computed(op: Operation, scalars: Mapping[int, int] | Sequence[int]) -> int:
    """What a ``scalar`` instruction gives."""
    number = _wrapped(scalars[op.right] + op.number)
    return _wrapped(_OPERATIONS[op.function](scalars[op.left], number))


class Sequencer:
    """Executes control instructions.

    Parameters
    ----------
    around : sequence of tuple of int
        Loops around each instruction of the program.
    machine : Machine
    recorder : Recorder
        Is told the addresses of views that scalars place.
    """

    def __init__(
        self, around: Sequence[tuple[int, ...]], machine: Machine, recorder: Recorder
    ) -> None:
        self._around, self._machine, self._recorder = around, machine, recorder
        self._loops: list[list[int]] = []  # index of the body, rounds left

    def next_index(self, op: Operation) -> int:
        """Execute a control instruction; returns the next index, -1 after a halt.

        Raises
        ------
        MachineError
            If it does what the machine forbids.
        """
        machine, index = self._machine, op.index
        match op.mnemonic:
            case "view":
                assert op.window is not None
                machine.set_view(op.view, op.window, index)
            case "view_step":
                machine.step_view(op.view, op.step, index)
            case "view_at":
                offset_bytes = machine.scalars[op.left] * op.step
                self._recorder.transfer(machine.place_view(op.view, offset_bytes, index))
            case "loop":
                self._begin_loop(op)
            case "end_loop":
                return self._end_loop(index)
            case "branch":
                if branches(op, machine.scalars):
                    return self._branch(op)
            case "scalar":
                self._set(op.to, computed(op, machine.scalars))
            case "scalar_read":
                self._check_word(op, "src", op.src)
                self._set(op.to, int(machine.array(op.src, index)[0, 0]))
            case "scalar_write":
                view = self._check_word(op, "dst", op.dst)
                machine.array(op.dst, index)[0, 0] = machine.scalars[op.left]
                machine.forget(view.space, view.addr, view.addr + 4)
            case "halt":
                if self._loops:
                    raise MachineError(f"instruction {index}: halt inside a loop")
                return -1
        return index + 1

    def _begin_loop(self, op: Operation) -> None:
        if len(self._loops) == MAX_LOOP_DEPTH:
            raise MachineError(f"instruction {op.index}: loops nest deeper than {MAX_LOOP_DEPTH}")
        self._loops.append([op.index + 1, op.count])

    def _end_loop(self, index: int) -> int:
        if not self._loops:
            raise MachineError(f"instruction {index}: end_loop without loop")
        self._loops[-1][1] -= 1
        if self._loops[-1][1] > 0:
            return self._loops[-1][0]
        self._loops.pop()
        return index + 1

    def _branch(self, op: Operation) -> int:
        place = f"instruction {op.index} (branch)"
        if op.target >= len(self._around):
            last = len(self._around) - 1
            raise MachineError(f"{place}: target is {op.target}, the program ends with {last}")
        here, there = self._around[op.index], self._around[op.target]
        if here[: len(there)] != there:
            raise MachineError(f"{place}: target {op.target} lies inside another loop")
        del self._loops[len(there) :]
        return op.target

    def _set(self, register: int, number: int) -> None:
        if register:
            self._machine.scalars[register] = _wrapped(number)

    def _check_word(self, op: Operation, name: str, number: int) -> View:
        machine, view = self._machine, self._machine.view(number, op.index)
        machine.check_live(machine.windows[number], op.index)
        found = f"{view.rows} x {view.cols} {view.dtype} in {view.space}"
        if (view.space, view.dtype, view.rows, view.cols) != ("activation", "i32", 1, 1):
            raise MachineError(
                f"instruction {op.index} ({op.mnemonic}): {name} has to be 1 x 1 i32 in "
                f"activation, is {found}"
            )
        return view
