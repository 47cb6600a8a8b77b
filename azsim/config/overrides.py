"""Changes to a document before it is checked: `--set` texts, and one file over another."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from azsim.config.document import Document, DocumentPath, Place, parse_text, show
from azsim.errors import ConfigError

__all__ = ["apply_overrides", "merge_documents", "split_overrides"]


def split_overrides(texts: Iterable[str], roots: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Sort `--set` texts by the file that they change.

    Parameters
    ----------
    texts : iterable of str
        Such as ``hardware.clock_hz=1000000``.
    roots : tuple of str
        Allowed first words, such as ``workload`` and ``hardware``.

    Returns
    -------
    dict of str to tuple of str
        For each root its texts, unchanged.

    Raises
    ------
    ConfigError
        If a text starts with no root.
    """
    found: dict[str, list[str]] = {root: [] for root in roots}
    problems: list[str] = []
    for text in texts:
        root, dot, _ = text.partition("=")[0].partition(".")
        if root in found and dot:
            found[root].append(text)
            continue
        close = difflib.get_close_matches(root, roots, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        allowed = " or ".join(f"{name}.PATH=VALUE" for name in roots)
        problems.append(f"--set {text}: unknown start {root!r}, {hint}allowed: {allowed}")
    if problems:
        raise ConfigError(problems)
    return {root: tuple(entries) for root, entries in found.items()}


def apply_overrides(document: Document, texts: Iterable[str], root: str) -> None:
    """Set values in a document.

    Parameters
    ----------
    document : Document
        Changed in place; a text that cannot be applied is noted as a problem.
    texts : iterable of str
        ``path.to[0].key=value`` or ``path.to.0.key=value``, with a YAML value; the path may
        start with `root`.
    root : str
        Such as ``workload``.
    """
    for text in texts:
        place = Place(f"--set {text}", 0, 0)
        dotted_path, equals, value = text.partition("=")
        words = dotted_path.strip().replace("[", ".").replace("]", "").split(".")
        if words[0] == root:
            words = words[1:]
        if not equals or not words or not all(words):
            document.problems.append((place, f"{place}: not an override, allowed: PATH=VALUE"))
            continue
        try:
            change = parse_text(value, place.source, place=place)
        except ConfigError as error:
            document.problems += [(place, problem) for problem in error.problems]
            continue
        _set(document, words, change, place)


def _set(document: Document, words: list[str], change: Document, place: Place) -> None:
    if document.data is None:
        document.data = {}
    path: DocumentPath = ()
    around: Any = document.data
    for i, word in enumerate(words):
        is_last = i == len(words) - 1
        if isinstance(around, dict):
            key: Any = word
            if not is_last and around.get(key) is None:
                around[key] = {}
                document.places[(*path, key)] = document.key_places[(*path, key)] = place
        elif isinstance(around, list) and word.isdecimal() and int(word) < len(around):
            key = int(word)
        elif isinstance(around, list):
            sentence = f"no such item, found {word!r}, allowed: 0 to {len(around) - 1}"
            document.report(place, path, sentence)
            return
        else:
            sentence = f"{word!r} cannot be set inside, found {show(around)}, allowed: a mapping"
            document.report(place, path, sentence)
            return
        path = (*path, key)
        if is_last:
            document.drop(path)
            around[key] = change.data
            document.key_places[path] = place
            document.places[path] = place
            document.adopt(change, path)
        else:
            around = around[key]


def merge_documents(base: Document, top: Document) -> Document:
    """Lay one document over another: mappings are merged key by key, all else is replaced.

    Every value keeps the place where it was written.
    """
    merged = Document(top.source, top.sha256)
    merged.adopt(base, ())
    merged.data = base.data
    _lay_over(merged, top, ())
    merged.problems += top.problems
    return merged


def _at(data: Any, path: DocumentPath) -> Any:
    for step in path:
        data = data[step]
    return data


def _lay_over(merged: Document, top: Document, path: DocumentPath) -> None:
    theirs = _at(top.data, path)
    mine = _at(merged.data, path)
    if isinstance(theirs, Mapping) and isinstance(mine, dict):
        merged.places[path] = top.places[path]
        for key in theirs:
            inner = (*path, key)
            if key in mine:
                merged.key_places[inner] = top.key_places[inner]
                if isinstance(mine[key], dict) and isinstance(theirs[key], Mapping):
                    _lay_over(merged, top, inner)
                    continue
            merged.drop(inner)
            mine[key] = theirs[key]
            _copy_places(merged, top, inner)


def _copy_places(merged: Document, top: Document, path: DocumentPath) -> None:
    for mine, theirs in (
        (merged.places, top.places),
        (merged.key_places, top.key_places),
        (merged.scalars, top.scalars),
    ):
        for key, value in theirs.items():
            if key[: len(path)] == path:
                mine[key] = value  # pyright: ignore[reportArgumentType]
