"""The command ``azsim train`` where PyTorch is not installed, and what it is given."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from azsim.cli import main
from azsim.training.collection import CONTROLS, models
from azsim.training.recipe import Compression, load_recipe


@pytest.fixture
def without_torch(monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in [name for name in sys.modules if name.startswith("azsim.training.")]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.usefixtures("without_torch")
@pytest.mark.parametrize("recipe", ["float", "all"])
def test_training_says_what_it_needs(tmp_path: Path, capsys: Any, recipe: str) -> None:
    output = tmp_path / "out"
    code = main(["train", recipe, "--corpus", str(tmp_path), "-o", str(output)])
    assert code == 2
    assert capsys.readouterr().err == (
        'azsim: error: training needs PyTorch, which is not installed; pip install "azsim[train]"\n'
    )
    assert not output.exists()


def test_unknown_recipe(tmp_path: Path, capsys: Any) -> None:
    assert main(["train", "w33", "--corpus", str(tmp_path)]) == 2
    assert "unknown recipe 'w33', did you mean 'w3'?" in capsys.readouterr().err


def test_overrides_are_checked(tmp_path: Path, capsys: Any) -> None:
    words = ["train", "float", "--corpus", str(tmp_path), "--set", "recipe.steps=none"]
    assert main(words) == 2
    assert "--set recipe.steps=none: $.steps: wrong type" in capsys.readouterr().err


def test_every_recipe_with_a_scheme_has_a_control_that_is_like_it_in_all_else() -> None:
    """Of the same length and speed, so that what differs is the scheme's doing.

    With the first seed; of the others there is one control, of the most frequent length.
    """
    every = {model.name: model for model in models() if model.start and "float" in model.start}
    controls, others = [], {}
    for model in every.values():
        recipe, _ = load_recipe(model.recipe, model.overrides)
        alike = replace(
            recipe, name="", description="", teacher=None, compression=None, aware=Compression()
        )
        if recipe.compression is None:
            controls.append(alike)
        else:
            others[model.name] = alike
    assert len(controls) == 2 * (len(CONTROLS) + 2)  # all with seed 0, one with the two others
    assert len(others) > 30
    without = [name for name, recipe in others.items() if recipe not in controls]
    assert without == [f"{unit}_{name}_{seed}" for seed in (1, 2) for unit in ("word", "char")
                       for name in ("w4", "s75", "w4_s75")]  # fmt: skip
