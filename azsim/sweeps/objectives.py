"""Objectives: which figures of a run a sweep is after, in which direction and in which unit."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from azsim.errors import unknown
from azsim.report.figures import DECISION_UNITS, FIGURES, is_exact, is_figure, look_up
from azsim.sweeps.expressions import Expression, parse_expression

if TYPE_CHECKING:
    from azsim.sweeps.space import Sweep

__all__ = [
    "Objective",
    "decision_problem",
    "feasible",
    "figure",
    "figures_of",
    "is_modelled",
    "names_bounds",
    "nearest_figure",
    "words_problem",
]


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


def is_modelled(key: str) -> bool:
    """Whether a figure, or a part of an expression, follows from modelled cycles."""
    names = [key] if is_figure(key) else parse_expression(key).names
    return any(is_figure(name) and not is_exact(name) for name in names)


def names_bounds(sweep: Sweep) -> bool:
    """Whether a sweep needs the lower bounds on cycles, which take longer than timing a run."""
    from azsim.sim.result import BOUND_KEYS  # late, as results are read without a simulator

    texts = [objective.key for objective in sweep.objectives]
    texts += [rule.text for rule in sweep.figure_constraints]
    return any(key in text for key in BOUND_KEYS for text in texts)


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
    if what not in DECISION_UNITS:
        return unknown("figure of a decision", what, DECISION_UNITS)
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
    value = look_up(summary, key.split("."))
    is_number = isinstance(value, int | float) and value == value
    return float(value) if is_number else None


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
