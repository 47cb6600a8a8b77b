"""Windows: what a view register shows, and where it may show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from azsim.errors import MachineError
from azsim.isa.program import Program, Region
from azsim.machine.view import View

__all__ = ["Moved", "Window", "Windows", "check_aligned"]


@dataclass(slots=True, eq=False)  # not frozen, as a run makes many
class Window:
    """What a ``view`` instruction puts into a register.

    Attributes
    ----------
    view : View
    region : Region or None
    shape : int
        A number for the view with its region: equal numbers, equal windows.
    low, high : int
        First byte of the view, and one past the last.
    start, stop : int
        First byte, and one past the last, that it may touch when it has moved.
    """

    view: View
    region: Region | None
    shape: int
    low: int
    high: int
    start: int
    stop: int

    def is_inside(self, offset_bytes: int) -> bool:
        """Whether it shows only what it may touch when it has moved."""
        return self.start <= self.low + offset_bytes and self.high + offset_bytes <= self.stop

    def stepped(self, offset_bytes: int) -> View:
        """View of the window when it has moved."""
        return self.view.stepped(offset_bytes) if offset_bytes else self.view

    def check_live(self, index: int) -> None:
        """Raise if the region is not alive at an instruction."""
        region = self.region
        if region is not None and not region.first <= index <= region.last:
            raise MachineError(
                f"instruction {index}: region '{region.name}' is used, but lives from instruction "
                f"{region.first} to {region.last}"
            )


class Moved(NamedTuple):
    """A window, and the bytes by which it has moved."""

    window: Window
    offset_bytes: int


def check_aligned(number: int, window: Window, offset_bytes: int, index: int) -> None:
    """Raise if a window that has moved into its region is not aligned to its elements."""
    address, size = window.view.addr + offset_bytes, window.view.element_bits // 8
    if size > 1 and address % size and window.is_inside(offset_bytes):
        raise MachineError(
            f"instruction {index}: view v{number}: address {address:#x} is not aligned "
            f"to {size} bytes"
        )


class Windows:
    """Windows of a program's ``view`` instructions, each made once.

    Parameters
    ----------
    program : Program
    sizes_bytes : mapping of str to int
        Of the memories.
    """

    def __init__(self, program: Program, sizes_bytes: Mapping[str, int]) -> None:
        self._sizes_bytes = dict(sizes_bytes)
        self._region_by_name = {region.name: region for region in program.regions}
        self._region_of_view = program.region_of_view
        self._set: dict[int, tuple[View, Window]] = {}
        self._shape_number: dict[tuple[View, str | None], int] = {}

    def of(self, number: int, view: View, index: int) -> Window:
        """What a ``view`` instruction at `index` puts into register `number`."""
        known = self._set.get(index)
        if known is not None and known[0] is view:
            return known[1]
        name = self._region_of_view.get(index)
        if name is not None and name not in self._region_by_name:
            raise MachineError(f"instruction {index}: view v{number}: no region is named '{name}'")
        region = None if name is None else self._region_by_name[name]
        shape = self._shape_number.setdefault((view, name), len(self._shape_number))
        start, stop = 0, self._sizes_bytes[view.space]
        if region is not None:
            start = region.start_bytes
            stop = min(start + region.size_bytes, stop)
        window = Window(view, region, shape, *view.extent(), start, stop)
        check_aligned(number, window, 0, index)
        self._set[index] = view, window
        return window
