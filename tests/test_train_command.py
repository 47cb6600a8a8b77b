"""The command ``azsim train`` where PyTorch is not installed, and what it is given."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from azsim.cli import main


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
