"""When do bits per weight set the latency of a recurrent transducer, and when does skipping zeros?

MLPerf's RNN-T with 45.3 million random weights: bits x zeros x codec on chips that stream the
weights and on one that holds them, in chunks of 1, 4 and 16 frames.
"""  # noqa: D400 - a study starts with its question

from __future__ import annotations

import math
import multiprocessing
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from azsim.studies._rnnt_compression_points import (
    CHIPS,
    FRAME_S,
    WORKLOAD,
    Point,
    points,
    preset_of,
    scheme_key,
    scheme_overrides,
)
from azsim.studies._write import Figure, Progress, figures_text, write_study

__all__ = ["run", "sample"]

NAME = "rnnt_compression"
_OUTPUT = "encoded"


def run(directory: Path, progress: Callable[[str, int, int], None] | None = None) -> None:
    """Make the study anew: ``README.md``, ``data.json`` and plots in `directory`.

    Parameters
    ----------
    directory : Path
        Made if it is missing.
    progress : callable, optional
        ``progress(stage, done, total)``.

    Raises
    ------
    InputError
        If the directory cannot be written.
    """
    from azsim.studies._rnnt_compression_text import plots, readme

    every = list(points())
    figures = _measure(every, Progress(progress, len(every)))
    write_study(
        directory,
        {
            "README.md": readme(figures),
            "data.json": figures_text(NAME, figures, {}),
            **plots(figures),
        },
    )


def sample() -> Mapping[str, Figure]:
    """Compute a few of the figures anew, for a test to compare with the committed ones."""
    some = [Point("az1", "bitmap", 4, 0.75, 4)]
    return _measure(some, Progress(None, 0))


def _measure(some: Iterable[Point], steps: Progress) -> dict[str, Figure]:
    """Run the points, as many at a time as there are cores."""
    some = list(some)
    figures: dict[str, Figure] = {}
    # A process that was started anew holds no threads of compiled kernels.
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        schemes = {scheme_key(point.bits, point.sparsity): point for point in some}
        for key, figure in zip(schemes, pool.map(_accuracy, schemes.values()), strict=True):
            figures[f"weights.{key}.sqnr"] = figure
        for point, found in zip(some, pool.map(_figures, some), strict=True):
            figures |= found
            steps.step(point.key)
    return figures


def _accuracy(point: Point) -> Figure:
    """Signal to quantization noise of the encoder's output, by the evaluator; the same anywhere."""
    from azsim.evaluate import evaluate_stream
    from azsim.frontend.workload import load_workload
    from azsim.pipeline import prepare

    overrides = scheme_overrides(point.bits, point.sparsity)
    prepared = prepare(load_workload(WORKLOAD, (*overrides, "stream.chunk_frames=4")))
    found, wanted = (
        evaluate_stream(
            prepared.compressed.graph,
            prepared.frames,
            prepared.state,
            prepared.initial_state,
            compressed,
            [_OUTPUT],
        )[0][_OUTPUT]
        for compressed in (prepared.compressed, None)
    )
    noise = np.square(found.astype(np.float64) - wanted).sum()
    power = np.square(wanted.astype(np.float64)).sum()
    return Figure(round(10 * math.log10(power / noise), 1) + 0.0, "dB")  # never -0.0


def _figures(point: Point) -> dict[str, Figure]:
    from azsim.frontend.workload import load_workload
    from azsim.hardware import load_hardware
    from azsim.pipeline import run as simulate

    chip = load_hardware(preset_of(point.chip), CHIPS[point.chip])
    result = simulate(load_workload(WORKLOAD, point.overrides), chip, timeline=False, checked=False)
    stats, bounds = result.statistics, result.bounds
    latency, factor = stats.chunk_latency_s, stats.real_time_factor
    assert latency is not None
    assert factor is not None
    streamed = stats.cycles - stats.startup_cycles
    start = point.key
    stored = sum(weight.encoded_bytes + weight.scale_bytes for weight in result.weights)
    weights = sum(weight.weights for weight in result.weights)
    return {
        f"{start}.cycles": Figure(stats.cycles, "cycles"),
        f"{start}.startup_cycles": Figure(stats.startup_cycles, "cycles"),
        f"{start}.frame_ms": Figure(
            round(1e3 * streamed / chip.clock_hz / stats.frames, 4), "ms of work a frame"
        ),
        f"{start}.chunk_ms_p50": Figure(round(1e3 * latency["p50"], 4), "ms"),
        f"{start}.chunk_ms_max": Figure(round(1e3 * latency["max"], 4), "ms"),
        f"{start}.real_time_factor": Figure(round(factor, 4), "busy time / audio time"),
        f"{start}.dram_bytes_per_frame": Figure(
            round(stats.weight_read_bytes / stats.frames), "bytes of weights a frame"
        ),
        f"{start}.dram_mb_per_s": Figure(
            round(
                1e-6 * (stats.dram_read_bytes + stats.dram_write_bytes) / (stats.frames * FRAME_S),
                2,
            ),
            "MB per second of audio",
        ),
        f"{start}.weight_reuse": Figure(round(stats.weight_reuse or 0.0, 3), "MAC/byte"),
        f"{start}.weight_sram": Figure(result.sram_peak_bytes["weight"], "bytes"),
        f"{start}.activation_sram": Figure(result.sram_peak_bytes["activation"], "bytes"),
        f"{start}.bits_per_weight": Figure(round(8 * stored / weights, 3), "bits/weight"),
        **{
            f"{start}.bound_{name}": Figure(cycles, "cycles")
            for name, cycles in bounds.by_engine.items()
        },
    }
