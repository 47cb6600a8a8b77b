"""The `compression:` section of a workload: what is asked for, and what it means for each matrix.

A `Rule` holds only what was written; a key that is left out is inherited.  `resolve` merges the
built-in base, the `default` and every rule that matches a name, in this order, key by key, later
wins, and gives complete values.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from azsim.codecs import codec_names, codec_parameters
from azsim.errors import ConfigError
from azsim.ir import CodecChoice

__all__ = [
    "ActivationSpec",
    "CodecSpec",
    "CompressionSpec",
    "PruneSpec",
    "ResolvedRule",
    "Rule",
    "WeightSpec",
    "find_problems",
    "resolve",
]

_STRICT = ConfigDict(extra="forbid", strict=True)
_PLACE = "$.compression"
_NAMES_SHOWN = 20

_Path = tuple[str | int, ...]
WeightScale = Literal["per_tensor", "per_channel", "per_group"]


@dataclass(frozen=True)
class WeightSpec:
    """Symmetric quantization of weights."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    bits: Annotated[int | None, Field(ge=2, le=8)] = None
    """Width of a code; 8 unless told."""
    scale: WeightScale | None = None
    """How many weights share a scale: all, a row (output channel; the default), or `group_size`
    neighbours of a row."""
    group_size: Annotated[int | None, Field(ge=1, le=65_536)] = None
    """Weights along the row that share a scale; only with `scale: per_group`."""


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
    method: Literal["magnitude"] | None = None
    """`magnitude`: the smallest absolute values go."""
    sparsity: Annotated[float | None, Field(ge=0, lt=1)] = None
    """Share of zeros; 0 unless told.  Zeros that are there already count."""
    scope: Literal["tensor", "global"] | None = None
    """Whether a tensor reaches the share alone (the default), or together with all others that
    say `global` and the same share."""


@dataclass(frozen=True)
class CodecSpec:
    """How codes are stored in DRAM; a bare name stands for ``{name: ...}``."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    name: str | None = None
    """A codec of ``azsim list codecs``; bitmap unless told."""
    palette: bool | None = None
    """Store indices into a table of the values that occur, where that is smaller."""


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
    weight_bits : int
        2 to 8.
    weight_scale : str
        ``per_tensor``, ``per_channel`` or ``per_group``.
    group_size : int or None
        Given if and only if `weight_scale` is ``per_group``.
    activation_bits : int
        8 or 16.
    activation_scale : str
        ``dynamic`` or ``static``.
    prune_method : str
        ``magnitude``.
    sparsity : float
        At least 0, below 1; 0 prunes nothing.
    prune_scope : str
        ``tensor`` or ``global``.
    codec : CodecChoice
    """

    weight_bits: int = 8
    weight_scale: WeightScale = "per_channel"
    group_size: int | None = None
    activation_bits: Literal[8, 16] = 8
    activation_scale: Literal["dynamic", "static"] = "dynamic"
    prune_method: Literal["magnitude"] = "magnitude"
    sparsity: float = 0.0
    prune_scope: Literal["tensor", "global"] = "tensor"
    codec: CodecChoice = field(default_factory=lambda: CodecChoice("bitmap"))


_FIELDS = {
    ("weights", "bits"): "weight_bits",
    ("weights", "scale"): "weight_scale",
    ("weights", "group_size"): "group_size",
    ("activations", "bits"): "activation_bits",
    ("activations", "scale"): "activation_scale",
    ("prune", "method"): "prune_method",
    ("prune", "sparsity"): "sparsity",
    ("prune", "scope"): "prune_scope",
}


def find_problems(
    spec: CompressionSpec, names: Sequence[str] | None = None
) -> list[tuple[_Path, str]]:
    """Find what is wrong with a section beyond its types.

    Parameters
    ----------
    spec : CompressionSpec
    names : sequence of str, optional
        Initializer names of the weight matrices; without them only what no name can mend.

    Returns
    -------
    list of (path, sentence)
        The path is within the section, such as ``("rules", 1, "match")``; each problem once.
    """
    problems: list[tuple[_Path, str]] = []
    rules = _placed(spec)
    if spec.default.match is not None:
        problems.append((("default", "match"), "the default has no pattern; move it to rules"))
    for path, rule in rules:
        problems += _codec_problems(path, rule.codec)
    for path, rule in rules[1:]:
        problems += _match_problems(path, rule.match, names)
    for name in names or ():
        problems += _merge(_hits(rules, name))[1]
    return list(dict.fromkeys(problems))


