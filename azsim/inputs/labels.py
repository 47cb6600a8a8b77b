"""Files of labels: one whole number a frame."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from azsim.errors import InputError
from azsim.inputs.audio import check_size
from azsim.inputs.csv_file import read_csv
from azsim.inputs.tensors import read_npz

__all__ = ["LABEL_SUFFIXES", "read_labels"]

LABEL_SUFFIXES = (".npz", ".npy", ".csv")


def read_labels(path: Path, name: str) -> np.ndarray:
    """Read labels.

    Parameters
    ----------
    path : Path
        ``.npz`` with one array, or with one that is called `name`; ``.npy``; or ``.csv`` with one
        number a line, below a line of text if there is one.
    name : str
        Of the decision.

    Returns
    -------
    ndarray of int64, shape (n,)

    Raises
    ------
    InputError
        If the file cannot be read, or holds anything but whole numbers along one axis.
    """
    array = {".npz": _of_npz, ".npy": _of_npy, ".csv": _of_csv}[path.suffix](path, name)
    if array.size != max(array.shape, default=1):
        found = f"found shape {tuple(array.shape)}, allowed: one number a frame"
        raise InputError(f"{path}: labels along more than one axis, {found}")
    flat = array.reshape(-1)
    if flat.dtype.kind not in "biuf":
        raise InputError(f"{path}: labels of type {flat.dtype}, allowed: whole numbers")
    whole = np.isfinite(flat) & (flat == np.floor(flat)) if flat.dtype.kind == "f" else flat == flat
    if not whole.all():
        at = int(np.argmin(whole))
        raise InputError(f"{path}: label {at} is {flat[at]:g}, allowed: whole numbers")
    return flat.astype(np.int64)


def _of_npz(path: Path, name: str) -> np.ndarray:
    arrays = read_npz(path)
    if name in arrays:
        return arrays[name]
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    found = ", ".join(arrays) or "none"
    raise InputError(f"{path}: no array {name!r}, found {found}, allowed: that one, or one alone")


def _of_npy(path: Path, name: str) -> np.ndarray:
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            header = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, _, dtype = header(file)
            check_size(math.prod(shape), str(path), "array", dtype.itemsize)
            file.seek(0)
            return np.lib.format.read_array(file, allow_pickle=False)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise InputError(f"{path}: not an npy file: {error}") from None


def _of_csv(path: Path, name: str) -> np.ndarray:
    values = []
    for position, (number, row) in enumerate(read_csv(path)):
        if len(row) != 1:
            raise InputError(f"{path}:{number}: one number a line, found {len(row)} fields")
        value = _as_number(row[0])
        if value is not None:
            values.append(value)
        elif position:  # the first line may be a header
            raise InputError(f"{path}:{number}: not a number, found {row[0]!r}")
    return np.array(values, np.float64)


def _as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
