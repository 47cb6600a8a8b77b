"""Recipes: what is trained, on what, for how long, and under which compression."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from azsim.compression.scheme import find_problems
from azsim.compression.spec import CompressionSpec
from azsim.config import DocumentPath, read_document, validate
from azsim.config.overrides import apply_overrides
from azsim.errors import ConfigError, unknown
from azsim.frontend.scheme_files import read_scheme
from azsim.resources import workloads_directory

__all__ = ["Compression", "FlatStart", "Recipe", "Teacher", "load_recipe", "recipe_names"]

_STRICT = ConfigDict(extra="forbid", strict=True)
_Share = Annotated[float, Field(ge=0, le=1)]
_Weight = Annotated[float, Field(ge=0, le=1000)]
_Size = Annotated[int, Field(ge=1, le=4096)]


@dataclass(frozen=True, kw_only=True)
class FlatStart:
    """Frame cross-entropy on words that are stretched evenly over the sound.

    From random weights a small transducer learns what is said often, and does not listen; this
    makes it listen.  The weight falls to 0 in a straight line.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    weight: _Weight = 40.0
    until: _Share = 0.2
    """Share of the steps after which it is 0."""
    clean_until: _Share = 0.3
    """Share of the steps in which only utterances of at least `clean_db` are heard."""
    clean_db: float = 12.0


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """A trained network whose opinions are learned besides the transcripts."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    weights: Annotated[str, Field(min_length=1)]
    """Its weights, a file beside the recipe."""
    weight: _Weight = 0.5
    """Of the divergence of each state's distribution over blank, right label and the rest."""


@dataclass(frozen=True, kw_only=True)
class Compression:
    """How training gets used to a scheme."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    method: Literal["straight_through", "regularised"] = "straight_through"
    """`straight_through`: the network runs with compressed weights, and the gradient passes as if
    it did not.  `regularised`: it runs with the weights themselves, which every update pulls
    towards their compressed values, at the end wholly."""
    sparsify_until: _Share = 0.6
    """Share of the steps after which the scheme's sparsity is reached; it grows as a cubic
    (Zhu and Gupta, 2017)."""
    refresh_steps: Annotated[int, Field(ge=1, le=10_000)] = 10
    """Steps between two choices of zeros, scales and palettes."""
    learn_palette: bool = False
    """Values of a palette are learned by gradient, rounded to int8, between the choices."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A training run.  Two runs of one recipe on one corpus give the same weights."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    name: Annotated[str, Field(pattern="^[a-z0-9_]+$", description="a-z, 0-9 and _")]
    description: str = ""
    unit: Literal["words", "characters"]
    """What an output stands for."""
    steps: Annotated[int, Field(ge=1, le=1_000_000)]
    seed: Annotated[int, Field(ge=0, le=1 << 31)] = 0
    """Of first weights, order and masks."""
    start: Annotated[str | None, Field(min_length=1)] = None
    """Weights to begin with, a file beside the recipe; random ones unless told."""
    hidden: _Size = 128
    prediction: _Size = 64
    joint: _Size = 96
    batch: Annotated[int, Field(ge=1, le=1024)] = 24
    """Utterances of a step."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 2e-3
    warmup_steps: Annotated[int, Field(ge=0, le=1_000_000)] = 150
    decay_from: _Share = 0.35
    """Share of the steps after which the rate falls to 0 as a cosine."""
    clip: Annotated[float, Field(gt=0, le=1e6)] = 2.0
    """Largest norm of a step's gradient."""
    weight_decay: _Weight = 0.01
    silence: Annotated[int, Field(ge=1, le=100)] = 1
    """How often an epoch hears each utterance without speech."""
    flat_start: FlatStart | None = None
    ctc: _Weight = 0.3
    """Weight of the CTC loss of the encoder alone."""
    mask_bands: Annotated[int, Field(ge=0, le=40)] = 6
    """Neighbouring mel bands that are hidden from an utterance, at most."""
    mask_frames: Annotated[int, Field(ge=0, le=100)] = 4
    """Feature frames that are hidden, at most."""
    warp: Annotated[float, Field(ge=0, le=0.5)] = 0.15
    """Largest stretch of the mel axis: other lengths of vocal tracts."""
    channel: Annotated[float, Field(ge=0, le=10)] = 0.5
    """Largest change of the features by another channel, a smooth curve over the mel axis."""
    dropout: Annotated[float, Field(ge=0, le=0.9)] = 0.0
    """Share of the outputs of each of the encoder's layers that is left out, drawn for each
    utterance."""
    teacher: Teacher | None = None
    compression: CompressionSpec | None = None
    """The scheme that the weights are for, as in a workload; a name of ``azsim list schemes``, a
    scheme file beside the recipe, or the section itself."""
    aware: Compression = field(default_factory=Compression)
    """How the scheme is trained for."""
    validate_steps: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    """Steps between two measurements on the development set."""

    @property
    def max_symbols(self) -> int:
        """Symbols that a frame of 60 ms gives at most."""
        return 2 if self.unit == "words" else 4


def recipes_directory() -> Path:
    """Where the recipes lie that travel with azsim."""
    return workloads_directory() / "recipes"


def recipe_names() -> tuple[str, ...]:
    """Names of the recipes that travel with azsim, sorted."""
    return tuple(sorted(path.stem for path in recipes_directory().glob("*.yaml")))


def load_recipe(name: str, overrides: Iterable[str] = ()) -> tuple[Recipe, Path]:
    """Read a recipe by name or path, and give the folder that its files are relative to.

    Raises
    ------
    ConfigError
        With every problem of the file.
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        path = recipes_directory() / f"{name}.yaml"
        if not path.exists():
            raise ConfigError([unknown("recipe", name, recipe_names())])
    document = read_document(path)
    read_scheme(document, path.parent)
    apply_overrides(document, overrides, "recipe")
    return validate(document, Recipe, _rules), path.parent


def _rules(recipe: Recipe) -> Iterator[tuple[DocumentPath, str]]:
    if recipe.compression is not None:
        for path, sentence in find_problems(recipe.compression):
            yield ("compression", *path), sentence
