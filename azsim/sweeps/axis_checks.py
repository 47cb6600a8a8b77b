"""Checks of a sweep file's axes, and the `Axis` of each that is right.

Every value is put into the real files by the real loaders, alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from azsim.config import Document, DocumentPath
from azsim.config.document import show
from azsim.errors import ConfigError, InputError
from azsim.sweeps import values as ranges
from azsim.sweeps.expressions import Expression, ExpressionError, parse_expression
from azsim.sweeps.files import Files, about
from azsim.sweeps.space import Axis, designs, key_of, override
from azsim.sweeps.sweep_file import AxisFile

__all__ = ["ROOTS", "SCHEME", "AxisChecker", "overwritten", "read_expression", "report_at"]

Problem = tuple[DocumentPath, str]
ROOTS = ("workload", "hardware", "scheme")
SCHEME = "workload.compression"
_GIVEN = ("values", "range", "log_range")
_WHOLE = ("hardware", "scheme")
_MOST_TRIED = 100_000


class AxisChecker:
    """Goes through the axes in their order.

    Attributes
    ----------
    axes : dict of str to Axis
        Those that are right.
    notes : list of str
        Such as how many values rounding left.
    """

    def __init__(self, document: Document, files: Files) -> None:
        self._document, self._files = document, files
        self._above: list[str] = []
        self.axes: dict[str, Axis] = {}
        self.notes: list[str] = []

    def check(self, specs: Mapping[str, AxisFile], overrides: Sequence[str]) -> Iterator[Problem]:
        """Yield what is wrong with the axes, after overrides of all points."""
        yield from self._read_whole(specs)
        for name, spec in specs.items():
            yield from self._axis(name, spec)
            self._above.append(name)
        yield from self._lost(overrides)

    def _read_whole(self, specs: Mapping[str, AxisFile]) -> Iterator[Problem]:
        """Read whole chips and schemes; those of the sweep itself are then in no design."""
        for name, spec in specs.items():
            for i, value in enumerate(spec.hardware or ()):
                for sentence in self._files.read_chip_of(value):
                    yield ("axes", name, "hardware", i), sentence
            for i, value in enumerate(spec.scheme or ()):
                for sentence in self._files.read_scheme_of(value):
                    yield ("axes", name, "scheme", i), sentence
            if spec.when is None:
                for kind, found in (
                    ("hardware", self._files.chips),
                    ("scheme", self._files.workloads),
                ):
                    if getattr(spec, kind) and len(found) > 1:
                        found.pop(None, None)

    def _axis(self, name: str, spec: AxisFile) -> Iterator[Problem]:
        path: DocumentPath = ("axes", name)
        kinds = [key for key in ("path", *_WHOLE) if getattr(spec, key) is not None]
        if len(kinds) != 1:
            found = " and ".join(f"'{kind}'" for kind in kinds) or "none"
            yield path, f"an axis has 'path', 'hardware' or 'scheme', found {found}"
            return
        given = [key for key in _GIVEN if getattr(spec, key) is not None]
        if len(given) != (kinds == ["path"]):
            found = " and ".join(f"'{key}'" for key in given) or "no list"
            wanted = "'values', 'range' or 'log_range'" if kinds == ["path"] else "none"
            yield path, f"an axis with '{kinds[0]}' and {found} of values, allowed: {wanted}"
            return
        when, is_sound = None, True
        if spec.when is not None:
            problems, when = self._condition(name, spec.when)
            is_sound = when is not None
            yield from problems
        made = self._keyed if kinds == ["path"] else self._chosen
        problems, axis = made(name, spec, (*kinds, *given)[-1], when)
        yield from problems
        if axis is not None and is_sound and not problems:
            self.axes[name] = axis

    def _condition(self, name: str, text: str) -> tuple[list[Problem], Expression | None]:
        path = ("axes", name, "when")
        rule = read_expression(self._document, path, text)
        if rule is None:
            return [], None
        for word, offset in rule.names.items():
            if word not in self._above:
                allowed = ", ".join(self._above) or "none"
                sentence = f"{word!r} is no axis above this one, allowed: {allowed}"
                report_at(self._document, path, offset, sentence)
                return [], None
        if not set(rule.names) <= set(self.axes):
            return [], None  # one of them is wrong
        try:
            above = designs(tuple(self.axes.values()))
            if not any(rule.holds(design) for design in itertools.islice(above, _MOST_TRIED)):
                return [(path, "holds for no design, so that the axis is never there")], None
        except InputError as error:
            return [(path, str(error))], None
        return [], rule

    # ---------------------------------------------------------------------------- one axis

    def _keyed(
        self, name: str, spec: AxisFile, given: str, when: Expression | None
    ) -> tuple[list[Problem], Axis | None]:
        assert spec.path is not None
        path: DocumentPath = ("axes", name)
        root, _, rest = spec.path.partition(".")
        if root not in ROOTS or not rest:
            allowed = ", ".join(f"{word}.PATH" for word in ROOTS)
            sentence = f"not a path, found {spec.path!r}, allowed: {allowed}"
            return [((*path, "path"), sentence)], None
        if spec.path == "workload.hardware":
            sentence = "whole chips are an axis of their own kind; write hardware: [NAME, NAME]"
            return [((*path, "path"), sentence)], None
        target = f"{SCHEME}.{rest}" if root == "scheme" else spec.path
        try:
            found = self._values(name, spec, target)
        except ConfigError as error:
            return [((*path, given), sentence) for sentence in error.problems], None
        axis = Axis(name, "path", target, found, when)
        return [*_distinct(axis, (*path, given)), *self._tried(axis, given)], axis

    def _values(self, name: str, spec: AxisFile, target: str) -> tuple[Any, ...]:
        ranged = spec.range or spec.log_range
        if ranged is None:
            return spec.values or ()
        found = ranges.numbers(ranged)
        if not ranges.is_whole(target, self._files.workload):
            return found
        whole = ranges.rounded(found)
        if whole != found:
            left = f", {len(whole)} of {len(found)} are left" if len(whole) < len(found) else ""
            self.notes.append(f"{name}: values are rounded to whole numbers{left}")
        return whole

    def _tried(self, axis: Axis, given: str) -> Iterator[Problem]:
        """Say what the files say to each value alone; once, if it is about the path."""
        path: DocumentPath = ("axes", axis.name)
        found: dict[str, list[int]] = {}
        for i, value in enumerate(axis.values):
            text = override(axis, value)
            for sentence in about(text, self._files.problems((text,))):
                found.setdefault(sentence, []).append(i)
        of_path = [s for s in found if any(part in s for part in _OF_PATHS)]
        of_values = [s for s in found if s not in of_path]
        yield from (((*path, "path"), sentence) for sentence in of_path)
        if given == "values":
            for sentence in of_values:
                yield from (((*path, given, i), sentence) for i in found[sentence])
        elif of_values:
            more = f" (and {len(of_values) - 1} values more)" if len(of_values) > 1 else ""
            yield (*path, given), f"{of_values[0]}{more}"

    def _chosen(
        self, name: str, spec: AxisFile, kind: str, when: Expression | None
    ) -> tuple[list[Problem], Axis | None]:
        path: DocumentPath = ("axes", name, kind)
        other = next((axis for axis in self.axes.values() if axis.kind == kind), None)
        if other is not None:
            sentence = f"the axis {other.name!r} has whole {kind} already, allowed: one such axis"
            return [(path, sentence)], None
        values = tuple(getattr(spec, kind))
        if kind == "hardware":
            axis = Axis(name, "hardware", "hardware", values, when)
        else:
            axis = Axis(name, "scheme", SCHEME, values, when)
        return list(_distinct(axis, path)), axis

    # ---------------------------------------------------------------- what later changes lose

    def _lost(self, overrides: Sequence[str]) -> Iterator[Problem]:
        """Say which changes are lost: whole axes come first, then `set`, then the other axes."""
        whole = [axis for axis in self.axes.values() if axis.kind != "path"]
        keyed = [axis for axis in self.axes.values() if axis.kind == "path"]
        order: list[Axis | str] = [*whole, *overrides, *keyed]
        for earlier, later in itertools.combinations(order, 2):
            if not overwritten(earlier, later):
                continue
            if isinstance(later, str):
                if isinstance(earlier, Axis):
                    yield ("axes", earlier.name), f"is overwritten by the override {later!r}"
            elif isinstance(earlier, str):
                yield ("axes", later.name), f"overwrites the override {earlier!r}"
            elif not self._are_apart(earlier, later):
                same = earlier.target == later.target
                verb = "changes the same key as" if same else "overwrites"
                hint = "" if same else "; put this one above it"
                yield ("axes", later.name), f"{verb} the axis {earlier.name!r}{hint}"

    def _are_apart(self, one: Axis, other: Axis) -> bool:
        """Whether the conditions of two axes never hold at once."""
        if one.when is None or other.when is None:
            return False
        above = itertools.takewhile(lambda axis: axis is not other, self.axes.values())
        found = itertools.islice(designs(tuple(above)), _MOST_TRIED)
        return not any(one.when.holds(d) and other.when.holds(d) for d in found)


_OF_PATHS = ("unknown key", "cannot be set inside", "no such item", "not an override")


def overwritten(earlier: Axis | str, later: Axis | str) -> bool:
    """Whether an axis or override that comes later changes all that another one did."""
    path, other = _steps(earlier), _steps(later)
    return path[: len(other)] == other


def _steps(item: Axis | str) -> DocumentPath:
    path = item.target if isinstance(item, Axis) else item.partition("=")[0].strip()
    return (path.partition(".")[0], *ranges.path_steps(path))


def _distinct(axis: Axis, path: DocumentPath) -> Iterator[Problem]:
    if not axis.values:
        yield path, "is empty, allowed: at least one value"
    seen: dict[str, int] = {}
    for i, value in enumerate(axis.values):
        text = key_of({"": value})
        if value is None:
            yield (*path, i), "is null, allowed: a value; a condition leaves a key out"
        elif text in seen:
            yield (*path, i), f"is there twice, found {show(value)} as items {seen[text]} and {i}"
        seen.setdefault(text, i)


# ------------------------------------------------------------------------------ expressions


def read_expression(document: Document, path: DocumentPath, text: str) -> Expression | None:
    """Check an expression; what is wrong with it is reported at its column."""
    try:
        return parse_expression(text)
    except ExpressionError as error:
        report_at(document, path, error.offset, str(error))
        return None


def report_at(document: Document, path: DocumentPath, offset: int, sentence: str) -> None:
    """Report what is wrong at a column, from 0, of a text."""
    place, scalar = document.place(path), document.scalars.get(path)
    if scalar is not None and place.line and "\n" not in scalar.text:
        place = place._replace(column=place.column + offset + (not scalar.is_plain))
    document.report(place, path, sentence)
