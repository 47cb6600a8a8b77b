"""What the compiler hands to the machine: instructions, memory regions, a DRAM image.

Everything here is bytes and plain values; the simulator needs nothing of the graph.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

__all__ = [
    "ELEMENT_BITS",
    "WAKE",
    "DramImage",
    "Instruction",
    "Port",
    "Program",
    "Region",
    "Stream",
    "Tap",
]

ELEMENT_BITS = {"u8": 8, "i8": 8, "i16": 16, "f32": 32, "i4": 4, "i2": 2, "i32": 32}
"""Bits of one element, by the name of its type."""

WAKE = "(wake)"
"""Layer that loads the initial state again, and input that says behind which frames (1, else 0)."""


@dataclass(frozen=True)
class Instruction:
    """A mnemonic and its operands.

    Attributes
    ----------
    mnemonic : str
        A key of ``isa/*.yaml``.
    operands : mapping of str to int, float or str
        One entry for each operand that is not 0; enums by name, flags as 0 or 1, `value` as
        float.  An operand that is absent is 0 (an enum: its value 0; a field with a bias: its
        smallest value).
    """

    mnemonic: str
    operands: Mapping[str, int | float | str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class Region:
    """A named piece of memory, alive from one instruction to another.

    An access by an instruction between `first` and `last` has to stay inside one live region.

    Attributes
    ----------
    name : str
        Tensor (or part of one) that lives here.
    space : str
        ``dram``, ``weight`` or ``activation``.
    start_bytes, size_bytes : int
    dtype : str
        As the views': u8, i8, i16, f32, i4, i2.
    first, last : int
        Instruction indices, both included.
    """

    name: str
    space: str
    start_bytes: int
    size_bytes: int
    dtype: str
    first: int
    last: int


@dataclass(frozen=True)
class Port:
    """Where a graph input or output lies in DRAM.

    Attributes
    ----------
    name : str
        Graph name.
    addr : int
        Byte address of the first element.
    shape : tuple of int
        Shape of one frame (chunk).
    frames : int
        How many frames lie one after another; 1 for state and for models without a stream.
    dtype : str
        f32, or i8 and i32 for graphs; programs written by hand also have i16 and u8.
    step_bytes : int
        From a frame's begin to the next one's; 0 where they lie one right behind another.
    axes : tuple of int
        Axes of a frame in the order in which they lie in memory, the one whose elements are
        neighbours last; empty for the order that they have in the graph.
    """

    name: str
    addr: int
    shape: tuple[int, ...]
    frames: int
    dtype: str = "f32"
    step_bytes: int = 0
    axes: tuple[int, ...] = ()

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame."""
        return int(np.prod(self.shape, dtype=np.int64)) * ELEMENT_BITS[self.dtype] // 8

    @property
    def num_bytes(self) -> int:
        """Bytes of all frames, without what lies between them."""
        return self.frames * self.frame_bytes

    @property
    def end(self) -> int:
        """Byte address behind the last frame."""
        before = max(0, self.frames - 1) * (self.step_bytes or self.frame_bytes)
        return self.addr + before + min(1, self.frames) * self.frame_bytes

    def of(self, memory: np.ndarray) -> np.ndarray:
        """What the port shows of DRAM, (frames, bytes of a frame); not a copy."""
        shape = self.frames, self.frame_bytes
        if not self.num_bytes:
            return np.zeros(shape, np.uint8)
        step_bytes = self.step_bytes if self.frames > 1 else 0
        strides = step_bytes or self.frame_bytes, 1
        return np.ndarray(shape, np.uint8, memory, self.addr, strides)

    @property
    def axes_problem(self) -> str:
        """What is wrong with `axes`, or nothing."""
        known = range(len(self.shape))
        if not self.axes or sorted(self.axes) == list(known):
            return ""
        got, allowed = ("x".join(map(str, axes)) for axes in (self.axes, known))
        return f"got {got}, allowed is {allowed or 'none'}, in any order"

    def to_memory(self, frames: np.ndarray) -> np.ndarray:
        """Values by frame, (frames, ...), with axes as they lie in memory."""
        return frames.transpose(0, *(1 + axis for axis in self._axes))

    def from_memory(self, frames: np.ndarray) -> np.ndarray:
        """Values by frame as they lie in memory, (frames, any), in the order of the graph."""
        lying = frames.reshape(self.frames, *(self.shape[axis] for axis in self._axes))
        return lying.transpose(0, *(1 + self._axes.index(axis) for axis in range(len(self.shape))))

    @property
    def _axes(self) -> tuple[int, ...]:
        return self.axes or tuple(range(len(self.shape)))


@dataclass(frozen=True)
class Tap:
    """Where a tensor can be seen complete: just after an instruction has retired.

    Attributes
    ----------
    index : int
        Instruction index.
    tensor : str
        Graph name.
    addr : int
        Byte address in activation SRAM of the first element.
    shape : tuple of int
        Shape of the tensor.
    strides_bytes : tuple of int
    dtype : str
    frame : int
        Of which of the frames that begin with one paced load, from 0.
    """

    index: int
    tensor: str
    addr: int
    shape: tuple[int, ...]
    strides_bytes: tuple[int, ...]
    dtype: str = "f32"
    frame: int = 0


@dataclass(frozen=True)
class Stream:
    """How a frame loop meets real time.

    Attributes
    ----------
    frames : int
    period_s : float or None
        Time between frames; None where the input has no rate.
    paced : bool
        A frame is there only after ``(index + 1) * period_s``.
    together : int
        Frames that begin with one paced load; what is left over begins with the last one.
    """

    frames: int
    period_s: float | None
    paced: bool
    together: int = 1


@dataclass(frozen=True)
class Program:
    """Instructions with everything that a reader or a checker wants to know about them.

    Attributes
    ----------
    name : str
    instructions : tuple of Instruction
    layers : tuple of str
        Layer names; `layer_of` indexes them.
    layer_of : tuple of int
        Layer of each instruction, -1 for control.
    region_of_view : mapping of int to str
        For each ``view`` instruction, by index: the name of the region it points into.
    regions : tuple of Region
    taps : tuple of Tap
    inputs, outputs : tuple of Port
    stream : Stream
    """

    name: str
    instructions: tuple[Instruction, ...]
    layers: tuple[str, ...] = ()
    layer_of: tuple[int, ...] = ()
    region_of_view: Mapping[int, str] = field(default_factory=lambda: MappingProxyType({}))
    regions: tuple[Region, ...] = ()
    taps: tuple[Tap, ...] = ()
    inputs: tuple[Port, ...] = ()
    outputs: tuple[Port, ...] = ()
    stream: Stream = Stream(frames=1, period_s=None, paced=False)


@dataclass(frozen=True)
class DramImage:
    """Contents of DRAM before the first instruction.

    Attributes
    ----------
    data : ndarray of shape (bytes,), uint8
        The whole memory that the program may touch, inputs and outputs included (zero).
    """

    data: np.ndarray

    @functools.cached_property
    def sha256(self) -> str:
        """Hash of all of it."""
        return hashlib.sha256(self.data.data).hexdigest()
