"""From what pydantic says about a document to one sentence for each thing that is wrong.

The words for what is allowed come from the JSON schema, so they cannot disagree with the check.
A value that may be one of several things gets one sentence: the alternative that fits best is
taken as the one that was meant.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from azsim.config.document import Document, DocumentPath, show

__all__ = ["data_path", "describe", "report_errors", "types_at"]

_Schema = Mapping[str, Any]
_EXPONENT = re.compile(r"([-+]?)(\d[\d_]*)(?:\.(\d*))?[eE]([-+]?\d+)")
_UNKNOWN = ("unexpected_keyword_argument", "extra_forbidden")
_LARGEST_WRITTEN = 10**18


@dataclass(frozen=True)
class _Finding:
    """One error of pydantic: where in the data, by which alternatives, and what."""

    path: DocumentPath
    branches: tuple[tuple[DocumentPath, str], ...]
    kind: str
    message: str


def report_errors(
    document: Document, errors: Iterable[Mapping[str, Any]], schema: _Schema
) -> tuple[DocumentPath, ...]:
    """Note every error in the document as a sentence, and return the paths of all.

    Parameters
    ----------
    document : Document
    errors : iterable of mapping
        ``ValidationError.errors()`` of pydantic.
    schema : mapping
        The JSON schema of what was expected.
    """
    findings = [_finding(document.data, error) for error in errors]
    _Reporter(document, schema).report(findings, 0)
    return tuple(finding.path for finding in findings)


def data_path(data: Any, error: Mapping[str, Any]) -> DocumentPath:
    """Return where in the data an error of pydantic is; of a missing key, where it would be."""
    return _finding(data, error).path


def _finding(data: Any, error: Mapping[str, Any]) -> _Finding:
    path: DocumentPath = ()
    branches: list[tuple[DocumentPath, str]] = []
    location = error["loc"]
    for i, part in enumerate(location):
        is_missing = error["type"] == "missing" and i == len(location) - 1
        if isinstance(data, dict) and (part in data or is_missing):
            path, data = (*path, part), data.get(part)
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            path, data = (*path, part), data[part]
        else:
            branches.append((path, str(part)))  # the name of an alternative, not of a key
    message = str(error["msg"]).removeprefix("Value error, ")
    return _Finding(path, tuple(branches), str(error["type"]), message)


def _at(data: Any, path: DocumentPath) -> Any:
    for step in path:
        data = data[step]
    return data


class _Reporter:
    def __init__(self, document: Document, schema: _Schema) -> None:
        self._document = document
        self._schema = schema
        self._chosen: dict[DocumentPath, str] = {}

    def report(self, findings: Sequence[_Finding], depth: int) -> None:
        """Report findings whose first `depth` alternatives have been chosen."""
        groups: dict[DocumentPath, list[_Finding]] = {}
        simple: list[_Finding] = []
        for finding in findings:
            if len(finding.branches) > depth:
                groups.setdefault(finding.branches[depth][0], []).append(finding)
            else:
                simple.append(finding)
        meant = {
            (*finding.path[:-1], near)
            for finding in simple
            if finding.kind in _UNKNOWN and (near := self._nearest_key(finding.path))
        }
        for finding in simple:
            is_known = finding.kind.endswith("_type") and finding.path in self._document.reported
            if not is_known and not (finding.kind == "missing" and finding.path in meant):
                self._report_one(finding)
        for path, group in groups.items():
            self._choose(path, group, depth)

    def _choose(self, path: DocumentPath, group: Sequence[_Finding], depth: int) -> None:
        variants: dict[str, list[_Finding]] = {}
        for finding in group:
            variants.setdefault(finding.branches[depth][1], []).append(finding)
        scores: dict[str, tuple[int, int]] = {}
        for label, errors in variants.items():
            if not any(error.path == path and error.kind.endswith("_type") for error in errors):
                self._chosen[path] = label
                scores[label] = self._misfit(errors, len(path) + 1)
        self._chosen.pop(path, None)
        best = [label for label, score in scores.items() if score == min(scores.values())]
        if len(best) == 1:
            self._chosen[path] = best[0]
            self.report(variants[best[0]], depth + 1)
            return
        value = _at(self._document.data, path)
        kind = "fits none of the alternatives" if scores else "wrong type"
        found = show(value)
        if isinstance(value, dict) and value:
            found = "a mapping with the keys " + ", ".join(map(repr, value))
        self._say(path, f"{kind}, found {found}, allowed: {self._allowed(path)}")

    def _misfit(self, errors: Sequence[_Finding], length: int) -> tuple[int, int]:
        """Count the unknown and the missing keys of an alternative; a typo counts as neither."""
        direct = [error for error in errors if len(error.path) == length]
        unknown = [error.path for error in direct if error.kind in _UNKNOWN]
        missing = {error.path for error in direct if error.kind == "missing"}
        typos = {key: (*key[:-1], near) for key in unknown if (near := self._nearest_key(key))}
        meant = {key: near for key, near in typos.items() if near in missing}
        return len(unknown) - len(meant), len(missing - set(meant.values()))

    def _say(self, path: DocumentPath, sentence: str) -> None:
        self._document.report(self._document.place(path), path, sentence)

    def _report_one(self, finding: _Finding) -> None:
        path, kind = finding.path, finding.kind
        if kind == "missing":
            self._say(path, f"missing key, allowed: {self._allowed(path)}")
        elif kind in _UNKNOWN:
            near = self._nearest_key(path)
            hint = f"did you mean {near!r}? " if near else ""
            keys = ", ".join(map(repr, self._keys(path[:-1])))
            place = self._document.key_places.get(path, self._document.place(path))
            sentence = f"unknown key {path[-1]!r}, {hint}allowed: {keys}"
            self._document.report(place, path, sentence)
        elif kind == "value_error":
            self._say(path, finding.message)
        else:
            self._say(path, self._wrong_value(finding))

    def _wrong_value(self, finding: _Finding) -> str:
        path, value = finding.path, _at(self._document.data, finding.path)
        allowed = self._allowed(path)
        schemas = self.schemas_at(path)
        kinds = {kind for schema in schemas for kind in _types(schema)}
        scalar = self._document.scalars.get(path)
        if finding.kind in ("literal_error", "enum"):
            choices = [str(c) for schema in schemas for c in _choices(schema)]
            close = difflib.get_close_matches(str(value), choices, n=1)
            hint = f" did you mean {close[0]!r}?" if close and isinstance(value, str) else ""
            return f"not one of the choices, found {show(value)},{hint} allowed: {allowed}"
        if finding.kind == "string_pattern_mismatch":
            return f"wrong form, found {show(value)}, allowed: {allowed}"
        if finding.kind == "multiple_of":
            return f"wrong number, found {show(value)}, allowed: {allowed}"
        if not finding.kind.endswith("_type"):
            return f"out of range, found {show(value)}, allowed: {allowed}"
        if isinstance(value, str) and scalar and scalar.is_plain and kinds & {"integer", "number"}:
            numbers = _plain_number(value, "integer" not in kinds)
            if numbers:
                return f"'{value}' is a string in YAML 1.1; write {numbers}; allowed: {allowed}"
        if isinstance(value, bool) and scalar and "string" in kinds:
            text = scalar.text
            return f"'{text}' is a boolean in YAML 1.1; quote it: \"{text}\"; allowed: {allowed}"
        quote = ""
        if isinstance(value, int | float) and scalar and "string" in kinds:
            quote = f'; quote it: "{scalar.text}"'
        return f"wrong type, found {show(value)}, allowed: {allowed}{quote}"

    def schemas_at(self, path: DocumentPath) -> list[_Schema]:
        """Alternatives of what may stand at a path."""
        current = self._alternatives(self._schema, ())
        for i, step in enumerate(path):
            inner: list[_Schema] = []
            for schema in current:
                if isinstance(step, int):
                    entry = schema.get("items")
                else:
                    # Names with a pattern have one type of value wherever there are any.
                    named = next(iter(schema.get("patternProperties", {}).values()), None)
                    others = schema.get("additionalProperties") or named
                    entry = schema.get("properties", {}).get(step, others)
                if isinstance(entry, Mapping):
                    inner += self._alternatives(entry, path[: i + 1])
            current = inner
        return current

    def _alternatives(self, schema: _Schema, path: DocumentPath) -> list[_Schema]:
        if "$ref" in schema:
            schema = self._schema["$defs"][schema["$ref"].rpartition("/")[2]]
        inner = [
            s
            for part in schema.get("anyOf", schema.get("oneOf", ()))
            for s in self._alternatives(part, path)
        ]
        chosen = [s for s in inner if path in self._chosen and s.get("title") == self._chosen[path]]
        return chosen or inner or [schema]

    def _allowed(self, path: DocumentPath) -> str:
        return describe(self.schemas_at(path))

    def _keys(self, path: DocumentPath) -> list[str]:
        return list(
            dict.fromkeys(k for s in self.schemas_at(path) for k in s.get("properties", {}))
        )

    def _nearest_key(self, path: DocumentPath) -> str | None:
        present = _at(self._document.data, path[:-1])
        known = self._keys(path[:-1])
        absent = [key for key in known if key not in present]
        word = str(path[-1])
        close = difflib.get_close_matches(word, absent, n=1) or difflib.get_close_matches(
            word, known, n=1
        )
        return close[0] if close else None


def _plain_number(text: str, is_float: bool) -> str:
    match = _EXPONENT.fullmatch(text)
    if match is None:
        return ""
    sign, whole, fraction, exponent = match.groups()
    if abs(int(exponent)) > 300:
        return ""
    value = float(text.replace("_", ""))
    is_whole = value.is_integer() and abs(value) <= _LARGEST_WRITTEN
    decimal = f"{sign.lstrip('+')}{whole}.{fraction or '0'}e{int(exponent):+d}"
    if not is_float:
        return str(int(value)) if is_whole else ""
    return f"{decimal} or {int(value)}" if is_whole else decimal


def _types(schema: _Schema) -> tuple[str, ...]:
    if "type" in schema:
        return (str(schema["type"]),)
    return tuple("string" for choice in _choices(schema) if isinstance(choice, str))[:1]


def _choices(schema: _Schema) -> list[Any]:
    return [schema["const"]] if "const" in schema else list(schema.get("enum", ()))


def types_at(schema: _Schema, path: DocumentPath) -> frozenset[str]:
    """Types of JSON that a value may have, such as ``integer``; none where nothing is known.

    Parameters
    ----------
    schema : mapping
        The JSON schema of the whole document.
    path : tuple of str and int
        Of the value in it.
    """
    found = _Reporter(Document("", ""), schema).schemas_at(path)
    return frozenset(kind for inner in found for kind in _types(inner))


def describe(schemas: Sequence[_Schema]) -> str:
    """Say in words what a value may be.

    Parameters
    ----------
    schemas : sequence of mapping
        Alternatives, each a JSON schema without ``anyOf``.
    """
    parts = [_describe_one(schema) for schema in schemas if schema.get("type") != "null"]
    return ", or ".join(dict.fromkeys(part for part in parts if part)) or "any value"


def _describe_one(schema: _Schema) -> str:
    if choices := _choices(schema):
        return " or ".join(map(repr, choices))
    kind = schema.get("type")
    if kind in ("integer", "number"):
        step = _number(schema.get("multipleOf"))
        plain = "an integer" if kind == "integer" else "a number"
        return (f"a multiple of {step}" if step else plain) + _range(schema)
    if kind == "string":
        if "pattern" in schema:
            return schema.get("description", f"a string that matches {schema['pattern']}")
        return "a string that is not empty" if schema.get("minLength") else "a string"
    if kind == "boolean":
        return "true or false"
    if kind == "array":
        items = schema.get("items")
        shortest = f" with at least {schema['minItems']} items" if schema.get("minItems") else ""
        of = (
            f", each {_describe_one(items)}"
            if isinstance(items, Mapping) and "type" in items
            else ""
        )
        return f"a list{shortest}{of}"
    if kind == "object":
        keys = ", ".join(map(repr, schema.get("properties", ())))
        return f"a mapping with the keys {keys}" if keys else "a mapping"
    return ""


def _range(schema: _Schema) -> str:
    low, high = _number(schema.get("minimum")), _number(schema.get("maximum"))
    above, below = _number(schema.get("exclusiveMinimum")), _number(schema.get("exclusiveMaximum"))
    start = f" from {low}" if low else f" above {above}" if above else ""
    end = f" to {high}" if high else f" to below {below}" if below else ""
    if low and not end:
        return f" of at least {low}"
    return start + end if start else f" up{end}" if end else ""


def _number(bound: float | None) -> str:
    if bound is None:
        return ""
    return str(int(bound)) if float(bound).is_integer() else str(bound)
