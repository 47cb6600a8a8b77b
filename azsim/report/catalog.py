"""What there is to choose from, as tables: one row an entry, found by folder.

A list says what the files of a folder say and imports none of them, as that would load numba; the
tests compare it with what the entries themselves say.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from azsim.errors import ConfigError
from azsim.folder import read_folder
from azsim.report.listing import Listing, listing
from azsim.resources import DEFAULT_HARDWARE, isa_directory, workloads_directory

__all__ = ["CATALOGS"]

_CONTRACT = "Contract: "


def _yaml_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.yaml"))


def _workloads() -> Listing:
    from azsim.config import read_document

    rows = []
    for path in _yaml_files(workloads_directory()):
        try:
            data = read_document(path).data
        except ConfigError as error:
            rows.append((path.stem, "", str(error)))
        else:
            keys = data if isinstance(data, dict) else {}
            hardware = str(keys.get("hardware", DEFAULT_HARDWARE))
            rows.append((path.stem, hardware, str(keys.get("description", ""))))
    return listing("Workloads", ("name", "hardware", "description"), rows)


def _schemes() -> Listing:
    rows = []
    for path in _yaml_files(workloads_directory() / "schemes"):
        lines = path.read_text("utf-8").splitlines()
        comment = itertools.takewhile(lambda line: line.startswith("#"), lines)
        rows.append((path.stem, " ".join(line.lstrip("# ") for line in comment)))
    return listing("Schemes", ("name", "meaning"), rows)


def _sweeps() -> Listing:
    from azsim.config import read_document

    rows = []
    for path in _yaml_files(workloads_directory() / "sweeps"):
        keys = read_document(path).data
        rows.append((path.stem, str(keys["workload"]), str(keys.get("description", ""))))
    return listing("Sweeps", ("name", "workload", "description"), rows)


def _recipes() -> Listing:
    from azsim.config import read_document

    rows = []
    for path in _yaml_files(workloads_directory() / "recipes"):
        keys = read_document(path).data
        rows.append((path.stem, str(keys["steps"]), str(keys.get("description", ""))))
    return listing("Recipes of azsim train", ("name", "steps", "description"), rows)


def _preset(path: Path) -> dict[str, Any]:
    """Keys of a preset and of those that it extends, as written; presets are known to be sound."""
    from azsim.config import read_document

    data = dict(read_document(path).data)
    base = data.pop("extends", None)
    return data if base is None else _laid_over(_preset(path.parent / f"{base}.yaml"), data)


def _laid_over(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**base, **top}
    for key in base.keys() & top.keys():
        if isinstance(base[key], dict) and isinstance(top[key], dict):
            merged[key] = _laid_over(base[key], top[key])
    return merged


def _hardware() -> Listing:
    from azsim.report.units import frequency, rate

    chips = {
        path.stem: _preset(path)
        for path in _yaml_files(Path(__file__).parents[1] / "hardware" / "presets")
    }
    rows = [
        (
            name,
            frequency(chip["clock_hz"]),
            chip["mac"]["lanes"] * chip["mac"]["macs_per_lane"],
            chip["mac"]["zero_skip"],
            f"{chip['weight_sram']['bytes'] / 1024:g} KiB",
            f"{chip['activation_sram']['bytes'] / 1024:g} KiB",
            rate(chip["dram"]["bytes_per_s"]),
            ", ".join(chip["decoder"]["codecs"]),
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
    note = "at 8 bits; numbers are assumptions but where a preset's file names a source"
    return listing("Hardware presets", columns, rows, note)


def _first_sentence(document: str) -> str:
    paragraph = " ".join(document.strip().split("\n\n")[0].split())
    return paragraph.removesuffix("::")


def _codecs() -> Listing:
    rows = [
        (name, ", ".join(source.names["PARAMETERS"]), _first_sentence(source.document))
        for name, source in read_folder("azsim.codecs").items()
    ]
    return listing("Codecs", ("name", "parameters", "meaning"), rows)


def _operators() -> Listing:
    rows = []
    for source in read_folder("azsim.ops").values():
        if (name := source.names.get("OP")) is not None:
            place = "yes" if "lower" in source.names else "constants only"
            meaning = _first_sentence(source.document).removeprefix(f"{name}: ")
            rows.append((str(name), place, meaning))
    return listing("Operators, by ONNX type", ("name", "on the chip", "meaning"), sorted(rows))


def _instructions() -> Listing:
    from azsim.isa.spec import instruction_set

    rows = [
        (spec.mnemonic, f"{spec.opcode:#04x}", spec.engine, spec.summary)
        for spec in instruction_set().instructions.values()
    ]
    return listing("Instructions", ("name", "opcode", "engine", "meaning"), rows)


def _kernels() -> Listing:
    rows = []
    for path in sorted(isa_directory().glob("examples/*.azs")):
        first = path.read_text("utf-8").partition("\n")[0].lstrip("; ")
        is_below = path.is_relative_to(Path.cwd())
        shown = path.relative_to(Path.cwd()) if is_below else path
        rows.append((path.stem, str(shown), first))
    return listing("Programs by hand, each with its data", ("name", "file", "meaning"), rows)


def _passes() -> Listing:
    files = read_folder("azsim.compiler")
    rows = []
    for number, name in enumerate(files["compile"].names["PASSES"], 1):
        document = files[name].document
        meaning = _first_sentence(document)
        paragraphs = (" ".join(text.split()) for text in document.split("\n\n"))
        contract = next((text for text in paragraphs if text.startswith(_CONTRACT)), "")
        meaning = meaning.removeprefix(f"{name.capitalize()}: ")
        rows.append((number, name, meaning, contract.removeprefix(_CONTRACT)))
    columns = ("number", "name", "meaning", "contract")
    return listing("Passes of the compiler, in order", columns, rows)


def _folder(title: str, package: str) -> Listing:
    rows = [
        (name, _first_sentence(source.document)) for name, source in read_folder(package).items()
    ]
    return listing(title, ("name", "meaning"), rows)


CATALOGS: Mapping[str, Callable[[], Listing]] = MappingProxyType(
    {
        "workloads": _workloads,
        "schemes": _schemes,
        "hardware": _hardware,
        "models": functools.partial(_folder, "Models that azsim builds", "azsim.models"),
        "codecs": _codecs,
        "quantizers": functools.partial(_folder, "Quantizers", "azsim.compression.quantizers"),
        "pruners": functools.partial(_folder, "Pruners", "azsim.compression.pruners"),
        "operators": _operators,
        "instructions": _instructions,
        "kernels": _kernels,
        "passes": _passes,
        "studies": functools.partial(_folder, "Studies", "azsim.studies"),
        "sweeps": _sweeps,
        "recipes": _recipes,
        "strategies": functools.partial(_folder, "Strategies", "azsim.sweeps.strategies"),
    }
)
"""What ``azsim list`` shows, by kind."""
