"""The language of constraints and conditions."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from azsim.errors import InputError
from azsim.report.figures import FIGURES, is_figure, unit_of
from azsim.sweeps.expressions import ExpressionError, parse_expression
from azsim.sweeps.objectives import Objective, figure

_VALUES: dict[str, Any] = {
    "lanes": 16,
    "per_lane": 4,
    "codec": "bitmap",
    "skip": True,
    "outputs.y.sqnr_db": 30.5,
    "outputs.a/b.sqnr_db": 12.0,
}
_ALLOWED = (
    "allowed: numbers, strings, names, + - * / // % **, comparisons, and, or, not, in, if else"
)
_FUNCTIONS = "allowed: abs, ceil, floor, log2, max, min, round, sqrt, figure"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("lanes * per_lane == 64", True),
        ("2 ** 3 + -lanes // 5 % 3", 10),
        ("codec in ['bitmap', 'raw'] and not skip", False),
        ("8 < lanes <= 16 or codec == 'raw'", True),
        ("outputs.y.sqnr_db >= 30", True),
        ("figure('outputs.a/b.sqnr_db') / 4", 3.0),
        ("max(lanes, 3, per_lane) if skip else 0", 16),
        ("log2(lanes) + sqrt(per_lane) + ceil(0.5) + floor(0.5) + abs(-1) + round(1.4)", 9.0),
        # What is absent: it differs from everything, and holds in no other comparison.
        ("absent == 4", False),
        ("absent != 4", True),
        ("absent < 4 or absent > 4 or 4 >= absent", False),
        ("absent * 2 + 1", None),
        ("min(absent, 3)", None),
        ("not absent", True),
        ("lanes / 0", None),
        ("lanes % 0 == 0", False),
        ("0 ** -1", None),
    ],
)
def test_values(text: str, value: Any) -> None:
    expression = parse_expression(text)
    assert expression.value(_VALUES) == value
    assert pickle.loads(pickle.dumps(expression)).value(_VALUES) == value


@pytest.mark.parametrize(
    ("text", "offset", "sentence"),
    [
        ("lanes +", 0, "not an expression: invalid syntax, found 'lanes +'"),
        ("a.b().c", 0, "a name is words with dots between them"),
        ("lanes[0]", 0, f"an index is not read, {_ALLOWED}"),
        ("1 + (lambda: 3)()", 4, f"unknown function 'something else', {_FUNCTIONS}"),
        ("eval('1')", 0, f"unknown function 'eval', {_FUNCTIONS}"),
        ("lanes is None", 0, f"'is' is not read, {_ALLOWED}"),
        ("a == None", 5, "a constant is a number, a string, True or False, found nothing"),
        ("a == b'x'", 5, "a constant is a number, a string, True or False, found b'x'"),
        ("3 + max(*lanes)", 4, "max() takes values alone"),
        ("figure(lanes)", 0, "figure() takes one string, such as figure('outputs.y.sqnr_db')"),
        ("-" * 60 + "1", 51, "nested deeper than 50 levels"),
        ("1 " * 600, 0, "too long, found 1200 characters, allowed: 1000"),
    ],
)  # fmt: skip
def test_refusals(text: str, offset: int, sentence: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse_expression(text)
    assert (caught.value.offset, str(caught.value)) == (offset, sentence)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("codec * 1000000000", "only numbers are multiplied"),
        ("9 ** 99", "a power is at most 64, found 99"),
        ("codec < 3", "'<' not supported between instances of 'str' and 'int'"),
        ("codec % 3", "a string has no remainder"),
        ("sqrt(-lanes)", ""),
    ],
)
def test_what_cannot_be_computed(text: str, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_expression(text).value(_VALUES)
    assert str(caught.value).startswith(f"{text!r} cannot be computed: {reason}")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("cycles", 12.0),
        ("frame_latency_s.p99", None),
        ("outputs.a.b.sqnr_db", 1.5),
        ("outputs.a.sqnr_db", 2.5),
        ("list.1.x", 3.0),
        ("list.2.x", None),
        ("bound_by", None),
        ("nothing", None),
    ],
)
def test_figures_are_found_by_dotted_key(key: str, value: float | None) -> None:
    summary = {
        "cycles": 12,
        "frame_latency_s": None,
        "outputs": {"a.b": {"sqnr_db": 1.5}, "a": {"sqnr_db": 2.5}},
        "list": [{}, {"x": 3}],
        "bound_by": "dram",
    }
    assert figure(summary, key) == value


def test_units() -> None:
    assert unit_of("cycles") == "cycles"
    assert unit_of("outputs.y.sqnr_db") == "dB"
    assert unit_of("outputs.y.max_abs_error") is None
    assert is_figure("outputs.y.max_abs_error")
    assert not is_figure("outputs")
    assert Objective("o", "lanes * 2", "minimize").is_plain is False
    assert set(FIGURES.values()) == {
        "cycles",
        "s",
        "1",
        "frames",
        "chunks",
        "B",
        "B/s",
        "MAC/B",
        "bit",
        "MAC",
    }
