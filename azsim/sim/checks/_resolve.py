"""Branches that only count: a program in which they are decided, so that none is left.

A compiler counts rounds in scalar registers, and leaves something out in the first or the last one.
Such a register is set to a constant or moved by one, so that what a branch compares moves by a
constant from round to round.  As long as no difference changes its sign, rounds are alike; where
one does, the loop is cut in two.  What is left is the program as it runs, with loops and without
branches; its length depends on how often signs change, not on how many rounds there are.

Where data decides between two fences (`azsim.sim.checks._regions`), what stands there is kept as it
is, branches and all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from azsim.isa.program import Instruction, Program
from azsim.sim.checks._regions import fenced_regions

__all__ = ["Entry", "Kept", "Rounds", "chosen_instructions", "resolved", "rounds_of"]

_MAX_INSTRUCTIONS = 1_000_000
_Scalars = dict[int, int | None]
_HOLDS = {
    "equal": (0,),
    "not_equal": (-1, 1),
    "less": (-1,),
    "less_equal": (-1, 0),
    "greater": (1,),
    "greater_equal": (0, 1),
}


class _NotStaticError(Exception):
    """A branch depends on data outside of regions, or goes back."""


@dataclass(frozen=True)
class Kept:
    """A region as it is written, from its first fence to the instruction before its last one."""

    first: int
    end: int


@dataclass(frozen=True)
class Rounds:
    """Some rounds of a loop that are alike."""

    loop: int
    end: int
    count: int
    body: tuple[Entry, ...]


Entry = int | Rounds | Kept


@dataclass
class _Round:
    """One way through a loop's body, with the differences that its branches looked at."""

    body: list[Entry]
    after: _Scalars
    next_index: int
    differences: list[int]
    assigned: frozenset[int]


def rounds_of(program: Program, *, passes_by: bool = False) -> tuple[Entry, ...] | None:
    """The order in which a program's instructions run, with loops and without branches.

    Parameters
    ----------
    program : Program
        With sound control flow.
    passes_by : bool
        Take no branch that depends on data: one of the ways that the program can go.

    Returns
    -------
    tuple of int, Rounds or Kept, or None
        Instruction indices, rounds of loops that are alike, and regions.  None where a branch
        depends on data outside of regions, or goes back.
    """
    if not any(entry.mnemonic == "branch" for entry in program.instructions):
        return _as_written(program.instructions)
    walk = _Resolver(program.instructions, passes_by=passes_by)
    try:
        straight = walk.straight(0, len(program.instructions), dict.fromkeys(range(32), 0))
    except _NotStaticError:
        return None
    return tuple(straight.body)


def _as_written(instructions: Sequence[Instruction]) -> tuple[Entry, ...]:
    around: list[list[Entry]] = [[]]
    loops: list[int] = []
    for index, instruction in enumerate(instructions):
        if instruction.mnemonic == "loop":
            around.append([])
            loops.append(index)
        elif instruction.mnemonic == "end_loop":
            body, loop = tuple(around.pop()), loops.pop()
            count = int(instructions[loop].operands.get("count", 1))
            around[-1].append(Rounds(loop, index, count, body))
        else:
            around[-1].append(index)
            if instruction.mnemonic == "halt":
                break
    return tuple(around[0])


def resolved(program: Program, rounds: Sequence[Entry]) -> tuple[Program, list[int]]:
    """Write a program as it runs; gives also where each of its instructions comes from."""
    where: list[int] = []
    changed: dict[int, Instruction] = {}

    def keep(region: Kept) -> None:
        moved = len(where) - region.first
        for index in range(region.first, region.end):
            entry = program.instructions[index]
            if entry.mnemonic == "branch":
                target = {"target": int(entry.operands.get("target", 0)) + moved}
                changed[len(where)] = Instruction("branch", {**entry.operands, **target})
            where.append(index)

    def write(items: Sequence[Entry]) -> None:
        for item in items:
            if isinstance(item, int):
                where.append(item)
                continue
            if isinstance(item, Kept):
                keep(item)
                continue
            changed[len(where)] = Instruction("loop", {"count": item.count})
            where.append(item.loop)
            write(item.body)
            where.append(item.end)

    write(rounds)
    return chosen_instructions(program, where, changed), where


def chosen_instructions(
    program: Program, where: Sequence[int], changed: Mapping[int, Instruction] | None = None
) -> Program:
    """A program written another way: instructions by their index, some of them changed.

    Parameters
    ----------
    program : Program
    where : sequence of int
        Index in `program` of each instruction.
    changed : mapping of int to Instruction, optional
        By position in `where`.
    """
    changed = changed or {}
    return replace(
        program,
        instructions=tuple(
            changed.get(position, program.instructions[index])
            for position, index in enumerate(where)
        ),
        layer_of=tuple(program.layer_of[index] for index in where) if program.layer_of else (),
        region_of_view={
            position: program.region_of_view[index]
            for position, index in enumerate(where)
            if index in program.region_of_view
        },
    )


