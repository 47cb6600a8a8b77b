"""Values of an axis that is a range of numbers."""

from __future__ import annotations

from collections.abc import Iterable

from azsim.config import DocumentPath, json_schema
from azsim.config.problems import types_at
from azsim.errors import ConfigError
from azsim.frontend.builder_file import file_type
from azsim.frontend.workload import WorkloadText
from azsim.hardware import Hardware
from azsim.sweeps.sweep_file import LogRange, Range

__all__ = ["is_whole", "numbers", "path_steps", "rounded"]

_DIGITS = 12
_MOST_STEPS = 10_000


def numbers(spec: Range | LogRange) -> tuple[float, ...]:
    """Return the numbers of a range, to 12 significant digits, so that 0.1 x 3 is 0.3.

    Raises
    ------
    ConfigError
        If the range is none; one sentence without a place.
    """
    if spec.start == spec.stop:
        raise ConfigError([f"'from' and 'to' are both {spec.start:g}; two numbers are needed"])
    if isinstance(spec, LogRange):
        ratio, last = spec.stop / spec.start, spec.count - 1
        return tuple(_shortened(spec.start * ratio ** (i / last)) for i in range(last + 1))
    if (spec.count is None) == (spec.step is None):
        found = "neither" if spec.count is None else "both"
        raise ConfigError([f"a range needs 'count' or 'step', found {found}"])
    width = spec.stop - spec.start
    if spec.count is not None:
        last = spec.count - 1
        return tuple(_shortened(spec.start + width * i / last) for i in range(last + 1))
    assert spec.step is not None
    steps = int(abs(width) / spec.step + 1e-9)
    if steps >= _MOST_STEPS:
        raise ConfigError([f"too many values, found {steps + 1}, allowed: {_MOST_STEPS}"])
    step = spec.step if width > 0 else -spec.step
    return tuple(_shortened(spec.start + step * i) for i in range(steps + 1))


def _shortened(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def rounded(values: Iterable[float]) -> tuple[int, ...]:
    """Return the nearest whole numbers, each once."""
    return tuple(dict.fromkeys(round(value) for value in values))


def path_steps(path: str) -> DocumentPath:
    """Return the steps of a dotted path below its root, as overrides read them."""
    words = path.replace("[", ".").replace("]", "").split(".")
    return tuple(int(word) if word.isdecimal() else word for word in words[1:])


def is_whole(path: str, workload: WorkloadText | None) -> bool:
    """Whether a path is that of a whole number and of no other."""
    if path.startswith("hardware."):
        schema = json_schema(Hardware)
    elif workload is not None:
        schema = json_schema(file_type(workload.document.data))
    else:
        return False
    kinds = types_at(schema, path_steps(path))
    return "integer" in kinds and "number" not in kinds
