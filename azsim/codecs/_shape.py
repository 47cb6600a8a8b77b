"""The width of a matrix at the start of a payload: 32 bits, little endian."""

from __future__ import annotations

import numpy as np

from azsim.errors import CodecError

__all__ = ["check_range", "read_shape", "write_columns"]

_BYTES = 4


def write_columns(columns: int) -> bytes:
    """Bytes that `read_shape` reads."""
    return columns.to_bytes(_BYTES, "little")


def read_shape(
    codec: str, payload: np.ndarray, count: int, settings: int
) -> tuple[int, int, list[int], np.ndarray]:
    """Rows and columns of the matrix, the bytes of settings that follow, and the rest.

    Raises
    ------
    CodecError
        If the payload is too short, or if the codes are not whole rows.
    """
    if payload.size < _BYTES + settings:
        raise CodecError(
            f"{codec}: {payload.size} bytes of payload, shape and settings take {_BYTES + settings}"
        )
    columns = int.from_bytes(payload[:_BYTES].tobytes(), "little")
    # Without codes there are no rows to tell how wide one is.
    if columns < 1 or count % columns or (count == 0 and columns != 1):
        raise CodecError(f"{codec}: {count} codes are not rows of {columns} columns")
    found = payload[_BYTES : _BYTES + settings].tolist()
    return count // columns, columns, found, payload[_BYTES + settings :]


def check_range(codec: str, name: str, value: int, least: int, most: int) -> None:
    """Check a parameter of an encoder.

    Raises
    ------
    CodecError
        If it is out of range.
    """
    if not least <= value <= most:
        raise CodecError(f"codec {codec}: {name} {value}, allowed: {least} to {most}")
