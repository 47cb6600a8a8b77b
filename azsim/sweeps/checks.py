"""What no single key of a sweep file shows: names, paths, values, conditions, emptiness.

Every value of every axis is put into the real files by the real loaders, alone, so that an error
is what `azsim run --set` would say.  Rules across keys, which another axis may mend, are asked of
samples: a value is wrong if no design with it is right.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import keyword
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from azsim.config import Document, DocumentPath
from azsim.config.document import Place, show
from azsim.errors import ConfigError, InputError
from azsim.folder import folder_names
from azsim.frontend._names import unknown
from azsim.frontend.workload import WorkloadText, read_workload, workload_names
from azsim.hardware import preset_names, read_hardware
from azsim.sweeps import values as axis_values
from azsim.sweeps.expressions import Expression, ExpressionError, parse_expression
from azsim.sweeps.objectives import FIGURES, Objective, is_figure, nearest_figure, unit_of
from azsim.sweeps.point import scheme_override
from azsim.sweeps.space import Axis, Bases, Sweep, count, designs, key_of, override
from azsim.sweeps.sweep_file import AxisFile, ObjectiveFile, SweepFile

__all__ = ["Checker"]

_Problem = tuple[DocumentPath, str]
_RESERVED = ("number", "rung", "state", "message")
_ROOTS = ("workload", "hardware", "scheme")
_SCHEME = "workload.compression"
_LARGEST_GRID = 2_000_000
_SHUFFLES, _SAMPLES = 8, 4
_WHOLE_KINDS = ("hardware", "scheme")


@dataclass
class _Files:
    """The files of a sweep, by the value of the axis that chooses among them."""

    workload: WorkloadText | None = None
    workloads: dict[str | None, WorkloadText] = field(default_factory=dict)
    chips: dict[str | None, Document] = field(default_factory=dict)


class Checker:
    """Checks a sweep file's value, and makes the `Sweep` of one that is right."""

    def __init__(self, document: Document, path: Path, overrides: Sequence[str]) -> None:
        self._document, self._path, self._given = document, path, overrides
        self._files = _Files()
        self._axes: dict[str, Axis] = {}
        self._rules: dict[str, Expression] = {}
        self._overrides: tuple[str, ...] = ()
        self._notes: list[str] = []

    def __call__(self, value: SweepFile) -> Iterator[_Problem]:
        """Yield the path and the sentence of everything that is wrong."""
        found = list(self._names(value))
        found += self._read_files(value)
        found += self._sets(value)
        for name, spec in value.axes.items():
            found += self._axis(name, spec)
        found += self._twice()
        found += self._constraints(value)
        found += self._objectives(value)
        found += self._strategy(value)
        if not found and not self._document.problems:
            found += self._emptiness(value)
        if not found and not self._document.problems:
            found += self._together()
        yield from found

    # -------------------------------------------------------------------------- names, files

    def _names(self, value: SweepFile) -> Iterator[_Problem]:
        for key, entries in (("axes", value.axes), ("objectives", value.objectives)):
            if not entries:
                yield (key,), "is empty, allowed: at least one"
        seen: dict[str, str] = {}
        for key, name in (
            *(("axes", n) for n in value.axes),
            *(("objectives", n) for n in value.objectives),
        ):
            path = (key, name)
            if not name.isidentifier() or not name.isascii() or keyword.iskeyword(name):
                yield path, f"not a name, found {name!r}, allowed: letters, digits and '_'"
            elif name.lower() in _RESERVED:
                yield path, f"the name {name!r} is a column of every result; choose another"
            elif key == "axes" and (
                is_figure(name) or any(f.startswith(f"{name}.") for f in FIGURES)
            ):
                yield path, f"the name {name!r} is that of a figure; choose another"
            elif name.lower() in seen:
                yield path, f"the name {name!r} is also one of {seen[name.lower()]}; choose another"
            seen.setdefault(name.lower(), key)

    def _read_files(self, value: SweepFile) -> Iterator[_Problem]:
        files, folder = self._files, self._path.parent
        own = value.workload in workload_names()
        try:
            files.workload = read_workload(value.workload if own else folder / value.workload)
            problems = axis_values.workload_problems(files.workload, (), whole=False)
        except ConfigError as error:
            allowed = f"{unknown('workload', value.workload, workload_names())}, or a .yaml file"
            is_there = own or (folder / value.workload).exists()
            problems = error.problems if is_there else (f"{allowed} beside the sweep",)
        yield from ((("workload",), sentence) for sentence in problems)
        if files.workload is not None:
            files.workloads[None] = files.workload
            yield from self._read_chip(value)

    def _read_chip(self, value: SweepFile) -> Iterator[_Problem]:
        assert self._files.workload is not None
        data = self._files.workload.document.data
        named = data.get("hardware") if isinstance(data, Mapping) else None
        key = "workload" if value.hardware is None else "hardware"
        folder = self._files.workload.path.parent if key == "workload" else self._path.parent
        try:
            self._files.chips[None] = _chip(value.hardware or str(named or "az1"), folder)
            problems = axis_values.chip_problems(self._files.chips[None], (), whole=False)
        except ConfigError as error:
            problems = error.problems
        yield from (((key,), sentence) for sentence in problems)

    # ------------------------------------------------------------------------------ overrides

    def _sets(self, value: SweepFile) -> Iterator[_Problem]:
        texts: list[str] = []
        for i, text in enumerate((*value.set, *self._given)):
            root, dot, rest = text.partition("=")[0].partition(".")
            if root not in _ROOTS or not dot or "=" not in text:
                allowed = ", ".join(f"{name}.PATH=VALUE" for name in _ROOTS)
                sentence = f"not an override, found {text!r}, allowed: {allowed}"
                yield from self._about_set(i, value, text, sentence)
            elif root == "workload" and rest.strip() == "hardware":
                sentence = "the chip is chosen by the sweep's key 'hardware'"
                yield from self._about_set(i, value, text, sentence)
            else:
                text = _SCHEME + text.removeprefix("scheme") if root == "scheme" else text
                texts.append(text)
                for sentence in _own(self._problems((text,), whole=False), text):
                    yield from self._about_set(i, value, text, sentence)
        self._overrides = tuple(texts)

    def _about_set(self, i: int, value: SweepFile, text: str, sentence: str) -> Iterator[_Problem]:
        if i < len(value.set):
            yield ("set", i), sentence
        else:
            self._document.report(Place(f"--set {text}", 0, 0), ("set",), sentence)

    def _problems(self, texts: Sequence[str], *, whole: bool) -> tuple[str, ...]:
        """Return what the files say to overrides, if each that they may hold for says something."""
        own = [text for text in texts if text.startswith("workload.")]
        chip = [text for text in texts if text.startswith("hardware.")]
        found: tuple[str, ...] = ()
        if own or whole:
            asked = (
                axis_values.workload_problems(text, own, whole=whole)
                for text in reversed(self._files.workloads.values())
            )
            found += _least(asked)
        if chip or whole:
            asked = (
                axis_values.chip_problems(document, chip, whole=whole)
                for document in reversed(self._files.chips.values())
            )
            found += _least(asked)
        return found

    # ----------------------------------------------------------------------------------- axes

    def _axis(self, name: str, spec: AxisFile) -> Iterator[_Problem]:
        path: DocumentPath = ("axes", name)
        kinds = [key for key in ("path", *_WHOLE_KINDS) if getattr(spec, key) is not None]
        if len(kinds) != 1:
            found = ", ".join(kinds) or "none"
            yield path, f"an axis has a path, whole hardware or whole schemes, found {found}"
            return
        given = [key for key in ("values", "range", "log_range") if getattr(spec, key) is not None]
        wanted = 1 if kinds == ["path"] else 0
        if len(given) != wanted:
            found = ", ".join(given) or "none"
            rule = "'values', 'range' or 'log_range'" if wanted else "no values besides"
            yield path, f"an axis with '{kinds[0]}' has {rule}, found {found}"
            return
        when = None
        if spec.when is not None:
            when = yield from self._condition(name, spec.when)
        if kinds == ["path"]:
            yield from self._keyed(name, spec, given[0], when)
        else:
            yield from self._whole(name, spec, kinds[0], when)

    def _condition(self, name: str, text: str) -> Iterator[_Problem]:
        rule = self._expression(("axes", name, "when"), text)
        if rule is None:
            return None
        for word, offset in rule.names.items():
            if word not in self._axes:
                allowed = ", ".join(self._axes) or "none"
                sentence = f"{word!r} is no axis above this one, allowed: {allowed}"
                self._report_at(("axes", name, "when"), offset, sentence)
                return None
        try:
            axes = tuple(self._axes.values())
            if not any(rule.holds(design) for design in itertools.islice(designs(axes), 100_000)):
                yield ("axes", name, "when"), "holds for no design, so the axis is never there"
        except InputError as error:
            yield ("axes", name, "when"), str(error)
        return rule

    def _keyed(
        self, name: str, spec: AxisFile, given: str, when: Expression | None
    ) -> Iterator[_Problem]:
        assert spec.path is not None
        path: DocumentPath = ("axes", name)
        root, dot, rest = spec.path.partition(".")
        if root not in _ROOTS or not dot or not rest:
            allowed = ", ".join(f"{word}.…" for word in _ROOTS)
            yield (*path, "path"), f"unknown start {root!r}, allowed: {allowed}"
            return
        if spec.path == "workload.hardware":
            sentence = "whole chips are an axis of their own kind; write hardware: [NAME, ...]"
            yield (*path, "path"), sentence
            return
        target = f"{_SCHEME}.{rest}" if root == "scheme" else spec.path
        try:
            found = self._values(name, spec, target)
        except ConfigError as error:
            yield from (((*path, given), sentence) for sentence in error.problems)
            return
        axis = Axis(name, "path", target, found, when)
        yield from self._distinct(axis, (*path, given))
        problems = list(self._tried(axis, given))
        yield from problems
        if not problems:
            self._axes[name] = axis

    def _values(self, name: str, spec: AxisFile, target: str) -> tuple[Any, ...]:
        ranged = spec.range or spec.log_range
        if ranged is None:
            return spec.values or ()
        found = axis_values.numbers(ranged)
        if not axis_values.is_whole(target, self._files.workload):
            return found
        whole = axis_values.rounded(found)
        if len(whole) < len(found):
            left = f"{len(whole)} of {len(found)} values are left"
            self._notes.append(f"{name}: rounded to whole numbers, {left}")
        return whole

    def _distinct(self, axis: Axis, path: DocumentPath) -> Iterator[_Problem]:
        if not axis.values:
            yield path, "is empty, allowed: at least one value"
        seen: dict[str, int] = {}
        for i, value in enumerate(axis.values):
            text = key_of({"": value})
            if text in seen:
                sentence = f"the value {show(value)} is there twice, as item {seen[text]} and {i}"
                yield (*path, i), sentence
            if value is None:
                yield (*path, i), "is null; a key that is left out is a condition's business"
            seen.setdefault(text, i)

    def _tried(self, axis: Axis, given: str) -> Iterator[_Problem]:
        """Say what the files say to each value alone; once, where it is the same for all."""
        path: DocumentPath = ("axes", axis.name)
        found: dict[str, list[int]] = {}
        for i, value in enumerate(axis.values):
            text = override(axis, value)
            for sentence in _own(self._problems((text,), whole=False), text):
                found.setdefault(sentence, []).append(i)
        for sentence, items in found.items():
            is_of_path = "unknown key" in sentence or "cannot be set inside" in sentence
            if is_of_path or (len(items) == len(axis.values) > 1 and "found" not in sentence):
                yield (*path, "path"), sentence
            else:
                for i in items if given == "values" else items[:1]:
                    yield (*path, given, *((i,) if given == "values" else ())), sentence

    def _whole(
        self, name: str, spec: AxisFile, kind: str, when: Expression | None
    ) -> Iterator[_Problem]:
        path: DocumentPath = ("axes", name, kind)
        other = next((axis for axis in self._axes.values() if axis.kind == kind), None)
        if other is not None:
            yield path, f"the axis {other.name!r} has whole {kind} already, allowed: one such axis"
            return
        target = "hardware" if kind == "hardware" else _SCHEME
        axis = Axis(name, kind, target, tuple(getattr(spec, kind)), when)  # pyright: ignore[reportArgumentType]
        yield from self._distinct(axis, path)
        found = []
        for i, value in enumerate(axis.values):
            problems = self._read_whole(kind, value)
            found += [((*path, i), sentence) for sentence in problems]
        yield from found
        if not found:
            self._axes[name] = axis

    def _read_whole(self, kind: str, value: str) -> tuple[str, ...]:
        folder = self._path.parent
        if kind == "hardware":
            try:
                self._files.chips[value] = _chip(value, folder)
            except ConfigError as error:
                return error.problems
            return axis_values.chip_problems(self._files.chips[value], (), whole=False)
        if self._files.workload is None:
            return ()
        text = scheme_override(value, folder)
        problems = axis_values.workload_problems(self._files.workload, (text,), whole=False)
        self._files.workloads[value] = self._files.workload.changed((text,))
        own = _own(problems, text)
        return tuple(own) if own else problems

    def _twice(self) -> Iterator[_Problem]:
        """Say which changes are lost in a later one: whole axes, `set`, then axes by key."""
        axes = list(self._axes.values())
        order: list[Axis | str] = [axis for axis in axes if axis.kind != "path"]
        order += self._overrides
        order += [axis for axis in axes if axis.kind == "path"]
        steps = [_steps(item) for item in order]
        for i, later in enumerate(order):
            for earlier, place in zip(order[:i], steps[:i], strict=True):
                if not axis_values.within(place, steps[i]):
                    continue
                if isinstance(earlier, Axis) and isinstance(later, Axis):
                    if (
                        earlier.when is not None
                        and later.when is not None
                        and self._apart(earlier, later)
                    ):
                        continue
                    verb = "changes the same" if place == steps[i] else "overwrites that of"
                    sentence = f"{verb} key as" if place == steps[i] else verb
                    yield ("axes", later.name), f"{sentence} the axis {earlier.name!r}"
                elif isinstance(earlier, Axis):
                    yield ("axes", earlier.name), f"is overwritten by the override {later!r}"
                elif isinstance(later, Axis):
                    yield ("axes", later.name), f"overwrites the override {earlier!r}"

    def _apart(self, one: Axis, other: Axis) -> bool:
        """Whether the conditions of two axes never hold at once."""
        above = tuple(
            itertools.takewhile(lambda a: a is not one and a is not other, self._axes.values())
        )
        assert one.when is not None
        assert other.when is not None
        found = itertools.islice(designs(above), 100_000)
        return not any(one.when.holds(d) and other.when.holds(d) for d in found)

    # ------------------------------------------------------------- expressions and objectives

    def _expression(self, path: DocumentPath, text: str) -> Expression | None:
        try:
            return parse_expression(text)
        except ExpressionError as error:
            self._report_at(path, error.offset, str(error))
            return None

    def _report_at(self, path: DocumentPath, offset: int, sentence: str) -> None:
        """Report what is wrong at a column of an expression."""
        place, scalar = self._document.place(path), self._document.scalars.get(path)
        if scalar is not None and place.line and "\n" not in scalar.text:
            place = place._replace(column=place.column + offset + (not scalar.is_plain))
        self._document.report(place, path, sentence)

    def _constraints(self, value: SweepFile) -> Iterator[_Problem]:
        for i, text in enumerate(value.constraints):
            path: DocumentPath = ("constraints", i)
            rule = self._expression(path, text)
            if rule is None:
                continue
            if not rule.names:
                yield path, "names no axis and no figure"
            known = self._known(rule, (*value.axes, *value.objectives), path)
            if known:
                self._rules[text] = rule

    def _known(self, rule: Expression, names: Sequence[str], path: DocumentPath) -> bool:
        found = True
        for name, offset in rule.names.items():
            if name not in names and not is_figure(name):
                self._report_at(path, offset, _unknown_name(name, names))
                found = False
        return found

    def _objectives(self, value: SweepFile) -> Iterator[_Problem]:
        for name, spec in value.objectives.items():
            path: DocumentPath = ("objectives", name)
            if is_figure(spec.key):
                yield from _unit(path, spec)
                continue
            is_name = spec.key.replace(".", "_").isidentifier()
            rule = self._expression((*path, "key"), spec.key)
            if rule is None:
                continue
            if is_name and spec.key not in value.axes:
                yield (*path, "key"), _unknown_name(spec.key, tuple(value.axes))
            else:
                self._known(rule, tuple(value.axes), (*path, "key"))

    def _strategy(self, value: SweepFile) -> Iterator[_Problem]:
        names = folder_names("azsim.sweeps.strategies")
        if isinstance(value.strategy, Mapping):
            found = list(value.strategy)
            if len(found) != 1:
                sentence = f"one strategy, found {', '.join(map(repr, found)) or 'none'}"
                yield ("strategy",), f"{sentence}, allowed: {', '.join(names)}"
            else:
                yield ("strategy", found[0]), unknown("strategy", found[0], names)
            return
        name, module, options = _chosen(value)
        conflicts = getattr(module, "find_conflicts", None)
        for path, sentence in conflicts(options) if conflicts else ():
            yield ("strategy", name, *path), sentence
        for r, rung in enumerate(_rungs(module, options)):
            for i, text in enumerate(rung):
                path = ("strategy", name, "rungs", r, "set", i)
                yield from ((path, sentence) for sentence in self._rung_problems(text))

    def _rung_problems(self, text: str) -> Iterator[str]:
        if not text.startswith(("workload.", "hardware.")) or "=" not in text:
            allowed = "workload.PATH=VALUE or hardware.PATH=VALUE"
            yield f"not an override, found {text!r}, allowed: {allowed}"
            return
        yield from _own(self._problems((text,), whole=False), text)
        for axis in self._axes.values():
            if axis_values.within(_steps(axis), _steps(text)):
                yield f"overwrites the axis {axis.name!r}"

    # ------------------------------------------------------------------------ the whole space

    def _emptiness(self, value: SweepFile) -> Iterator[_Problem]:
        axes, rules = tuple(self._axes.values()), self._over_axes()
        full = math.prod(len(axis.values) for axis in axes)
        name, _, _ = _chosen(value)
        if name == "grid" and full > _LARGEST_GRID and not rules:
            sentence = f"a grid of {full:,} points, allowed: {_LARGEST_GRID:,}"
            yield ("axes",), f"{sentence}; other strategies sample it"
            return
        try:
            if next(designs(axes, rules), None) is None:
                total = count(axes)
                for i, text in enumerate(value.constraints):
                    rule = self._rules[text]
                    if rule in rules and next(designs(axes, (rule,)), None) is None:
                        yield ("constraints", i), f"leaves none of the {total:,} designs"
                        return
                yield ("constraints",), f"together leave none of the {total:,} designs"
        except InputError as error:
            yield ("constraints",), str(error)

    def _over_axes(self) -> tuple[Expression, ...]:
        return tuple(rule for rule in self._rules.values() if set(rule.names) <= set(self._axes))

    def _together(self) -> Iterator[_Problem]:
        """Say which values no design can have, by the rules across keys."""
        draw = random.Random(0)
        for axis in self._axes.values():
            items = len(axis.values)
            for i, value in enumerate(axis.values):
                alone = self._design_problems({axis.name: value})
                if not alone:
                    continue
                sample = list(itertools.islice(self._sample(axis.name, value, draw), 32))
                tries = [self._design_problems(design) for design in sample]
                if not sample:
                    self._notes.append(f"{axis.name}: no design has the value {show(value)}")
                elif all(tries):
                    spec = self._document.data["axes"][axis.name]
                    given = next(
                        k
                        for k in ("values", "hardware", "scheme", "range", "log_range")
                        if k in spec
                    )
                    path = (
                        "axes",
                        axis.name,
                        given,
                        *((i,) if isinstance(spec[given], list) and items else ()),
                    )
                    own = _own(alone, override(axis, value)) if axis.kind == "path" else ()
                    yield from ((path, sentence) for sentence in own or _placed(tries[0]))

    def _sample(self, name: str, value: Any, draw: random.Random) -> Iterator[dict[str, Any]]:
        rules = self._over_axes()
        for _ in range(_SHUFFLES):
            axes = tuple(
                Axis(a.name, a.kind, a.target, tuple(draw.sample(a.values, len(a.values))), a.when)
                for a in self._axes.values()
            )
            yield from itertools.islice(designs(axes, rules, {name: value}), _SAMPLES)

    def _design_problems(self, design: Mapping[str, Any]) -> tuple[str, ...]:
        scheme = chip = None
        for axis in self._axes.values():
            if axis.kind == "scheme":
                scheme = design.get(axis.name)
            elif axis.kind == "hardware":
                chip = design.get(axis.name)
        keyed = [
            axis for axis in self._axes.values() if axis.kind == "path" and axis.name in design
        ]
        texts = (*self._overrides, *(override(axis, design[axis.name]) for axis in keyed))
        own = [text for text in texts if text.startswith("workload.")]
        on_chip = [text for text in texts if text.startswith("hardware.")]
        return (
            *axis_values.workload_problems(self._files.workloads[scheme], own, whole=True),
            *axis_values.chip_problems(self._files.chips[chip], on_chip, whole=True),
        )

    # ------------------------------------------------------------------------------ the sweep

    def sweep(self, value: SweepFile) -> Sweep:
        """Return the sweep; the file was found right."""
        assert self._files.workload is not None
        name, module, options = _chosen(value)
        over_axes = self._over_axes()
        objectives = tuple(
            Objective(key, spec.key, spec.goal, spec.unit or unit_of(spec.key) or "1")
            for key, spec in value.objectives.items()
        )
        rungs = tuple(_rungs(module, options)) or ((),)
        is_named = value.workload in workload_names()
        has_chips = any(axis.kind == "hardware" for axis in self._axes.values())
        hardware = value.hardware
        if hardware is not None and hardware not in preset_names():
            hardware = self._path.parent / hardware
        return Sweep(
            name=value.name,
            path=self._path,
            workload=value.workload if is_named else self._files.workload.path,
            hardware=None if has_chips else hardware,
            overrides=self._overrides,
            axes=tuple(self._axes.values()),
            constraints=over_axes,
            figure_constraints=tuple(r for r in self._rules.values() if r not in over_axes),
            objectives=objectives,
            strategy=name,
            options=options,
            rungs=rungs,
            definition=self._definition(value, objectives, name, options),
            bases=Bases(self._files.workloads, self._files.chips),
            notes=tuple(self._notes),
        )

    def _definition(
        self, value: SweepFile, objectives: tuple[Objective, ...], strategy: str, options: Any
    ) -> dict[str, Any]:
        definition = {
            "name": value.name,
            "workload": value.workload,
            "hardware": value.hardware,
            "set": self._overrides,
            "axes": {
                axis.name: {
                    "kind": axis.kind,
                    "target": axis.target,
                    "values": axis.values,
                    "when": axis.when and axis.when.text,
                }
                for axis in self._axes.values()
            },
            "constraints": list(self._rules),
            "objectives": {o.name: [o.key, o.goal, o.unit] for o in objectives},
            "strategy": {strategy: asdict(options)},
            "files": self._hashes(),
        }
        return json.loads(json.dumps(definition))

    def _hashes(self) -> dict[str, str]:
        """Hashes of what was read, comments aside, by what it is."""
        contents = {
            f"workload {key or ''}": t.document.data for key, t in self._files.workloads.items()
        }
        contents |= {f"hardware {key or ''}": d.data for key, d in self._files.chips.items()}
        return {
            name.strip(): hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
            for name, data in contents.items()
        }


