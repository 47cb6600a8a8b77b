"""What a sweep is once it was read: axes, the designs that they span, and their order.

A *design* gives each active axis a value, in the order of the axes.  The grid counts like an
odometer: the last axis changes first.  An axis whose condition is false is left out of the design,
so that there is one design and not one a value.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from azsim.errors import InputError
from azsim.sweeps.expressions import Expression
from azsim.sweeps.objectives import Objective

if TYPE_CHECKING:  # trials travel to workers, and results are read, without all that is below
    from azsim.config import Document
    from azsim.frontend.workload import WorkloadText

__all__ = [
    "Axis",
    "Bases",
    "Design",
    "Sweep",
    "Trial",
    "count",
    "designs",
    "key_of",
    "override",
    "yaml_text",
]

_MOST_LOOKED_AT = 2_500_000

Design = Mapping[str, Any]
"""Values by name of the axis; axes that a condition leaves out are missing."""


@dataclass(frozen=True)
class Axis:
    """One thing that changes.

    Attributes
    ----------
    name : str
    kind : str
        ``path``: one key; ``hardware`` and ``scheme``: a whole chip or scheme, by name or file.
    target : str
        What it changes, such as ``hardware.clock_hz``; ``hardware`` or ``workload.compression``
        for a whole one.
    values : tuple
        Numbers, strings, booleans, lists or mappings; all different.
    when : Expression, optional
        Over axes above this one: the axis is there where it holds.
    """

    name: str
    kind: Literal["path", "hardware", "scheme"]
    target: str
    values: tuple[Any, ...]
    when: Expression | None = None

    @property
    def is_numeric(self) -> bool:
        """Whether all values are numbers."""
        return all(isinstance(v, int | float) and not isinstance(v, bool) for v in self.values)

    @property
    def is_ordered(self) -> bool:
        """Whether the values are numbers that rise or fall, so that neighbours are alike."""
        if not self.is_numeric:
            return False
        steps = [b > a for a, b in zip(self.values, self.values[1:], strict=False)]
        return all(steps) or not any(steps)


@dataclass(frozen=True)
class Trial:
    """One design to be evaluated.

    Attributes
    ----------
    number : int
        Rises from 0 in the order in which a strategy asks.
    design : mapping of str to value
    rung : int
        Of successive refinement; 0 elsewhere.
    """

    number: int
    design: Design
    rung: int = 0


@dataclass(frozen=True, eq=False)
class Bases:
    """Files of a sweep, read once, with all that is the same for many points.

    Attributes
    ----------
    workloads : mapping of str or None to WorkloadText
        By the value of a scheme axis; None without one.
    hardware : mapping of str or None to Document
        By the value of a hardware axis; None without one.
    """

    workloads: Mapping[str | None, WorkloadText]
    hardware: Mapping[str | None, Document]


@dataclass(frozen=True)
class Sweep:
    """A sweep file, checked.

    Attributes
    ----------
    name : str
    path : Path
        Of the file.
    workload : str or path
        Name or file, as `azsim.load_workload` takes it.
    hardware : str or path, optional
        Preset or file; None with a hardware axis, or where the workload's own is meant.
    overrides : tuple of str
        Those of all points.
    axes : tuple of Axis
    constraints : tuple of Expression
        Over axes alone: a design that breaks one is no point.
    figure_constraints : tuple of Expression
        Also over figures: a point that breaks one is infeasible.
    objectives : tuple of Objective
    strategy : str
        One of ``azsim list strategies``.
    options : object
        The strategy's own.
    rungs : tuple of tuple of str
        Overrides of each rung, applied last; one empty rung unless the strategy has several.
    definition : mapping
        All of this as JSON has it, with the hashes of the files that were read: sweeps with equal
        definitions have the same points.
    notes : tuple of str
        What the reader should know, such as values that were rounded.
    bases : Bases
    """

    name: str
    path: Path
    workload: str | Path
    hardware: str | Path | None
    overrides: tuple[str, ...]
    axes: tuple[Axis, ...]
    constraints: tuple[Expression, ...]
    figure_constraints: tuple[Expression, ...]
    objectives: tuple[Objective, ...]
    strategy: str
    options: Any
    rungs: tuple[tuple[str, ...], ...]
    definition: Mapping[str, Any]
    bases: Bases = field(compare=False, repr=False)
    notes: tuple[str, ...] = ()

    def axis(self, name: str) -> Axis:
        """Return the axis of a name."""
        return next(axis for axis in self.axes if axis.name == name)


def key_of(design: Design) -> str:
    """Return a text that two designs share if and only if they are the same."""
    return json.dumps(dict(design), sort_keys=True, ensure_ascii=False)


# ---------------------------------------------------------------------------------- the grid


def designs(
    axes: tuple[Axis, ...],
    constraints: tuple[Expression, ...] = (),
    fixed: Mapping[str, Any] | None = None,
    most: int = _MOST_LOOKED_AT,
) -> Iterator[dict[str, Any]]:
    """Yield every design, the last axis changing first.

    Parameters
    ----------
    axes : tuple of Axis
    constraints : tuple of Expression
        Over axes alone; what breaks one is left out as soon as its axes are known.
    fixed : mapping of str to value, optional
        Axes that keep one value.
    most : int
        How many values are looked at for the next design before it is given up.

    Raises
    ------
    InputError
        If a condition or constraint cannot be computed for some values, or designs are too sparse.
    """
    levels = _levels(axes, constraints)
    if not all(rule.holds({}) for rule in levels[0]):
        return
    looked = [0]
    for design in _below(axes, levels, fixed or {}, 0, {}, looked, most):
        looked[0] = 0
        yield design


def _below(
    axes: tuple[Axis, ...],
    levels: list[list[Expression]],
    fixed: Mapping[str, Any],
    level: int,
    above: dict[str, Any],
    looked: list[int],
    most: int,
) -> Iterator[dict[str, Any]]:
    if level == len(axes):
        yield above
        return
    looked[0] += len(axes[level].values)
    if looked[0] > most:
        sentence = f"no design found in {most:,} steps; name axes that constraints relate first"
        raise InputError(sentence)
    for design in _choices(axes[level], levels[level + 1], fixed, above):
        yield from _below(axes, levels, fixed, level + 1, design, looked, most)


def _choices(
    axis: Axis, rules: list[Expression], fixed: Mapping[str, Any], above: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Yield the designs of the axes above with each value of one more that is allowed."""
    if axis.when is not None and not axis.when.holds(above):
        if axis.name not in fixed and all(rule.holds(above) for rule in rules):
            yield above
        return
    for value in axis.values if axis.name not in fixed else (fixed[axis.name],):
        design = {**above, axis.name: value}
        if all(rule.holds(design) for rule in rules):
            yield design


