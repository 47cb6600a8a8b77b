"""What no single key of a sweep file shows: names, paths, values, conditions, emptiness.

Rules across keys, which another axis may mend, are asked of samples: a value is wrong if no design
with it is right.
"""

from __future__ import annotations

import contextlib
import difflib
import itertools
import json
import keyword
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from azsim.config import Document, DocumentPath
from azsim.config.document import Place, show
from azsim.errors import InputError, unknown
from azsim.folder import folder_names
from azsim.frontend.workload import workload_names
from azsim.hardware import preset_names
from azsim.report.figures import FIGURES, is_figure, unit_of
from azsim.sweeps.axis_checks import (
    ROOTS,
    SCHEME,
    AxisChecker,
    overwritten,
    read_expression,
    report_at,
)
from azsim.sweeps.expressions import Expression
from azsim.sweeps.files import Files, about
from azsim.sweeps.objectives import (
    Objective,
    decision_problem,
    nearest_figure,
    words_problem,
)
from azsim.sweeps.space import Axis, Sweep, count, designs, override
from azsim.sweeps.sweep_file import ObjectiveFile, SweepFile

__all__ = ["Checker"]

_Problem = tuple[DocumentPath, str]
_RESERVED = (
    *("number", "rung", "state", "message", "key", "tries", "seconds", "worker", "finished"),
    *("rank", "on_front", "is_knee"),
)
_LARGEST_GRID = 1_000_000
_SHUFFLES, _SAMPLES, _MOST_STEPS = 8, 4, 20_000


