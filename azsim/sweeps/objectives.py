"""Objectives: which figures of a run a sweep is after, in which direction and in which unit."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from azsim.errors import unknown
from azsim.sweeps.expressions import Expression, parse_expression

if TYPE_CHECKING:
    from azsim.sweeps.space import Sweep

__all__ = [
    "FIGURES",
    "Objective",
    "decision_problem",
    "feasible",
    "figure",
    "figures_of",
    "is_figure",
    "names_bounds",
    "nearest_figure",
    "unit_of",
    "words_problem",
]

_MEMORIES = ("weight", "activation")
_QUEUED = ("weight", "load", "store", "mac", "vector")
_ENGINES = (*_QUEUED, "decoder", "sequencer")
_BOUNDED = ("dram", "decoder", "mac", "vector")
_REASONS = ("input", *(f"wait_{engine}" for engine in (*_QUEUED, "dram")), "no_work")
_WORDS = (
    *("words", "errors", "substitutions", "deletions", "insertions"),
    *("standard_error", "float_standard_error", "float_agreement"),
    *("silent_utterances", "heard_as_silent"),
)
_PERCENTILES = ("p50", "p95", "p99", "max")


def _figures() -> Iterator[tuple[str, str]]:
    for key in ("cycles", "startup_cycles", "idle_cycles", "ideal_mac_cycles", "bound_cycles"):
        yield key, "cycles"
    yield from (("critical_path_cycles", "cycles"), ("chain_cycles", "cycles"))
    yield from (("latency_s", "s"), ("real_time_factor", "1"))
    yield from ((key, "frames") for key in ("frames", "chunk_frames", "deadline_misses"))
    for key in ("frame_latency_s", "chunk_latency_s"):
        yield from ((f"{key}.{part}", "s") for part in _PERCENTILES)
    for key in ("dram_read", "dram_write", "dram_useful", "weight_read"):
        yield f"{key}_bytes", "B"
    yield "weight_read_bytes_planned", "B"
    yield from ((f"weight_bytes_{kind}", "B") for kind in ("dense", "compressed"))
    yield from (("dram_bytes_per_s", "B/s"), ("weight_reuse", "MAC/B"), ("bits_per_weight", "bit"))
    yield from ((key, "MAC") for key in ("macs", "macs_executed", "macs_skipped"))
    yield "mac_utilization", "1"
    yield from ((f"sram_peak_bytes.{memory}", "B") for memory in _MEMORIES)
    yield from ((f"engine_busy_cycles.{engine}", "cycles") for engine in _ENGINES)
    yield from (("word_error_rate", "1"), ("float_word_error_rate", "1"))
    yield from ((f"words.{key}", "1") for key in _WORDS)
    for engine in _ENGINES:
        yield from ((f"stall_cycles.{engine}.{reason}", "cycles") for reason in _REASONS)
    yield from ((f"engine_bound_cycles.{engine}", "cycles") for engine in _BOUNDED)


FIGURES: Mapping[str, str] = MappingProxyType(dict(_figures()))
"""Units of the numbers in ``summary.json``, by dotted key; 1 is a plain number.  Those of
``outputs`` are named after the model's outputs."""

_OUTPUT_UNITS = {"sqnr_db": "dB", "equal_share": "1"}
_DECISION_UNITS = {"agreement": "1", "accuracy": "1", "float_accuracy": "1", "frames": "frames"}
_FREE = ("outputs", "decisions")


@dataclass(frozen=True)
class Objective:
    """One figure that shall be small or large.

    Attributes
    ----------
    name : str
    key : str
        Dotted key of ``summary.json``, an axis, or an expression over both.
    goal : str
        ``minimize`` or ``maximize``.
    unit : str
        1 where it has none.
    """

    name: str
    key: str
    goal: Literal["minimize", "maximize"]
    unit: str = "1"

    @property
    def is_plain(self) -> bool:
        """Whether the key is that of one figure."""
        return is_figure(self.key)


def is_figure(key: str) -> bool:
    """Whether ``summary.json`` may have a number under a dotted key."""
    root, dot, rest = key.partition(".")
    return key in FIGURES or (root in _FREE and bool(dot and rest))


def names_bounds(sweep: Sweep) -> bool:
    """Whether a sweep needs the lower bounds on cycles, which take longer than timing a run."""
    from azsim.sim.result import BOUND_KEYS  # late, as results are read without a simulator

    texts = [objective.key for objective in sweep.objectives]
    texts += [rule.text for rule in sweep.figure_constraints]
    return any(key in text for key in BOUND_KEYS for text in texts)


def unit_of(key: str) -> str | None:
    """Return the unit of a figure, None where nobody can know it."""
    units = {"outputs": _OUTPUT_UNITS, "decisions": _DECISION_UNITS}.get(key.partition(".")[0], {})
    return FIGURES.get(key) or units.get(key.rpartition(".")[2])


