"""From a trial to what is run: the workload and the chip, as the same ``--set`` texts give them."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakKeyDictionary

from azsim.errors import ConfigError
from azsim.frontend.workload import Workload
from azsim.hardware import Hardware, hardware_of
from azsim.hardware.plan import planned_hardware
from azsim.sweeps.space import Bases, Sweep, Trial, override, yaml_text

__all__ = ["Point", "overrides_of", "point_of", "scheme_override"]


@dataclass(frozen=True)
class Point:
    """One design as `azsim.pipeline.run` takes it.

    Attributes
    ----------
    workload : Workload
    hardware : Hardware
    preset : Hardware
        The chip that the compiler plans for: that of `hardware` before timing keys were changed,
        its structural keys changed.
    """

    workload: Workload
    hardware: Hardware
    preset: Hardware


def overrides_of(sweep: Sweep, trial: Trial) -> tuple[str, ...]:
    """Return the ``--set`` texts of a trial, in the order in which they are applied.

    A whole chip is no ``--set`` text: it is the trial's value of that axis, or the sweep's.
    """
    keys = [
        override(axis, trial.design[axis.name])
        for axis in sweep.axes
        if axis.kind == "path" and axis.name in trial.design
    ]
    scheme = _whole(sweep, trial, "scheme")
    whole = () if scheme is None else (scheme_override(scheme, sweep.path.parent),)
    return (*whole, *sweep.overrides, *keys, *sweep.rungs[trial.rung])


def scheme_override(scheme: str, folder: Path) -> str:
    """Return the ``--set`` text of a whole scheme, whose file may lie in `folder`."""
    is_file = Path(scheme).suffix in (".yaml", ".yml")
    return (
        f"workload.compression={yaml_text(str((folder / scheme).resolve()) if is_file else scheme)}"
    )


def _whole(sweep: Sweep, trial: Trial, kind: str) -> str | None:
    return next((trial.design.get(axis.name) for axis in sweep.axes if axis.kind == kind), None)


def point_of(sweep: Sweep, trial: Trial) -> Point:
    """Make a trial's workload and chip.

    Files were read when the sweep was; a point takes well below a millisecond.

    Raises
    ------
    ConfigError
        If values of the design do not go together.
    """
    problems: list[str] = []
    workload = hardware = preset = None
    makers = _makers(sweep.bases)
    texts = overrides_of(sweep, trial)
    chip, scheme = _whole(sweep, trial, "hardware"), _whole(sweep, trial, "scheme")
    own = tuple(text for text in texts if text.startswith("workload."))
    try:
        workload = makers.workload(scheme, own[scheme is not None :])
    except ConfigError as error:
        problems += error.problems
    try:
        hardware = makers.hardware(chip, tuple(t for t in texts if t.startswith("hardware.")))
        preset = makers.preset(chip, hardware)
    except ConfigError as error:
        problems += error.problems
    if workload is None or hardware is None or preset is None:
        raise ConfigError(problems)
    return Point(workload, hardware, preset)


class _Makers:
    """What was made of a sweep's files lately; points share most of it."""

    def __init__(self, bases: Bases) -> None:
        self._workloads, self._chips = bases.workloads, bases.hardware
        self.workload = functools.lru_cache(256)(self._workload)
        self.hardware = functools.lru_cache(256)(self._hardware)
        self.preset = functools.lru_cache(256)(self._preset)
        self._plain = functools.cache(self._plain_hardware)

    def _workload(self, scheme: str | None, texts: tuple[str, ...]) -> Workload:
        return self._workloads[scheme].changed(texts).load()

    def _hardware(self, chip: str | None, texts: tuple[str, ...]) -> Hardware:
        return hardware_of(self._chips[chip], texts)

    def _preset(self, chip: str | None, hardware: Hardware) -> Hardware:
        plain = self._plain(chip)
        return hardware if plain is None else planned_hardware(hardware, plain)

    def _plain_hardware(self, chip: str | None) -> Hardware | None:
        try:
            return hardware_of(self._chips[chip])
        except ConfigError:
            return None  # a file that is whole only with what is set


_MADE: WeakKeyDictionary[Bases, _Makers] = WeakKeyDictionary()


def _makers(bases: Bases) -> _Makers:
    if bases not in _MADE:
        _MADE[bases] = _Makers(bases)
    return _MADE[bases]
