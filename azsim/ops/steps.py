"""Steps: what the operators of a graph lower to, over strided windows into named buffers.

A step says *what* happens; which memory address, which tile, which instruction: that is the
compiler's business.  What a step reads and writes is stated here once, for all passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from azsim.isa.spec import instruction_set

__all__ = [
    "ELEMENT_BYTES",
    "MAX_EXTENT",
    "Access",
    "Binary",
    "Buffer",
    "Copy",
    "Fill",
    "Leave",
    "Loop",
    "Matmul",
    "Product",
    "Quantize",
    "Step",
    "Unary",
    "Vector",
    "is_region",
    "moved_windows",
    "multiply_add",
    "reads",
    "windows",
    "writes",
    "written_operands",
]

ELEMENT_BYTES = {"u8": 1, "i8": 1, "i16": 2, "i32": 4, "f32": 4}
MAX_EXTENT = 65_536
"""Most rows, and most columns, of a view; see isa/formats.yaml."""


@dataclass(frozen=True)
class Buffer:
    """Storage in activation SRAM, or a table in DRAM.

    Attributes
    ----------
    name : str
    dtype : str
        ``f32``, ``i32``, ``i16`` or ``i8``.
    num_elements : int
    constant : ndarray or None
        Contents of a constant, which live from start to end.
    persistent : bool
        Keeps its contents from one frame to the next (constants, state).
    space : str
        ``activation``; or ``dram`` for a constant table of which ``load_gather`` takes rows.
    """

    name: str
    dtype: str
    num_elements: int
    constant: np.ndarray | None = None
    persistent: bool = False
    space: str = "activation"


@dataclass(frozen=True)
class Access:
    """A two-dimensional strided window into a buffer; offsets and strides count elements.

    `advance` maps the number of a loop to the elements by which the window moves each iteration.
    """

    buffer: str
    offset: int
    rows: int
    cols: int
    row_stride: int
    col_stride: int
    advance: Mapping[int, int] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows, self.cols


@dataclass(frozen=True)
class Copy:
    """dst = src, element by element."""

    dst: Access
    src: Access


@dataclass(frozen=True)
class Fill:
    """Every element of dst = value."""

    dst: Access
    value: float


@dataclass(frozen=True)
class Unary:
    """dst = function(src)."""

    function: str
    dst: Access
    src: Access


@dataclass(frozen=True)
class Binary:
    """dst = function(left, right)."""

    function: str
    dst: Access
    left: Access
    right: Access


@dataclass(frozen=True)
class Quantize:
    """dst = codes of src; `scale` is written (dynamic) or read (static)."""

    dst: Access
    src: Access
    scale: Access
    static: bool


@dataclass(frozen=True)
class Matmul:
    """dst = codes (M, K) times a compressed weight (N, K), scaled to float32.

    With `accumulate` the product is added to dst; then `bias` (1, N) is added; then `function`
    (none, relu, sigmoid or tanh) is applied.  With one row, `functions` may give other functions to
    outputs [first, last).  With `code_scale`, a static scale, dst gets codes.
    """

    weight: str
    dst: Access
    codes: Access
    scale: Access
    bias: Access | None = None
    accumulate: bool = False
    function: str = "none"
    functions: tuple[tuple[int, int, str], ...] = ()
    code_scale: Access | None = None


@dataclass(frozen=True)
class Product:
    """dst = codes (M, K) times other codes (N, K), both computed, scaled to float32.

    ``dst[m, n] = float32(sum over k of codes[m, k] * other[n, k]) * (scale[m] * other_scale[n])``,
    each step one float32 operation.

    Attributes
    ----------
    dst : Access
        M rows and N columns of float32.
    codes, other : Access
        M and N rows of K codes; i8 or i16, and i8.
    scale : Access
        One column of float32 with M rows, or with one.
    other_scale : Access
        One row of float32 with N columns; a stride of 0 repeats one.
    accumulate : bool
        Add to what dst holds.
    """

    dst: Access
    codes: Access
    scale: Access
    other: Access
    other_scale: Access
    accumulate: bool = False


@dataclass(frozen=True)
class Vector:
    """Any instruction of the vector engine, or ``load_gather``, as the instruction set defines it.

    Attributes
    ----------
    mnemonic : str
    operands : mapping of str to Access, int, float or str
        By the names of ``isa/*.yaml``; those of waits are not for steps.
    """

    mnemonic: str
    operands: Mapping[str, Access | int | float | str]

    @property
    def dst(self) -> Access:
        """What is written."""
        window = self.operands["dst"]
        assert isinstance(window, Access)
        return window


@dataclass(frozen=True)
class Loop:
    """Run `body` `count` times; `number` is what `Access.advance` refers to.

    Attributes
    ----------
    number, count : int
    body : tuple of Step
    rounds : float or None
        Where a `Leave` may end it before: how many rounds it begins, on average.  An estimate of
        the operator's, or what was counted in a run.
    """

    number: int
    count: int
    body: tuple[Step, ...]
    rounds: float | None = None

    @property
    def mean_rounds(self) -> float:
        """How many rounds it begins, on average."""
        return self.count if self.rounds is None else self.rounds


@dataclass(frozen=True)
class Leave:
    """End the loop right around it if one i32 is a number, or if it is not.

    It stands in the body of the loop itself, which no window advances with.  A loop of one round
    that begins with it is a body that runs on a condition.  The outermost loop around it is a
    *region*: data decides what comes next in it, so that no step moves into it or out of it, or
    from one side of a `Leave` to the other.

    Attributes
    ----------
    word : Access
        The i32, 1 x 1, in activation SRAM.
    number : int
    unless : bool
        Leave if the word is *not* the number.
    stays : float
        Share of the times that the loop goes on, as `Loop.rounds` estimated or counted.
    """

    word: Access
    number: int
    unless: bool = False
    stays: float = 1.0


Step = Copy | Fill | Unary | Binary | Quantize | Matmul | Product | Vector | Loop | Leave

_Step = TypeVar("_Step", bound=Step)


def multiply_add(dst: Access, left: Access, right: Access, other: Access) -> Vector:
    """Make the step ``dst = (left * right) + other``, with the bits of two binary ones."""
    return Vector("vector_multiply_add", {"dst": dst, "src": left, "src2": right, "other": other})


def is_region(step: Step) -> bool:
    """Whether data decides what comes next in a step: a loop with a `Leave` in it."""
    return isinstance(step, Loop) and any(
        isinstance(inner, Leave) or is_region(inner) for inner in step.body
    )


def windows(step: Step) -> Mapping[str, Access]:
    """Windows of a step by operand; none of a loop."""
    found = step.operands if isinstance(step, Vector) else vars(step)
    return {name: value for name, value in found.items() if isinstance(value, Access)}


def written_operands(step: Step) -> tuple[str, ...]:
    """Operands of a step, which is no loop, that it writes."""
    if isinstance(step, Leave):
        return ()
    if isinstance(step, Vector):
        named = instruction_set().instructions[step.mnemonic].writes
        return tuple(name for name in named if name in step.operands)
    return ("dst", "scale") if isinstance(step, Quantize) and not step.static else ("dst",)


def writes(step: Step) -> Iterator[Access]:
    """Windows that a step writes; all that a loop's body does."""
    if isinstance(step, Loop):
        for inner in step.body:
            yield from writes(inner)
        return
    found = windows(step)
    for name in written_operands(step):
        yield found[name]


def reads(step: Step) -> Iterator[Access]:
    """Windows that a step reads; of a loop all that its body does.

    What keeps some of its contents, the target of a scatter or of a sum, is read too.
    """
    if isinstance(step, Loop):
        for inner in step.body:
            yield from reads(inner)
        return
    is_kept = isinstance(step, Vector) and step.mnemonic == "vector_scatter"
    is_kept |= isinstance(step, Matmul | Product) and step.accumulate
    written = written_operands(step)
    for name, window in windows(step).items():
        if name not in written or (is_kept and name == "dst"):
            yield window


def moved_windows(step: _Step, move: Callable[[Access], Access]) -> _Step:
    """Copy of a step whose windows are others; a loop's stay."""
    changed = {name: move(window) for name, window in windows(step).items()}
    if isinstance(step, Vector):
        return replace(step, operands={**step.operands, **changed})
    return replace(step, **changed)
