"""Scheme files: a `compression:` section that is a file of its own, by name or path."""

from __future__ import annotations

from pathlib import Path

from azsim.config import Document, DocumentPath, read_document
from azsim.errors import ConfigError, unknown
from azsim.resources import workloads_directory

__all__ = ["read_scheme", "scheme_names"]

_SUFFIXES = (".yaml", ".yml")


def scheme_names() -> tuple[str, ...]:
    """Names of the scheme files that travel with azsim, sorted."""
    return tuple(sorted(path.stem for path in _schemes_directory().glob("*.yaml")))


def _schemes_directory() -> Path:
    return workloads_directory() / "schemes"


def read_scheme(document: Document, folder: Path) -> dict[str, str]:
    """Put a scheme file in the place of its name; gives the file's hash."""
    data = document.data
    name = data.get("compression") if isinstance(data, dict) else None
    if not isinstance(name, str):
        return {}
    key: DocumentPath = ("compression",)
    place = document.place(key)
    if name in scheme_names():
        path = _schemes_directory() / f"{name}.yaml"
    elif Path(name).suffix in _SUFFIXES:
        path = folder / name
    else:
        sentence = unknown("scheme", name, scheme_names())
        document.report(place, key, f"{sentence}, or the path of a .yaml file")
        data["compression"] = {}
        return {}
    try:
        scheme = read_document(path)
    except ConfigError as error:
        for sentence in error.problems:
            document.report(place, key, sentence)
        data["compression"] = {}
        return {}
    document.drop(key)
    document.key_places[key] = place
    document.adopt(scheme, key)
    data["compression"] = {} if scheme.data is None else scheme.data
    return {path.name: scheme.sha256}
