"""What do fewer bits and more zeros cost in wrong words, and what do they save?

The project's own recogniser, 0.5 million trained weights, in words and in characters: schemes that
are applied to trained weights, and schemes that the weights were trained for, heard by the chip in
2,000 utterances and timed on az1.
"""  # noqa: D400 - a study starts with its question

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from azsim.studies._write import Figure

__all__ = ["run", "run_anew", "sample"]

# What computes is imported where it is used: the list of studies is quick, what they run is not.


def run(directory: Path, progress: Callable[[str, int, int], None] | None = None) -> None:
    """Make the study anew: ``README.md``, ``data.json``, ``unknown_words.csv`` and plots.

    Parameters
    ----------
    directory : Path
        Made if it is missing.
    progress : callable, optional
        ``progress(stage, done, total)``.

    Raises
    ------
    InputError
        If weights or a synthesizer are missing, or the directory cannot be written.
    """
    from azsim.studies._accuracy_vs_cost.audio import test_corpus
    from azsim.studies._accuracy_vs_cost.measure import study
    from azsim.studies._accuracy_vs_cost.rows import rows, weights_directory
    from azsim.sweeps.processes import cores

    some = rows(weights_directory())
    audio = test_corpus(cores(), progress or (lambda stage, done, total: None))
    study(directory, weights_directory(), audio, some, progress)


def run_anew(
    directory: Path, work: Path, progress: Callable[[str, int, int], None] | None = None
) -> None:
    """Make the corpus, train every model, and make the study of them.

    Parameters
    ----------
    directory : Path
        Of the study.
    work : Path
        Of corpus and weights; what is there already is not made again.
    progress : callable, optional

    Raises
    ------
    InputError
        As `run`, or if PyTorch is missing or a training fails.
    """
    from azsim.studies._accuracy_vs_cost.anew import make_weights
    from azsim.studies._accuracy_vs_cost.audio import test_corpus
    from azsim.studies._accuracy_vs_cost.measure import study
    from azsim.studies._accuracy_vs_cost.rows import rows
    from azsim.sweeps.processes import cores

    told = progress or (lambda stage, done, total: None)
    weights = make_weights(work, told)
    study(directory, weights, test_corpus(cores(), told), rows(weights), progress)


def sample() -> Mapping[str, Figure]:
    """Compute a few of the figures anew, for a test to compare with the committed ones."""
    from azsim.studies._accuracy_vs_cost.jobs import cost
    from azsim.studies._accuracy_vs_cost.rows import Row, weights_directory

    return cost(Row("word", "trained", "w3"), weights_directory())
