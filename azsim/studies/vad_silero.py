"""How far can Silero VAD be compressed without retraining, and what does the chip gain?

Bits x sparsity x codec on a trained voice activity detector: accuracy against onnxruntime on one
minute of speech; cycles, DRAM bytes and bits per weight on four chips for one second.
"""  # noqa: D400 - a study starts with its question

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from azsim.studies._vad_silero_points import (
    ALONE,
    BITS,
    CHIPS,
    CODECS,
    GRID,
    MIXED,
    OTHERS,
    SPARSITIES,
    Scheme,
    codecs_of,
    grid_key,
    scheme,
)
from azsim.studies._write import Figure, Progress, figures_text, write_study

if TYPE_CHECKING:
    from azsim.studies._simulate import Simulated, Yardstick

__all__ = ["run", "sample"]

# `_simulate` is imported where it is used: the list of studies is quick, what they run is not.

NAME = "vad_silero"
_LONG, _SHORT = "vad_silero_60s", "vad_silero"
_OUTPUT = "speech_probs"
_THRESHOLD = 0.5
_DIGITS = 4  # what is left of onnxruntime's answers on any host: its last bits depend on it


def run(directory: Path, progress: Callable[[str, int, int], None] | None = None) -> None:
    """Make the study anew: ``README.md``, ``data.json`` and four plots in `directory`.

    Parameters
    ----------
    directory : Path
        Made if it is missing.
    progress : callable, optional
        ``progress(stage, done, total)``.

    Raises
    ------
    InputError
        If onnxruntime is missing, or the directory cannot be written.
    FetchError
        If model or recordings cannot be had.
    """
    from azsim.studies._simulate import read_files
    from azsim.studies._vad_silero_plots import plots
    from azsim.studies._vad_silero_text import readme

    yardstick = _yardstick()
    schemes = [*GRID.values(), *OTHERS, *MIXED, *ALONE.values()]
    points = [(chip, codec) for chip in CHIPS for codec in codecs_of(chip)]
    runs = len(schemes) + len(points) * (1 + len(GRID))
    steps = Progress(progress, runs)
    figures = _yardstick_figures(yardstick)
    figures |= _accuracy(schemes, yardstick, steps)
    figures |= _independence(points, steps)
    figures |= _chips([(b, s) for b in BITS for s in SPARSITIES], points, steps)
    files = {**read_files(_SHORT), **yardstick.files}
    write_study(
        directory,
        {
            "README.md": readme(figures, files),
            "data.json": figures_text(NAME, figures, files),
            **plots(figures),
        },
    )


def sample() -> Mapping[str, Figure]:
    """Compute a few of the figures anew, for a test to compare with the committed ones."""
    yardstick = _yardstick()
    steps = Progress(None, 0)
    figures = _yardstick_figures(yardstick)
    figures |= _accuracy([scheme(8, 0.0), scheme(8, 0.5)], yardstick, steps)
    points = [("az1", "bitmap"), ("az1_lite", "zero_run"), ("dense_npu", "raw")]
    return figures | _chips([(8, 0.5), (3, 0.0)], points, steps)


def _yardstick() -> Yardstick:
    from azsim.studies._simulate import float_answers

    return float_answers(_LONG, _OUTPUT)


def _yardstick_figures(yardstick: Yardstick) -> dict[str, Figure]:
    speech = float((yardstick.output > _THRESHOLD).mean())
    return {
        "yardstick.frames": Figure(len(yardstick.output), "frames"),
        "yardstick.speech": Figure(round(100 * speech, 2), "% of frames"),
    }


def _accuracy(
    schemes: Iterable[Scheme], yardstick: Yardstick, steps: Progress
) -> dict[str, Figure]:
    """Errors of the speech probability over the long recording, on az1."""
    from azsim.studies._simulate import errors, simulate

    figures = {}
    for point in schemes:
        result = simulate(_LONG, "az1", point.overrides, _OUTPUT, timed=False)
        found = errors(result.output, yardstick.output, _THRESHOLD)
        start = f"accuracy.{point.key}"
        for key in ("mean", "p99", "max"):
            figures[f"{start}.{key}_abs_error"] = Figure(round(found[key], _DIGITS), "probability")
        figures[f"{start}.decision_agreement"] = Figure(
            round(100 * found["agreement"], 2), "% of frames"
        )
        figures[f"{start}.speech"] = Figure(round(100 * found["positive"], 2), "% of frames")
        figures[f"{start}.bits_per_weight"] = Figure(round(result.stored_bits, 3), "bits/weight")
        steps.step("accuracy")
    return figures


def _independence(points: Iterable[tuple[str, str]], steps: Progress) -> dict[str, Figure]:
    """Run one scheme over the long recording on every chip with every codec; compare the bits."""
    from azsim.studies._simulate import simulate

    found = []
    for chip, codec in points:
        overrides = (*scheme(8, 0.5).overrides, f"compression.default.codec={CODECS[codec]}")
        result = simulate(_LONG, chip, overrides, _OUTPUT, timed=False)
        found.append(hashlib.sha256(result.output.tobytes()).hexdigest())
        steps.step("same bits")
    return {
        "independence.60s.runs": Figure(len(found), "runs"),
        "independence.60s.different_outputs": Figure(len(set(found)), "outputs"),
    }


def _chips(
    schemes: Iterable[tuple[int, float]], points: Iterable[tuple[str, str]], steps: Progress
) -> dict[str, Figure]:
    """Cycles, traffic and size for the short recording; also whether the bits stay the same."""
    from azsim.studies._simulate import simulate

    figures: dict[str, Figure] = {}
    points = list(points)
    for bits, sparsity in schemes:
        key = grid_key(bits, sparsity)
        results = []
        for chip, codec in points:
            override = f"compression.default.codec={CODECS[codec]}"
            overrides = (*scheme(bits, sparsity).overrides, override)
            results.append(simulate(_SHORT, chip, overrides, _OUTPUT, timed=True))
            figures |= _chip_figures(f"chips.{chip}.{codec}.{key}", results[-1])
            steps.step("chips")
        zeros, entropy = results[0].zeros, results[0].entropy_bits
        outputs = {result.output.tobytes() for result in results}
        figures[f"weights.{key}.zeros"] = Figure(round(100 * zeros, 2), "% of weights")
        figures[f"weights.{key}.entropy"] = Figure(round(entropy, 3), "bits/weight")
        figures[f"independence.1s.{key}.different_outputs"] = Figure(len(outputs), "outputs")
    return figures


def _chip_figures(start: str, result: Simulated) -> dict[str, Figure]:
    measured = result.statistics
    assert measured is not None
    traffic = measured.dram_read_bytes + measured.dram_write_bytes
    return {
        f"{start}.cycles": Figure(measured.cycles, "cycles"),
        f"{start}.startup_cycles": Figure(measured.startup_cycles, "cycles"),
        f"{start}.dram_bytes": Figure(traffic, "bytes"),
        f"{start}.bits_per_weight": Figure(round(result.stored_bits, 3), "bits/weight"),
    }
