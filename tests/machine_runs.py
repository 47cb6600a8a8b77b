"""Lines of assembly, run on a small chip."""

from __future__ import annotations

import numpy as np

from azsim.codecs import codec_names
from azsim.hardware.description import Hardware
from azsim.isa import assembly
from azsim.isa.program import DramImage
from azsim.sim.execute import Execution, execute
from compiled import chip

__all__ = ["CHIP", "INPUT", "OUT", "computed", "run", "view"]

F = np.float32
CHIP = chip(
    weight_sram__bytes=4096,
    activation_sram__bytes=8192,
    mac__accumulators=256,
    decoder__codecs=codec_names(),
)
RNG = np.random.default_rng(7)
INPUT = RNG.standard_normal(512).astype(F)


def view(
    number: int, space: str, dtype: str, addr: int, rows: int = 1, cols: int = 1,
    row_stride: int | None = None, col_stride: int = 1, region: str | None = None,
) -> str:  # fmt: skip
    """A ``view`` instruction; rows follow one another unless told."""
    stride = cols if row_stride is None else row_stride
    return (
        f"view view=v{number} space={space} dtype={dtype} addr={addr:#x} rows={rows} cols={cols} "
        f"row_stride={stride} col_stride={col_stride}" + (f" region={region}" if region else "")
    )


def run(*lines: str, image: np.ndarray | None = None, hardware: Hardware = CHIP) -> Execution:
    """Execute lines of assembly; the image begins with `INPUT` unless one is given."""
    if image is None:
        image = np.zeros(8192, np.uint8)
        image[: INPUT.nbytes] = INPUT.view(np.uint8)
    return execute(assembly.parse("\n".join([*lines, "halt"])), DramImage(image), hardware)


OUT = ".output y addr=0x1000 shape={} frames=1"


def computed(
    *lines: str, rows: int, cols: int, dtype: str = "f32", image: np.ndarray | None = None,
    addr: int = 0x400,
) -> np.ndarray:  # fmt: skip
    """Execute lines, store the matrix at an activation address and return it."""
    kind = np.dtype(
        {"f32": F, "i32": np.int32, "i16": np.int16, "i8": np.int8, "u8": np.uint8}[dtype]
    )
    size = kind.itemsize
    words = -(-rows * cols * size // 4)
    result = run(
        OUT.format(words),
        view(200, "activation", dtype, addr, rows, cols),
        view(201, "dram", dtype, 0x1000, rows, cols),
        *lines,
        "store dst=v201 src=v200",
        image=image,
    ).outputs["y"]
    return result.reshape(-1).view(kind)[: rows * cols].reshape(rows, cols)
