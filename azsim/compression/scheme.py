"""The `compression:` section of a workload: what it asks for, and what it means for each matrix.

A `Rule` holds only what was written; a key that is left out is inherited.  `resolve` merges the
built-in base, the `default` and every rule that matches a name, in this order, key by key, later
wins, and gives complete values.  A quantizer, pruner or codec that takes the place of another
does not inherit keys that it has no use for.

A *scheme file* is a YAML file that holds such a section; see `azsim.frontend.scheme_files`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

from azsim.codecs import codec_names, codec_parameters
from azsim.compression.pruners import pruner, pruner_names
from azsim.compression.quantizers import quantizer, quantizer_names
from azsim.compression.spec import (
    ActivationSpec,
    CodecSpec,
    CompressionSpec,
    PruneSpec,
    ResolvedRule,
    Rule,
    WeightSpec,
)
from azsim.errors import ConfigError, unknown
from azsim.ir import CodecChoice

__all__ = [
    "AUTO",
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

AUTO = "auto"
"""Name of the choice between all codecs of a chip, which the compiler makes for each tensor."""

_PLACE = "$.compression"
_NAMES_SHOWN = 20

_Path = tuple[str | int, ...]
_Problem = tuple[_Path, str]

# Keys of `weights:` and `prune:`, and what they are called in a `ResolvedRule`.
_WEIGHT_FIELDS = {
    "bits": "weight_bits",
    "scale": "weight_scale",
    "group_size": "group_size",
    "palette": "palette",
    "mu": "mu",
    "step": "step",
    "sqnr_db": "sqnr_db",
    "dead_zone": "dead_zone",
}
_PRUNE_FIELDS = {
    "sparsity": "sparsity",
    "scope": "prune_scope",
    "n": "n",
    "m": "m",
    "block": "block",
    "lanes": "lanes",
    "target_bits": "target_bits",
}
_ACTIVATION_FIELDS = {"bits": "activation_bits", "scale": "activation_scale"}


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
    problems: list[_Problem] = []
    rules = _placed(spec)
    if spec.default.match is not None:
        problems.append((("default", "match"), "the default has no pattern; move it to rules"))
    for path, rule in rules:
        problems += _unknown_names(path, rule)
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
        If a rule matches nothing, a quantizer, pruner or codec is not known or does not take
        what it is given, or settings do not fit together; all problems at once.
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


# ------------------------------------------------------------------------------------- names


def _unknown_names(path: _Path, rule: Rule) -> list[_Problem]:
    """Find names that no table has, and keys beside a name which it does not take."""
    problems: list[_Problem] = []
    weights, prune, codec = rule.weights, rule.prune, rule.codec
    if weights is not None and weights.quantizer is not None:
        place = (*path, "weights")
        problems += _unknown((*place, "quantizer"), "quantizer", weights.quantizer)
        if weights.quantizer in quantizer_names():
            problems += _useless(place, _given(weights, _WEIGHT_FIELDS), weights.quantizer, _takes)
    if prune is not None and prune.method is not None:
        place = (*path, "prune")
        problems += _unknown((*place, "method"), "pruner", prune.method)
        if prune.method in pruner_names():
            problems += _useless(place, _given(prune, _PRUNE_FIELDS), prune.method, _cuts)
    if codec is not None and codec.name is not None:
        problems += _unknown((*path, "codec"), "codec", codec.name)
    return problems


def _unknown(path: _Path, what: str, name: str) -> list[_Problem]:
    tables = {
        "quantizer": quantizer_names,
        "pruner": pruner_names,
        "codec": lambda: (*codec_names(), AUTO),
    }
    known = tables[what]()
    if name in known:
        return []
    return [(path, unknown(what, name, known))]


def _takes(name: str) -> tuple[str, ...]:
    return quantizer(name).PARAMETERS


def _cuts(name: str) -> tuple[str, ...]:
    return pruner(name).PARAMETERS


def _useless(
    path: _Path, keys: Iterable[str], name: str, parameters: Callable[[str], tuple[str, ...]]
) -> list[_Problem]:
    taken = parameters(name)
    return [
        ((*path, key), f"{name} takes no {key}, it takes: {', '.join(taken)}")
        for key in keys
        if key not in taken
    ]


def _given(section: object, keys: Iterable[str]) -> dict[str, Any]:
    """Return the keys of a section that were written, with their values."""
    values = {key: getattr(section, key, None) for key in keys}
    return {key: value for key, value in values.items() if value is not None}


def _match_problems(
    path: _Path, pattern: str | None, names: Sequence[str] | None
) -> list[_Problem]:
    place = (*path, "match")
    if pattern is None:
        return [(place, "missing key, allowed: a pattern of initializer names")]
    if names is None or any(fnmatchcase(name, pattern) for name in names):
        return []
    nearest = difflib.get_close_matches(pattern, names, n=1, cutoff=0.0)
    hint = f"; the nearest is {nearest[0]!r}" if nearest else ""
    shown = ", ".join(names[:_NAMES_SHOWN]) or "none"
    if len(names) > _NAMES_SHOWN:
        shown += f" and {len(names) - _NAMES_SHOWN} more"
    return [(place, f"{pattern!r} matches no weight matrix{hint}; there are: {shown}")]


# ----------------------------------------------------------------------------------- merging


def _merge(hits: Sequence[tuple[_Path, Rule]]) -> tuple[ResolvedRule, list[_Problem]]:
    """Merge the rules of one matrix; also what does not fit together."""
    problems: list[_Problem] = []
    weights, prune, codec = _Weights(), _Prune(), _Codec()
    activations: dict[str, Any] = {}
    for path, rule in hits:
        problems += weights.merge((*path, "weights"), rule.weights)
        problems += prune.merge((*path, "prune"), rule.prune)
        activations |= _given(rule.activations, _ACTIVATION_FIELDS)
        problems += codec.merge((*path, "codec"), rule.codec)
    values = {_ACTIVATION_FIELDS[key]: value for key, value in activations.items()}
    settings = weights.fields() | prune.fields() | values
    return ResolvedRule(**settings, codec=codec.choice(weights.is_palette)), problems


class _Weights:
    """The `weights:` of the rules so far."""

    def __init__(self) -> None:
        self._name = "uniform"
        self._values: dict[str, Any] = {}

    @property
    def _known(self) -> bool:
        return self._name in quantizer_names()

    @property
    def is_palette(self) -> bool:
        return self._known and quantizer(self._name).IS_PALETTE

    def merge(self, path: _Path, section: WeightSpec | None) -> list[_Problem]:
        """Add a rule's section; returns what does not fit."""
        if section is None:
            return []
        given = _given(section, _WEIGHT_FIELDS)
        if section.quantizer is not None:
            self._name = section.quantizer
        elif "palette" in given and self._known and "palette" not in _takes(self._name):
            self._name = "kmeans"
        if "palette" in given and "bits" not in given:
            self._values["bits"] = max(2, (given["palette"] - 1).bit_length())
        self._values |= given
        if not self._known:
            return []
        return _useless(path, given, self._name, _takes) + self._misfits(path, given)

    def _misfits(self, path: _Path, given: dict[str, Any]) -> list[_Problem]:
        values, takes = self._values, _takes(self._name)
        problems: list[_Problem] = []
        scale = values.get("scale", "per_channel")
        if "group_size" in given and "group_size" in takes and scale != "per_group":
            problems.append(((*path, "group_size"), f"of no use with scale: {scale}"))
        if given.get("scale") == "per_group" and "group_size" not in values:
            problems.append(((*path, "group_size"), "missing, scale: per_group needs it"))
        bits = values.get("bits", 8)
        low, high = quantizer(self._name).BITS
        if not low <= bits <= high:
            allowed = f"{low} to {high}" if low < high else f"{low}"
            sentence = f"out of range for {self._name}, found {bits}, allowed: {allowed}"
            problems.append(((*path, "bits"), sentence))
        entries = values.get("palette") if "palette" in takes else None
        if entries is not None and entries > 1 << bits:
            sentence = f"too large, found {entries} entries, allowed at {bits} bits: {1 << bits}"
            problems.append(((*path, "palette"), sentence))
        if "step" in given and "sqnr_db" in given:
            problems.append(((*path, "step"), "of no use with sqnr_db; give one of them"))
        return problems

    def fields(self) -> dict[str, Any]:
        """Return the complete settings."""
        takes = _takes(self._name) if self._known else ()
        values = {key: value for key, value in self._values.items() if key in takes}
        if values.get("scale") != "per_group":
            values.pop("group_size", None)
        return {"quantizer": self._name} | {_WEIGHT_FIELDS[k]: v for k, v in values.items()}


