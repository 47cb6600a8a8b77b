"""Checks that several instructions share."""

from __future__ import annotations

from azsim.errors import MachineError
from azsim.machine.state import Operation
from azsim.machine.view import View, overlaps

__all__ = ["apart_or_same", "in_activation_sram", "require", "same_shape"]


def require(holds: bool, op: Operation, sentence: str) -> None:
    """Raise MachineError with the instruction's place unless a condition holds."""
    if not holds:
        raise MachineError(f"instruction {op.index} ({op.mnemonic}): {sentence}")


def in_activation_sram(op: Operation, dst: View) -> None:
    """Require the destination to lie in activation SRAM, the only memory engines write back to."""
    require(dst.space == "activation", op, f"dst lies in {dst.space}, not in activation")


def same_shape(op: Operation, dst: View, **sources: View) -> None:
    """Require sources to have the destination's shape."""
    for name, source in sources.items():
        require(
            (source.rows, source.cols) == (dst.rows, dst.cols),
            op,
            f"{name} is {source.rows} x {source.cols}, dst is {dst.rows} x {dst.cols}",
        )


def apart_or_same(op: Operation, dst: View, **sources: View) -> None:
    """Require each source to be the destination itself or to share no byte with it."""
    for name, source in sources.items():
        require(
            source == dst or not overlaps(source.reads(), dst.writes()),
            op,
            f"{name} and dst overlap without being the same view",
        )
