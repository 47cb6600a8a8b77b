"""Where registers can stand at each instruction, over loops and branches, without running them.

A register is a view's address, a scalar or an accumulator's bound: a number that instructions set,
move by a constant, or place at an offset from where it was set.  What it can be at an instruction
is a set of *origins* (the instruction that set it), each with an interval of numbers.

A loop is not gone round.  Its body is summed up once as a function of the state in which a round
begins; `count` rounds of a move by 4 are a move by 4 times `count`.  So the cost grows with the
text of a program and never with its rounds, and where no branch depends on data the ends of an
interval are really reached: in a loop nest every register moves by constants.

Branches join: both ways are taken to be possible.  A way back other than that of a hardware loop
may be gone any number of times, and what moves on it has no end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from azsim.isa.program import Instruction

__all__ = ["AT_ENTRY", "Effect", "Interval", "State", "Value", "flow", "moved_by_rounds"]

Interval = tuple[float, float]
"""Smallest and largest number, both included; infinite where there is no end."""
Value = Mapping[tuple[int, bool], Interval]
"""By origin, and whether it was placed: how far from there."""
State = dict[int, Value]
"""By register; one that is missing is as it was on entry."""

AT_ENTRY = -1
"""Origin of what a register holds when the program (or a loop's round) begins."""
_UNTOUCHED: Value = {(AT_ENTRY, False): (0, 0)}
_PATIENCE = 3  # times round a way back before what still grows is taken to grow for ever


@dataclass(frozen=True)
class Effect:
    """What an instruction does to one register.

    Attributes
    ----------
    register : int
    kind : str
        ``set`` (anew, from `origin`), ``move`` or ``place`` (relative to where it was set).
    interval : (float, float)
    origin : int
        Instruction index of a ``set``.
    """

    register: int
    kind: str
    interval: Interval
    origin: int = AT_ENTRY


@dataclass
class _Block:
    """Instructions of one nesting level; a loop inside is one entry."""

    first: int
    last: int  # the `end_loop`, or one past the end of the program
    count: int
    entries: list[int | _Block] = field(default_factory=list)
    end: State | None = None  # after a round, relative to its begin; None if no round ends
    exits: dict[int, State] = field(default_factory=dict)  # branches out, relative likewise


def flow(
    instructions: Sequence[Instruction],
    effects: Mapping[int, Sequence[Effect]],
    see: Callable[[int, State], None],
    watched: Collection[int] | None = None,
) -> None:
    """Show the state before each instruction that can be reached.

    Parameters
    ----------
    instructions : sequence of Instruction
        With sound control flow, see `azsim.isa.control_flow`.
    effects : mapping of int to sequence of Effect
        By instruction index.
    see : callable
        ``see(index, state)``; a register that the state lacks is as it was at the program's start.
        The state belongs to the callee's caller: values may be kept, the dictionary not.
    watched : collection of int, optional
        Instructions to show; all by default.
    """
    walk = _Flow(instructions, effects)
    program = _blocks(instructions, effects, watched)
    for block in _innermost_first(program):
        block.end, block.exits = walk.pass_through(block, {}, None)
    walk.pass_through(program, {}, see)


def moved_by_rounds(
    instructions: Sequence[Instruction], effects: Mapping[int, Sequence[Effect]]
) -> dict[int, dict[int, int | None]]:
    """How far a round of a loop moves each register, by ``loop`` and register.

    Registers that stand after a round where they stood before are left out, and so are those that
    each round sets anew; None where it differs from round to round.
    """
    walk = _Flow(instructions, effects)
    found: dict[int, dict[int, int | None]] = {}
    for block in _innermost_first(_blocks(instructions, effects, ())):
        block.end, block.exits = walk.pass_through(block, {}, None)
        moved = found[block.first] = {}
        for register, value in (block.end or {}).items():
            low, high = value.get((AT_ENTRY, False), (0, 0))
            if (low, high) != (0, 0):
                moved[register] = int(low) if low == high and len(value) == 1 else None
    return found


def _blocks(
    instructions: Sequence[Instruction],
    effects: Mapping[int, Sequence[Effect]],
    watched: Collection[int] | None,
) -> _Block:
    """Nest the instructions that do something, are watched, or that control passes through."""
    targets = {
        int(entry.operands.get("target", 0)) for entry in instructions if entry.mnemonic == "branch"
    }
    program = _Block(0, len(instructions), 1)
    around = [program]
    for index, instruction in enumerate(instructions):
        mnemonic = instruction.mnemonic
        if mnemonic == "loop":
            inner = _Block(index, index, int(instruction.operands.get("count", 1)))
            around[-1].entries.append(inner)
            around.append(inner)
        elif mnemonic == "end_loop":
            around.pop().last = index
        elif (
            watched is None
            or index in watched
            or index in effects
            or index in targets
            or mnemonic in ("branch", "halt")
        ):
            around[-1].entries.append(index)
    return program


def _innermost_first(block: _Block) -> list[_Block]:
    found = []
    for entry in block.entries:
        if isinstance(entry, _Block):
            found += [*_innermost_first(entry), entry]
    return found


class _Flow:
    def __init__(
        self, instructions: Sequence[Instruction], effects: Mapping[int, Sequence[Effect]]
    ) -> None:
        self._instructions, self._effects = instructions, effects

    def pass_through(
        self, block: _Block, entry: State, see: Callable[[int, State], None] | None
    ) -> tuple[State | None, dict[int, State]]:
        """States at a block's end and at branches out of it, for a state at its begin."""
        incoming: dict[int, State] = {}
        if not self._goes_back(block):
            return self._once(block, entry, incoming, see, widen=False)
        turn = 0
        while True:
            before = {target: dict(state) for target, state in incoming.items()}
            end, exits = self._once(block, entry, incoming, None, widen=turn >= _PATIENCE)
            if incoming == before:
                break
            turn += 1
        if see is not None:
            self._once(block, entry, incoming, see, widen=False)
        return end, exits

    def _goes_back(self, block: _Block) -> bool:
        """Whether a branch leads back within a block; else one pass tells all."""
        return any(
            block.first <= int(self._instructions[index].operands.get("target", 0)) <= index
            for index in range(block.first, block.last)
            if self._instructions[index].mnemonic == "branch"
        )

    def _once(
        self,
        block: _Block,
        entry: State,
        incoming: dict[int, State],
        see: Callable[[int, State], None] | None,
        *,
        widen: bool,
    ) -> tuple[State | None, dict[int, State]]:
        """One pass in program order; `incoming` gathers what branches bring to their targets."""
        inside = {_first(item) for item in block.entries} | {block.last}
        exits: dict[int, State] = {}
        state: State | None = dict(entry)

        def leave(here: int, target: int, leaving: State) -> None:
            if target in inside:
                grows = widen and target <= here
                _join_at(incoming, target, leaving, widen=grows)
            else:
                _join_at(exits, target, leaving, widen=False)

        for item in block.entries:
            here = _first(item)
            if here in incoming:
                state = _joined(state, incoming[here])
            if state is None:
                continue
            if isinstance(item, _Block):
                state = self._loop(item, state, see, leave)
                continue
            if see is not None:
                see(item, state)
            instruction = self._instructions[item]
            if instruction.mnemonic == "branch":
                taken, goes_on = _ways(instruction)
                if taken:
                    leave(item, int(instruction.operands.get("target", 0)), dict(state))
                if not goes_on:
                    state = None
            elif instruction.mnemonic == "halt":
                state = None
            else:
                for effect in self._effects.get(item, ()):
                    state[effect.register] = _after(effect, state)
        if block.last in incoming:
            state = _joined(state, incoming[block.last])
        return state, exits

    def _loop(
        self,
        loop: _Block,
        state: State,
        see: Callable[[int, State], None] | None,
        leave: Callable[[int, int, State], None],
    ) -> State | None:
        """State after a loop; shows its instructions the states of all its rounds."""
        if see is not None:
            see(loop.first, state)
        any_round = _any_round(loop)
        if see is not None:
            self.pass_through(loop, _composed(any_round, state), see)
        for target, exit_state in loop.exits.items():
            leave(loop.last, target, _composed(_composed(exit_state, any_round), state))
        if loop.end is None:
            return None
        return _composed(_all_rounds(loop, any_round), state)


def _first(item: int | _Block) -> int:
    return item.first if isinstance(item, _Block) else item


def _ways(branch: Instruction) -> tuple[bool, bool]:
    """Whether a branch can be taken, and whether it can be passed by."""
    operands = branch.operands
    if operands.get("left", 0) != operands.get("right", 0):
        return True, True
    holds = operands.get("condition", "equal") in ("equal", "less_equal", "greater_equal")
    return holds, not holds


# ------------------------------------------------------------------------------ states, values


def _after(effect: Effect, state: State) -> Value:
    if effect.kind == "set":
        return {(effect.origin, False): effect.interval}
    value = state.get(effect.register, _UNTOUCHED)
    if effect.kind == "place":
        return {(origin, True): effect.interval for origin, _ in value}
    return {key: _moved(interval, effect.interval) for key, interval in value.items()}


def _moved(interval: Interval, by: Interval) -> Interval:
    return interval[0] + by[0], interval[1] + by[1]


def _hull(left: Interval, right: Interval) -> Interval:
    return min(left[0], right[0]), max(left[1], right[1])


def _times(number: int, by: float) -> float:
    return number * by if number else 0


def _union(left: Value, right: Value) -> Value:
    if left is right:
        return left
    joined = dict(left)
    for key, interval in right.items():
        joined[key] = _hull(joined[key], interval) if key in joined else interval
    return joined


def _joined(left: State | None, right: State) -> State:
    if left is None:
        return dict(right)
    return {
        register: _union(left.get(register, _UNTOUCHED), right.get(register, _UNTOUCHED))
        for register in left.keys() | right.keys()
    }


def _join_at(states: dict[int, State], target: int, state: State, *, widen: bool) -> None:
    known = states.get(target)
    joined = _joined(known, state)
    if widen and known is not None:
        for register, value in joined.items():
            old = known.get(register, _UNTOUCHED)
            joined[register] = {
                key: _widened(old.get(key, interval), interval) for key, interval in value.items()
            }
    states[target] = joined


def _widened(old: Interval, new: Interval) -> Interval:
    low = new[0] if new[0] >= old[0] else -math.inf
    high = new[1] if new[1] <= old[1] else math.inf
    return low, high


def _composed(later: State, earlier: State) -> State:
    """State after `later`, which is relative to a begin where `earlier` holds."""
    result = dict(earlier)
    for register, value in later.items():
        result[register] = _applied(value, earlier.get(register, _UNTOUCHED))
    return result


def _applied(value: Value, entry: Value) -> Value:
    result: Value = {}
    for (origin, placed), interval in value.items():
        if origin != AT_ENTRY:
            part: Value = {(origin, placed): interval}
        elif placed:
            part = {(entry_origin, True): interval for entry_origin, _ in entry}
        else:
            part = {key: _moved(found, interval) for key, found in entry.items()}
        result = _union(result, part) if result else part
    return result


# --------------------------------------------------------------------------------------- loops


def _spread(interval: Interval, step: Interval | None, times: int) -> Interval:
    """Hull of an interval moved by `step` any number of times from 0 to `times`."""
    if step is None or times <= 0:
        return interval
    return (
        interval[0] + min(0, _times(times, step[0])),
        interval[1] + max(0, _times(times, step[1])),
    )


def _any_round(loop: _Block) -> State:
    """State in which any of a loop's rounds begins, relative to the begin of the first."""
    if loop.end is None or loop.count == 1:
        return {}
    result: State = {}
    for register, value in loop.end.items():
        step = value.get((AT_ENTRY, False))
        begin: dict[tuple[int, bool], Interval] = {
            (AT_ENTRY, False): _spread((0, 0), step, loop.count - 1)
        }
        placed = value.get((AT_ENTRY, True))
        for key, interval in value.items():
            if key == (AT_ENTRY, False):
                continue
            begin[key] = _spread(interval, step, loop.count - 2)
            if placed is not None:  # a later round places what an earlier one has set
                again = _spread(placed, step, loop.count - 2)
                known = begin.get((key[0], True))
                begin[key[0], True] = again if known is None else _hull(known, again)
        result[register] = begin
    return result


def _all_rounds(loop: _Block, any_round: State) -> State:
    """State after a loop, relative to its begin."""
    assert loop.end is not None
    result: State = {}
    for register, value in loop.end.items():
        if list(value) == [(AT_ENTRY, False)]:
            low, high = value[AT_ENTRY, False]
            result[register] = {
                (AT_ENTRY, False): (_times(loop.count, low), _times(loop.count, high))
            }
        else:
            result[register] = _applied(value, any_round.get(register, _UNTOUCHED))
    return result
