"""Two runs side by side, as their folders tell: what was set otherwise, what became of it.

Nothing is simulated: everything is read from ``summary.json`` and, where it is there, ``run.json``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azsim.errors import InputError
from azsim.report.listing import Listing, listing
from azsim.report.units import counted

__all__ = [
    "COSTS",
    "Comparison",
    "Run",
    "compare",
    "comparison_tables",
    "read_document",
    "read_run",
]

COSTS = (
    "cycles",
    "frame_latency_s.max",
    "deadline_misses",
    "dram_read_bytes",
    "dram_write_bytes",
    "weight_bytes_compressed",
    "sram_peak_bytes.weight",
    "sram_peak_bytes.activation",
    "word_error_rate",
)
"""Figures of which more is worse, whatever a run is for."""

_SCHEMA_VERSION = 1
# Parts of a summary that have tables of their own, or that tell how long the host took.
_NOT_FIGURES = ("schema_version", "layers", "outputs", "front_end", "words", "blocks", "races")
# Where the time went: in JSON alone, as the tables would be long.
_DETAILS = ("chunk_latency_s.", "engine_busy_cycles.", "stall_cycles.", "engine_bound_cycles.")
_MOST_NAMES = 3
# Parts of run.json that say what was run, and not what came of it.
_SET_UP = ("workload", "hardware", "planned_with", "files_sha256", "versions")

_Scalar = bool | int | float | str | None


@dataclass(frozen=True)
class Run:
    """A run as it was written.

    Attributes
    ----------
    path : Path
        Of the folder or the summary, as it was named.
    summary : mapping
    set_up : mapping of str to scalar
        What ``run.json`` says of workload, chip, files and versions, flat; empty without one.
    """

    path: Path
    summary: Mapping[str, Any]
    set_up: Mapping[str, _Scalar]

    @property
    def title(self) -> str:
        """What ran on what."""
        name = self.summary.get("workload", self.summary.get("program", "?"))
        return f"{name} on {self.summary.get('hardware', '?')}"


@dataclass(frozen=True)
class Change:
    """A value that differs; None where a run has no such value."""

    key: str
    before: _Scalar
    after: _Scalar

    @property
    def numbers(self) -> tuple[float, float] | None:
        """Both values; None where one of them is no number."""
        before, after = self.before, self.after
        if isinstance(before, int | float) and isinstance(after, int | float):
            return before, after
        return None

    @property
    def share(self) -> float | None:
        """Change over the value before; None where one of them is no number, or that is 0."""
        if self.numbers is None or not self.numbers[0]:
            return None
        return self.numbers[1] / self.numbers[0] - 1


@dataclass(frozen=True)
class Comparison:
    """What differs between two runs.

    Attributes
    ----------
    before, after : Run
    set_up, figures, layers : tuple of Change
        Of the description; of the summary's numbers; of each layer's cycles.
    outputs : tuple of Change
        ``sha256`` of those whose bits differ, or that only one of them has.
    same_figures, same_layers, same_outputs : int
        How many do not differ.
    """

    before: Run
    after: Run
    set_up: tuple[Change, ...]
    figures: tuple[Change, ...]
    layers: tuple[Change, ...]
    outputs: tuple[Change, ...]
    same_figures: int
    same_layers: int
    same_outputs: int

    def regressions(self, tolerance: float = 0.0) -> list[str]:
        """Return a sentence for every output with other bits, and every cost that grew.

        Parameters
        ----------
        tolerance : float
            Share by which a cost may grow.
        """
        found = [
            f"{'output' if len(names) == 1 else 'outputs'} {_enumeration(names)} {difference}"
            for difference, names in _by_difference(self.outputs).items()
        ]
        for change in self.figures:
            if change.key not in COSTS or change.numbers is None:
                continue
            before, after = change.numbers
            if after > before + abs(before) * tolerance:
                found.append(
                    f"{change.key} is {_text(after)}, it was {_text(before)}"
                    + (f" ({_percent(change)})" if change.share is not None else "")
                )
        return found

    def document(self, tolerance: float = 0.0) -> dict[str, object]:
        """Everything as plain values, for JSON."""
        return {
            "before": str(self.before.path),
            "after": str(self.after.path),
            "regressions": self.regressions(tolerance),
            **{
                part: {
                    change.key: {"before": change.before, "after": change.after}
                    for change in getattr(self, part)
                }
                for part in ("set_up", "figures", "layers", "outputs")
            },
        }


def read_run(path: Path) -> Run:
    """Read a run.

    Parameters
    ----------
    path : Path
        A folder that ``azsim run`` wrote, or its ``summary.json``.

    Raises
    ------
    InputError
        If it cannot be read, or is none of azsim's.
    """
    summary_path = path / "summary.json" if path.is_dir() else path
    summary = read_document(summary_path)
    version, cycles = summary.get("schema_version"), summary.get("cycles")
    if version != _SCHEMA_VERSION:
        raise InputError(
            f"{summary_path}: schema_version is not known, found {version!r}, "
            f"allowed: {_SCHEMA_VERSION}"
        )
    layers, outputs = summary.get("layers"), summary.get("outputs")
    is_whole = (
        _is_number(cycles)
        and isinstance(outputs, dict)
        and all(isinstance(entry, dict) for entry in outputs.values())
        and isinstance(layers, list)
        and all(isinstance(entry, dict) and {"name", "cycles"} <= set(entry) for entry in layers)
    )
    if not is_whole:
        raise InputError(f"{summary_path}: not a summary.json of azsim")
    beside = summary_path.with_name("run.json")
    document = read_document(beside) if beside.exists() else {}
    set_up = {part: document[part] for part in _SET_UP if part in document}
    return Run(path, summary, dict(flat(set_up)))


def read_document(path: Path) -> dict[str, Any]:
    """Read a JSON file of a run's folder.

    Parameters
    ----------
    path : Path

    Raises
    ------
    InputError
        If it cannot be read, or holds no JSON object.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path}: not a {path.name} of azsim") from error
    if not isinstance(document, dict):
        raise InputError(f"{path}: not a {path.name} of azsim")
    return document


