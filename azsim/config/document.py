"""A YAML text as plain data, with the place of every value and without YAML 1.1's surprises.

PyYAML reads YAML 1.1, where ``010`` is 8, ``1:30`` is 90, ``no`` is false, ``1e6`` is a string
and the last of two equal keys wins.  A `Document` keeps what was written next to what it means,
so that each of these can be answered with a sentence instead of a silent value.
"""

from __future__ import annotations

import copy
import hashlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from azsim.errors import ConfigError

__all__ = [
    "Document",
    "DocumentPath",
    "Place",
    "Scalar",
    "dotted",
    "parse_text",
    "read_text",
    "show",
]

DocumentPath = tuple[str | int, ...]

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PREFIX = "tag:yaml.org,2002:"
_LARGEST_FILE_BYTES = 16 << 20
_DEEPEST = 100
_MOST_NODES = 1_000_000
_OCTAL = re.compile(r"[-+]?0[0-7_]+")
_SHOWN_CHARACTERS = 60


class Place(NamedTuple):
    """Where a value was written; `line` and `column` start at 1 and are 0 for an override."""

    source: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


class Scalar(NamedTuple):
    """What was written for a scalar, and whether it stood there without quotes."""

    text: str
    is_plain: bool


@dataclass
class Document:
    """One YAML text while it is being read.

    Attributes
    ----------
    source : str
        What errors call the text.
    sha256 : str
        Of the file's bytes.
    data : mapping, list or scalar
    places : dict of path to Place
        Of every value.
    key_places : dict of path to Place
        Of every key of a mapping.
    scalars : dict of path to Scalar
    problems : list of (Place, str)
        What is wrong, as whole sentences.
    reported : set of path
        Values that have a problem already.
    """

    source: str
    sha256: str
    data: Any = None
    places: dict[DocumentPath, Place] = field(default_factory=dict)
    key_places: dict[DocumentPath, Place] = field(default_factory=dict)
    scalars: dict[DocumentPath, Scalar] = field(default_factory=dict)
    problems: list[tuple[Place, str]] = field(default_factory=list)
    reported: set[DocumentPath] = field(default_factory=set)

    def place(self, path: DocumentPath) -> Place:
        """Return the place of a value, or of the nearest mapping around it that exists."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, Place(self.source, 1, 1))

    def copy(self) -> Document:
        """Return a document that may be changed without this one changing."""
        return Document(
            self.source,
            self.sha256,
            copy.deepcopy(self.data),
            dict(self.places),
            dict(self.key_places),
            dict(self.scalars),
            list(self.problems),
            set(self.reported),
        )

    def report(self, place: Place, path: DocumentPath, sentence: str) -> None:
        """Note a problem."""
        self.problems.append((place, f"{place}: {dotted(path)}: {sentence}"))
        self.reported.add(path)

    def drop(self, path: DocumentPath) -> None:
        """Forget where a value and all inside it were written."""
        for table in (self.places, self.key_places, self.scalars):
            for other in [key for key in table if key[: len(path)] == path]:
                del table[other]

    def adopt(self, other: Document, path: DocumentPath) -> None:
        """Take over the places of another document's value, as those of the value at `path`."""
        for mine, theirs in (
            (self.places, other.places),
            (self.key_places, other.key_places),
            (self.scalars, other.scalars),
        ):
            for key, value in theirs.items():
                mine[path + key] = value  # pyright: ignore[reportArgumentType]
        self.problems += other.problems


def dotted(path: DocumentPath) -> str:
    """Write a path as ``$.key[index]``."""
    return "$" + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path)