class _Resolver:
    def __init__(self, instructions: Sequence[Instruction], *, passes_by: bool) -> None:
        self._instructions, self._passes_by = instructions, passes_by
        self._regions = {} if passes_by else fenced_regions(instructions)
        self._end_of: dict[int, int] = {}
        self._steps = 0
        open_loops: list[int] = []
        for index, instruction in enumerate(instructions):
            if instruction.mnemonic == "loop":
                open_loops.append(index)
            elif instruction.mnemonic == "end_loop":
                self._end_of[open_loops.pop()] = index

    def straight(self, first: int, end: int, scalars: Mapping[int, int | None]) -> _Round:
        """Go from an instruction to the one before `end`, or to where a branch leads out."""
        now = dict(scalars)
        found = _Round([], now, end, [], frozenset())
        assigned: set[int] = set()
        index = first
        while first <= index < end:
            self._steps += 1
            if self._steps > _MAX_INSTRUCTIONS:
                raise _NotStaticError
            instruction = self._instructions[index]
            operands = instruction.operands
            match instruction.mnemonic:
                case "halt":
                    found.body.append(index)
                    index = len(self._instructions)
                    break
                case "loop":
                    index = self._loop(index, now, found, assigned)
                    continue
                case "branch":
                    if self._holds(instruction, now, found):
                        target = int(operands.get("target", 0))
                        if target <= index:
                            raise _NotStaticError
                        index = target
                        continue
                case "fence" if self._regions.get(index, end) < end:
                    index = self._keep(index, now, found, assigned)
                    continue
                case "scalar" | "scalar_read":
                    _assign(instruction, now, assigned)
                    found.body.append(index)
                case _:
                    found.body.append(index)
            index += 1
        found.next_index = index
        found.assigned = frozenset(assigned)
        return found

    def _holds(self, branch: Instruction, now: _Scalars, found: _Round) -> bool:
        left, right = (now[int(branch.operands.get(name, 0))] for name in ("left", "right"))
        if branch.operands.get("left", 0) == branch.operands.get("right", 0):
            difference = 0
        elif left is None or right is None:
            if self._passes_by:
                return False
            raise _NotStaticError
        else:
            difference = left - right
            found.differences.append(difference)
        return _sign(difference) in _HOLDS[str(branch.operands.get("condition", "equal"))]

    def _keep(self, first: int, now: _Scalars, found: _Round, assigned: set[int]) -> int:
        """Pass over a region: what it sets is a matter of data; gives its last fence."""
        last = self._regions[first]
        found.body.append(Kept(first, last))
        for entry in self._instructions[first:last]:
            to = int(entry.operands.get("to", 0))
            if entry.mnemonic in ("scalar", "scalar_read") and to:
                now[to] = None
                assigned.add(to)
        return last

    def _loop(self, loop: int, now: _Scalars, found: _Round, assigned: set[int]) -> int:
        """Go round a loop, alike rounds at once; gives where control goes on."""
        count = int(self._instructions[loop].operands.get("count", 1))
        end = self._end_of[loop]
        begin, done = dict(now), 0
        this = self.straight(loop + 1, end, begin)
        while done < count:
            if this.next_index != end:  # a branch out of the loop
                _append(found.body, Rounds(loop, end, 1, tuple(this.body)), begins=not done)
                found.differences += this.differences
                now.update(this.after)
                assigned |= this.assigned
                return this.next_index
            alike, after, following = 1, this.after, this
            if done + 1 < count:
                following = self.straight(loop + 1, end, after)
                same = following.body == this.body
                same &= len(following.differences) == len(this.differences)
                if same and _is_linear(begin, this):
                    alike, after = self._alike(begin, this, following, count - done)
            found.differences += this.differences
            if alike > 1:
                moved = zip(this.differences, following.differences, strict=True)
                found.differences += [a + (alike - 1) * (b - a) for a, b in moved]
            _append(found.body, Rounds(loop, end, alike, tuple(this.body)), begins=not done)
            assigned |= this.assigned
            done += alike
            begin = dict(after)
            if done < count:
                this = following if alike == 1 else self.straight(loop + 1, end, begin)
        now.update(begin)
        return end + 1

    @staticmethod
    def _alike(begin: _Scalars, this: _Round, following: _Round, most: int) -> tuple[int, _Scalars]:
        """How many rounds are like this one, and the scalars after them."""
        alike = most
        for old, new in zip(this.differences, following.differences, strict=True):
            step = new - old
            if _sign(new) != _sign(old):
                alike = 1
            elif old * step < 0:  # it moves towards zero, and is there after so many rounds
                alike = min(alike, -(-abs(old) // abs(step)))
        after: _Scalars = {}
        for register, value in this.after.items():
            old = begin[register]
            if value is None or old is None or register in this.assigned:
                after[register] = value
            else:
                after[register] = value + (alike - 1) * (value - old)
                if after[register] != _wrapped(value + (alike - 1) * (value - old)):
                    raise _NotStaticError
        return alike, after


def _append(body: list[Entry], rounds: Rounds, *, begins: bool) -> None:
    """Append rounds of a loop; to those before them if they are alike."""
    last = body[-1] if body else None
    if not begins and isinstance(last, Rounds) and last.body == rounds.body:
        body[-1] = replace(last, count=last.count + rounds.count)
    else:
        body.append(rounds)


def _is_linear(begin: _Scalars, this: _Round) -> bool:
    """Whether registers that a round sets anew held the same before."""
    return all(begin[register] == this.after[register] for register in this.assigned)


def _assign(instruction: Instruction, now: _Scalars, assigned: set[int]) -> None:
    operands = instruction.operands
    to, left, right, number = (
        int(operands.get(name, 0)) for name in ("to", "left", "right", "number")
    )
    if not to:
        return
    adds = instruction.mnemonic == "scalar" and operands.get("operation", "add") == "add"
    old = now[to]
    if adds and left == right == 0:
        now[to] = number
        assigned.add(to)
    elif adds and sorted((left, right)) == [0, to] and old is not None:
        now[to] = _wrapped(old + number)
    else:
        now[to] = None
        assigned.add(to)


def _wrapped(number: int) -> int:
    return (number + (1 << 31)) % (1 << 32) - (1 << 31)


def _sign(number: int) -> int:
    return (number > 0) - (number < 0)
