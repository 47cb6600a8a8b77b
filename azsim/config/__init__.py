"""Strict YAML to frozen dataclasses, with every error of a file at once.

A file is described by frozen dataclasses whose fields carry pydantic's constraints and whose
``__pydantic_config__`` is ``ConfigDict(extra="forbid", strict=True)``.  Each problem reads
``file:line:column: $.path: what is wrong, what was found, what is allowed``.
"""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from azsim.config.document import Document, DocumentPath, parse_text, read_text, show
from azsim.config.overrides import apply_overrides, merge_documents, split_overrides
from azsim.errors import ConfigError

__all__ = [
    "Document",
    "DocumentPath",
    "json_schema",
    "merge_documents",
    "parse_file",
    "read_document",
    "split_overrides",
    "validate",
]

_Kind = TypeVar("_Kind")
Check = Callable[[_Kind], Iterable[tuple[DocumentPath, str]]]
"""Rules across keys: gives the path and the sentence of everything that is wrong."""


def parse_file(
    path: Path | str,
    kind: type[_Kind],
    overrides: Iterable[str] = (),
    root: str = "",
    check: Check[_Kind] | None = None,
) -> _Kind:
    """Read a YAML file into a value.

    Parameters
    ----------
    path : path or str
    kind : type
        A frozen dataclass.
    overrides : iterable of str
        ``path=value`` texts, applied before anything is checked.
    root : str
        A first word that overrides may start with, such as ``workload``.
    check : callable, optional
        Rules across keys, asked once everything else is right.

    Returns
    -------
    instance of `kind`

    Raises
    ------
    ConfigError
        With every problem of the file.
    """
    document = read_document(path)
    apply_overrides(document, overrides, root)
    return validate(document, kind, check)


def read_document(path: Path | str) -> Document:
    """Read a YAML file, its values not checked yet.

    Raises
    ------
    ConfigError
        If the file cannot be read or is not YAML.
    """
    text, sha256 = read_text(Path(path))
    return parse_text(text, str(path), sha256)


def validate(
    document: Document,
    kind: type[_Kind],
    check: Check[_Kind] | None = None,
    stand_ins: Mapping[str, Any] = MappingProxyType({}),
) -> _Kind:
    """Turn a document into a value.

    Parameters
    ----------
    document : Document
    kind : type
        A frozen dataclass.
    check : callable, optional
        Rules across keys.
    stand_ins : mapping of str to object
        For keys that must be there: what `check` is given for one that is missing or wrong, so
        that it can look at the others all the same.

    Raises
    ------
    ConfigError
        With every problem of the document, in the order of its lines.
    """
    value: _Kind | None = None
    if document.data is None and not document.problems:
        document.report(document.place(()), (), "the file is empty, allowed: a mapping")
    elif not isinstance(document.data, dict):
        sentence = f"wrong type, found {show(document.data)}, allowed: a mapping"
        document.report(document.place(()), (), sentence)
    else:
        value, wrong = _validated(document, kind)
        # The rules across keys are asked as well where only optional values are wrong.
        sound = value if value is not None else _without(document, wrong, kind, stand_ins)
        if sound is not None and check is not None:
            for path, sentence in check(sound):
                if not any(_overlap(path, other) for other in wrong):
                    document.report(document.place(path), path, sentence)
    if document.problems or value is None:
        ordered = sorted(document.problems, key=lambda problem: (problem[0].line == 0, problem[0]))
        raise ConfigError(list(dict.fromkeys(sentence for _, sentence in ordered)))
    return value


def _validated(
    document: Document, kind: type[_Kind]
) -> tuple[_Kind | None, tuple[DocumentPath, ...]]:
    from pydantic import ValidationError

    try:
        # Through JSON: there a list is a tuple and an integer a number, and nothing else bends.
        return _adapter(kind).validate_json(json.dumps(document.data)), ()
    except ValidationError as error:
        from azsim.config.problems import report_errors

        return None, report_errors(document, error.errors(include_url=False), json_schema(kind))


def _without(
    document: Document,
    wrong: Iterable[DocumentPath],
    kind: type[_Kind],
    stand_ins: Mapping[str, Any],
) -> _Kind | None:
    """Return the value of what is right; without a key that must be there, what is around goes."""
    from pydantic import ValidationError

    from azsim.config.problems import data_path

    rest = copy.deepcopy(document.data)
    while True:
        before = json.dumps(rest)
        for path in wrong:
            _drop(rest, path)
        for key, value in stand_ins.items():
            rest.setdefault(key, value)
        try:
            return _adapter(kind).validate_json(json.dumps(rest))
        except ValidationError as error:
            paths = {data_path(rest, one) for one in error.errors(include_url=False)}
            wrong = {path[:-1] if _at(rest, path) is None else path for path in paths}
            if () in wrong or json.dumps(rest) == before:
                return None


def _drop(data: Any, path: DocumentPath) -> None:
    """Take a value away; an item of a list becomes null, so that the others keep their places."""
    around = _at(data, path[:-1])
    if isinstance(around, dict):
        around.pop(path[-1], None)
    elif isinstance(around, list) and isinstance(path[-1], int) and path[-1] < len(around):
        around[path[-1]] = None


def _at(data: Any, path: DocumentPath) -> Any:
    for step in path:
        try:
            data = data[step]
        except (LookupError, TypeError):
            return None
    return data


def _overlap(path: DocumentPath, other: DocumentPath) -> bool:
    length = min(len(path), len(other))
    return path[:length] == other[:length]


@functools.cache
def _adapter(kind: type[Any]) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


@functools.cache
def json_schema(kind: type[Any]) -> dict[str, Any]:
    """Return the JSON schema of a file, for editors."""
    return _adapter(kind).json_schema()
