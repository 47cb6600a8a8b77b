"""What a reader wants to know beside each instruction: tensors that it touches, what it waits for.

A view register's tensor is the region that its latest ``view`` names, along every way that control
can take; where ways meet there may be several.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from azsim.isa.control_flow import loops_around
from azsim.isa.program import Instruction, Program
from azsim.isa.spec import instruction_set

__all__ = ["comments", "loop_labels", "regions_of_views", "successors"]

_Names = dict[int, frozenset[str]]
_ALWAYS = ("equal", "less_equal", "greater_equal")
_MOST_NAMES = 3


def successors(instructions: Sequence[Instruction]) -> list[tuple[int, ...]]:
    """Instructions that can come after each one; none after a halt, or where text just ends."""
    around = loops_around(instructions)
    count = len(instructions)
    result: list[tuple[int, ...]] = []
    for index, instruction in enumerate(instructions):
        after = [index + 1]
        match instruction.mnemonic:
            case "halt":
                after = []
            case "end_loop" if around[index]:
                after.append(around[index][-1] + 1)
            case "branch":
                operands = instruction.operands
                same = operands.get("left", 0) == operands.get("right", 0)
                target = int(operands.get("target", 0))
                is_jump = same and operands.get("condition", "equal") in _ALWAYS
                after = [target] if is_jump else [index + 1, target]
        result.append(tuple(dict.fromkeys(place for place in after if place < count)))
    return result


def regions_of_views(program: Program) -> list[_Names]:
    """By view register, names of the regions that it may show before each instruction."""
    instructions = program.instructions
    after = successors(instructions)
    before: list[_Names | None] = [None] * len(instructions)
    if instructions:
        before[0] = {}
    todo = [0] if instructions else []
    while todo:
        index = todo.pop()
        state = before[index] or {}
        if instructions[index].mnemonic == "view":
            state = dict(state)
            number = int(instructions[index].operands.get("view", 0))
            name = program.region_of_view.get(index)
            state[number] = frozenset() if name is None else frozenset([name])
        for place in after[index]:
            old = before[place]
            new = state if old is None else _joined(old, state)
            new = state if new == state else new  # one dictionary for as many places as can be
            if new != old:
                before[place] = new
                todo.append(place)
    return [names or {} for names in before]


def _joined(left: _Names, right: _Names) -> _Names:
    joined = dict(left)
    for number, names in right.items():
        old = joined.get(number)
        joined[number] = names if old is None or old is names else old | names
    return joined


def loop_labels(instructions: Sequence[Instruction]) -> dict[int, str]:
    """A label for each ``loop``, and for its ``end_loop``, in program order."""
    around = loops_around(instructions)
    labels: dict[int, str] = {}
    for index, instruction in enumerate(instructions):
        if instruction.mnemonic == "loop":
            number = sum(entry.startswith("loop_") for entry in set(labels.values()))
            labels[index] = f"loop_{number + 1}"
        elif instruction.mnemonic == "end_loop" and around[index]:
            labels[index] = labels[around[index][-1]]
    return labels


def comments(program: Program) -> list[str]:
    """Say of each instruction what it touches and waits for; empty where there is nothing to say.

    ``written <- read, read; after mac, all but 2 of load``.
    """
    labels = loop_labels(program.instructions)
    shown = []
    for index, (instruction, names) in enumerate(
        zip(program.instructions, regions_of_views(program), strict=True)
    ):
        parts = [_touched(instruction, names), _waits(instruction)]
        if instruction.mnemonic == "end_loop" and index in labels:
            parts.append(f"of {labels[index]}")
        shown.append("; ".join(part for part in parts if part))
    return shown


def _touched(instruction: Instruction, names: _Names) -> str:
    if instruction.mnemonic == "view":
        return ""  # the text names its region
    written: list[str] = []
    read: list[str] = []
    for operand, writes in _view_operands(instruction):
        shown = _shown(names.get(int(instruction.operands.get(operand, 0)), frozenset()))
        (written if writes else read).append(shown)
    if not any((*written, *read)):
        return ""
    left, right = (
        ", ".join(dict.fromkeys(entry or "?" for entry in side)) for side in (written, read)
    )
    return f"{left} <- {right}".strip()


def _view_operands(instruction: Instruction) -> Iterator[tuple[str, bool]]:
    """Operands that are views and are used, and whether they are written."""
    spec = instruction_set().instructions[instruction.mnemonic]
    operands = instruction.operands
    computes_scale = instruction.mnemonic == "vector_quantize" and not operands.get("static")
    for name, field in spec.operands.items():
        if field.unit == "view" and (field.when is None or operands.get(field.when)):
            yield name, name in spec.writes or (name == "scale" and computes_scale)


def _shown(names: frozenset[str]) -> str:
    several = sorted(names)
    more = " or others" if len(several) > _MOST_NAMES else ""
    return " or ".join(_one_line(name) for name in several[:_MOST_NAMES]) + more


def _one_line(name: str) -> str:
    return name if name.isprintable() else json.dumps(name)


def _waits(instruction: Instruction) -> str:
    """``after mac, all but 2 of load``: waits without their numbers."""
    fields = instruction_set().instructions[instruction.mnemonic].operands
    waited = []
    for name, field in fields.items():
        number = int(instruction.operands.get(name, 0)) if field.kind == "wait" else 0
        if number:
            few = f"all but {number - 1} of " if number > 1 else ""
            waited.append(f"{few}{field.engine}")
    return f"after {', '.join(waited)}" if waited else ""
