"""Sweep files: what one may say, and how it becomes a `Sweep`."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from azsim.config import json_schema, read_document, validate
from azsim.config.overrides import apply_overrides
from azsim.errors import ConfigError, unknown
from azsim.folder import folder_names
from azsim.frontend.workload_file import Name
from azsim.resources import workloads_directory
from azsim.sweeps.space import Sweep

__all__ = [
    "AxisFile",
    "LogRange",
    "ObjectiveFile",
    "Range",
    "SweepFile",
    "file_schema",
    "load_sweep",
    "sweep_names",
]

_STRICT = ConfigDict(extra="forbid", strict=True)
_SUFFIXES = (".yaml", ".yml")
_MOST_VALUES = 10_000
_STAND_INS = {"name": "sweep", "workload": "", "axes": {}, "objectives": {}}
_STRATEGIES = "azsim.sweeps.strategies"


@dataclass(frozen=True, kw_only=True)
class Range:
    """Numbers at equal distances, both ends included."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    start: Annotated[float, Field(alias="from")]
    stop: Annotated[float, Field(alias="to")]
    count: Annotated[int | None, Field(ge=2, le=_MOST_VALUES)] = None
    """How many; either this or `step`."""
    step: Annotated[float | None, Field(gt=0)] = None
    """The distance; the last value is the last that does not pass `to`."""


@dataclass(frozen=True, kw_only=True)
class LogRange:
    """Numbers at equal ratios, both ends included."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    start: Annotated[float, Field(alias="from", gt=0)]
    stop: Annotated[float, Field(alias="to", gt=0)]
    count: Annotated[int, Field(ge=2, le=_MOST_VALUES)]
    """How many."""


@dataclass(frozen=True, kw_only=True)
class AxisFile:
    """One axis: what it changes, and to what."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    path: Annotated[str | None, Field(min_length=1)] = None
    """A key of the workload, the chip or the scheme: ``workload.…``, ``hardware.…`` or
    ``scheme.…``, which stands for ``workload.compression.…``."""
    hardware: tuple[Annotated[str, Field(min_length=1)], ...] | None = None
    """Whole chips: presets, or hardware files beside the sweep."""
    scheme: tuple[Annotated[str, Field(min_length=1)], ...] | None = None
    """Whole schemes: names of ``azsim list schemes``, or scheme files beside the sweep."""
    values: tuple[Any, ...] | None = None
    """Values of the key."""
    range: Range | None = None
    """Numbers at equal distances; rounded where the key is a whole number."""
    log_range: LogRange | None = None
    """Numbers at equal ratios; rounded where the key is a whole number."""
    when: Annotated[str | None, Field(min_length=1)] = None
    """Expression over axes above this one; where it does not hold, the axis is left out."""


@dataclass(frozen=True, kw_only=True)
class ObjectiveFile:
    """One figure that shall be small or large."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    key: Annotated[str, Field(min_length=1)]
    """A dotted key of ``summary.json``, an axis, or an expression over both."""
    goal: Literal["minimize", "maximize"] = "minimize"
    """Which way is better."""
    unit: Annotated[str | None, Field(min_length=1)] = None
    """Its unit; 1 for a plain number."""


@dataclass(frozen=True, kw_only=True)
class SweepFile:
    """What a sweep file holds."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    name: Name
    """Name in reports, and of the output folder."""
    description: str = ""
    """What it is for."""
    workload: str
    """A workload that travels with azsim, or a file beside the sweep."""
    hardware: Annotated[str | None, Field(min_length=1)] = None
    """A preset, or a hardware file beside the sweep; the workload's own by default."""
    set: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Changes for all points, written as for ``--set``."""
    axes: dict[str, AxisFile]
    """What changes, by name."""
    constraints: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Expressions that have to hold.  One over axes leaves designs out; one that names a figure of
    the run makes points infeasible."""
    objectives: dict[str, ObjectiveFile]
    """What is wanted, by name."""
    strategy: dict[str, Any] = field(default_factory=lambda: {"grid": {}})
    """One of ``azsim list strategies`` with its options; the grid by default."""


