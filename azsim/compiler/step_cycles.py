"""What an engine takes for a whole step that one instruction does: the least of any program.

Cutting a step into more instructions makes it no shorter: each passes the pipeline, and each rounds
its groups of lanes up.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from azsim.compiler.estimate import view_of
from azsim.compiler.schedule import Storage
from azsim.hardware.description import Hardware
from azsim.isa.spec import instruction_set
from azsim.machine.instructions import instructions
from azsim.machine.instructions.mac_drain import group_cycles
from azsim.machine.trace import Site
from azsim.ops.lowering import (
    Access,
    Binary,
    Copy,
    Fill,
    Leave,
    Loop,
    Lowering,
    Matmul,
    Product,
    Quantize,
    Step,
    Unary,
    Vector,
)
from azsim.ops.steps import windows

__all__ = ["product_cycles", "scale_cycles", "vector_cycles"]

_MNEMONICS = {
    Copy: "vector_copy",
    Fill: "vector_fill",
    Unary: "vector_unary",
    Binary: "vector_binary",
    Quantize: "vector_quantize",
}


def vector_cycles(step: Step, lowering: Lowering, hardware: Hardware) -> int:
    """Cycles of the vector engine for a step by its instruction's own timing rule; 0 for others.

    The search for a dynamic scale is not counted: those who write what is quantized may find its
    peak, and one instruction may make the scales of many steps from their peaks.
    """
    if isinstance(step, Loop | Leave | Matmul | Product):
        return 0
    mnemonic = step.mnemonic if isinstance(step, Vector) else _MNEMONICS[type(step)]
    instruction = instruction_set().instructions[mnemonic]
    if instruction.engine != "vector":
        return 0
    operands: Mapping[str, Access | int | float | str] = (
        step.operands if isinstance(step, Vector) else {"function": getattr(step, "function", "")}
    )
    site = Site(
        index=0,
        mnemonic=mnemonic,
        engine="vector",
        function=str(operands.get("function") or operands.get("norm") or "none"),
        static=True,
        paced=0,
        accumulate=0,
        waits={},
        views={
            name: view_of(window, _storage(lowering.buffers[window.buffer].dtype))
            for name, window in windows(step).items()
        },
    )
    return instructions()[mnemonic].cycles(site, hardware)


def may_be_transfer(step: Step, lowering: Lowering, states: Collection[str]) -> bool:
    """Whether a step only copies a carried state, or to it, and a transfer may do that instead.

    What is copied from a state that lives in DRAM may come to where it is copied, and what is
    copied to it may go there: whole states, and parts without gaps.

    Parameters
    ----------
    step : Step
    lowering : Lowering
    states : collection of str
        Buffers of carried states.
    """
    if not isinstance(step, Copy) or (step.dst.buffer in states) == (step.src.buffer in states):
        return False
    state = step.dst if step.dst.buffer in states else step.src
    is_whole = state.rows * state.cols == lowering.buffers[state.buffer].num_elements
    return is_whole or all(
        (window.cols == 1 or window.col_stride == 1)
        and (window.rows == 1 or window.row_stride == window.cols)
        for window in (step.dst, step.src)
    )


def scale_cycles(step: Step, hardware: Hardware) -> int:
    """Cycles from the last peak to the first dynamic scale; 0 where none is found.

    Time that a chain takes and not work of the engine, which may find other scales along with it.
    """
    if isinstance(step, Quantize) and not step.static:
        return hardware.vector.pipeline_cycles + 1
    return 0


def _storage(dtype: str) -> Storage:
    return Storage("any", "activation", dtype, 0)


def product_cycles(step: Matmul | Product, array_cycles: float, hardware: Hardware) -> float:
    """Cycles of the array for a product and its drains, one for each function.

    Parameters
    ----------
    step : Matmul or Product
    array_cycles : float
        Of the product's windows, its inputs ready, without the pipeline.
    hardware : Hardware
    """
    mac = hardware.mac
    drains = _drains(step)
    groups = sum(
        count / mac.drain_lanes * group_cycles(function, hardware, to_codes=to_codes)
        for function, count, to_codes in drains
    )
    return (1 + len(drains)) * mac.pipeline_cycles + array_cycles + groups


def _drains(step: Matmul | Product) -> list[tuple[str, int, bool]]:
    """For each function that a product's drains apply, how many results, and whether to codes."""
    rows, cols = step.dst.shape
    if isinstance(step, Product):
        return [("none", rows * cols, False)]
    counts: dict[str, int] = {}
    for first, last, function in step.functions:
        counts[function] = counts.get(function, 0) + last - first
    if rest := cols - sum(counts.values()):
        counts[step.function] = counts.get(step.function, 0) + rest
    to_codes = step.code_scale is not None
    return [(function, rows * count, to_codes) for function, count in counts.items()]
