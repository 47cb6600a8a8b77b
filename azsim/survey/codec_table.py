"""Every codec on every tensor: size, distance to entropy, speed of the decoder, its hardware."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np

from azsim.codecs import (
    HardwareCost,
    block_hardware_cost,
    block_lane_steps,
    codec_names,
    codec_parameters,
    decode_block,
    encode_block,
)
from azsim.compiler.loading import decoder_cycles
from azsim.compiler.tile import element_width, packed_bytes
from azsim.compression.compress import entropy_bits
from azsim.errors import CodecError, InputError, unknown
from azsim.hardware.description import Hardware
from azsim.survey.tensors import CodeMatrix

__all__ = ["CodecFigures", "CodecVariant", "codec_table", "codec_variants", "records"]

_WARM_UP_WEIGHTS = 256
_ENOUGH_SECONDS, _LEAST_SECONDS = 0.05, 0.01  # so at most five calls

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class CodecVariant:
    """A codec with parameters: ``bitmap``, ``bitmap+palette``, ``nm+n=2+m=4``."""

    label: str
    name: str
    parameters: Mapping[str, int | bool]


@dataclass(frozen=True)
class CodecFigures:
    """One codec on one tensor, which is one block.

    Attributes
    ----------
    tensor, codec : str
    weights : int
    bits : int
        Of a code.
    zeros : float
        Share of zero codes.
    entropy_bits : float
        Order-0 entropy of the codes (bits per weight).
    refused : str or None
        Why the codec does not take the tensor; everything below is None then.
    encoded_bytes : int or None
        The whole block: header, tables, everything.
    bits_per_weight : float or None
    decode_weights_per_cycle : float or None
        Weights over `decode_cycles` or `dram_cycles`, whichever are more.
    bound_by : str or None
        ``dram``, if these are more; else ``lanes``, ``bus`` or ``port``: the largest of the three
        that follow, the first among equals.
    decode_cycles : int or None
        Lanes, bus and write port together, all of the block in the FIFO.
    lane_cycles : int or None
        Steps of the busiest decoder lane, from the stream.
    bus_cycles : int or None
        Block over the bus between FIFO and lanes.
    port_cycles : int or None
        Packed codes through the write port of the weight SRAM.
    dram_cycles : float or None
        Block over the DRAM's peak rate.
    on_chip : bool
        Whether the chip decodes this codec; the times assume a decoder as wide as the chip's.
    encode_weights_per_s, decode_weights_per_s : float or None
        Of azsim's encoder and decoder on this machine; None if they were not measured.
    cost : HardwareCost or None
        Rough size of the decoder, all lanes.
    """

    tensor: str
    codec: str
    weights: int
    bits: int
    zeros: float
    entropy_bits: float
    on_chip: bool
    refused: str | None = None
    encoded_bytes: int | None = None
    bits_per_weight: float | None = None
    decode_weights_per_cycle: float | None = None
    bound_by: str | None = None
    decode_cycles: int | None = None
    lane_cycles: int | None = None
    bus_cycles: int | None = None
    port_cycles: int | None = None
    dram_cycles: float | None = None
    encode_weights_per_s: float | None = None
    decode_weights_per_s: float | None = None
    cost: HardwareCost | None = None


def codec_variants(labels: Iterable[str] = ()) -> tuple[CodecVariant, ...]:
    """Codecs by label, each once; all codecs with their defaults if there is no label.

    Parameters
    ----------
    labels : iterable of str
        ``NAME``, or ``NAME+PARAMETER`` and ``NAME+PARAMETER=INTEGER`` for parameters.

    Raises
    ------
    InputError
        If a codec or a parameter is not known, or a value is no integer; all problems at once.
    """
    found, problems = {}, []
    for label in list(labels) or codec_names():
        name, *settings = label.split("+")
        if name not in codec_names():
            problems.append(f"codec {label}: {unknown('codec', name, codec_names())}")
            continue
        parameters: dict[str, int | bool] = {}
        for setting in settings:
            key, equals, value = setting.partition("=")
            if key not in codec_parameters(name):
                sentence = unknown("parameter", key, codec_parameters(name))
                problems.append(f"codec {label}: {sentence}")
            elif equals and not value.isdecimal():
                problems.append(f"codec {label}: {key}={value}, expected an integer")
            else:
                parameters[key] = int(value) if equals else True
        found[label] = CodecVariant(label, name, parameters)
    if problems:
        raise InputError("\n".join(problems))
    return tuple(found.values())


def codec_table(
    matrices: Iterable[CodeMatrix],
    hardware: Hardware,
    variants: Iterable[CodecVariant] | None = None,
    *,
    speed: bool = True,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[CodecFigures]:
    """Encode every matrix as one block with every codec, decode it again, and measure.

    Parameters
    ----------
    matrices : iterable of CodeMatrix
    hardware : Hardware
        Gives lanes, write port, DRAM rate and clock.
    variants : iterable of CodecVariant, optional
        By default all codecs.
    speed : bool
        Also measure how fast azsim encodes and decodes.
    progress : callable, optional
        ``progress(stage, done, total)``.

    Returns
    -------
    list of CodecFigures
        Tensor after tensor.

    Raises
    ------
    CodecError
        If a block does not decode to what was encoded.
    """
    matrices = list(matrices)
    variants = codec_variants() if variants is None else list(variants)
    rows: list[CodecFigures] = []
    for matrix in matrices:
        for variant in variants:
            if progress is not None:
                progress("encode and decode", len(rows), len(matrices) * len(variants))
            rows.append(_measured(matrix, variant, hardware, speed))
    return rows


def _measured(
    matrix: CodeMatrix, variant: CodecVariant, hardware: Hardware, speed: bool
) -> CodecFigures:
    count = matrix.codes.size
    common: dict[str, Any] = {
        "tensor": matrix.name,
        "codec": variant.label,
        "weights": count,
        "bits": matrix.bits,
        "zeros": 1 - np.count_nonzero(matrix.codes) / count,
        "entropy_bits": entropy_bits(matrix.codes),
        "on_chip": variant.name in hardware.decoder.codecs,
    }
    try:
        if speed:  # a first call compiles; a single row lies in memory as no other matrix does
            rows = max(2, _WARM_UP_WEIGHTS // matrix.codes.shape[1])
            decode_block(_encode(matrix.codes[:rows], matrix.bits, variant))
        block, encode_s = _timed(lambda: _encode(matrix.codes, matrix.bits, variant), speed)
    except CodecError as error:
        return CodecFigures(**common, refused=str(error))
    (decoded, _), decode_s = _timed(lambda: decode_block(block), speed)
    if not np.array_equal(decoded, matrix.codes.reshape(-1)):
        raise CodecError(f"codec {variant.label}: {matrix.name} does not decode to its codes")
    cycles = _cycles(matrix, block, hardware)
    together = decoder_cycles(block, matrix.codes.shape, element_width(matrix.bits), hardware)
    bound_by = max(("lanes", "bus", "port"), key=lambda part: cycles[part])
    return CodecFigures(
        **common,
        encoded_bytes=len(block),
        bits_per_weight=8 * len(block) / count,
        decode_weights_per_cycle=count / max(together, cycles["dram"]),
        bound_by="dram" if cycles["dram"] > together else bound_by,
        decode_cycles=together,
        lane_cycles=int(cycles["lanes"]),
        bus_cycles=int(cycles["bus"]),
        port_cycles=int(cycles["port"]),
        dram_cycles=cycles["dram"],
        encode_weights_per_s=count / encode_s if speed else None,
        decode_weights_per_s=count / decode_s if speed else None,
        cost=block_hardware_cost(block, hardware.decoder.lanes),
    )


def _encode(codes: np.ndarray, bits: int, variant: CodecVariant) -> bytes:
    columns = max(1, codes.shape[1])
    return encode_block(variant.name, codes, bits, columns=columns, **variant.parameters)


def _cycles(matrix: CodeMatrix, block: bytes, hardware: Hardware) -> dict[str, float]:
    """Cycles that each part of the way into weight SRAM needs by itself."""
    rows, columns = matrix.codes.shape
    dense_bytes = packed_bytes(rows, columns, element_width(matrix.bits))
    dram_bytes_per_cycle = hardware.dram.bytes_per_s / hardware.clock_hz
    return {
        "lanes": block_lane_steps(block, hardware.decoder.lanes).most_steps,
        "bus": math.ceil(len(block) / hardware.decoder.bus_bytes_per_cycle),
        "port": math.ceil(dense_bytes / hardware.weight_sram.write_bytes_per_cycle),
        "dram": len(block) / dram_bytes_per_cycle,
    }


def _timed(call: Callable[[], _Result], is_repeated: bool) -> tuple[_Result, float]:
    """Result, and the shortest time of a few calls (seconds); one call if it is slow."""
    shortest, spent = math.inf, 0.0
    while True:
        begin = time.perf_counter()
        result = call()
        elapsed = time.perf_counter() - begin
        # Clocks have a grain; nothing takes no time.
        shortest, spent = min(shortest, max(elapsed, 1e-9)), spent + max(elapsed, _LEAST_SECONDS)
        if not is_repeated or spent >= _ENOUGH_SECONDS:
            return result, shortest


def records(rows: Iterable[CodecFigures]) -> list[dict[str, Any]]:
    """Rows as flat mappings, for JSON and CSV; the decoder's size has keys of its own."""
    found = []
    for row in rows:
        record = asdict(row)
        cost = record.pop("cost") or dict.fromkeys(asdict(HardwareCost()))
        found.append({**record, **{f"decoder_{key}": value for key, value in cost.items()}})
    return found