def _chip(reference: str, folder: Path) -> Document:
    if reference in preset_names():
        return read_hardware(reference)
    if not (folder / reference).is_file():
        raise ConfigError(
            [f"{unknown('hardware', reference, preset_names())}, or the path of a .yaml file"]
        )
    return read_hardware(folder / reference)


def _chosen(value: SweepFile) -> tuple[str, Any, Any]:
    """Return name, module and options of the strategy."""
    from azsim.sweeps.strategies import strategies

    ((name, options),) = vars(value.strategy).items()
    return name, strategies()[name], options


def _rungs(module: Any, options: Any) -> tuple[tuple[str, ...], ...]:
    return module.rungs(options) if hasattr(module, "rungs") else ()


def _least(asked: Iterator[tuple[str, ...]]) -> tuple[str, ...]:
    """Return nothing if any of several answers is nothing, else the last."""
    found: tuple[str, ...] = ()
    for found in asked:
        if not found:
            return ()
    return found


def _own(problems: Sequence[str], text: str) -> list[str]:
    """Problems of an override, its key in the place of its text."""
    start = f"--set {text}: "
    root = text.partition(".")[0]
    found = [sentence.removeprefix(start) for sentence in problems if sentence.startswith(start)]
    return [f"{root}{s[1:]}" if s.startswith("$") else s for s in found]


