"""Plan: the chip that a program is made for, where the one that runs it has other timing values.

A program depends on the *structural* keys.  The compiler also looks at *timing* keys, to weigh what
to pin and what to hide behind what; it takes those of the preset, so that a run with another clock
or DRAM replays the same program, and cycles of both are of one program.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

from azsim.hardware.description import Hardware, structural_keys

__all__ = ["changed_keys", "is_structural", "planned_hardware", "value_of", "with_value"]


def planned_hardware(hardware: Hardware, preset: Hardware) -> Hardware:
    """Return the chip to plan for: structural values of `hardware`, timing values of `preset`.

    Where the array reads blocks (`decoder.at: read`), their rows are dealt out to its lanes: the
    whole array is then `hardware`'s.
    """
    wanted = dict(_values(hardware))
    planned: Any = preset
    for key in structural_keys():
        planned = with_value(planned, key, wanted[key])
    if hardware.decoder.at == "read":
        planned = replace(planned, mac=hardware.mac)
    return replace(planned, name=hardware.name, source=hardware.source)


def changed_keys(planned: Hardware, hardware: Hardware) -> dict[str, tuple[Any, Any]]:
    """Keys in which two chips differ, with both values; names and sources aside."""
    other = dict(_values(hardware))
    return {
        key: (value, other[key])
        for key, value in _values(planned)
        if value != other[key] and key not in ("name", "source")
    }


def is_structural(key: str, hardware: Hardware) -> bool:
    """Whether a chip with another value of a key needs another program."""
    return key in structural_keys() or (hardware.decoder.at == "read" and key.startswith("mac."))


def value_of(hardware: Hardware, key: str) -> Any:
    """Value of a dotted key."""
    return dict(_values(hardware))[key]


def with_value(hardware: Hardware, key: str, value: object) -> Hardware:
    """Return the chip with another value of a dotted key, which is not checked."""
    return _changed(hardware, key.split("."), value)


def _values(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for entry in fields(value):
        inner = getattr(value, entry.name)
        if is_dataclass(inner):
            yield from _values(inner, f"{prefix}{entry.name}.")
        else:
            yield prefix + entry.name, inner


def _changed(value: Any, path: list[str], new: object) -> Any:
    if len(path) > 1:
        new = _changed(getattr(value, path[0]), path[1:], new)
    return replace(value, **{path[0]: new})