def show(value: Any) -> str:
    """Describe a value in an error: what kind it is and what it says."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    if isinstance(value, str):
        cut = value if len(value) <= _SHOWN_CHARACTERS else value[:_SHOWN_CHARACTERS] + "..."
        return f"the string {cut!r}"
    if isinstance(value, Mapping):
        return "an empty mapping" if not value else f"a mapping with {_count(value, 'key')}"
    if isinstance(value, Sequence):
        return "an empty list" if not value else f"a list with {_count(value, 'item')}"
    return str(value)


def _count(values: Mapping[str, Any] | Sequence[Any], noun: str) -> str:
    return f"{len(values)} {noun}{'s' * (len(values) != 1)}"


def read_text(path: Path) -> tuple[str, str]:
    """Read a YAML file.

    Returns
    -------
    text : str
    sha256 : str
        Hex digest of the file's bytes.

    Raises
    ------
    ConfigError
        If there is no such file, it cannot be read, is too large or not UTF-8.
    """
    try:
        if path.is_file() and path.stat().st_size > _LARGEST_FILE_BYTES:
            size = path.stat().st_size
            raise ConfigError(
                [f"{path}: file too large, found {size} bytes, allowed {_LARGEST_FILE_BYTES}"]
            )
        data = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError([f"{path}: no such file"]) from None
    except IsADirectoryError:
        raise ConfigError([f"{path}: is a folder, a YAML file is needed"]) from None
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror or error}"]) from None
    try:
        return data.decode("utf-8-sig"), hashlib.sha256(data).hexdigest()
    except UnicodeDecodeError as error:
        found = f"byte 0x{data[error.start]:02x} at offset {error.start}"
        raise ConfigError([f"{path}: not UTF-8 text, found {found}"]) from None


def parse_text(text: str, source: str, sha256: str = "", place: Place | None = None) -> Document:
    """Read one YAML text.

    Parameters
    ----------
    text : str
    source : str
        What errors call the text.
    sha256 : str
    place : Place, optional
        The place of everything in the text, instead of line and column.

    Raises
    ------
    ConfigError
        If the text is not YAML at all; lesser problems are noted in the document.
    """
    document = Document(source, sha256)
    try:
        _check_depth(text, source)
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = place or (Place(source, mark.line + 1, mark.column + 1) if mark else source)
        reason = ", ".join(part for part in (error.context, error.problem) if part)
        raise ConfigError([f"{where}: not YAML: {reason}"]) from None
    except yaml.YAMLError as error:
        reason = str(error).splitlines()[0]
        raise ConfigError([f"{place or source}: not YAML: {reason}"]) from None
    if root is not None:
        document.data = _Builder(document, place).value(root, (), ())
    return document


def _check_depth(text: str, source: str) -> None:
    # libyaml composes recursively and overflows the C stack on a few ten thousand brackets.
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _DEEPEST:
                line = event.start_mark.line + 1
                raise ConfigError([f"{source}:{line}: nested deeper than {_DEEPEST} levels"])
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


class _Builder:
    """Turns nodes into plain data and notes every place."""

    def __init__(self, document: Document, place: Place | None) -> None:
        self._document = document
        self._fixed_place = place
        self._num_nodes = 0

    def _place(self, node: yaml.Node) -> Place:
        if self._fixed_place is not None:
            return self._fixed_place
        mark = node.start_mark
        return Place(self._document.source, mark.line + 1, mark.column + 1)

    def value(self, node: yaml.Node, path: DocumentPath, around: tuple[int, ...]) -> Any:
        place = self._place(node)
        self._document.places[path] = place
        self._num_nodes += 1
        if self._num_nodes > _MOST_NODES:
            raise ConfigError([f"{place}: more than {_MOST_NODES} values in one file"])
        if id(node) in around:
            self._document.report(place, path, "an alias that contains itself")
            return None
        inside = (*around, id(node))
        if isinstance(node, yaml.MappingNode):
            return {
                key: self.value(item, (*path, key), inside) for key, item in self._items(node, path)
            }
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, i), inside) for i, item in enumerate(node.value)]
        if not isinstance(node, yaml.ScalarNode):
            raise TypeError(f"unknown kind of YAML node: {node}")
        self._document.scalars[path] = Scalar(node.value, not node.style)
        try:
            return self._scalar(node, path, place)
        except ValueError as error:
            self._document.report(place, path, f"not a value: {error}, found {node.value!r}")
            return None

    def _items(self, node: yaml.MappingNode, path: DocumentPath) -> Iterator[tuple[str, yaml.Node]]:
        first: dict[str, Place] = {}
        for key_node, item in node.value:
            place = self._place(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                self._document.report(place, path, "a key that is not a scalar, allowed: a string")
                continue
            key = key_node.value
            kind = key_node.tag.removeprefix(_PREFIX)
            if kind == "merge":
                self._document.report(
                    place, path, "merge keys '<<' are not read; write the keys out"
                )
                continue
            if kind in ("bool", "int", "float", "null"):
                what = {"bool": "a boolean", "int": "an integer", "float": "a number"}.get(
                    kind, "null"
                )
                self._document.report(
                    place,
                    path,
                    f'the key {key} is {what} in YAML 1.1, not a string; quote it: "{key}"',
                )
            if key in first:
                self._document.report(
                    place,
                    (*path, key),
                    f"duplicate key {key!r}, found on lines {first[key].line} and {place.line}",
                )
                continue
            first[key] = place
            self._document.key_places[(*path, key)] = place
            yield key, item

    def _scalar(self, node: yaml.ScalarNode, path: DocumentPath, place: Place) -> Any:
        text: str = node.value
        kind = node.tag.removeprefix(_PREFIX)
        if kind in ("str", "timestamp", "value", "merge"):
            return text
        if kind == "null":
            return None
        if kind == "bool":
            words = {
                "yes": True,
                "true": True,
                "on": True,
                "no": False,
                "false": False,
                "off": False,
            }
            if text.lower() not in words:
                raise ValueError("a boolean is true or false")
            return words[text.lower()]
        if kind == "int":
            return self._integer(text, path, place)
        if kind == "float":
            return self._float(text, path, place)
        self._document.report(place, path, f"the tag {node.tag!r} is not read; remove it")
        return None

    def _integer(self, text: str, path: DocumentPath, place: Place) -> int:
        digits = text.replace("_", "")
        sign = -1 if digits.startswith("-") else 1
        if ":" in digits:
            value = 0
            for part in digits.lstrip("+-").split(":"):
                value = value * 60 + int(part)
            self._document.report(
                place,
                path,
                f"'{text}' is the number {sign * value} in YAML 1.1 (base 60); "
                f'write {sign * value}, or quote it: "{text}"',
            )
            return sign * value
        if _OCTAL.fullmatch(text):
            value = sign * int(digits.lstrip("+-"), 8)
            decimal = sign * int(digits.lstrip("+-"))
            self._document.report(
                place,
                path,
                f"'{text}' is octal in YAML 1.1, the number {value}; write {value} or {decimal}",
            )
            return value
        if len(digits) > 100:
            raise ValueError("an integer has at most 100 digits")
        return int(digits, 0)

    def _float(self, text: str, path: DocumentPath, place: Place) -> float:
        digits = text.replace("_", "").lower()
        if ":" in digits:
            raise ValueError("numbers in base 60 are not read")
        value = float(digits.replace(".inf", "inf").replace(".nan", "nan"))
        if not math.isfinite(value):
            raise ValueError("a number is finite")
        return value
