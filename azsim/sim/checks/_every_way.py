"""Order where data decides what comes next: which pairs are ordered on every way through a program.

Both ways of a branch are taken to be possible, and a loop's body may follow itself any number of
times.  Where ways meet, what is known is what is known on each of them.  A state counts backwards
from where the program stands, so that states of ways of different lengths can be joined:

- for each engine its last instructions, the latest first: each a set, as ways differ,
- for each of these, and for the sequencer, a *lag* for each engine: how many of the instructions
  that were dispatched to it last need not be complete.  A longer one is larger, and joins to the
  larger; beyond what is kept nothing is known to be complete.

Sets grow and lags grow, and both have an end, so that going over the program again comes to one.
What is not ordered here may still be on every way that data allows.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from azsim.isa.program import Instruction
from azsim.machine.engines.clock import ENGINES

__all__ = ["pending_on_any_way"]

_COUNT = len(ENGINES)
_MAX_STEPS = 50_000
_KEPT = 16  # a wait names the 15th last at most
_NOTHING_KNOWN = _KEPT + 1
_NO_LAGS = (_NOTHING_KNOWN,) * _COUNT
_Lags = tuple[int, ...]
_Set = frozenset[int]


@dataclass(frozen=True)
class _State:
    """What has been dispatched, and what is known of it."""

    latest: tuple[tuple[_Set, ...], ...]  # engine, how far back
    lags: tuple[tuple[_Lags, ...], ...]  # the same
    sequencer: _Lags
    ever: tuple[_Set, ...]


_START = _State(
    ((frozenset(),) * _KEPT,) * _COUNT,
    ((_NO_LAGS,) * _KEPT,) * _COUNT,
    _NO_LAGS,
    (frozenset(),) * _COUNT,
)
_FENCED = replace(_START, sequencer=(0,) * _COUNT)
"""What was dispatched before a fence is complete behind it, and nothing has to be known of it."""


def pending_on_any_way(
    instructions: Sequence[Instruction], engine_of: Mapping[int, int]
) -> dict[int, tuple[_Set, ...]] | None:
    """Instructions of each engine that need not be complete when an instruction starts.

    Parameters
    ----------
    instructions : sequence of Instruction
        With sound control flow.
    engine_of : mapping of int to int
        Engine of each instruction that has one, and -1 for those that hold the sequencer.

    Returns
    -------
    dict of int to tuple of frozenset of int, or None
        By instruction that can be reached and is in `engine_of`: a set for each engine.  None
        where a program is too long to be gone over until nothing changes.
    """
    before: dict[int, _State] = {0: _START}
    found: dict[int, tuple[_Set, ...]] = {}
    waiting = [0]
    begin_of = _begins(instructions)
    steps = 0
    while waiting:
        index = heapq.heappop(waiting)
        if index >= len(instructions) or (waiting and waiting[0] == index):
            continue
        steps += 1
        if steps > _MAX_STEPS:
            return None
        state = before[index]
        if index in engine_of:
            known = _known(state, instructions[index], engine_of[index])
            found[index] = tuple(_pending(state, engine, known) for engine in range(_COUNT))
        after = _after(state, instructions[index], index, engine_of)
        for target in _next(instructions, index, begin_of):
            old = before.get(target)
            new = after if old is None else _joined(old, after)
            if new != old:
                before[target] = new
                heapq.heappush(waiting, target)
    return found


def _begins(instructions: Sequence[Instruction]) -> dict[int, tuple[int, int]]:
    """For each ``end_loop`` the first instruction of the body, and how often it runs."""
    open_loops: list[int] = []
    found: dict[int, tuple[int, int]] = {}
    for index, instruction in enumerate(instructions):
        if instruction.mnemonic == "loop":
            open_loops.append(index)
        elif instruction.mnemonic == "end_loop":
            loop = open_loops.pop()
            found[index] = loop + 1, int(instructions[loop].operands.get("count", 1))
    return found


def _next(
    instructions: Sequence[Instruction], index: int, begin_of: Mapping[int, tuple[int, int]]
) -> Iterator[int]:
    """Where control can go on."""
    operands = instructions[index].operands
    match instructions[index].mnemonic:
        case "halt":
            return
        case "branch":
            yield int(operands.get("target", 0))
            if operands.get("left", 0) == operands.get("right", 0):
                holds = operands.get("condition", "equal")
                if holds in ("equal", "less_equal", "greater_equal"):
                    return
        case "end_loop":
            begin, count = begin_of[index]
            if count > 1:
                yield begin
    yield index + 1


def _known(state: _State, instruction: Instruction, engine: int) -> _Lags:
    """Lags that an instruction knows of when it starts."""
    known = list(state.sequencer)

    def learn(other: int, back: int) -> None:
        known[other] = min(known[other], back)
        for third, lag in enumerate(state.lags[other][back]):
            known[third] = min(known[third], lag)

    if engine >= 0:
        learn(engine, 0)
    for other, name in enumerate(ENGINES):
        if wait := int(instruction.operands.get(f"wait_{name}", 0)):
            learn(other, wait - 1)
    return tuple(known)


def _pending(state: _State, engine: int, known: _Lags) -> _Set:
    if known[engine] >= _NOTHING_KNOWN:
        return state.ever[engine]
    return frozenset().union(*state.latest[engine][: known[engine]])


def _after(
    state: _State, instruction: Instruction, index: int, engine_of: Mapping[int, int]
) -> _State:
    if instruction.mnemonic == "fence":
        return _FENCED
    if index not in engine_of:
        return state
    engine = engine_of[index]
    known = _known(state, instruction, engine)
    if engine < 0:
        return _State(state.latest, state.lags, known, state.ever)

    def later(lags: _Lags) -> _Lags:
        """The same, now that there is one more."""
        one_more = min(lags[engine] + 1, _NOTHING_KNOWN)
        return (*lags[:engine], one_more, *lags[engine + 1 :])

    latest, clocks, ever = list(state.latest), list(state.lags), list(state.ever)
    latest[engine] = (frozenset((index,)), *latest[engine][:-1])
    clocks[engine] = (known, *clocks[engine][:-1])
    ever[engine] |= {index}
    return _State(
        tuple(latest),
        tuple(tuple(map(later, lags)) for lags in clocks),
        later(state.sequencer),
        tuple(ever),
    )


def _joined(left: _State, right: _State) -> _State:
    if left == right:
        return left
    return _State(
        tuple(
            tuple(a | b for a, b in zip(one, other, strict=True))
            for one, other in zip(left.latest, right.latest, strict=True)
        ),
        tuple(
            tuple(_larger(a, b) for a, b in zip(one, other, strict=True))
            for one, other in zip(left.lags, right.lags, strict=True)
        ),
        _larger(left.sequencer, right.sequencer),
        tuple(a | b for a, b in zip(left.ever, right.ever, strict=True)),
    )


def _larger(left: _Lags, right: _Lags) -> _Lags:
    return left if left == right else tuple(map(max, left, right))