class _Prune:
    """The `prune:` of the rules so far."""

    def __init__(self) -> None:
        self._name = "magnitude"
        self._values: dict[str, Any] = {}

    def merge(self, path: _Path, section: PruneSpec | None) -> list[_Problem]:
        """Add a rule's section; returns what does not fit."""
        if section is None:
            return []
        given = _given(section, _PRUNE_FIELDS)
        self._name = section.method or self._name
        self._values |= given
        if self._name not in pruner_names():
            return []
        values = self._values
        problems = _useless(path, given, self._name, _cuts) + [
            ((*path, key), f"missing, method: {self._name} needs it")
            for key in pruner(self._name).REQUIRED
            if key not in values
        ]
        if self._name == "n_m" and values.get("n", 0) > values.get("m", 64):
            problems.append(((*path, "n"), f"found {values['n']}, more than m of {values['m']}"))
        if "target_bits" in given and "sparsity" in given:
            problems.append(((*path, "sparsity"), "of no use with target_bits; give one of them"))
        return problems

    def fields(self) -> dict[str, Any]:
        """Return the complete settings."""
        takes = _cuts(self._name) if self._name in pruner_names() else ()
        values = {_PRUNE_FIELDS[k]: v for k, v in self._values.items() if k in takes}
        return {"prune_method": self._name} | values


