"""Operations: instructions as the machine executes them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

from azsim.isa.spec import instruction_set
from azsim.machine.view import View

__all__ = ["Operation"]

_CHOICES = ("function", "comparison", "reduction", "rank", "norm", "condition", "operation")


class Operation:
    """An instruction with its operands as attributes (0 where absent).

    `function` is the one choice that an instruction has, whatever its operand is called.
    """

    acc = accumulate = bias = code_scale = dst = indices = initial = left = number = other = 0
    paced = peak = requantize = right = scale = src = src2 = static = step = target = to = 0
    use_bias = use_peak = view = 0
    count = buckets = 1
    value = 0.0
    epoch = site = -1
    window: View | None = None
    execute: Callable[..., None] | None = None

    def __init__(
        self, index: int, mnemonic: str, operands: Mapping[str, int | float | str]
    ) -> None:
        self.__dict__.update(operands)
        self.index = index
        self.mnemonic = mnemonic
        self.value = float(operands.get("value", 0.0))
        choice, default = _choice(mnemonic)
        self.function = str(operands.get(choice, default))
        if mnemonic == "view":
            self.window = View(
                space=str(operands.get("space", "dram")),
                dtype=str(operands.get("dtype", "u8")),
                addr=int(operands.get("addr", 0)),
                rows=int(operands.get("rows", 1)),
                cols=int(operands.get("cols", 1)),
                row_stride=int(operands.get("row_stride", 0)),
                col_stride=int(operands.get("col_stride", 0)),
            )


@functools.cache
def _choice(mnemonic: str) -> tuple[str, str]:
    """Operand of an instruction that chooses what it does, and its default."""
    fields = instruction_set().instructions[mnemonic].operands
    name = next((name for name in _CHOICES if name in fields), None)
    return ("", "none") if name is None else (name, str(fields[name].default))