def sweep_names() -> tuple[str, ...]:
    """Names of the sweeps that travel with azsim, sorted."""
    return tuple(sorted(path.stem for path in _directory().glob("*.yaml")))


def _directory() -> Path:
    return workloads_directory() / "sweeps"


def file_schema() -> dict[str, Any]:
    """Return the JSON schema of a sweep file, for editors."""
    from azsim.sweeps.strategies import strategies

    schema = copy.deepcopy(json_schema(SweepFile))
    choices = []
    for name, module in strategies().items():
        own = copy.deepcopy(json_schema(module.OPTIONS))
        schema["$defs"] |= own.pop("$defs", {})
        schema["$defs"][f"strategy_{name}"] = own
        properties = {name: {"$ref": f"#/$defs/strategy_{name}"}}
        choices.append(
            {
                "type": "object",
                "properties": properties,
                "required": [name],
                "additionalProperties": False,
            }
        )
    schema["properties"]["strategy"] = {
        "anyOf": choices,
        "description": "one of azsim list strategies with its options",
    }
    schema["properties"]["axes"]["minProperties"] = 1
    schema["properties"]["objectives"]["minProperties"] = 1
    return schema


def load_sweep(path_or_name: str | Path, overrides: Iterable[str] = ()) -> Sweep:
    """Read a sweep, with the workload, chips and schemes that it names.

    Parameters
    ----------
    path_or_name : str or path
        A YAML file, or the name of a sweep that travels with azsim.
    overrides : iterable of str
        ``workload.input.random.frames=4`` and ``hardware.clock_hz=1000000`` hold for all points,
        as those under ``set``; ``sweep.strategy.nsga2.seed=1`` changes the file itself.

    Returns
    -------
    Sweep
        May be pickled, to make points in another process.

    Raises
    ------
    ConfigError
        With every problem of the file and of its values.
    """
    from azsim.sweeps.checks import Checker

    path = _find(path_or_name)
    document = read_document(path)
    texts = tuple(overrides)
    own = [text for text in texts if text.startswith("sweep.")]
    apply_overrides(document, own, "sweep")
    checker = Checker(document, path, tuple(text for text in texts if text not in own))
    value = validate(document, _file_type(document.data), checker, _STAND_INS)
    return checker.sweep(value)


def _find(path_or_name: str | Path) -> Path:
    text = str(path_or_name)
    if text in sweep_names():
        return _directory() / f"{text}.yaml"
    if Path(text).suffix in _SUFFIXES or len(Path(text).parts) > 1:
        return Path(text)
    raise ConfigError([unknown("sweep", text, sweep_names()) + ", or a .yaml file"])


def _file_type(data: Any) -> type[SweepFile]:
    """Type of a sweep file, given what it holds: only its strategy's options are checked."""
    strategy = data.get("strategy") if isinstance(data, Mapping) else None
    names = tuple(strategy) if isinstance(strategy, Mapping) else ("grid",)
    if len(names) != 1 or names[0] not in folder_names(_STRATEGIES):
        return SweepFile
    return _type_with(names[0])


@functools.cache
def _type_with(strategy: str) -> type[SweepFile]:
    from azsim.sweeps.strategies import strategies

    def choice(name: str) -> type[Any]:
        configured = ("__pydantic_config__", ClassVar[ConfigDict], field(default=_STRICT))
        options = strategies()[name].OPTIONS
        return make_dataclass("strategy", [configured, (name, options)], frozen=True)

    grid = choice("grid")(strategies()["grid"].OPTIONS())
    return make_dataclass(
        "SweepFile",
        [("strategy", choice(strategy), field(default=grid))],
        bases=(SweepFile,),
        namespace={"__pydantic_config__": _STRICT, "__doc__": SweepFile.__doc__},
        frozen=True,
        kw_only=True,
    )
