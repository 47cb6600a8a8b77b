"""What the study rnnt_compression runs: every point by its key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = [
    "BITS",
    "CHIPS",
    "CHUNKS",
    "CODECS",
    "FEATURE_FRAMES",
    "FRAME_S",
    "RESIDENT_BYTES",
    "SPARSITIES",
    "WORKLOAD",
    "Point",
    "chunks_of",
    "codecs_of",
    "points",
    "preset_of",
    "scheme_key",
    "scheme_overrides",
]

WORKLOAD = "speech_rnnt_mlperf"
FEATURE_FRAMES = 64
"""Of 30 ms: 1.92 s, 32 frames of the model."""
BITS = (8, 5, 4)
SPARSITIES = (0.0, 0.5, 0.75)
CHUNKS = (1, 4, 16)
CODECS = ("bitmap", "zero_run", "lane_tans")
RESIDENT_BYTES = 1 << 26
FRAME_S = 0.06
"""Two feature frames."""
CHIPS = {
    "az1": (),
    "dense_npu": (),
    "az1_resident": (f"weight_sram.bytes={RESIDENT_BYTES}",),
}
"""By name in the tables: overrides of the preset that the name begins with."""


def preset_of(chip: str) -> str:
    """Preset that a chip of the study is made of."""
    return chip.removesuffix("_resident")


def codecs_of(chip: str) -> tuple[str, ...]:
    """Codecs to run on a chip; dense_npu decodes none, and where all stays one is enough."""
    return {"dense_npu": ("raw",), "az1_resident": ("bitmap",)}.get(chip, CODECS)


def chunks_of(chip: str) -> tuple[int, ...]:
    """Sizes of chunks to run on a chip; where all weights stay, they change little."""
    return (CHUNKS[0], CHUNKS[-1]) if chip == "az1_resident" else CHUNKS


@dataclass(frozen=True)
class Point:
    """One run."""

    chip: str
    codec: str
    bits: int
    sparsity: float
    chunk_frames: int

    @property
    def key(self) -> str:
        """In the names of figures."""
        scheme = scheme_key(self.bits, self.sparsity)
        return f"{self.chip}.{self.codec}.{scheme}.chunk{self.chunk_frames}"

    @property
    def overrides(self) -> tuple[str, ...]:
        """Of the workload."""
        return (
            *scheme_overrides(self.bits, self.sparsity),
            f"compression.default.codec={self.codec}",
            f"stream.chunk_frames={self.chunk_frames}",
        )


def scheme_key(bits: int, sparsity: float) -> str:
    """Return the part of a figure's name that says weight bits and sparsity."""
    return f"w{bits}_s{round(100 * sparsity)}"


def scheme_overrides(bits: int, sparsity: float) -> tuple[str, ...]:
    """Overrides that prune and quantize every matrix alike."""
    return (
        f"input.random.frames={FEATURE_FRAMES}",
        f"compression.default.weights={{bits: {bits}, scale: per_channel}}",
        f"compression.default.prune={{sparsity: {sparsity}}}",
    )


def points() -> Iterator[Point]:
    """Every run of the study, those that share codes one after another."""
    for bits in BITS:
        for sparsity in SPARSITIES:
            for chip in CHIPS:
                for codec in codecs_of(chip):
                    for chunk_frames in chunks_of(chip):
                        yield Point(chip, codec, bits, sparsity, chunk_frames)
