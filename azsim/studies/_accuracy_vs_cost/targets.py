"""What the recogniser and its compression were asked to reach, beside what was found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from azsim.studies._accuracy_vs_cost.plots import NAMES, rows_in
from azsim.studies._accuracy_vs_cost.rows import TESTS, UNITS, WHOLE, Row
from azsim.studies._write import Figure

__all__ = ["mean", "targets"]

_Figures = Mapping[str, Figure]
_FLOAT = {("word", TESTS[0]): 5.5, ("word", TESTS[1]): 16.0,
          ("char", TESTS[0]): 5.0, ("char", TESTS[1]): 18.0}  # fmt: skip
_SHUFFLED, _SILENT, _PRUNED, _THREE_BITS = 80.0, 95.0, 9.0, 1.5


def mean(figures: _Figures, key: str, sign: str = "") -> str:
    """A mean over seeds and its standard error, if there is one."""
    value = f"{figures[f'{key}_mean'].value:{sign}.1f}"
    error = figures.get(f"{key}_seed_se")
    return f"{value} ± {error.value:.1f}" if error else value


def targets(figures: _Figures) -> Iterator[list[str]]:
    """Lines of the table: what, wanted, found, whether it is so."""
    for unit, name in UNITS.items():
        yield from _of_unit(figures, unit, name)
    yield from _of_chip(figures)


def _line(what: str, wanted: str, found: str, is_met: bool) -> list[str]:
    return [what, wanted, found, "yes" if is_met else "**no**"]


def _of_unit(figures: _Figures, unit: str, name: str) -> Iterator[list[str]]:
    for test in TESTS:
        key, most = f"{unit}.float.{test}.wer", _FLOAT[unit, test]
        what = f"{name}, float, {test.replace('_', ' ')}"
        is_met = figures[f"{key}_mean"].value <= most
        yield _line(what, f"at most {most:g} %", f"{mean(figures, key)} %", is_met)
    voices = TESTS[0]
    near = figures[f"{unit}.float.seed0.{voices}.se"].value
    for way, scheme, most in (
        ("post", WHOLE, near),
        ("post", "w4", near),
        ("post", "palette16", near),
        ("trained", "w4", near),
        ("trained", "palette16", near),
        ("trained", "w3", _THREE_BITS),
        ("trained", "w3_regularised", _THREE_BITS),
    ):
        key = f"{unit}.{way}.{scheme}.{voices}.more"
        if f"{key}_mean" in figures:
            how = "as they are" if way == "post" else "trained"
            wanted = f"at most {most:.1f} points more than float"
            if most == near:
                wanted += " (its standard error)"
            yield _line(
                f"{name}, {NAMES[scheme]}, {how}",
                wanted,
                f"{mean(figures, key, '+')} points",
                figures[f"{key}_mean"].value <= most,
            )
    key = f"{unit}.trained.s75.{voices}.wer"
    if f"{key}_mean" in figures:
        yield _line(
            f"{name}, 75 % zeros, trained",
            f"at most {_PRUNED:g} %",
            f"{mean(figures, key)} %",
            figures[f"{key}_mean"].value <= _PRUNED,
        )
    for scheme in ("w4_s75", "w4_s75_student"):
        key = f"{unit}.trained.{scheme}.{voices}.wer"
        if f"{key}_mean" in figures:
            what = f"{name}, {NAMES[scheme]}, trained"
            yield [what, "reported", f"{mean(figures, key)} %", ""]
    shuffled = min(figures[f"{unit}.shuffled.{test}.wer"].value for test in TESTS)
    wanted = f"at least {_SHUFFLED:g} % wrong"
    yield _line(
        f"{name}, sound of another sentence", wanted, f"{shuffled:.1f} %", shuffled >= _SHUFFLED
    )
    whole = figures[f"{unit}.post.{WHOLE}.seed0.noise_only.empty"].value
    what, wanted = f"{name}, noise heard as nothing", f"at least {_SILENT:g} %"
    yield _line(f"{what}, 8 bits", wanted, f"{whole:.1f} %", whole >= _SILENT)
    empty = {
        row: figures[f"{row.key}.noise_only.empty"].value
        for row in rows_in(figures, unit)
        if f"{row.key}.noise_only.empty" in figures
    }
    least = min(empty, key=lambda row: empty[row])
    yield _line(
        f"{what}, worst of {len(empty)} models",
        wanted,
        f"{empty[least]:.1f} % ({NAMES[least.scheme]})",
        empty[least] >= _SILENT,
    )


def _close(figures: _Figures, unit: str) -> str:
    """How close the decisions were where chip and host differ."""
    lead = figures.get(f"{unit}.uncompressed.lead")
    return f"; others by a lead of at most {lead.value:g}" if lead else ""


def _of_chip(figures: _Figures) -> Iterator[list[str]]:
    for unit, name in UNITS.items():
        utterances, different = (
            int(figures[f"{unit}.uncompressed.{key}"].value) for key in ("utterances", "different")
        )
        yield _line(
            f"{name}, chip as the host, uncompressed",
            f"all of {utterances:,} utterances",
            f"{utterances - different:,}" + _close(figures, unit),
            different == 0,
        )
    some: list[Row] = [row for unit in UNITS for row in rows_in(figures, unit)]
    exact = sum(int(figures[f"{row.key}.bit_exact"].value) for row in some)
    yield _line(
        "chip as the evaluator, compressed",
        f"all of {len(some)} models, bit for bit",
        str(exact),
        exact == len(some),
    )
