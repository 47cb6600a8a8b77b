"""Hardware files: presets by name, or a user's own file that may extend one."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from azsim.config import DocumentPath, json_schema, merge_documents, read_document, validate
from azsim.config.document import Document, show
from azsim.config.overrides import apply_overrides
from azsim.errors import ConfigError, unknown
from azsim.folder import folder_names
from azsim.hardware.description import Hardware

__all__ = [
    "Hardware",
    "file_schema",
    "hardware_of",
    "load_hardware",
    "preset_names",
    "read_hardware",
]

_PRESETS = Path(__file__).parent / "presets"
_FALLBACK = "az1"
_SUFFIXES = (".yaml", ".yml")


def preset_names() -> tuple[str, ...]:
    """Names of the presets, sorted."""
    return tuple(sorted(path.stem for path in _PRESETS.glob("*.yaml")))


def load_hardware(name_or_path: str | Path, overrides: Iterable[str] = ()) -> Hardware:
    """Read a hardware description.

    Parameters
    ----------
    name_or_path : str or path
        A preset's name, or a YAML file.  The file may say ``extends: PRESET`` and give only what
        differs; a preset that extends another is a level that a file may build on.
    overrides : iterable of str
        ``clock_hz=1000000`` or ``hardware.clock_hz=1000000``, applied last.

    Returns
    -------
    Hardware

    Raises
    ------
    ConfigError
        With every problem of the file.
    """
    return hardware_of(read_hardware(name_or_path), overrides)


def read_hardware(name_or_path: str | Path) -> Document:
    """Read a hardware file, laid over what it extends, without checking what it says.

    Raises
    ------
    ConfigError
        If there is no such chip, or its file is not YAML.
    """
    return _extended(read_document(_find(name_or_path)), ())


def hardware_of(document: Document, overrides: Iterable[str] = ()) -> Hardware:
    """Check what was read, with overrides applied; the document stays as it is.

    Raises
    ------
    ConfigError
        With every problem of the file.
    """
    document = document.copy()
    apply_overrides(document, overrides, "hardware")
    return validate(document, Hardware, _rules)


def file_schema() -> dict[str, Any]:
    """Return the JSON schema of a hardware file, for editors.

    No key is required there, as a file may extend a preset; reading it says what is missing.
    """
    schema = copy.deepcopy(json_schema(Hardware))
    schema["properties"]["extends"] = {"enum": list(preset_names()), "type": "string"}
    for entry in (schema, *schema["$defs"].values()):
        entry.pop("required", None)
    return schema


def _find(name_or_path: str | Path) -> Path:
    text = str(name_or_path)
    if text in preset_names():
        return _PRESETS / f"{text}.yaml"
    if Path(text).suffix in _SUFFIXES or len(Path(text).parts) > 1:
        return Path(text)
    raise ConfigError([_unknown_preset(text) + ", or a .yaml file"])


def _unknown_preset(name: str) -> str:
    return unknown("hardware", name, preset_names())


def _extended(document: Document, around: tuple[str, ...]) -> Document:
    if not isinstance(document.data, dict) or "extends" not in document.data:
        return document
    path: DocumentPath = ("extends",)
    base = document.data.pop("extends")
    if base in around:
        chain = " -> ".join((*around, base))
        document.report(document.place(path), path, f"presets extend each other: {chain}")
        return document
    if base not in preset_names():
        sentence = (
            _unknown_preset(base)
            if isinstance(base, str)
            else f"wrong type, found {show(base)}, allowed: {', '.join(preset_names())}"
        )
        document.report(document.place(path), path, sentence)
        base = _FALLBACK  # so that what the file does say is checked as well
    below = _extended(read_document(_PRESETS / f"{base}.yaml"), (*around, base))
    return merge_documents(below, document)


def _rules(hardware: Hardware) -> Iterator[tuple[DocumentPath, str]]:
    dram, mac = hardware.dram, hardware.mac
    burst = dram.burst_bytes
    if burst & (burst - 1):
        allowed = "8, 16, 32 and so on to 4096"
        yield ("dram", "burst_bytes"), f"not a power of two, found {burst}, allowed: {allowed}"
    elif dram.row_bytes % burst:
        allowed = f"a multiple of burst_bytes ({burst})"
        yield ("dram", "row_bytes"), f"not whole bursts, found {dram.row_bytes}, allowed: {allowed}"
    interval = dram.refresh_interval_ns
    if interval and dram.refresh_ns >= interval:
        allowed = f"less than refresh_interval_ns ({interval:g})"
        found = f"{dram.refresh_ns:g}"
        yield ("dram", "refresh_ns"), f"refresh never ends, found {found}, allowed: {allowed}"
    if mac.window < mac.macs_per_lane:
        allowed = f"at least macs_per_lane ({mac.macs_per_lane})"
        yield ("mac", "window"), f"window too small, found {mac.window}, allowed: {allowed}"
    if hardware.decoder.at == "read":
        place: DocumentPath = ("decoder", "at")
        if mac.dataflow != "outer":
            yield place, f"'read' needs mac.dataflow 'outer', found {mac.dataflow!r}"
        if mac.zero_skip not in ("weights", "both"):
            allowed = "'weights' or 'both', as zero weights are in no block"
            yield place, f"'read' needs mac.zero_skip {allowed}; found {mac.zero_skip!r}"
    yield from _codec_rules(hardware.decoder.codecs)


def _codec_rules(codecs: tuple[str, ...]) -> Iterator[tuple[DocumentPath, str]]:
    known = folder_names("azsim.codecs")  # importing the package would bring numpy
    for i, name in enumerate(codecs):
        place: DocumentPath = ("decoder", "codecs", i)
        if name not in known:
            yield place, unknown("codec", name, known)
        elif name in codecs[:i]:
            yield place, f"codec {name!r} is listed twice"
    if "raw" not in codecs:
        found = ", ".join(codecs) or "none"
        yield ("decoder", "codecs"), f"'raw' is missing, found {found}; every chip reads raw codes"
