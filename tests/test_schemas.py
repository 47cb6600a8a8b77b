"""The schemas for editors: what they take and what they refuse, checked by another's validator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from azsim.arguments import build_parser
from azsim.cli import main
from azsim.config import read_document
from azsim.sweeps.schemas import SCHEMAS

ROOT = Path(__file__).parent.parent
FILES = {
    "workload": sorted((ROOT / "workloads").glob("*.yaml")),
    "hardware": sorted((ROOT / "azsim" / "hardware" / "presets").glob("*.yaml")),
    "scheme": sorted((ROOT / "workloads" / "schemes").glob("*.yaml")),
    "sweep": sorted((ROOT / "workloads" / "sweeps").glob("*.yaml")),
}


def refusals(kind: str, value: Any) -> list[str]:
    """Paths of what the schema refuses in a value."""
    schema = SCHEMAS[kind]()
    Draft202012Validator.check_schema(schema)
    return sorted(error.json_path for error in Draft202012Validator(schema).iter_errors(value))


@pytest.mark.parametrize("kind", SCHEMAS)
def test_schema_is_printed(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", kind]) == 0
    assert json.loads(capsys.readouterr().out) == SCHEMAS[kind]()


def test_every_kind_is_a_choice(capsys: pytest.CaptureFixture[str]) -> None:
    (commands,) = (a for a in build_parser()._actions if a.dest == "command")
    assert commands.choices is not None
    (kind,) = (a for a in dict(commands.choices)["schema"]._actions if a.dest == "kind")
    assert tuple(kind.choices or ()) == tuple(SCHEMAS)
    assert main(["schema", "schema"]) == 2
    assert capsys.readouterr().err == (
        "azsim: error: unknown kind 'schema', did you mean 'scheme'? "
        "allowed: workload, hardware, scheme, sweep\n"
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", SCHEMAS)
def test_files_that_travel_with_azsim_fit_their_schema(kind: str) -> None:
    assert FILES[kind]
    for path in FILES[kind]:
        assert refusals(kind, read_document(path).data) == [], path


def test_a_scheme_is_refused_where_it_is_wrong() -> None:
    rules = [
        {"match": "a*", "codec": "lane_tans", "weights": {"quantizer": "kmeans", "bits": 9}},
        {"match": "b*", "codec": {"name": "lzma"}, "prune": {"method": "random"}},
        {"match": "c*", "weight": {}},
    ]
    assert refusals("scheme", {"default": {"codec": "auto"}, "rules": rules}) == [
        "$.rules[0].weights",
        "$.rules[1].codec",
        "$.rules[1].prune",
        "$.rules[2]",
    ]
    assert refusals("scheme", {"default": {"codec": {"name": "auto", "by": "cycles"}}}) == []
    assert refusals("scheme", {}) == []


def test_a_workload_holds_a_scheme_or_names_one() -> None:
    base = {"name": "a", "model": {"onnx": "a.onnx"}, "input": {"random": {"seed": 0}}}
    assert refusals("workload", {**base, "compression": "int4_s50"}) == []
    wrong = {**base, "compression": {"default": {"weights": {"quantizer": "magic"}}}}
    assert refusals("workload", wrong) == ["$.compression"]


def test_a_sweep_is_refused_where_it_is_wrong() -> None:
    base = {
        "name": "s",
        "workload": "gemm",
        "axes": {"a": {"path": "hardware.clock_hz", "range": {"from": 1, "to": 2, "count": 2}}},
        "objectives": {"c": {"key": "cycles", "unit": "cycles"}},
    }
    assert refusals("sweep", {**base, "strategy": {"nsga2": {"evaluations": 9}}}) == []
    wrong = {**base, "strategy": {"nsga2": {}}, "axes": {}, "objectives": {"c": {"goal": "min"}}}
    assert refusals("sweep", wrong) == [
        "$.axes",
        "$.objectives.c",
        "$.objectives.c.goal",
        "$.strategy",
    ]
