"""Windows: what a view register shows, and where it may show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from azsim.isa.program import Region
from azsim.machine.view import View

__all__ = ["Moved", "Window"]


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


class Moved(NamedTuple):
    """A window, and the bytes by which it has moved."""

    window: Window
    offset_bytes: int
