"""What there is to choose from, as tables: one row an entry, found by folder."""

from __future__ import annotations

import ast
import functools
import importlib.util
import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from azsim.codecs import codec_names, codec_parameters
from azsim.config import json_schema
from azsim.errors import AzsimError
from azsim.folder import load_folder
from azsim.frontend.workload import WorkloadFile, load_workload, scheme_names, workload_names
from azsim.hardware import Hardware, load_hardware, preset_names
from azsim.isa.spec import instruction_set
from azsim.ops.build import operators
from azsim.report.listing import Listing, listing
from azsim.report.units import frequency, rate
from azsim.resources import workloads_directory

__all__ = ["CATALOGS", "file_schema", "folder_catalog"]


def _workloads() -> Listing:
    rows = []
    for name in workload_names():
        try:
            workload = load_workload(name)
        except AzsimError as error:
            rows.append((name, "", str(error)))
        else:
            rows.append((name, workload.hardware, workload.description))
    return listing("Workloads", ("name", "hardware", "description"), rows)


def _schemes() -> Listing:
    rows = []
    for name in scheme_names():
        text = (workloads_directory() / "schemes" / f"{name}.yaml").read_text("utf-8")
        comment = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
        rows.append((name, " ".join(line.lstrip("# ") for line in comment)))
    return listing("Schemes", ("name", "meaning"), rows)


def _hardware() -> Listing:
    chips = {name: load_hardware(name) for name in preset_names()}
    rows = [
        (
            name,
            frequency(chip.clock_hz),
            chip.mac.lanes * chip.mac.macs_per_lane,
            chip.mac.zero_skip,
            f"{chip.weight_sram.bytes / 1024:g} KiB",
            f"{chip.activation_sram.bytes / 1024:g} KiB",
            rate(chip.dram.bytes_per_s),
            ", ".join(chip.decoder.codecs),
        )
        for name, chip in chips.items()
    ]
    columns = (
        "name",
        "clock",
        "MACs per cycle",
        "skips zeros of",
        "weight SRAM",
        "activation SRAM",
        "DRAM",
        "codecs",
    )
    note = "at 8 bits; the numbers are assumptions, and each preset's file says of what kind"
    return listing("Hardware presets", columns, rows, note)


def _first_sentence(document: str | None) -> str:
    paragraph = " ".join((document or "").strip().split("\n\n")[0].split())
    return paragraph.removesuffix("::")


def _codecs() -> Listing:
    documents = load_folder("azsim.codecs", ())
    rows = [
        (name, ", ".join(codec_parameters(name)), _first_sentence(documents[name].__doc__))
        for name in codec_names()
    ]
    return listing("Codecs", ("name", "parameters", "meaning"), rows)


def _operators() -> Listing:
    rows = [
        (
            name,
            "yes" if hasattr(module, "lower") else "constants only",
            _first_sentence(module.__doc__).removeprefix(f"{name}: "),
        )
        for name, module in operators().items()
    ]
    return listing("Operators, by ONNX type", ("name", "on the chip", "meaning"), rows)


def _instructions() -> Listing:
    rows = [
        (spec.mnemonic, f"{spec.opcode:#04x}", spec.engine, spec.summary)
        for spec in instruction_set().instructions.values()
    ]
    return listing("Instructions", ("name", "opcode", "engine", "meaning"), rows)


def folder_catalog(title: str, package: str) -> Listing:
    """Table of a folder's modules by their documents; imports none of them."""
    spec = importlib.util.find_spec(package)
    rows = []
    for folder in (spec.submodule_search_locations if spec else None) or ():
        for path in sorted(Path(folder).glob("[!_]*.py")):
            document = ast.get_docstring(ast.parse(path.read_text("utf-8")))
            rows.append((path.stem, _first_sentence(document)))
    return listing(title, ("name", "meaning"), rows)


CATALOGS: Mapping[str, Callable[[], Listing]] = MappingProxyType(
    {
        "workloads": _workloads,
        "schemes": _schemes,
        "hardware": _hardware,
        "codecs": _codecs,
        "quantizers": functools.partial(
            folder_catalog, "Quantizers", "azsim.compression.quantizers"
        ),
        "pruners": functools.partial(folder_catalog, "Pruners", "azsim.compression.pruners"),
        "operators": _operators,
        "instructions": _instructions,
    }
)
"""What ``azsim list`` shows, by kind."""


def file_schema(kind: str) -> dict[str, Any]:
    """Return the JSON schema of a ``workload`` or ``hardware`` file, for editors.

    A hardware file may extend a preset and then leave out any key, so its schema asks for none.
    """
    if kind == "workload":
        return json_schema(WorkloadFile)
    schema = _without_required(json_schema(Hardware))
    names = {"enum": list(preset_names()), "description": "Preset that the file changes."}
    return {**schema, "properties": {"extends": names, **schema["properties"]}}


def _without_required(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_required(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    is_object = schema.get("type") == "object"
    return {
        key: _without_required(entry)
        for key, entry in schema.items()
        if not (is_object and key == "required")
    }
