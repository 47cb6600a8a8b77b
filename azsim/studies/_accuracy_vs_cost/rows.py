"""What the study accuracy_vs_cost runs: every model by its key."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from azsim.config import read_document
from azsim.errors import InputError
from azsim.resources import workloads_directory
from azsim.training.collection import CONTROLS, RECIPES_OF_ALL_SEEDS, SEEDS, UNITS

__all__ = [
    "FRAME_S",
    "POST",
    "SEEDS",
    "TESTS",
    "TRAINED",
    "UNITS",
    "WHOLE",
    "Row",
    "compression_of",
    "rows",
    "weights_directory",
]

TESTS = ("unseen_voices", "unseen_engines")
FRAME_S = 0.06
WHOLE = "w8"
"""The scheme that is nearest to no compression: 8 bits are the most that the chip stores."""

_OTHERS = ("palette16", "w2", "palette8", "s50", "s75", "s90", "n1m4", "balanced75", "w4_s75")
POST = (WHOLE, "w4", "w3", *_OTHERS)
"""Schemes that are applied to the float weights as they are."""
TRAINED = (*CONTROLS, "w4", "w3", "w3_regularised", *_OTHERS, "w4_s75_student")
"""Schemes that the weights were trained for; controls as long for none."""
_TRAINED_HEARING_ALL = {*CONTROLS, *RECIPES_OF_ALL_SEEDS}
_HEARD_ALL = {("post", WHOLE), *(("trained", name) for name in _TRAINED_HEARING_ALL)}

_WHOLE_SECTION = {"default": {"weights": {"bits": 8}, "codec": "bitmap"}}


def weights_directory() -> Path:
    """Where the trained weights lie."""
    return workloads_directory() / "speech_commands" / "weights"


@dataclass(frozen=True)
class Row:
    """One compressed model.

    Attributes
    ----------
    unit : str
        Of `UNITS`.
    way : str
        ``post``: the float weights, compressed as they are; ``trained``: those of the recipe.
    scheme : str
        Of `POST` or `TRAINED`.
    seed : int
        Of the training.
    """

    unit: str
    way: str
    scheme: str
    seed: int = 0

    @property
    def key(self) -> str:
        """In the names of figures."""
        return f"{self.unit}.{self.way}.{self.scheme}.seed{self.seed}"

    @property
    def model(self) -> str:
        """Name of the file of weights."""
        return _model(self.unit, "float" if self.way == "post" else self.scheme, self.seed)

    @property
    def start(self) -> str:
        """Name of the float weights that these are, or were trained from."""
        return _model(self.unit, "float", self.seed)

    @property
    def hears_all(self) -> bool:
        """Whether noise and words that the grammar lacks are heard too."""
        return self.seed == 0 and (self.way, self.scheme) in _HEARD_ALL

    def overrides(self, weights: Path) -> tuple[str, ...]:
        """Of the workload: the weights and the recipe's own scheme."""
        return (
            f"model.weights={weights / self.model}.npz",
            f"compression={json.dumps(compression_of(self.scheme))}",
        )


def _model(unit: str, recipe: str, seed: int) -> str:
    return f"{unit}_{recipe}" + (f"_{seed}" if seed else "")


def compression_of(scheme: str) -> object:
    """Return the section ``compression`` of a recipe; for `WHOLE` and controls 8 bits."""
    if scheme == WHOLE or scheme in CONTROLS:
        return _WHOLE_SECTION
    return read_document(workloads_directory() / "recipes" / f"{scheme}.yaml").data["compression"]


def rows(weights: Path) -> list[Row]:
    """Every row whose weights are there, those of seed 0 first.

    Raises
    ------
    InputError
        If not even the float weights of seed 0 are there.
    """
    there = {path.stem for path in weights.glob("*.npz")}
    missing = [f"{unit}_float.npz" for unit in UNITS if f"{unit}_float" not in there]
    if missing:
        raise InputError(
            f"{weights}: trained weights are missing, found no {', '.join(missing)}; "
            "make them: azsim train all"
        )
    return [row for row in _every() if {row.model, row.start} <= there]


def _every() -> Iterator[Row]:
    for seed in SEEDS:
        post, trained = (POST, TRAINED) if seed == 0 else ((), RECIPES_OF_ALL_SEEDS)
        for unit in UNITS:
            yield from _of(unit, "post", post, seed)
            yield from _of(unit, "trained", trained, seed)


def _of(unit: str, way: str, schemes: Iterable[str], seed: int) -> Iterator[Row]:
    return (Row(unit, way, scheme, seed) for scheme in schemes)