def resolve(spec: CompressionSpec, names: Sequence[str]) -> dict[str, ResolvedRule]:
    """Give every weight matrix its complete settings.

    Parameters
    ----------
    spec : CompressionSpec
    names : sequence of str
        Initializer names of the weight matrices.

    Returns
    -------
    dict of str to ResolvedRule
        In the order of `names`.

    Raises
    ------
    ConfigError
        If a rule matches nothing, a codec is not known or takes no palette, or a group size is
        missing or has no use; all problems at once.
    """
    if problems := find_problems(spec, names):
        raise ConfigError([f"{_written(path)}: {sentence}" for path, sentence in problems])
    rules = _placed(spec)
    return {name: _merge(_hits(rules, name))[0] for name in names}


def _placed(spec: CompressionSpec) -> list[tuple[_Path, Rule]]:
    """Return the default and the rules, each with its path."""
    return [(("default",), spec.default), *((("rules", i), r) for i, r in enumerate(spec.rules))]


def _hits(rules: Sequence[tuple[_Path, Rule]], name: str) -> list[tuple[_Path, Rule]]:
    return [*rules[:1], *(hit for hit in rules[1:] if fnmatchcase(name, hit[1].match or ""))]


def _written(path: _Path) -> str:
    keys = (f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)
    return _PLACE + "".join(keys)


def _merge(
    hits: Sequence[tuple[_Path, Rule]],
) -> tuple[ResolvedRule, list[tuple[_Path, str]]]:
    """Merge the rules of one matrix; also what does not fit together."""
    values: dict[str, Any] = {}
    problems: list[tuple[_Path, str]] = []
    codec, palette = "bitmap", False
    for path, rule in hits:
        given = {
            name: value
            for (section, key), name in _FIELDS.items()
            if (value := getattr(getattr(rule, section), key, None)) is not None
        }
        values |= given
        scale = values.get("weight_scale", "per_channel")
        group_path = (*path, "weights", "group_size")
        if "group_size" in given and scale != "per_group":
            problems.append((group_path, f"of no use with scale: {scale}"))
        if given.get("weight_scale") == "per_group" and "group_size" not in values:
            problems.append((group_path, "missing, scale: per_group needs it"))
        if rule.codec is None:
            continue
        if rule.codec.name not in (None, codec):
            codec, palette = str(rule.codec.name), False  # another codec, other parameters
        if rule.codec.palette is not None:
            palette = rule.codec.palette
        if palette and codec in codec_names() and "palette" not in codec_parameters(codec):
            problems.append(((*path, "codec", "palette"), f"{codec} takes no palette"))
    if values.get("weight_scale") != "per_group":
        values.pop("group_size", None)
    choice = CodecChoice(codec, {"palette": True} if palette else {})
    return ResolvedRule(**values, codec=choice), problems


def _codec_problems(path: _Path, codec: CodecSpec | None) -> list[tuple[_Path, str]]:
    known = codec_names()
    if codec is None or codec.name is None or codec.name in known:
        return []
    nearest = difflib.get_close_matches(codec.name, known, n=1, cutoff=0.6)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    sentence = f"{codec.name!r} is not a codec, allowed: {', '.join(known)}{hint}"
    return [((*path, "codec"), sentence)]


def _match_problems(
    path: _Path, pattern: str | None, names: Sequence[str] | None
) -> list[tuple[_Path, str]]:
    place = (*path, "match")
    if pattern is None:
        return [(place, "missing; a rule needs a pattern of initializer names")]
    if names is None or any(fnmatchcase(name, pattern) for name in names):
        return []
    nearest = difflib.get_close_matches(pattern, names, n=1, cutoff=0.0)
    hint = f"; the nearest is {nearest[0]!r}" if nearest else ""
    shown = ", ".join(names[:_NAMES_SHOWN]) or "none"
    if len(names) > _NAMES_SHOWN:
        shown += f" and {len(names) - _NAMES_SHOWN} more"
    return [(place, f"{pattern!r} matches no weight matrix{hint}; there are: {shown}")]
