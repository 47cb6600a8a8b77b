"""Windows that operands can show, and the bytes that instructions touch through them."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from azsim.isa.spec import instruction_set
from azsim.machine.engines.clock import ENGINES
from azsim.machine.view import Range, View

__all__ = ["Access", "Window", "combinations", "touched_views"]


@dataclass(frozen=True)
class Window:
    """What an operand can show, over all rounds of all loops.

    Attributes
    ----------
    view : View
        At its lowest address, or where it was set if there is no lowest.
    span_bytes : int or None
        How much further up the address can be; None where nothing is known of it.
    region : str or None
        Name of the region it was set to.
    register : int
    origin : int
        Instruction that set the register.
    """

    view: View
    span_bytes: int | None
    region: str | None
    register: int
    origin: int = field(default=-1, compare=False)

    def extent(self) -> tuple[int, int]:
        """First byte and one past the last of what is known to be reachable.

        Raises
        ------
        MachineError
            As `View.extent`.
        """
        low, high = self.view.extent()
        return low, high + (self.span_bytes or 0)


@dataclass(frozen=True)
class Access:
    """Bytes that an instruction may touch.

    Attributes
    ----------
    span : Range
        From the first to the last byte, over all rounds.
    views : tuple of View
        Operands that show exactly these bytes; empty if they move, or are not known.
    region : str or None
        Region that an operand which shows them was set to.
    register : int or None
        View register that moves, if it is one.
    """

    span: Range
    views: tuple[View, ...]
    region: str | None = None
    register: int | None = None


@functools.cache
def touched_views(mnemonic: str) -> tuple[tuple[str, str | None], ...]:
    """Operands by which an instruction touches memory, and the flag that each needs, if any."""
    spec = instruction_set().instructions[mnemonic]
    if spec.engine not in ENGINES and mnemonic not in ("scalar_read", "scalar_write"):
        return ()
    return tuple(
        (name, field.when)
        for name, field in spec.operands.items()
        if field.unit == "view" and name != "view"
    )


def combinations(operands: Mapping[str, tuple[Window, ...]]) -> Iterator[dict[str, Window]]:
    """Every choice of one window for each operand, the same one for the same register."""
    by_register = {windows[0].register: windows for windows in operands.values()}
    for chosen in itertools.product(*by_register.values()):
        of_register = dict(zip(by_register, chosen, strict=True))
        yield {name: of_register[windows[0].register] for name, windows in operands.items()}
