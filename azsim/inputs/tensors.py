"""Files of named arrays: npz archives and safetensors files."""

from __future__ import annotations

import json
import math
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from azsim.errors import InputError
from azsim.inputs.audio import check_size

__all__ = ["read_arrays", "read_npz", "read_safetensors"]

_LENGTH_BYTES = 8
_LARGEST_HEADER_BYTES = 100_000_000  # what the format's own library allows
_METADATA = "__metadata__"
_BFLOAT16 = "BF16"
_TYPES = {
    "BOOL": "|b1",
    "U8": "|u1",
    "I8": "|i1",
    "U16": "<u2",
    "I16": "<i2",
    "U32": "<u4",
    "I32": "<i4",
    "U64": "<u8",
    "I64": "<i8",
    "F16": "<f2",
    _BFLOAT16: "<u2",
    "F32": "<f4",
    "F64": "<f8",
}


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Read every array of an npz archive.

    Parameters
    ----------
    path : Path

    Returns
    -------
    dict of str to ndarray
        In the order of the archive.

    Raises
    ------
    InputError
        If the file cannot be read, is no npz archive, or an array is malformed, of Python
        objects or larger than 2**31 bytes.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return dict(read_arrays(archive, str(path)))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (zipfile.BadZipFile, EOFError, RuntimeError, zlib.error) as error:
        raise InputError(f"{path}: not an npz file: {error}") from None


def read_arrays(archive: zipfile.ZipFile, where: str) -> Iterator[tuple[str, np.ndarray]]:
    """Read the members of an open npz archive one by one; sizes are checked first.

    Parameters
    ----------
    archive : ZipFile
    where : str
        File that errors name.

    Yields
    ------
    name : str
    array : ndarray

    Raises
    ------
    InputError
        If a member is no array, of Python objects or larger than 2**31 bytes.
    """
    for member in archive.namelist():
        name = member.removesuffix(".npy")
        with archive.open(member) as stream:
            try:
                version = np.lib.format.read_magic(stream)
                read_header = (
                    np.lib.format.read_array_header_1_0
                    if version == (1, 0)
                    else np.lib.format.read_array_header_2_0
                )
                shape, _, dtype = read_header(stream)
            except ValueError as error:
                raise InputError(f"{where}: array {name!r} cannot be read: {error}") from None
        check_size(math.prod(shape), f"{where}: array {name!r}", "array", dtype.itemsize)
        with archive.open(member) as stream:
            try:
                yield name, np.lib.format.read_array(stream, allow_pickle=False)
            except ValueError as error:
                raise InputError(f"{where}: array {name!r} cannot be read: {error}") from None


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Read every tensor of a safetensors file.

    The file is 8 bytes with the header's length (little endian), the header (JSON: type, shape
    and first and last byte of each tensor) and the data.

    Parameters
    ----------
    path : Path

    Returns
    -------
    dict of str to ndarray
        In the order of the header; ``BF16`` as float32, which holds it exactly.

    Raises
    ------
    InputError
        If the file cannot be read or is not a safetensors file; of all tensors that are wrong
        every one is named.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    header, start = _header(data, path)
    tensors, problems = {}, []
    for name, entry in header.items():
        found = _tensor(entry, memoryview(data)[start:])
        if isinstance(found, str):
            problems.append(f"{path}: tensor {name!r}: {found}")
        else:
            tensors[name] = found
    if problems:
        raise InputError("\n".join(problems))
    return tensors


def _header(data: bytes, path: Path) -> tuple[dict[str, Any], int]:
    """Entries by tensor, and where the data starts."""
    what = f"{path}: not a safetensors file"
    if len(data) < _LENGTH_BYTES:
        raise InputError(f"{what}: found {len(data)} bytes, expected at least {_LENGTH_BYTES}")
    length = int.from_bytes(data[:_LENGTH_BYTES], "little")
    most = min(len(data) - _LENGTH_BYTES, _LARGEST_HEADER_BYTES)
    if length > most:
        raise InputError(f"{what}: header of {length} bytes, allowed: up to {most}")
    start = _LENGTH_BYTES + length
    try:
        header = json.loads(data[_LENGTH_BYTES:start].decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{what}: its header is no JSON: {error}") from None
    if not isinstance(header, dict):
        raise InputError(f"{what}: its header is no JSON object")
    header.pop(_METADATA, None)
    return header, start


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} is there twice")
    return entries


def _tensor(entry: object, data: memoryview) -> np.ndarray | str:
    """Array of one entry of the header, or what is wrong with it."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        return "expected dtype, shape and data_offsets"
    name, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(name, str) or name not in _TYPES:
        return f"type {name!r} is not supported, allowed: {', '.join(_TYPES)}"
    if not _are_lengths(shape):
        return f"shape {shape}, expected a list of lengths"
    if not _are_lengths(offsets) or len(offsets) != 2:
        return f"data_offsets {offsets}, expected two places"
    dtype = np.dtype(_TYPES[name])
    size_bytes = math.prod(shape) * dtype.itemsize
    begin, end = offsets
    if not begin <= end <= len(data):
        return f"lies at bytes {begin} to {end} of {len(data)} bytes of data"
    if end - begin != size_bytes:
        return f"{end - begin} bytes, {name} of shape {shape} takes {size_bytes}"
    array = np.frombuffer(data[begin:end], dtype).reshape(shape)
    if name == _BFLOAT16:
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array


def _are_lengths(values: object) -> bool:
    return isinstance(values, list) and all(type(v) is int and v >= 0 for v in values)
