"""What instructions do to view registers, and what they can know of the scalars that place them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from azsim.isa.program import Instruction
from azsim.machine.operation import Operation
from azsim.sim.checks._flow import AT_ENTRY, Effect, Interval, State, flow

__all__ = ["view_effects"]

_INT32 = (-(2.0**31), 2.0**31 - 1)


def view_effects(instructions: Sequence[Instruction]) -> dict[int, list[Effect]]:
    """Effects on view registers, by instruction index; intervals are bytes."""
    effects: dict[int, list[Effect]] = {}
    scalars: dict[int, Interval] | None = None
    for index, instruction in enumerate(instructions):
        if instruction.mnemonic not in ("view", "view_step", "view_at"):
            continue
        register = int(instruction.operands.get("view", 0))
        step = int(instruction.operands.get("step", 0))
        if instruction.mnemonic == "view":
            effect = Effect(register, "set", (0, 0), index)
        elif instruction.mnemonic == "view_step":
            effect = Effect(register, "move", (step, step))
        else:
            if scalars is None:
                scalars = _scalars_at_view_at(instructions)
            ends = [number * step for number in scalars.get(index, (0, 0))]
            effect = Effect(register, "place", (min(ends), max(ends)))
        effects[index] = [effect]
    return effects


def _scalars_at_view_at(instructions: Sequence[Instruction]) -> dict[int, Interval]:
    """Numbers that the scalar of each ``view_at`` can hold, by instruction."""
    operations = {
        index: Operation(index, entry.mnemonic, entry.operands)
        for index, entry in enumerate(instructions)
        if entry.mnemonic in ("scalar", "scalar_read", "view_at")
    }
    effects = {
        index: [effect]
        for index, op in operations.items()
        if (effect := _scalar_effect(op)) is not None
    }
    found: dict[int, Interval] = {}

    def see(index: int, state: State) -> None:
        op = operations.get(index)
        if op is not None and op.mnemonic == "view_at":
            intervals = state.get(op.left, {(AT_ENTRY, False): (0, 0)}).values()
            low, high = min(i[0] for i in intervals), max(i[1] for i in intervals)
            wraps = low < _INT32[0] or high > _INT32[1]
            found[index] = (-math.inf, math.inf) if wraps else (low, high)

    flow(instructions, effects, see, operations)
    return found


def _scalar_effect(op: Operation) -> Effect | None:
    """What is known of a scalar register after an instruction."""
    if op.mnemonic == "scalar_read":
        return Effect(op.to, "set", (-math.inf, math.inf), op.index) if op.to else None
    if op.mnemonic != "scalar" or not op.to:
        return None
    number, adds = op.number, op.function == "add"
    if op.left == op.right == 0:
        value = number if adds else -number if op.function == "sub" else None
        if value is not None:
            return Effect(op.to, "set", (value, value), op.index)
    elif adds and sorted((op.left, op.right)) == [0, op.to]:
        return Effect(op.to, "move", (number, number))
    elif op.function == "sub" and (op.left, op.right) == (op.to, 0):
        return Effect(op.to, "move", (-number, -number))
    return Effect(op.to, "set", (-math.inf, math.inf), op.index)