class Checker:
    """Checks a sweep file's value, and makes the `Sweep` of one that is right."""

    def __init__(self, document: Document, path: Path, overrides: Sequence[str]) -> None:
        self._document, self._path, self._given = document, path, overrides
        self._files = Files(path.parent)
        self._checked = AxisChecker(document, self._files)
        self._rules: dict[str, Expression] = {}
        self._overrides: tuple[str, ...] = ()
        self._notes: list[str] = []

    def __call__(self, value: SweepFile) -> Iterator[_Problem]:
        """Yield the path and the sentence of everything that is wrong."""
        found = list(self._names(value))
        if value.workload:  # empty where it is wrong already
            found += [(("workload",), s) for s in self._files.read_workload(value.workload)]
        key = "workload" if value.hardware is None else "hardware"
        found += [((key,), s) for s in self._files.read_chip(value.hardware)]
        found += self._sets(value)
        found += self._checked.check(value.axes, self._overrides)
        found += self._constraints(value)
        found += self._objectives(value)
        found += self._strategy(value)
        if not found and not self._document.problems:
            found += self._emptiness(value)
        if not found and not self._document.problems:
            found += self._together()
        yield from found

    @property
    def _axes(self) -> tuple[Axis, ...]:
        return tuple(self._checked.axes.values())

    def _names(self, value: SweepFile) -> Iterator[_Problem]:
        for key, entries in (("axes", value.axes), ("objectives", value.objectives)):
            if not entries:
                yield (key,), "is empty, allowed: at least one"
        seen: dict[str, str] = {}
        names = [("axes", name) for name in value.axes]
        for key, name in names + [("objectives", name) for name in value.objectives]:
            path, lower = (key, name), name.lower()
            is_of_figure = is_figure(name) or any(f.startswith(f"{name}.") for f in FIGURES)
            if not (name.isidentifier() and name.isascii()) or keyword.iskeyword(name):
                yield path, f"not a name, found {name!r}, allowed: letters, digits and '_'"
            elif lower in _RESERVED:
                yield path, f"{name!r} is a column of every table of results; choose another name"
            elif key == "axes" and is_of_figure:
                yield path, f"{name!r} is a figure of every run; choose another name"
            elif lower in seen:
                yield path, f"{name!r} is one of the {seen[lower]} already; choose another name"
            seen.setdefault(lower, key)

    # ------------------------------------------------------------------------------ overrides

    def _sets(self, value: SweepFile) -> Iterator[_Problem]:
        texts: list[str] = []
        for i, text in enumerate((*value.set, *self._given)):
            problems = self._override_problems(text)
            if i < len(value.set):
                yield from ((("set", i), sentence) for sentence in problems)
            else:
                for sentence in problems:
                    self._document.report(Place(f"--set {text}", 0, 0), ("set",), sentence)
            texts += () if problems else (_rooted(text),)
        self._overrides = tuple(texts)

    def _override_problems(self, text: str) -> list[str]:
        root, _, rest = text.partition("=")[0].strip().partition(".")
        if root not in ROOTS or not rest or "=" not in text:
            allowed = ", ".join(f"{name}.PATH=VALUE" for name in ROOTS)
            return [f"not an override, found {text!r}, allowed: {allowed}"]
        if (root, rest) == ("workload", "hardware"):
            return ["the chip is chosen by the sweep's key 'hardware', found one for the workload"]
        return about(_rooted(text), self._files.problems((_rooted(text),)))

    # ------------------------------------------------------------- expressions and objectives

    def _constraints(self, value: SweepFile) -> Iterator[_Problem]:
        names = (*value.axes, *value.objectives)
        for i, text in enumerate(value.constraints):
            path: DocumentPath = ("constraints", i)
            rule = read_expression(self._document, path, text)
            if rule is None:
                continue
            if not rule.names:
                yield path, f"names no axis and no figure, found {text!r}"
            elif self._are_known(rule, names, path):
                self._rules[text] = rule

    def _are_known(self, rule: Expression, names: Sequence[str], path: DocumentPath) -> bool:
        strange = {
            name: self._section_problem(name) if is_figure(name) else _unknown_name(name, names)
            for name in rule.names
            if name not in names
        }
        wrong = {name: sentence for name, sentence in strange.items() if sentence is not None}
        for name, sentence in wrong.items():
            report_at(self._document, path, rule.names[name], sentence)
        return not wrong

    def _section_problem(self, key: str) -> str | None:
        """What is wrong with a figure of decisions or words, unless an override makes it."""
        targets = (*self._overrides, *(axis.target for axis in self._axes))
        workload = self._files.workload
        sections = ("workload.decisions", "workload.transcript")
        if workload is None or any(text.startswith(sections) for text in targets):
            return None
        data = workload.document.data
        decisions = data.get("decisions") if isinstance(data, Mapping) else None
        return decision_problem(key, decisions) or words_problem(key, data)

    def _objectives(self, value: SweepFile) -> Iterator[_Problem]:
        for name, spec in value.objectives.items():
            path: DocumentPath = ("objectives", name)
            if is_figure(spec.key):
                yield from _unit(path, spec)
                if sentence := self._section_problem(spec.key):
                    yield (*path, "key"), sentence
                continue
            rule = read_expression(self._document, (*path, "key"), spec.key)
            if rule is not None and self._are_known(rule, tuple(value.axes), (*path, "key")):
                if not rule.names:
                    yield (*path, "key"), f"names no axis and no figure, found {spec.key!r}"
                for word in rule.names:
                    axis = self._checked.axes.get(word)
                    if axis and rule.text == word and not axis.is_numeric:
                        yield (*path, "key"), f"the values of the axis {word!r} are no numbers"

    def _strategy(self, value: SweepFile) -> Iterator[_Problem]:
        names = folder_names("azsim.sweeps.strategies")
        if isinstance(value.strategy, Mapping):
            found = list(value.strategy)
            if len(found) == 1:
                yield ("strategy", found[0]), unknown("strategy", found[0], names)
            else:
                sentence = f"one strategy, found {', '.join(map(repr, found)) or 'none'}"
                yield ("strategy",), f"{sentence}, allowed: {', '.join(names)}"
            return
        name, module, options = _chosen(value)
        if hasattr(module, "find_conflicts"):
            for path, sentence in module.find_conflicts(options):
                yield ("strategy", name, *path), sentence
        for r, rung in enumerate(_rungs(module, options)):
            for i, text in enumerate(rung):
                path = ("strategy", name, "rungs", r, "set", i)
                yield from ((path, sentence) for sentence in self._override_problems(text))
                for axis in self._axes:
                    if overwritten(axis, _rooted(text)):
                        yield path, f"overwrites the axis {axis.name!r}, found {text!r}"

    # ------------------------------------------------------------------------ the whole space

    def _emptiness(self, value: SweepFile) -> Iterator[_Problem]:
        axes, rules = self._axes, self._over_axes()
        full = math.prod(len(axis.values) for axis in axes)
        if _chosen(value)[0] == "grid" and full > _LARGEST_GRID:
            sentence = f"a grid of {full:,} points, allowed: {_LARGEST_GRID:,}"
            yield ("axes",), f"{sentence}; the other strategies take a part of it"
            return
        try:
            if next(designs(axes, rules), None) is not None:
                return
            total = count(axes) if full <= _LARGEST_GRID else full
            for i, text in enumerate(value.constraints):
                rule = self._rules[text]
                if rule in rules and next(designs(axes, (rule,)), None) is None:
                    yield (
                        ("constraints", i),
                        f"the design space is empty: none of {total:,} designs holds {text!r}",
                    )
                    return
            sentence = f"the design space is empty: none of {total:,} designs holds all of them"
            yield ("constraints",), sentence
        except InputError as error:
            yield ("constraints",), str(error)

    def _over_axes(self) -> tuple[Expression, ...]:
        names = set(self._checked.axes)
        return tuple(rule for rule in self._rules.values() if set(rule.names) <= names)

    def _together(self) -> Iterator[_Problem]:
        """Say which values no design can have, by the rules across keys."""
        draw = random.Random(0)
        for axis in self._axes:
            for i, value in enumerate(axis.values):
                alone = self._design_problems({axis.name: value})
                if not alone:
                    continue
                sample = list(self._sample(axis.name, value, draw))
                tries = [self._design_problems(design) for design in sample]
                if not sample:
                    self._notes.append(f"{axis.name}: no design has the value {show(value)}")
                elif all(tries):
                    own = about(override(axis, value), alone)
                    placed = [f"no design is right with it: {one}" for one in tries[0]]
                    yield from ((self._place(axis, i), sentence) for sentence in own or placed)

    def _place(self, axis: Axis, item: int) -> DocumentPath:
        spec = self._document.data["axes"][axis.name]
        for key in ("values", "hardware", "scheme"):
            if key in spec:
                return ("axes", axis.name, key, item)
        return ("axes", axis.name, "range" if "range" in spec else "log_range")

    def _sample(self, name: str, value: Any, draw: random.Random) -> Iterator[dict[str, Any]]:
        for _ in range(_SHUFFLES):
            axes = tuple(
                replace(axis, values=tuple(draw.sample(axis.values, len(axis.values))))
                for axis in self._axes
            )
            found = designs(axes, self._over_axes(), {name: value}, _MOST_STEPS)
            with contextlib.suppress(InputError):  # too sparse to say anything
                yield from itertools.islice(found, _SAMPLES)

    def _design_problems(self, design: Mapping[str, Any]) -> tuple[str, ...]:
        there = [axis for axis in self._axes if axis.name in design]
        whole = {axis.kind: design[axis.name] for axis in there}
        keys = (override(axis, design[axis.name]) for axis in there if axis.kind == "path")
        scheme, chip = whole.get("scheme"), whole.get("hardware")
        if scheme not in self._files.workloads:
            scheme = next(iter(self._files.workloads))
        if chip not in self._files.chips:
            chip = next(iter(self._files.chips))
        return self._files.whole_problems(scheme, chip, (*self._overrides, *keys))

    # ------------------------------------------------------------------------------ the sweep

    def sweep(self, value: SweepFile) -> Sweep:
        """Return the sweep; the file was found right."""
        workload, hardware = value.workload, value.hardware
        name, module, options = _chosen(value)
        over_axes = self._over_axes()
        objectives = tuple(
            Objective(key, spec.key, spec.goal, spec.unit or unit_of(spec.key) or "1")
            for key, spec in value.objectives.items()
        )
        rungs = tuple(tuple(map(_rooted, rung)) for rung in _rungs(module, options))
        return Sweep(
            name=value.name,
            path=self._path,
            workload=workload if workload in workload_names() else self._path.parent / workload,
            hardware=hardware
            if hardware is None or hardware in preset_names()
            else self._path.parent / hardware,
            overrides=self._overrides,
            axes=self._axes,
            constraints=over_axes,
            figure_constraints=tuple(r for r in self._rules.values() if r not in over_axes),
            objectives=objectives,
            strategy=name,
            options=options,
            rungs=rungs or ((),),
            definition=self._definition(value, objectives, name, options, rungs),
            bases=self._files.bases(),
            notes=(*self._checked.notes, *self._notes),
        )

    def _definition(
        self,
        value: SweepFile,
        objectives: tuple[Objective, ...],
        strategy: str,
        options: Any,
        rungs: tuple[tuple[str, ...], ...],
    ) -> dict[str, Any]:
        axes = {
            axis.name: {
                "kind": axis.kind,
                "target": axis.target,
                "values": axis.values,
                "when": axis.when and axis.when.text,
            }
            for axis in self._axes
        }
        definition = {
            "name": value.name,
            "workload": value.workload,
            "hardware": value.hardware,
            "set": self._overrides,
            "axes": axes,
            "constraints": list(self._rules),
            "objectives": {
                o.name: {"key": o.key, "goal": o.goal, "unit": o.unit} for o in objectives
            },
            "strategy": {strategy: asdict(options)},
            "files": self._files.hashes(
                [(*self._overrides, *rung) for rung in rungs or ((),)],
                [axis.values for axis in self._axes if axis.kind == "path"],
            ),
        }
        return json.loads(json.dumps(definition))


