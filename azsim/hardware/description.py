"""What a chip is: the keys of a hardware YAML, each with its unit, range and kind.

A key is *structural* (a change recompiles the program) or *timing* (a change only replays the
trace).  Times that belong to DRAM are given in seconds and bytes per second and converted to
core cycles exactly, so that another clock does not change the speed of DRAM.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields, is_dataclass
from typing import Annotated, Any, ClassVar, Literal, get_type_hints

from pydantic import ConfigDict, Field

__all__ = [
    "STRUCTURAL",
    "ActivationSram",
    "Decoder",
    "Dram",
    "Hardware",
    "MacArray",
    "Sequencer",
    "VectorEngine",
    "WeightSram",
    "structural_keys",
]

STRUCTURAL = "structural"
_STRICT = ConfigDict(extra="forbid", strict=True)

Count = Annotated[int, Field(ge=1, le=65_536)]
Bytes = Annotated[int, Field(ge=1, le=1 << 32), STRUCTURAL]
Nanoseconds = Annotated[float, Field(ge=0, le=1e9)]


@dataclass(frozen=True)
class Dram:
    """DRAM behind one bus, shared burst by burst, round-robin, by three channels."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    bytes_per_s: Annotated[int, Field(ge=1, le=10**13)]
    """Peak transfer rate."""
    burst_bytes: Annotated[int, Field(ge=8, le=4096)]
    """Smallest transfer, a power of two; traffic counts whole bursts."""
    latency_ns: Nanoseconds
    """From a burst's request to its first byte, when the bus is free."""
    outstanding_bursts: Count
    """Requests that one channel may have under way."""
    row_bytes: Annotated[int, Field(ge=64, le=1 << 20)]
    """Bytes of one row; each bank has one row open."""
    row_miss_ns: Nanoseconds
    """Added to a burst whose row is not open in its bank."""
    refresh_interval_ns: Nanoseconds
    """A refresh begins each time this long has passed; 0 turns refresh off."""
    refresh_ns: Nanoseconds
    """How long a refresh blocks the bus."""
    banks: Annotated[int, Field(ge=1, le=1024)] = 1
    """Banks, each with an open row of its own; row `r` lies in bank `r mod banks`."""


@dataclass(frozen=True)
class Decoder:
    """Decompression between DRAM and weight SRAM, or between weight SRAM and the array."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    codecs: Annotated[tuple[str, ...], STRUCTURAL]
    """Codecs that the chip can decode; a tensor with another one is stored `raw`."""
    lanes: Annotated[int, Field(ge=1, le=256)]
    """Lanes that decode side by side; codecs that deal a block out to lanes get as many."""
    fifo_bursts: Count
    """Bursts buffered between DMA and lanes."""
    bus_bytes_per_cycle: Annotated[int, Field(ge=1, le=4096)]
    """What the bus from there to the lanes brings; all of a block passes over it."""
    at: Annotated[Literal["fill", "read"], STRUCTURAL] = "fill"
    """`fill`: blocks are decoded on their way into weight SRAM. `read`: a block whose entries can
    be told apart by column and lane (`csc`, with as many lanes as the array) lies in weight SRAM
    as it is, and a lane of the array takes one entry a cycle; any other is stored `raw` and lies
    there dense. Needs `mac.dataflow: outer` and a `mac.zero_skip` that skips weights."""


@dataclass(frozen=True)
class WeightSram:
    """Weight memory: dense packed codes, zeros refilled, or blocks as they are (`decoder.at`)."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    bytes: Bytes
    """Capacity, for pinned tensors, tile slots, scales and biases."""
    write_bytes_per_cycle: Count
    """Width of the decoder's write port."""


@dataclass(frozen=True)
class ActivationSram:
    """Activation memory."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    bytes: Bytes
    """Capacity."""


@dataclass(frozen=True)
class MacArray:
    """Output lanes that skip zero products."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    dataflow: Literal["inner", "outer"]
    """`inner`: a lane owns an output, windows run along K. `outer`: a lane scans its interleaved
    rows of the column of each activation."""
    lanes: Annotated[int, Field(ge=1, le=4096)]
    """Output lanes. With `decoder.at: read` a change needs another program, as a block's rows are
    dealt out to the lanes."""
    macs_per_lane: Annotated[int, Field(ge=1, le=256)]
    """Products a lane issues per cycle at 8-bit weights and 8-bit activations."""
    window: Annotated[int, Field(ge=1, le=1024)]
    """Weights a lane looks at per cycle at 8 bits."""
    queue_depth: Annotated[int, Field(ge=1, le=4096)]
    """Activation windows buffered per lane; how far lanes may drift apart."""
    zero_skip: Literal["none", "weights", "activations", "both"]
    """Which zeros save work."""
    accumulators: Annotated[int, Field(ge=64, le=65_536), STRUCTURAL]
    """int32 accumulators."""
    drain_lanes: Count
    """Accumulators drained per cycle, where no table and no division takes longer."""
    pipeline_cycles: Annotated[int, Field(ge=0, le=1024)]
    """Depth of the array's and the drain's pipeline."""


@dataclass(frozen=True)
class VectorEngine:
    """float32 lanes for everything that is not a matrix product."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    lanes: Count
    """Elements per cycle for an operation of one cycle."""
    pipeline_cycles: Annotated[int, Field(ge=0, le=1024)]
    """Depth of the pipeline."""
    divide_cycles: Count
    """Cycles per element and lane for division and square root; per group of a drain to codes."""
    table_cycles: Count
    """Cycles per element and lane for functions out of tables; per group of a drain through one."""


@dataclass(frozen=True)
class Sequencer:
    """In-order fetch; one in-order queue per engine."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    issue_cycles: Count
    """Cycles per instruction."""
    queue_entries: Count
    """Instructions that an engine's queue holds, the running one not counted."""


@dataclass(frozen=True)
class Hardware:
    """One chip."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    name: str
    """Name in reports."""
    source: str
    """Where the numbers come from; says which are our assumptions."""
    clock_hz: Annotated[int, Field(ge=1_000, le=100_000_000_000)]
    """Core clock."""
    dram: Dram
    decoder: Decoder
    weight_sram: WeightSram
    activation_sram: ActivationSram
    mac: MacArray
    vector: VectorEngine
    sequencer: Sequencer


@functools.cache
def structural_keys(kind: type[Any] = Hardware, prefix: str = "") -> tuple[str, ...]:
    """Dotted names of the keys whose change recompiles the program."""
    found: list[str] = []
    hints = get_type_hints(kind, include_extras=True)
    for entry in fields(kind):
        hint = hints[entry.name]
        inner = getattr(hint, "__origin__", hint)
        if is_dataclass(inner) and isinstance(inner, type):
            found += structural_keys(inner, f"{prefix}{entry.name}.")
        elif STRUCTURAL in getattr(hint, "__metadata__", ()):
            found.append(prefix + entry.name)
    return tuple(found)
