"""A compiled program with its DRAM image in one file.

The file is a NumPy ``.npz`` archive of three arrays: ``words`` (instructions, 2) uint64,
``dram`` (bytes,) uint8, and ``meta``, everything else of a `Program` as JSON in uint8.  The same
program gives the same bytes.
"""

from __future__ import annotations

import functools
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError

from azsim.errors import DecodeError, InputError
from azsim.files import whole_file
from azsim.isa.encode import decode_words, encode_program
from azsim.isa.program import DramImage, Port, Program, Region, Stream, Tap

__all__ = ["load_program", "save_program"]

_VERSION = 2
_ARRAYS = {"words": ("<u8", 2), "dram": ("|u1", 1), "meta": ("|u1", 1)}


@dataclass(frozen=True)
class _Meta:
    """What the words do not say; see `Program`."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    version: int
    name: str
    layers: tuple[str, ...]
    layer_of: tuple[int, ...]
    region_of_view: tuple[tuple[int, str], ...]
    regions: tuple[Region, ...]
    taps: tuple[Tap, ...]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    stream: Stream


@functools.cache
def _meta_adapter() -> TypeAdapter[_Meta]:
    return TypeAdapter(_Meta)


def save_program(path: Path, program: Program, image: DramImage) -> None:
    """Write a program and its image; the file appears whole or not at all.

    Parameters
    ----------
    path : Path
        Written as named, whatever its suffix.
    program : Program
    image : DramImage

    Raises
    ------
    EncodeError
        If an instruction cannot be encoded.
    InputError
        If the file cannot be written.
    """
    meta = _Meta(
        version=_VERSION,
        name=program.name,
        layers=program.layers,
        layer_of=program.layer_of,
        region_of_view=tuple(sorted(program.region_of_view.items())),
        regions=program.regions,
        taps=program.taps,
        inputs=program.inputs,
        outputs=program.outputs,
        stream=program.stream,
    )
    arrays = {
        "words": encode_program(program),
        "dram": np.ascontiguousarray(image.data, dtype=np.uint8),
        "meta": np.frombuffer(_meta_adapter().dump_json(meta), dtype=np.uint8),
    }
    path = Path(path)
    try:
        with whole_file(path) as file:
            np.savez(file, **arrays)
    except OSError as error:
        raise InputError(f"{path}: cannot be written, {error.strerror or error}") from error


def load_program(path: Path) -> tuple[Program, DramImage]:
    """Read what `save_program` wrote; every word is decoded and checked.

    Parameters
    ----------
    path : Path

    Returns
    -------
    tuple of Program and DramImage

    Raises
    ------
    InputError
        If the file cannot be read or is not such a file.
    """
    arrays = _read_arrays(Path(path))
    try:
        meta = _meta_adapter().validate_json(arrays["meta"].tobytes())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in ("meta", *first["loc"]))
        raise InputError(f"{path}: {place}: {first['msg']}") from error
    if meta.version != _VERSION:
        raise InputError(f"{path}: meta.version: got {meta.version}, expected {_VERSION}")
    try:
        instructions = decode_words(arrays["words"])
    except DecodeError as error:
        raise InputError(f"{path}: {error}") from error
    if meta.layer_of and len(meta.layer_of) != len(instructions):
        raise InputError(
            f"{path}: meta.layer_of: got {len(meta.layer_of)} entries, expected {len(instructions)}"
        )
    for layer in meta.layer_of:
        if not -1 <= layer < len(meta.layers):
            raise InputError(
                f"{path}: meta.layer_of: got {layer}, allowed is -1 to {len(meta.layers) - 1}"
            )
    program = Program(
        name=meta.name,
        instructions=instructions,
        layers=meta.layers,
        layer_of=meta.layer_of,
        region_of_view=MappingProxyType(dict(meta.region_of_view)),
        regions=meta.regions,
        taps=meta.taps,
        inputs=meta.inputs,
        outputs=meta.outputs,
        stream=meta.stream,
    )
    return program, DramImage(arrays["dram"])


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise InputError(f"{path}: is not a program file, it holds a single array")
            if set(archive.files) != set(_ARRAYS):
                found = ", ".join(sorted(archive.files)) or "nothing"
                raise InputError(
                    f"{path}: is not a program file, it holds {found}, expected words, dram, meta"
                )
            arrays = {name: archive[name] for name in _ARRAYS}
    except OSError as error:
        raise InputError(f"{path}: cannot be read, {error.strerror or error}") from error
    except (ValueError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: is not a program file, or is damaged") from error
    for name, (dtype, ndim) in _ARRAYS.items():
        array = arrays[name]
        if array.dtype != np.dtype(dtype) or array.ndim != ndim:
            raise InputError(
                f"{path}: {name}: got {array.ndim} axes of {array.dtype}, "
                f"expected {ndim} of {np.dtype(dtype)}"
            )
    if arrays["words"].shape[1] != 2:
        raise InputError(f"{path}: words: got rows of {arrays['words'].shape[1]}, expected 2")
    return arrays
