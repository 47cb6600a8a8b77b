"""What the study accuracy_vs_cost is made of, made anew: the corpus, and every model's weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from azsim.report.files import replaced_folder
from azsim.speech import engines
from azsim.speech.corpus import foreign_to_corpus
from azsim.speech.make import check_room, make_corpus
from azsim.speech.plan import SETS, Settings
from azsim.sweeps.processes import cores
from azsim.training import collection

__all__ = ["make_weights"]

_Progress = Callable[[str, int, int], None]


def make_weights(work: Path, progress: _Progress) -> Path:
    """Make corpus and weights in a folder; gives that of the weights.

    What is there already, whole, is not made again, so that this goes on where it was ended.

    Raises
    ------
    InputError
        If PyTorch or a synthesizer is missing, there is no room, or a training fails.
    """
    collection.check_installed()
    corpus, weights = work / "corpus", work / "weights"
    if not (corpus / "corpus.json").is_file():
        engines.check_installed()
        check_room(Settings(), corpus.absolute())
        with replaced_folder(corpus, foreign_to_corpus) as folder:
            make_corpus(folder, Settings(), progress, cores(), SETS)
    names = [model.name for model in collection.models()]

    def tell(_: str) -> None:
        there = sum((weights / f"{name}.npz").exists() for name in names)
        progress("training", there, len(names))

    collection.train_all(corpus, weights, jobs=cores(), tell=tell)
    return weights
