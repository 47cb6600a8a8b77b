"""The instructions, one file each: effect on the state, memory footprint, engine cycles.

A module of this package is named by its mnemonic and defines

``execute(machine, op, recorder)``
    The bit-exact effect.  What timing cannot know from the program alone (addresses in DRAM,
    tiles, zero masks) goes to the recorder.
``footprint(op, view)``
    The byte ranges that are read and written, from resolved views; raises MachineError where
    the operands do not belong together.
``cycles(site, hardware)``
    Cycles for which the engine is occupied, where they follow from shapes alone; transfers and
    matrix products are timed by `azsim.sim.timing` from the trace.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

from azsim.folder import load_folder

__all__ = ["instructions"]


def instructions() -> Mapping[str, ModuleType]:
    """Return every engine instruction's module by mnemonic."""
    return load_folder("azsim.machine.instructions", ("execute", "footprint"))