def _rooted(text: str) -> str:
    """Return an override with ``scheme.`` written out."""
    return f"{SCHEME}{text.removeprefix('scheme')}" if text.startswith("scheme.") else text


def _chosen(value: SweepFile) -> tuple[str, Any, Any]:
    """Return name, module and options of the strategy."""
    from azsim.sweeps.strategies import strategies

    ((name, options),) = vars(value.strategy).items()
    return name, strategies()[name], options


def _rungs(module: Any, options: Any) -> tuple[tuple[str, ...], ...]:
    return module.rungs(options) if hasattr(module, "rungs") else ()


def _unknown_name(name: str, names: Sequence[str]) -> str:
    near = nearest_figure(name)
    if near is not None and near.startswith(f"{name}."):
        return f"{name!r} has no number of its own, did you mean {near!r}?"
    close = difflib.get_close_matches(name, (*names, *FIGURES), n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    allowed = ", ".join((*names, "and the keys of summary.json"))
    return f"unknown name {name!r}, {hint}allowed: {allowed}"


def _unit(path: DocumentPath, spec: ObjectiveFile) -> Iterator[_Problem]:
    unit = unit_of(spec.key)
    if unit is None or spec.unit == unit or (unit == "1" and spec.unit is None):
        return
    if spec.unit is None:
        yield (*path, "unit"), f"missing key; {spec.key} is in {unit}"
    else:
        yield (*path, "unit"), f"wrong unit, found {spec.unit!r}, allowed: {unit!r}"
