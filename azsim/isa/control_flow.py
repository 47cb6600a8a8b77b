"""Where control can go, told from the instructions alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from azsim.isa.program import Instruction

__all__ = ["MAX_LOOP_DEPTH", "check_control_flow", "loops_around"]

MAX_LOOP_DEPTH = 8


def loops_around(instructions: Sequence[Instruction]) -> list[tuple[int, ...]]:
    """Indices of the loops around each instruction, the outermost first.

    A ``loop`` lies outside its own body, its ``end_loop`` inside.
    """
    around: list[tuple[int, ...]] = []
    open_loops: list[int] = []
    for index, instruction in enumerate(instructions):
        around.append(tuple(open_loops))
        if instruction.mnemonic == "loop":
            open_loops.append(index)
        elif instruction.mnemonic == "end_loop" and open_loops:
            open_loops.pop()
    return around


def check_control_flow(instructions: Sequence[Instruction]) -> list[tuple[int, str, str]]:
    """Find what keeps instructions from ever being a program that runs to its halt.

    Parameters
    ----------
    instructions : sequence of Instruction

    Returns
    -------
    list of (int, str, str)
        Instruction, its operand that is wrong ("" for all of it), and a sentence; in program order.
    """
    around = loops_around(instructions)
    found = [*_loops(instructions), *_targets(instructions, around)]
    if not any(instruction.mnemonic == "halt" for instruction in instructions):
        found.append((max(0, len(instructions) - 1), "", "the program ends without halt"))
    return sorted(found)


def _loops(instructions: Sequence[Instruction]) -> Iterator[tuple[int, str, str]]:
    open_loops: list[int] = []
    for index, instruction in enumerate(instructions):
        match instruction.mnemonic:
            case "loop":
                if len(open_loops) == MAX_LOOP_DEPTH:
                    yield index, "", f"loop: loops nest deeper than {MAX_LOOP_DEPTH}"
                open_loops.append(index)
            case "end_loop" if open_loops:
                open_loops.pop()
            case "end_loop":
                yield index, "", "end_loop: no loop is open"
            case "halt" if open_loops:
                yield index, "", f"halt: lies inside the loop of instruction {open_loops[-1]}"
    for index in open_loops:
        yield index, "", "loop: has no end_loop"


def _targets(
    instructions: Sequence[Instruction], around: Sequence[tuple[int, ...]]
) -> Iterator[tuple[int, str, str]]:
    for index, instruction in enumerate(instructions):
        if instruction.mnemonic != "branch":
            continue
        target = int(instruction.operands.get("target", 0))
        if target >= len(around):
            last = len(around) - 1
            yield index, "target", f"branch: target: got {target}, allowed: 0 to {last}"
        elif around[index][: len(around[target])] != around[target]:
            sentence = f"branch: target: instruction {target} lies inside another loop"
            yield index, "target", sentence