def _levels(axes: tuple[Axis, ...], constraints: tuple[Expression, ...]) -> list[list[Expression]]:
    """Constraints by the number of axes that have to be known to check them."""
    order = {axis.name: number for number, axis in enumerate(axes, 1)}
    levels: list[list[Expression]] = [[] for _ in range(len(axes) + 1)]
    for rule in constraints:
        levels[max((order[name] for name in rule.names), default=0)].append(rule)
    return levels


def count(axes: tuple[Axis, ...], constraints: tuple[Expression, ...] = ()) -> int:
    """Return how many designs there are; enumerates no further than rules and conditions reach."""
    levels = _levels(axes, constraints)
    names = {axis.name: number for number, axis in enumerate(axes, 1)}
    last = max((number for number, rules in enumerate(levels) if rules), default=0)
    for axis in axes:
        if axis.when is not None:
            last = max(last, names[axis.name])
    free = math.prod(len(axis.values) for axis in axes[last:])
    return free * sum(1 for _ in designs(axes[:last], constraints))


def override(axis: Axis, value: Any) -> str:
    """Return the ``--set`` text of a value of an axis."""
    return f"{axis.target}={yaml_text(value)}"


def yaml_text(value: Any) -> str:
    """Write a value so that YAML 1.1 reads the same one."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _float_text(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(yaml_text, value))}]"
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_quoted(key)}: {yaml_text(item)}" for key, item in value.items())
        return f"{{{inner}}}"
    return "null" if value is None else _quoted(value) if isinstance(value, str) else str(value)


@functools.lru_cache(1024)
def _float_text(value: float) -> str:
    # YAML 1.1 takes 1e-05 for a string, and 1.0e-05 for a number.
    text = repr(value)
    mantissa, _, exponent = text.partition("e")
    return text if "." in mantissa or not exponent else f"{mantissa}.0e{exponent}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
