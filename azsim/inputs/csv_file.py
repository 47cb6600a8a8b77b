"""Lines of CSV files, as lists, labels and corpora have them."""

from __future__ import annotations

import csv
from pathlib import Path

from azsim.errors import InputError

__all__ = ["read_csv"]

_LARGEST_FILE_BYTES = 1 << 30


def read_csv(path: Path) -> list[tuple[int, list[str]]]:
    """Read a CSV file in UTF-8.

    Returns
    -------
    list of (int, list of str)
        Number and fields of each line that is not empty.

    Raises
    ------
    InputError
        If it cannot be read, is too large or no CSV file.
    """
    try:
        if path.stat().st_size > _LARGEST_FILE_BYTES:
            raise InputError(f"{path}: too large, allowed: up to {_LARGEST_FILE_BYTES} bytes")
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            return [(reader.line_num, fields) for fields in reader if fields]
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a CSV file: {error}") from None
