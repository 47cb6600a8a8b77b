"""Memory as lines: what a view shows, its elements one after another.

Loops over one array of contiguous numbers are what the compiler turns
into instructions that work on several at once; a view with other strides is brought into such a
line first.  A view is a row of a table, with steps counted in elements.
"""

from __future__ import annotations

from numba import carray, types  # pyright: ignore[reportPrivateImportUsage]
from numba.extending import intrinsic

from azsim.jit import kernel
from azsim.machine.flat.columns import ADDR, COL_STEP, COLS, ROW_STEP, ROWS, SHIFT, SLOT

__all__ = ["bare", "copy", "fetch", "is_line", "pointer", "read", "start", "write"]


@kernel
def start(views, number, offsets):
    """First element of a view, in a memory of its type."""
    address = views[number, ADDR]
    if views[number, SLOT] >= 0:
        address += offsets[views[number, SLOT]]
    return address >> views[number, SHIFT]


@kernel
def is_line(views, number):
    """Whether the elements of a view lie one after another."""
    rows, cols = views[number, ROWS], views[number, COLS]
    return (views[number, COL_STEP] == 1 or cols == 1) and (
        views[number, ROW_STEP] == cols or rows == 1
    )


@kernel
def fetch(memory, views, number, offsets, line):
    """Copy the elements of a view to the begin of a line; returns that part of it."""
    at = start(views, number, offsets)
    rows, cols = views[number, ROWS], views[number, COLS]
    line = line[: rows * cols]
    if is_line(views, number):
        source = memory[at : at + rows * cols]
        for j in range(rows * cols):
            line[j] = source[j]
        return line
    step = views[number, COL_STEP]
    for i in range(rows):
        target = line[i * cols : (i + 1) * cols]
        if step == 1:
            source = memory[at : at + cols]
            for j in range(cols):
                target[j] = source[j]
        elif step == 0:
            element = memory[at]
            for j in range(cols):
                target[j] = element
        else:
            for j in range(cols):
                target[j] = memory[at + j * step]
        at += views[number, ROW_STEP]
    return line


@kernel
def read(memory, views, number, offsets, line):
    """Elements of a view: memory itself where they are a line, else a copy of them in `line`."""
    if is_line(views, number):
        at = start(views, number, offsets)
        return memory[at : at + views[number, ROWS] * views[number, COLS]]
    return fetch(memory, views, number, offsets, line)


@kernel
def write(line, memory, views, number, offsets):
    """Copy a line to where a view shows it, in the memory's type."""
    at = start(views, number, offsets)
    rows, cols = views[number, ROWS], views[number, COLS]
    if is_line(views, number):
        target = memory[at : at + rows * cols]
        for j in range(rows * cols):
            target[j] = line[j]
        return
    step = views[number, COL_STEP]
    for i in range(rows):
        source = line[i * cols : (i + 1) * cols]
        for j in range(cols):
            memory[at + j * step] = source[j]
        at += views[number, ROW_STEP]


@kernel
def copy(memory, views, source, target, offsets):
    """Copy what one view shows to another of the same shape."""
    begin, at = start(views, source, offsets), start(views, target, offsets)
    rows, cols = views[target, ROWS], views[target, COLS]
    left, right = views[source, COL_STEP], views[target, COL_STEP]
    if is_line(views, source) and is_line(views, target):
        rows, cols, left, right = 1, rows * cols, 1, 1
    for _ in range(rows):
        if left == 1 and right == 1:
            one, other = memory[begin : begin + cols], memory[at : at + cols]
            for j in range(cols):
                other[j] = one[j]
        else:
            for j in range(cols):
                memory[at + j * right] = memory[begin + j * left]
        begin += views[source, ROW_STEP]
        at += views[target, ROW_STEP]


@intrinsic
def pointer(_context, address):
    """Pointer to int8 at an address."""

    def code(_, builder, signature, arguments):
        from llvmlite import ir

        return builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())

    return types.CPointer(types.int8)(types.int64), code


@kernel
def bare(array):
    """Bytes of a contiguous array without its owner: slices of them count no references."""
    return carray(pointer(array.ctypes.data), array.nbytes)  # pyright: ignore[reportCallIssue]