class _Codec:
    """The `codec:` of the rules so far."""

    def __init__(self) -> None:
        self._name = "bitmap"
        self._is_by_cycles = False
        self._values: dict[str, int | bool] = {}

    def merge(self, path: _Path, section: CodecSpec | None) -> list[_Problem]:
        """Add a rule's section; returns what does not fit."""
        if section is None:
            return []
        if section.name not in (None, self._name):
            self._name, self._values = str(section.name), {}  # another codec, other parameters
        if section.by is not None:
            self._is_by_cycles = section.by == "cycles"
        if section.palette is not None:
            self._values["palette"] = section.palette
        self._values |= section.parameters or {}
        problems: list[_Problem] = []
        if section.by is not None and self._name != AUTO:
            problems.append(((*path, "by"), f"of no use with codec {self._name}"))
        if self._name not in (AUTO, *codec_names()):
            return problems
        takes = self._parameters()
        allowed = ", ".join(takes) or "none"
        if section.palette and "palette" not in takes:
            problems.append(((*path, "palette"), f"{self._name} takes no palette"))
        return problems + [
            ((*path, "parameters", key), f"{self._name} takes no {key}, it takes: {allowed}")
            for key in section.parameters or {}
            if key not in takes
        ]

    def _parameters(self) -> tuple[str, ...]:
        return codec_parameters(self._name) if self._name in codec_names() else ()

    def choice(self, is_palette: bool) -> CodecChoice:
        """Return the codec with its parameters."""
        if self._name == AUTO:
            return CodecChoice(AUTO, {"by_cycles": True} if self._is_by_cycles else {})
        # `raw` is what chips without a decoder hold, and they have no table either.
        has_table = self._name != "raw" and "palette" in self._parameters()
        values = {"palette": True} if is_palette and has_table else {}
        values |= self._values
        return CodecChoice(self._name, {k: v for k, v in values.items() if v is not False})
