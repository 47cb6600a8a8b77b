"""How far is a compiled program from the least time that its work can take?

Every shipped workload on az1 and az2: cycles against the lower bounds on necessary work, and where
the cycles between them went.
"""  # noqa: D400 - a study starts with its question

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from azsim.studies._bound_gap_runs import CHIPS, WORKLOADS, Gap, gaps_to_csv, measure_gap
from azsim.studies._write import Figure, Progress, figures_text, write_study

__all__ = ["run", "sample"]

NAME = "bound_gap"
_SAMPLE = ("vad_silero", "eie_layers_small")


def run(directory: Path, progress: Callable[[str, int, int], None] | None = None) -> None:
    """Make the study anew: ``README.md``, ``data.json``, ``gaps.csv`` and a plot in `directory`.

    Takes up to 4 GB of memory.

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
    FetchError
        If a model or recording cannot be had.
    """
    from azsim.studies._bound_gap_models import MODELS, measure_models
    from azsim.studies._bound_gap_text import plots, readme

    steps = Progress(progress, (len(WORKLOADS) + len(MODELS)) * len(CHIPS))
    figures, gaps, files = _measure(WORKLOADS, steps)
    figures |= measure_models(steps.step)
    write_study(
        directory,
        {
            "README.md": readme(figures, gaps),
            "data.json": figures_text(NAME, figures, files),
            "gaps.csv": gaps_to_csv(gaps),
            **plots(figures),
        },
    )


def sample() -> Mapping[str, Figure]:
    """Compute the figures of the small workloads anew, for a test to compare with the others."""
    return _measure(_SAMPLE, Progress(None, 0))[0]


def _measure(
    workloads: Sequence[str], steps: Progress
) -> tuple[dict[str, Figure], list[Gap], dict[str, str]]:
    figures: dict[str, Figure] = {}
    gaps: list[Gap] = []
    files: dict[str, str] = {}
    for workload in workloads:
        for chip in CHIPS:
            found, longest, read = measure_gap(workload, chip)
            figures |= found
            gaps += longest
            files |= read
            steps.step(f"{workload} on {chip}")
    return figures, gaps, files
