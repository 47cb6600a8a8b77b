"""Checks that several instructions share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from azsim import arith
from azsim.errors import MachineError
from azsim.hardware.description import VectorEngine
from azsim.machine.operation import Operation
from azsim.machine.state import Machine
from azsim.machine.view import Range, View, overlaps

__all__ = [
    "apart",
    "apart_or_same",
    "column_of_rows",
    "distinct",
    "in_activation_sram",
    "on_chip",
    "passes_cycles",
    "peak_ranges",
    "require",
    "row_groups",
    "row_numbers",
    "same_shape",
    "types",
    "write_peak",
]


def require(holds: bool, op: Operation, sentence: str) -> None:
    """Raise MachineError with the instruction's place unless a condition holds."""
    if not holds:
        raise MachineError(f"instruction {op.index} ({op.mnemonic}): {sentence}")


def distinct(op: Operation, dst: View) -> None:
    """Require every position of the destination to be a place of its own."""
    require(not dst.shows_twice, op, "dst shows one element at several positions")


def in_activation_sram(op: Operation, dst: View) -> None:
    """Require the destination to lie in activation SRAM, the only memory engines write back to."""
    require(dst.space == "activation", op, f"dst lies in {dst.space}, not in activation")
    distinct(op, dst)


def on_chip(op: Operation, **sources: View) -> None:
    """Require operands of the MAC array and the vector engine to lie in SRAM."""
    for name, source in sources.items():
        require(source.space != "dram", op, f"{name} lies in dram")


def apart(op: Operation, dst: View, **others: View) -> None:
    """Require operands to share no byte with the destination."""
    for name, other in others.items():
        require(not overlaps(other.reads(), dst.writes()), op, f"{name} and dst overlap")


def same_shape(op: Operation, dst: View, **sources: View) -> None:
    """Require sources to have the destination's shape."""
    for name, source in sources.items():
        require(
            (source.rows, source.cols) == (dst.rows, dst.cols),
            op,
            f"{name} is {source.rows} x {source.cols}, dst is {dst.rows} x {dst.cols}",
        )


def apart_or_same(op: Operation, dst: View, **sources: View) -> None:
    """Require each source to be the destination itself or to share no byte with it."""
    for name, source in sources.items():
        require(
            source == dst or not overlaps(source.reads(), dst.writes()),
            op,
            f"{name} and dst overlap without being the same view",
        )


def types(op: Operation, dtype: str, **views: View) -> None:
    """Require views of one element type."""
    for name, view in views.items():
        require(view.dtype == dtype, op, f"{name} has to be {dtype}, is {view.dtype}")


def row_groups(view: View, vector: VectorEngine) -> int:
    """Cycles in which the vector engine sees every row of a view, each in groups of its own."""
    return view.rows * -(-view.cols // vector.lanes)


def row_numbers(machine: Machine, op: Operation, rows: int) -> np.ndarray:
    """Numbers of rows that an instruction's `indices` hold, all below `rows`."""
    numbers = machine.array(op.indices, op.index)[:, 0]
    wrong = np.flatnonzero((numbers < 0) | (numbers >= rows))
    if wrong.size:
        raise MachineError(
            f"instruction {op.index} ({op.mnemonic}): indices hold {numbers[wrong[0]]} at row "
            f"{wrong[0]}, allowed are 0 to {rows - 1}"
        )
    return numbers


def passes_cycles(groups: int, vector: VectorEngine, *per_group: int) -> int:
    """Cycles of passes over the same groups, one after another, each through the pipeline."""
    return sum(vector.pipeline_cycles + groups * cycles for cycles in per_group)


def column_of_rows(op: Operation, matrix: View, **columns: View) -> None:
    """Require views of one column with a row for each row of a matrix."""
    for name, column in columns.items():
        require(
            (column.rows, column.cols) == (matrix.rows, 1),
            op,
            f"{name} is {column.rows} x {column.cols}, has to be {matrix.rows} x 1",
        )


def peak_ranges(
    op: Operation, view: Callable[[int], View], dst: View, **sources: View
) -> tuple[Range, ...]:
    """What an instruction writes besides `dst` when it keeps the peak of it."""
    if not op.use_peak:
        return ()
    peak = view(op.peak)
    require(dst.dtype == "f32", op, f"peak is of f32, dst is {dst.dtype}")
    require(peak.space == "activation", op, f"peak lies in {peak.space}, not in activation")
    types(op, "f32", peak=peak)
    require((peak.rows, peak.cols) == (1, 1), op, f"peak is {peak.rows} x {peak.cols}, not 1 x 1")
    for name, other in {"dst": dst, **sources}.items():
        require(not overlaps(other.reads(), peak.writes()), op, f"{name} and peak overlap")
    return (peak.writes(),)


def write_peak(machine: Machine, op: Operation) -> None:
    """Keep the largest magnitude of what an instruction has written to `dst`."""
    if op.use_peak:
        machine.array(op.peak, op.index)[0, 0] = arith.peak_kernel(machine.array(op.dst, op.index))
