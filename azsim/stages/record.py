"""Record: what a reader wants beside the figures: timeline, notes, provenance."""

from __future__ import annotations

import functools
import hashlib
import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib import metadata

import numpy as np

from azsim.compiler.compile import Compiled
from azsim.compiler.stored import used_codec
from azsim.frontend.workload import Workload
from azsim.hardware.description import Hardware
from azsim.hardware.plan import changed_keys
from azsim.ir import CodecChoice, CompressedWeight
from azsim.isa.encode import encode_program
from azsim.isa.program import DramImage, Program
from azsim.machine.engines.clock import ENGINES
from azsim.machine.trace import Trace
from azsim.sim.result import Timeline
from azsim.sim.timing import Timing
from azsim.stages.decide import label_hashes
from azsim.stages.prepare import Prepared
from azsim.stages.transcribe import unit_hashes

__all__ = [
    "array_cycles",
    "kernel_provenance",
    "notes",
    "provenance",
    "sram_capacity_bytes",
    "sram_map",
    "sram_peak_bytes",
    "timeline",
]


def timeline(trace: Trace, timing: Timing, program: Program, hardware: Hardware) -> Timeline:
    """Events of the engines."""
    layer_of = np.array(program.layer_of or [-1] * len(program.instructions))
    mnemonics = sorted({site.mnemonic for site in trace.sites})
    mnemonic = np.array([mnemonics.index(site.mnemonic) for site in trace.sites])
    index = np.array([site.index for site in trace.sites])[timing.site]
    keep = timing.engine < len(ENGINES)
    return Timeline(
        engine=timing.engine[keep],
        engines=ENGINES,
        mnemonic=tuple(mnemonics),
        layer=program.layers,
        mnemonic_of=mnemonic[timing.site][keep],
        layer_of=layer_of[index][keep],
        start=timing.start[keep],
        end=timing.end[keep],
        dram_bytes=timing.bursts[keep] * hardware.dram.burst_bytes,
    )


def array_cycles(
    trace: Trace, timing: Timing, compiled: Compiled, hardware: Hardware
) -> dict[str, float]:
    """The array's own time for each weight in the whole run, its pipeline not counted."""
    weight_of = {
        tile.name: weight for weight, tiles in compiled.plan.tiles.items() for tile in tiles
    }
    regions = [region for region in compiled.program.regions if region.space == "weight"]
    found: dict[str, float] = {}
    for number, site in enumerate(trace.sites):
        if site.mnemonic != "mac_matmul" or site.views["src2"].space != "weight":
            continue
        addr = site.views["src2"].addr
        name = next(
            region.name
            for region in regions
            if region.first <= site.index <= region.last
            and region.start_bytes <= addr < region.start_bytes + region.size_bytes
        )
        weight = weight_of[name.partition("@")[0]]
        mine = timing.work[timing.site == number]
        cycles = int(mine.sum()) - len(mine) * hardware.mac.pipeline_cycles
        found[weight] = found.get(weight, 0.0) + cycles
    return found


def notes(
    prepared: Prepared, compiled: Compiled, hardware: Hardware, planned: Hardware
) -> tuple[str, ...]:
    """Sentences on what a reader should know of the run."""
    sentences = list(prepared.notes)
    chosen = [compiled.compressed.weights[weight.name].codec for weight in compiled.weights]
    raw = CodecChoice("raw")
    replaced = [codec for codec in chosen if used_codec(codec, hardware) == raw != codec]
    if replaced:
        names = ", ".join(sorted({_label(codec) for codec in replaced}))
        sentences.append(
            f"{len(replaced)} tensors ask for {names}, which this chip cannot decode; "
            "its image holds raw"
        )
    if len(prepared.parts) > 1:
        sentences.append(
            f"{len(prepared.parts)} utterances follow each other; before each the state is loaded "
            "anew, and weights that stay on the chip are loaded once"
        )
    split = [name for name, weight in prepared.compressed.weights.items() if _is_split(weight)]
    if split:
        sentences.append(f"K is split so that int32 holds every sum: {', '.join(split)}")
    if changed := changed_keys(planned, hardware):
        values = ", ".join(f"{key} = {value}" for key, (value, _) in changed.items())
        sentences.append(
            f"the compiler planned with {values}; --replan plans with the values that were set"
        )
    return tuple(sentences)


def _label(codec: CodecChoice) -> str:
    """Name of a codec, as ``azsim codecs`` writes it where a palette is what makes it another."""
    return f"{codec.name}+palette" if codec.name == "raw" else codec.name


def _is_split(weight: CompressedWeight) -> bool:
    """Whether K was cut because one int32 accumulator could not be proven to hold the sum."""
    return weight.scale_kind != "per_group" and len(weight.segments) > 2


def provenance(
    workload: Workload,
    hardware: Hardware,
    planned: Hardware,
    prepared: Prepared,
    compiled: Compiled,
    seconds: Mapping[str, float],
) -> dict[str, object]:
    """Where everything came from: hashes, versions, the whole hardware description."""
    return {
        "workload": {
            "name": workload.name,
            "file": workload.source.path.name,
            "sha256": workload.source.sha256,
            "overrides": list(workload.source.overrides),
        },
        "hardware": asdict(hardware),
        # Timing keys that have other values here than those that the compiler took.
        "planned_with": {key: value for key, (value, _) in changed_keys(planned, hardware).items()},
        "files_sha256": {
            **prepared.files,
            **label_hashes(workload),
            **unit_hashes(workload),
        },
        **asdict(prepared.chunks),
        "chunks": prepared.stream.frames,
        "front_end": prepared.front_end and asdict(prepared.front_end),
        "program_instructions": len(compiled.program.instructions),
        "dram_image_sha256": compiled.image.sha256,
        **_versions_and_times(seconds),
    }


def kernel_provenance(
    program: Program, image: DramImage, hardware: Hardware, seconds: Mapping[str, float]
) -> dict[str, object]:
    """As `provenance`, for a program written by hand; its image holds its data."""
    return {
        "program": {
            "name": program.name,
            "words_sha256": hashlib.sha256(encode_program(program).tobytes()).hexdigest(),
        },
        "hardware": asdict(hardware),
        "dram_image_sha256": image.sha256,
        **_versions_and_times(seconds),
    }


def _versions_and_times(seconds: Mapping[str, float]) -> dict[str, object]:
    return {
        "versions": {
            "azsim": _version("azsim"),
            "numpy": np.__version__,
            "numba": _version("numba"),
            "python": platform.python_version(),
        },
        "wall_clock_s": {stage: round(value, 4) for stage, value in seconds.items()},
    }


@functools.cache
def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"


def sram_map(compiled: Compiled) -> tuple[tuple[str, str, int, int, int, int], ...]:
    """Regions of both SRAMs: memory, name, start, size, first and last instruction.

    Of what lies side by side to come in one transfer, the parts are there, and not the whole.
    """
    storages = compiled.schedule.storages
    wholes = {one.whole for one in storages.values() if one.within is not None}
    return tuple(
        (
            region.space,
            region.name,
            region.start_bytes,
            region.size_bytes,
            region.first,
            region.last,
        )
        for region in compiled.program.regions
        if region.space != "dram" and region.name not in wholes
    )


def sram_peak_bytes(compiled: Compiled) -> dict[str, int]:
    """Highest used byte of each SRAM."""
    return {space: compiled.allocation.peak_bytes[space] for space in ("weight", "activation")}


def sram_capacity_bytes(hardware: Hardware) -> dict[str, int]:
    """Bytes of each SRAM."""
    return {"weight": hardware.weight_sram.bytes, "activation": hardware.activation_sram.bytes}
