"""Write the tables of ``docs/machine.md`` from the hardware description, the presets, the codecs.

``python -m azsim.hardware.reference`` in a checkout writes them anew, between the page's markers.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import azsim.codecs
from azsim.codecs import codec_names, codec_parameters
from azsim.errors import InputError
from azsim.hardware import load_hardware, preset_names
from azsim.hardware.description import Hardware, structural_keys
from azsim.resources import checkout_root

__all__ = ["tables", "with_tables", "write_tables"]

_BEGIN = "<!-- written by python -m azsim.hardware.reference -->"
_END = "<!-- end -->"
_FIRST = "az1"
# The longest ending that fits names the unit.
_UNITS = {
    "bytes_per_cycle": "bytes/cycle",
    "bytes_per_s": "bytes/s",
    "accumulators": "int32",
    "window": "weights",
    "macs_per_lane": "products/cycle",
    "queue_depth": "windows",
    "entries": "instructions",
    "banks": "banks",
    "cycles": "cycles",
    "bursts": "bursts",
    "lanes": "lanes",
    "bytes": "bytes",
    "_hz": "Hz",
    "_ns": "ns",
}
_COMMENTED = re.compile(r"^( *)(\w+):(?:[^#]*)#\s*(.+)$")
_PLAIN = re.compile(r"^( *)(\w+):")


def tables() -> str:
    """Three tables as Markdown: keys with their meaning, the presets' values, codecs' cycles.

    Returns
    -------
    str
        Ends with a line end.
    """
    meaning = _markdown(("key", "unit", "kind", "allowed", "meaning"), _meaning_rows())
    others = [name for name in preset_names() if name != _FIRST]
    values = _markdown(("key", _FIRST, *others, f"basis of {_FIRST}"), _value_rows(others))
    codecs = _markdown(("codec", "parameters", "decoder"), _codec_rows())
    return (
        f"{meaning}\nThe presets; an empty cell repeats the value of `{_FIRST}`. The numbers of "
        "the `az` presets and of\n`dense_npu` are assumptions throughout; `eie` and `ethos_u55` "
        "follow published machines, and their\nfiles say where each number comes from.\n\n"
        f"{values}\n"
        f"The codecs, as the first lines of their files say it.\n\n{codecs}"
    )


def with_tables(page: str) -> str:
    """Return a page with the tables between its markers.

    Raises
    ------
    InputError
        If the page has no markers.
    """
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise InputError(f"page: no place for the tables; it needs {_BEGIN} and {_END}")
    return f"{before}{begin}\n\n{tables()}\n{end}{after}"


def write_tables() -> Path:
    """Write the tables into ``docs/machine.md`` of the checkout.

    Raises
    ------
    InputError
        If azsim does not run from a checkout.
    """
    root = checkout_root()
    if root is None:
        raise InputError("docs/machine.md: an installed azsim has no docs folder")
    path = root / "docs" / "machine.md"
    path.write_text(with_tables(path.read_text(encoding="utf-8")), encoding="utf-8")
    return path


def _keys(kind: type[Any] = Hardware, prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    """Dotted name, annotation and docstring of every key that is a figure or a choice."""
    hints = get_type_hints(kind, include_extras=True)
    texts = _attribute_docstrings(kind)
    for entry in fields(kind):
        hint = hints[entry.name]
        inner = getattr(hint, "__origin__", hint)
        if isinstance(inner, type) and is_dataclass(inner):
            yield from _keys(inner, f"{prefix}{entry.name}.")
        elif inner is not str:
            yield prefix + entry.name, hint, texts.get(entry.name, "")


def _attribute_docstrings(kind: type[Any]) -> dict[str, str]:
    (body,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(body, ast.ClassDef)
    found = {}
    for first, second in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(first, ast.AnnAssign)
            and isinstance(first.target, ast.Name)
            and isinstance(second, ast.Expr)
            and isinstance(second.value, ast.Constant)
        ):
            found[first.target.id] = " ".join(str(second.value.value).split())
    return found


def _meaning_rows() -> Iterator[tuple[str, ...]]:
    structural = set(structural_keys())
    for name, hint, text in _keys():
        kind = "structural" if name in structural else "timing"
        yield f"`{name}`", _unit(name), kind, _allowed(hint), text


def _unit(name: str) -> str:
    key = name.rpartition(".")[2]
    fitting = [ending for ending in _UNITS if key.endswith(ending)]
    return _UNITS[max(fitting, key=len)] if fitting else ""


def _allowed(hint: Any) -> str:
    plain = getattr(hint, "__origin__", hint) if hasattr(hint, "__metadata__") else hint
    if get_origin(plain) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(plain))
    least = most = ""
    for piece in getattr(hint, "__metadata__", ()):
        for bound in getattr(piece, "metadata", ()):
            least = _figure(getattr(bound, "ge", least))
            most = _figure(getattr(bound, "le", most))
    if least or most:
        return f"{least} to {most}"
    return "names of codecs"


def _figure(value: Any) -> str:
    return f"{value:,.0f}" if isinstance(value, int | float) else str(value)


def _value_rows(others: Iterable[str]) -> Iterator[tuple[str, ...]]:
    chips = {name: load_hardware(name) for name in (_FIRST, *others)}
    basis = _comments(_FIRST)
    for name, _, _ in _keys():
        cells = [_cell(chips[preset], name) for preset in chips]
        first = cells[0]
        repeated = ("" if cell == first else cell for cell in cells[1:])
        yield f"`{name}`", first, *repeated, basis.get(name, "")


def _cell(chip: Hardware, name: str) -> str:
    value: Any = chip
    for key in name.split("."):
        value = getattr(value, key)
    if isinstance(value, tuple):
        return ", ".join(value)
    return f"{value:,.10g}" if isinstance(value, float) else _figure(value)


def _comments(preset: str) -> dict[str, str]:
    """What the preset's file says beside each key."""
    text = (Path(__file__).parent / "presets" / f"{preset}.yaml").read_text(encoding="utf-8")
    found: dict[str, str] = {}
    section = ""
    for line in text.splitlines():
        plain = _PLAIN.match(line)
        if plain is None:
            continue
        section = section if plain[1] else f"{plain[2]}."
        if commented := _COMMENTED.match(line):
            name = section + commented[2] if plain[1] else commented[2]
            found[name] = commented[3]
    return found


def _codec_rows() -> Iterator[tuple[str, ...]]:
    folder = Path(azsim.codecs.__path__[0])
    for name in codec_names():
        tree = ast.parse((folder / f"{name}.py").read_text(encoding="utf-8"))
        paragraphs = [
            " ".join(part.split()) for part in (ast.get_docstring(tree) or "").split("\n\n")
        ]
        said = {part.partition(" ")[0].strip(",:"): part for part in paragraphs}
        decoder = said.get("Cycles") or said.get("Hardware", "")
        yield f"`{name}`", ", ".join(codec_parameters(name)), decoder.replace("``", "`")


def _markdown(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    write_tables()