def decision_problem(key: str, decisions: Any) -> str | None:
    """Say why a run has no such figure of a decision, if it has none.

    Parameters
    ----------
    key : str
        Of any figure; only those of decisions are looked at.
    decisions : mapping of str to mapping
        Section ``decisions`` of the workload; anything else is as good as none.
    """
    root, _, rest = key.partition(".")
    if root != "decisions":
        return None
    known = decisions if isinstance(decisions, Mapping) else {}
    name, _, what = rest.rpartition(".")
    if name not in known:
        return unknown("decision of the workload", name or what, known)
    if what not in _DECISION_UNITS:
        return unknown("figure of a decision", what, _DECISION_UNITS)
    said = known[name]
    if what.endswith("accuracy") and isinstance(said, Mapping) and not said.get("labels"):
        return f"the decision {name!r} has no labels, found {what!r}, allowed: agreement, frames"
    return None


def words_problem(key: str, workload: Any) -> str | None:
    """Say why a run of a workload has no figure of words, if it is asked for one.

    Parameters
    ----------
    key : str
        Of any figure; only those of words are looked at.
    workload : mapping of str to value
        What the workload's file says.
    """
    if key.partition(".")[0] not in ("words", "word_error_rate", "float_word_error_rate"):
        return None
    if isinstance(workload, Mapping) and not workload.get("transcript"):
        return f"no words are heard, found {key!r}; the workload has no section 'transcript'"
    return None


def nearest_figure(key: str) -> str | None:
    """Return the figure whose name is most like a word that is none."""
    close = difflib.get_close_matches(key, FIGURES, n=1)
    below = [name for name in FIGURES if name.startswith(f"{key}.")]
    return below[0] if below else close[0] if close else None


def figure(summary: Mapping[str, Any], key: str) -> float | None:
    """Look up a number of a run's summary.

    Parameters
    ----------
    summary : mapping
        Content of ``summary.json``.
    key : str
        Steps with dots between them; an index of a list is a step too, and a step that has a dot in
        its name is found all the same.

    Returns
    -------
    float or None
        None where there is no such number, or it is null.
    """
    value = _look_up(summary, key.split("."))
    is_number = isinstance(value, int | float) and value == value
    return float(value) if is_number else None


def _look_up(value: Any, steps: list[str]) -> Any:
    if not steps:
        return value
    if isinstance(value, Sequence) and not isinstance(value, str):
        is_index = steps[0].isdecimal() and int(steps[0]) < len(value)
        return _look_up(value[int(steps[0])], steps[1:]) if is_index else None
    if not isinstance(value, Mapping):
        return None
    for length in range(1, len(steps) + 1):
        name = ".".join(steps[:length])
        if name in value:
            found = _look_up(value[name], steps[length:])
            if found is not None:
                return found
    return None


def figures_of(
    sweep: Sweep, design: Mapping[str, Any], summary: Mapping[str, Any]
) -> dict[str, float | None]:
    """Compute every objective of a point.

    Parameters
    ----------
    sweep : Sweep
    design : mapping of str to value
    summary : mapping

    Returns
    -------
    dict of str to float or None
        By name of the objective; None where the run has no such figure.

    Raises
    ------
    InputError
        If an objective's expression cannot be computed from what was found.
    """
    return {
        objective.name: _figure_of(objective, design, summary) for objective in sweep.objectives
    }


def _figure_of(
    objective: Objective, design: Mapping[str, Any], summary: Mapping[str, Any]
) -> float | None:
    if objective.is_plain:
        return figure(summary, objective.key)
    expression = _expression(objective.key)
    return figure({"value": expression.value(_values(expression, design, summary))}, "value")


_expression = functools.cache(parse_expression)


def feasible(
    sweep: Sweep, summary: Mapping[str, Any], design: Mapping[str, Any] | None = None
) -> bool:
    """Whether a point keeps the constraints over figures.

    Parameters
    ----------
    sweep : Sweep
    summary : mapping
    design : mapping of str to value, optional
        Needed where a constraint also names axes.
    """
    design = design or {}
    objectives = {objective.name: objective for objective in sweep.objectives}
    for rule in sweep.figure_constraints:
        values = _values(rule, design, summary)
        for name in rule.names:
            if name in objectives and name not in design:
                values[name] = _figure_of(objectives[name], design, summary)
        if not rule.holds(values):
            return False
    return True


def _values(
    expression: Expression, design: Mapping[str, Any], summary: Mapping[str, Any]
) -> dict[str, Any]:
    """Values of the names of an expression; a name is an axis before it is a figure."""
    return {
        name: design[name] if name in design else figure(summary, name) for name in expression.names
    }
