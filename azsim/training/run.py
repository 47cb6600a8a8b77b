"""From a recipe and a corpus to a file of weights."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from azsim.errors import InputError
from azsim.report.files import write_file
from azsim.training.recipe import Recipe
from azsim.training.train import Trained, Watch, train
from azsim.training.utterances import CorpusUtterances

__all__ = ["read_weights", "train_recipe", "write_weights"]

_WEIGHTS, _HISTORY = "weights.npz", "history.json"


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """Arrays of an ``.npz`` or ``.safetensors`` file, float32."""
    from azsim.inputs.tensors import read_npz, read_safetensors  # only here

    if not path.exists():
        raise InputError(f"{path}: no such file")
    reader = read_safetensors if path.suffix == ".safetensors" else read_npz
    return {name: np.asarray(array, np.float32) for name, array in reader(path).items()}


def write_weights(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write weights, whole or not at all; equal arrays give equal bytes."""
    data = io.BytesIO()
    np.savez_compressed(data, allow_pickle=False, **arrays)
    write_file(path, data.getvalue())


def train_recipe(
    recipe: Recipe,
    folder: Path,
    corpus: Path,
    output: Path,
    *,
    start: Path | None = None,
    teacher: Path | None = None,
    resume: bool = False,
    watch: Watch | None = None,
) -> Trained:
    """Train, and write ``weights.npz`` and ``history.json``.

    Parameters
    ----------
    recipe : Recipe
    folder : Path
        Where the recipe's own files lie.
    corpus : Path
        Of ``azsim corpus``.
    output : Path
        Folder of the results and of the checkpoint; made where it is missing.
    start : Path, optional
        Weights to begin with, in place of the recipe's.
    teacher : Path, optional
        Weights of the teacher, in place of the recipe's.
    resume : bool
        Go on from the checkpoint in `output`.
    watch : callable, optional

    Raises
    ------
    InputError
        If a file is missing or malformed, weights have other sizes than the recipe, or the folder
        cannot be written.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{output}: cannot be written, {error.strerror or error}") from None
    if start is None and recipe.start is not None:
        start = folder / recipe.start
    if recipe.teacher is None:
        teacher = None
    elif teacher is None:
        teacher = folder / recipe.teacher.weights
    trained = train(
        recipe,
        CorpusUtterances(corpus, "train", recipe.unit),
        CorpusUtterances(corpus, "development", recipe.unit),
        start=None if start is None else read_weights(start),
        teacher=None if teacher is None else read_weights(teacher),
        folder=output,
        resume=resume,
        watch=watch,
    )
    write_weights(output / _WEIGHTS, trained.arrays)
    document = {
        "recipe": recipe.name,
        "seconds": round(trained.seconds, 1),
        "history": [asdict(entry) for entry in trained.history],
    }
    write_file(output / _HISTORY, (json.dumps(document, indent=1) + "\n").encode())
    return trained
