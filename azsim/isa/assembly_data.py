"""Data that a program's text declares by name: how large it is, and where it comes to lie.

Whatever declares no address is placed by the assembler, in the order of declaration behind all
that does: in DRAM inputs, outputs and buffers come first, then the blocks of weights, so that only
the places of blocks depend on how well they were compressed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from azsim.errors import EncodeError
from azsim.isa.program import ELEMENT_BITS, Port, Region

__all__ = ["ALIGN_BYTES", "Data", "matrix_of", "place", "view_operands"]

ALIGN_BYTES = 64
_HEADER_BYTES = 16
_MAX_COLS = 1 << 16


@dataclass(frozen=True)
class Data:
    """A piece of memory with a name.

    Attributes
    ----------
    kind : str
        ``input``, ``output``, ``weight`` or ``buffer``.
    name : str
    space, dtype : str
        As the views'; a weight is a block of bytes (u8) in DRAM.
    shape : tuple of int
        Of one frame; of a weight, its codes: rows and columns.
    line, column : int
        Where the text declares it, from 1.
    frames : int
        How many of them lie one after another.
    step_bytes : int
        From one's begin to the next one's; 0 where they lie one right behind another.
    axes : tuple of int
        Of a frame, in the order in which they lie in memory; empty for that of the shape.
    addr : int or None
        None where the assembler chooses.
    like : str or None
        Buffer that has type and shape of another piece of data.
    codec : str
    bits : int
        Of a code.
    parameters : mapping of str to int
        The codec's own.
    """

    kind: str
    name: str
    space: str
    dtype: str
    shape: tuple[int, ...]
    line: int
    column: int
    frames: int = 1
    step_bytes: int = 0
    axes: tuple[int, ...] = ()
    addr: int | None = None
    like: str | None = None
    codec: str = ""
    bits: int = 0
    parameters: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def port(self) -> Port:
        """An input or output as the program knows it."""
        addr = self.addr or 0
        own = self.frames, self.dtype, self.step_bytes, self.axes
        return Port(self.name, addr, self.shape, *own)

    @property
    def span_bytes(self) -> int:
        """Bytes from the first frame to the last; rows of packed types begin at bytes."""
        rows, cols = matrix_of(self.shape)
        frame_bytes = rows * (-(-cols * ELEMENT_BITS[self.dtype] // 8))
        return (self.frames - 1) * (self.step_bytes or frame_bytes) + frame_bytes

    @property
    def raw_block_bytes(self) -> int:
        """About what a weight's block takes if nothing is compressed."""
        return _HEADER_BYTES + -(-math.prod(self.shape) * self.bits // 8)

    def region(self, instructions: int) -> Region:
        """The piece of memory as a program's checkers know it, alive all over."""
        addr, size = self.addr or 0, self.span_bytes
        return Region(self.name, self.space, addr, size, self.dtype, 0, max(0, instructions - 1))


def matrix_of(shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of the matrix that a view of a shape shows: the last axis is the columns."""
    return math.prod(shape[:-1]), (shape[-1] if shape else 1)


def _block_shape(num_bytes: int) -> tuple[int, int]:
    """Rows and columns of bytes that hold a block: one row, or as few as a view needs."""
    rows = -(-num_bytes // _MAX_COLS)
    return rows, -(-num_bytes // rows)


def place(declared: Iterable[Data], block_bytes: Mapping[str, int]) -> dict[str, Data]:
    """Give each piece of data its address.

    Parameters
    ----------
    declared : iterable of Data
        With different names; `like` names one of them that is not `like` another.
    block_bytes : mapping of str to int
        Size of each weight's block.

    Returns
    -------
    dict of str to Data
        In order of declaration; weights as the bytes of their blocks.
    """
    found: dict[str, Data] = {}
    for data in declared:
        if data.kind == "weight":
            found[data.name] = replace(data, shape=_block_shape(block_bytes[data.name]))
        else:
            found[data.name] = data
    for name, data in found.items():
        if data.like is not None:
            model = found[data.like]
            found[name] = replace(data, dtype=model.dtype, shape=model.shape)
    free: dict[str, int] = {}
    for data in found.values():
        if data.addr is not None:
            free[data.space] = max(free.get(data.space, 0), data.addr + data.span_bytes)
    for name in sorted(found, key=lambda name: found[name].kind == "weight"):
        data = found[name]
        if data.addr is None:
            addr = -(-free.get(data.space, 0) // ALIGN_BYTES) * ALIGN_BYTES
            found[name] = replace(data, addr=addr)
            free[data.space] = addr + data.span_bytes
    return found


def view_operands(
    given: Mapping[str, int | float | str], data: Data, offset_bytes: int
) -> dict[str, int | float | str]:
    """Operands of a ``view`` of placed data: what the text gives, and what the data says.

    Raises
    ------
    EncodeError
        If what is given contradicts the data.
    """
    operands = dict(given)
    if operands.setdefault("space", data.space) != data.space:
        raise EncodeError(f"'{data.name}' lies in {data.space}, not in {operands['space']}")
    dtype = str(operands.setdefault("dtype", data.dtype))
    # A view shows memory as it is.
    axes = data.axes or range(len(data.shape))
    rows, cols = matrix_of(tuple(data.shape[axis] for axis in axes))
    if ELEMENT_BITS[dtype] != ELEMENT_BITS[data.dtype]:
        if not {"rows", "cols"} <= given.keys():
            raise EncodeError(
                f"'{data.name}' is {data.dtype}; a view of it as {dtype} needs rows and cols"
            )
        cols = int(operands["cols"])
    operands.setdefault("rows", rows)
    operands.setdefault("cols", cols)
    per_byte = max(1, 8 // ELEMENT_BITS[dtype])
    pitch = -(-cols // per_byte) * per_byte
    operands.setdefault("row_stride", pitch if operands["rows"] != 1 else 0)
    has_columns = operands["cols"] != 1 or per_byte > 1
    operands.setdefault("col_stride", 1 if has_columns else 0)
    operands["addr"] = (data.addr or 0) + offset_bytes
    return operands