def _placed(problems: Sequence[str]) -> list[str]:
    return [f"is right in no design: {sentence}" for sentence in problems]


def _steps(item: Axis | str) -> DocumentPath:
    """Path of what an axis or an override changes, its root first."""
    path = item.target if isinstance(item, Axis) else item.partition("=")[0].strip()
    return (path.partition(".")[0], *axis_values.path_steps(path))


def _unknown_name(name: str, names: Sequence[str]) -> str:
    if (near := nearest_figure(name)) and near.startswith(f"{name}."):
        return f"{name!r} has no number of its own, did you mean {near!r}?"
    known = [*names, *FIGURES]
    sentence = unknown("name", name, known)
    hint = sentence.partition(", allowed")[0].partition(" allowed")[0]
    axes = ", ".join(names) or "none"
    return f"{hint.rstrip(',')} allowed: axes ({axes}) and keys of summary.json".replace("  ", " ")


def _unit(path: DocumentPath, spec: ObjectiveFile) -> Iterator[_Problem]:
    unit = unit_of(spec.key)
    if unit is None or spec.unit == unit or (unit == "1" and spec.unit is None):
        return
    if spec.unit is None:
        yield (*path, "unit"), f"missing unit; {spec.key} is in {unit}"
    else:
        sentence = f"wrong unit, found {spec.unit!r}; {spec.key} is in {unit}"
        yield (*path, "unit"), sentence