def flat(value: Any, prefix: str = "") -> Iterator[tuple[str, _Scalar]]:
    """Scalars of nested mappings by their path; a list is one text."""
    if isinstance(value, Mapping):
        for key, entry in value.items():
            yield from flat(entry, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list):
        yield prefix, ", ".join(map(str, value))
    else:
        yield prefix, value


def compare(before: Run, after: Run) -> Comparison:
    """Find what differs."""
    figures, same_figures = _changes(*(_figures(run) for run in (before, after)))
    layers, same_layers = _changes(*(_layers(run) for run in (before, after)))
    outputs, same_outputs = _changes(*(_outputs(run) for run in (before, after)))
    set_up: list[Change] = []
    if before.set_up and after.set_up:
        set_up, _ = _changes(before.set_up, after.set_up)
    return Comparison(
        before,
        after,
        tuple(set_up),
        tuple(figures),
        tuple(layers),
        tuple(outputs),
        same_figures,
        same_layers,
        same_outputs,
    )


def _figures(run: Run) -> dict[str, _Scalar]:
    parts = {key: value for key, value in run.summary.items() if key not in _NOT_FIGURES}
    return {key: value for key, value in flat(parts) if _is_number(value)}


def _layers(run: Run) -> dict[str, _Scalar]:
    return {layer["name"]: layer["cycles"] for layer in run.summary["layers"]}


def _outputs(run: Run) -> dict[str, _Scalar]:
    return {name: entry.get("sha256") for name, entry in run.summary["outputs"].items()}


def _changes(
    before: Mapping[str, _Scalar], after: Mapping[str, _Scalar]
) -> tuple[list[Change], int]:
    """Values that differ, in the order of the run before, and how many do not."""
    keys = list(dict.fromkeys([*before, *after]))
    found = [Change(key, before.get(key), after.get(key)) for key in keys]
    differ = [change for change in found if change.before != change.after]
    return differ, len(keys) - len(differ)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# -------------------------------------------------------------------------------------- tables


def comparison_tables(found: Comparison) -> list[Listing]:
    """Lay a comparison out; a part in which nothing differs is a table without rows."""
    columns = ("before", "after", "change")
    shown = [change for change in found.figures if not change.key.startswith(_DETAILS)]
    shown.sort(key=lambda change: change.key not in COSTS)
    runs = found.before, found.after
    details = len(found.figures) - len(shown)
    return [
        listing(
            "Set otherwise",
            ("key", "before", "after"),
            [(c.key, _text(c.before), _text(c.after)) for c in found.set_up],
            _no_description(found),
        ),
        listing(
            "Figures",
            ("figure", *columns, "verdict"),
            [(*_row(change), _verdict(change)) for change in shown],
            f"equal: {counted(found.same_figures, 'figure')}"
            + (f"; of engines and chunks {details} differ as well: --json" if details else ""),
        ),
        listing(
            "Cycles of layers",
            ("layer", *columns),
            [_row(change) for change in found.layers],
            f"as long as before: {counted(found.same_layers, 'layer')}",
        ),
        listing(
            "Outputs with other bits",
            ("output", "difference", "SQNR before, dB", "after"),
            [(c.key, _bits(c), *(_sqnr_db(run, c.key) for run in runs)) for c in found.outputs],
            f"the same bits: {counted(found.same_outputs, 'output')}",
        ),
    ]


def _no_description(found: Comparison) -> str:
    without = [str(run.path) for run in (found.before, found.after) if not run.set_up]
    return f"not known, as there is no run.json beside {' and '.join(without)}" if without else ""


def _row(change: Change) -> tuple[str, _Scalar, _Scalar, str]:
    return change.key, change.before, change.after, _percent(change)


def _sqnr_db(run: Run, output: str) -> float | None:
    """Of an output against the float model, where the run knows it."""
    entry = run.summary["outputs"].get(output) or {}
    return entry.get("sqnr_db")


def _verdict(change: Change) -> str:
    if change.key not in COSTS or change.numbers is None:
        return ""
    return "worse" if change.numbers[1] > change.numbers[0] else "better"


def _bits(change: Change) -> str:
    if change.before is None:
        return "is new"
    return "is gone" if change.after is None else "has other bits"


def _by_difference(outputs: tuple[Change, ...]) -> dict[str, list[str]]:
    """Names of outputs by what became of them."""
    found: dict[str, list[str]] = {}
    for change in outputs:
        found.setdefault(_bits(change), []).append(change.key)
    if len(outputs) > 1:
        plural = {"has other bits": "have other bits", "is new": "are new", "is gone": "are gone"}
        found = {
            plural[difference] if len(names) > 1 else difference: names
            for difference, names in found.items()
        }
    return found


def _enumeration(names: list[str]) -> str:
    quoted = [f"'{name}'" for name in names[:_MOST_NAMES]]
    more = len(names) - _MOST_NAMES
    return ", ".join(quoted) + (f" and {more} more" if more > 0 else "")


def _text(value: _Scalar) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.5g}"
    return f"{value:,}" if _is_number(value) else str(value)


def _percent(change: Change) -> str:
    """Text such as ``+1.25 %``; nothing where there is no such number."""
    return "" if change.share is None else f"{100 * change.share:+.3g} %"
