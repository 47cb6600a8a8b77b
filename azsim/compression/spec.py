"""What a scheme may say: the values of a `compression:` section or of a scheme file.

Only the types are here; `azsim.compression.scheme` says what fits together and what it means for
each matrix.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from azsim.ir import CodecChoice

__all__ = [
    "ActivationSpec",
    "CodecSpec",
    "CompressionSpec",
    "PruneSpec",
    "ResolvedRule",
    "Rule",
    "WeightScale",
    "WeightSpec",
]

_STRICT = ConfigDict(extra="forbid", strict=True)

WeightScale = Literal["per_tensor", "per_channel", "per_group"]


@dataclass(frozen=True)
class WeightSpec:
    """Quantization of weights."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    quantizer: str | None = None
    """A quantizer of ``azsim list quantizers``; uniform unless told, kmeans where a palette is
    asked for."""
    bits: Annotated[int | None, Field(ge=2, le=8)] = None
    """Width of a code, or of an index into a palette; 8 unless told."""
    scale: WeightScale | None = None
    """How many weights share a scale: all, a row (output channel; the default), or `group_size`
    neighbours of a row."""
    group_size: Annotated[int | None, Field(ge=1, le=65_536)] = None
    """Weights along the row that share a scale; only with `scale: per_group`."""
    palette: Annotated[int | None, Field(ge=2, le=256)] = None
    """Entries of a palette; 2 to the power of `bits` unless told.  Without `bits` their width is
    what the entries need."""
    mu: Annotated[float | None, Field(gt=0, le=10_000)] = None
    """mu_law: how much finer the values near zero lie; found by least error unless told."""
    step: Annotated[float | None, Field(gt=0, le=100)] = None
    """entropy_uniform: step as a multiple of the tensor's root mean square."""
    sqnr_db: Annotated[float | None, Field(ge=0, le=100)] = None
    """entropy_uniform: weight energy over error energy that the step is chosen for."""
    dead_zone: Annotated[float | None, Field(ge=0.5, le=1)] = None
    """entropy_uniform: magnitudes below this many steps become zero; 0.55 unless told."""


@dataclass(frozen=True)
class ActivationSpec:
    """Symmetric quantization of what is multiplied with the weights."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    bits: Literal[8, 16] | None = None
    """Width of a code; 8 unless told."""
    scale: Literal["dynamic", "static"] | None = None
    """Largest magnitude of each item (the default), or of the calibration input."""


@dataclass(frozen=True)
class PruneSpec:
    """Which weights become zero."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    method: str | None = None
    """A pruner of ``azsim list pruners``; magnitude unless told."""
    sparsity: Annotated[float | None, Field(ge=0, lt=1)] = None
    """Share of zeros; 0 unless told.  Zeros that are there already count."""
    scope: Literal["tensor", "global"] | None = None
    """Whether a tensor reaches the share alone (the default), or together with all others that
    say `global` and have the same settings."""
    n: Annotated[int | None, Field(ge=1, le=64)] = None
    """n_m: weights kept of each `m`."""
    m: Annotated[int | None, Field(ge=2, le=64)] = None
    """n_m: neighbours along the row among which the largest `n` are kept."""
    block: (
        tuple[Annotated[int, Field(ge=1, le=65_536)], Annotated[int, Field(ge=1, le=65_536)]] | None
    ) = None
    """block: rows and columns that are zero together; 1 and 16 unless told."""
    lanes: Annotated[int | None, Field(ge=1, le=65_536)] = None
    """balanced: lanes that the rows are dealt to in turn."""
    target_bits: Annotated[float | None, Field(gt=0, le=8)] = None
    """rate_distortion: estimated bits per weight to prune down to, in place of a sparsity."""


@dataclass(frozen=True)
class CodecSpec:
    """How codes are stored in DRAM; a bare name stands for ``{name: ...}``."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    name: str | None = None
    """A codec of ``azsim list codecs``, or `auto`: the best that the chip decodes, for each
    tensor; bitmap unless told."""
    palette: bool | None = None
    """Store indices into a table of the values that occur, where that is smaller; on for weights
    of a palette unless told."""
    parameters: dict[str, int | bool] | None = None
    """Other parameters of the codec, by the names that its file gives them."""
    by: Literal["bytes", "cycles"] | None = None
    """auto: the fewest bytes (the default), or the fewest cycles to bring a tensor on the chip."""


def _codec_of_name(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _allow_name(schema: dict[str, Any]) -> None:
    schema["anyOf"].append({"type": "string"})


@dataclass(frozen=True)
class Rule:
    """Compression of the matrices whose name matches; the default has no `match`."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    match: str | None = None
    """Pattern of initializer names, with ``*``, ``?`` and ``[...]``; case counts."""
    weights: WeightSpec | None = None
    activations: ActivationSpec | None = None
    prune: PruneSpec | None = None
    codec: Annotated[
        CodecSpec | None, BeforeValidator(_codec_of_name), Field(json_schema_extra=_allow_name)
    ] = None


@dataclass(frozen=True)
class CompressionSpec:
    """The whole section."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    default: Rule = field(default_factory=Rule)
    """What holds for every matrix."""
    rules: tuple[Rule, ...] = ()
    """Changes for some of them, later wins."""


@dataclass(frozen=True)
class ResolvedRule:
    """Complete settings of one matrix.

    Attributes
    ----------
    quantizer : str
    weight_bits : int
        2 to 8: width of a code, or of an index into a palette.
    weight_scale : str
        ``per_tensor``, ``per_channel`` or ``per_group``.
    group_size : int or None
        Given if and only if `weight_scale` is ``per_group``.
    palette, mu, step, sqnr_db, dead_zone
        As in `WeightSpec`; None where it was not given or the quantizer does not take it.
    activation_bits : int
        8 or 16.
    activation_scale : str
        ``dynamic`` or ``static``.
    prune_method : str
    sparsity : float
        At least 0, below 1.
    prune_scope : str
        ``tensor`` or ``global``.
    n, m, block, lanes, target_bits
        As in `PruneSpec`; None where it was not given or the pruner does not take it.
    codec : CodecChoice
        `azsim.compression.scheme.AUTO` where it is still to be chosen for a chip.
    """

    quantizer: str = "uniform"
    weight_bits: int = 8
    weight_scale: WeightScale = "per_channel"
    group_size: int | None = None
    palette: int | None = None
    mu: float | None = None
    step: float | None = None
    sqnr_db: float | None = None
    dead_zone: float | None = None
    activation_bits: Literal[8, 16] = 8
    activation_scale: Literal["dynamic", "static"] = "dynamic"
    prune_method: str = "magnitude"
    sparsity: float = 0.0
    prune_scope: Literal["tensor", "global"] = "tensor"
    n: int | None = None
    m: int | None = None
    block: tuple[int, int] | None = None
    lanes: int | None = None
    target_bits: float | None = None
    codec: CodecChoice = field(default_factory=lambda: CodecChoice("bitmap"))
