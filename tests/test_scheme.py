"""Schemes: settings of quantizers, pruners and codecs, scheme files, and codecs chosen by cost."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter

from azsim.codecs import codec_names
from azsim.compiler.compile import Compiled
from azsim.compression.pruners import pruner_names
from azsim.compression.quantizers import quantizer_names
from azsim.compression.scheme import CompressionSpec, ResolvedRule, find_problems, resolve
from azsim.config import json_schema
from azsim.errors import ConfigError
from azsim.frontend.scheme_files import scheme_names
from azsim.frontend.workload import Workload, load_workload
from azsim.frontend.workload_file import WorkloadFile
from azsim.hardware import load_hardware
from azsim.hardware.description import Hardware
from azsim.ir import CodecChoice
from azsim.pipeline import compile_workload, compress_workload, run
from azsim.resources import workloads_directory

NAMES = ["encoder.weight", "decoder.weight"]
QUANTIZERS, PRUNERS = ", ".join(quantizer_names()), ", ".join(pruner_names())
CODECS = ", ".join((*codec_names(), "auto"))
SCHEMES = ", ".join(scheme_names())

GRAPH = """\
name: two_layers
model:
  graph:
    inputs: {x: {shape: [1, 32]}}
    initializers:
      encoder.weight: {shape: [48, 32], random: {seed: 1}}
      decoder.weight: {shape: [8, 48], random: {seed: 2}}
    nodes:
      - {op: Gemm, inputs: [x, encoder.weight], outputs: [h], attributes: {transB: 1}}
      - {op: Relu, inputs: [h], outputs: [r]}
      - {op: Gemm, inputs: [r, decoder.weight], outputs: [y], attributes: {transB: 1}}
    outputs: [y]
input: {random: {seed: 0}}
"""


def spec_of(**section) -> CompressionSpec:
    return TypeAdapter(CompressionSpec).validate_json(json.dumps(section))


def problems_of(**section) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        resolve(spec_of(**section), NAMES)
    return list(caught.value.problems)


def resolved(**section) -> ResolvedRule:
    return resolve(spec_of(**section), NAMES)[NAMES[0]]


# ------------------------------------------------------------------------------------ settings


def test_a_palette_asks_for_kmeans_at_the_width_of_its_entries() -> None:
    rule = resolved(
        default={"weights": {"bits": 8}},
        rules=[{"match": "encoder.*", "weights": {"palette": 12}}],
    )
    assert (rule.quantizer, rule.weight_bits, rule.palette) == ("kmeans", 4, 12)
    assert rule.codec == CodecChoice("bitmap", {"palette": True})
    rule = resolved(default={"weights": {"bits": 4, "palette": 16}, "codec": {"palette": False}})
    assert (rule.quantizer, rule.weight_bits, rule.palette) == ("kmeans", 4, 16)
    assert rule.codec == CodecChoice("bitmap", {})
    rule = resolved(default={"weights": {"palette": 16}, "codec": "raw"})
    assert rule.codec == CodecChoice("raw", {})
    rule = resolved(default={"weights": {"quantizer": "mu_law", "palette": 16, "mu": 50}})
    assert (rule.quantizer, rule.mu) == ("mu_law", 50)


def test_another_method_does_not_inherit_what_it_has_no_use_for() -> None:
    rule = resolved(
        default={
            "weights": {"bits": 4, "scale": "per_group", "group_size": 32},
            "prune": {"sparsity": 0.5},
        },
        rules=[
            {
                "match": "encoder.*",
                "weights": {"quantizer": "entropy_uniform", "sqnr_db": 20},
                "prune": {"method": "n_m", "n": 2, "m": 4},
            }
        ],
    )
    assert rule == ResolvedRule(
        quantizer="entropy_uniform",
        weight_bits=4,
        sqnr_db=20,
        prune_method="n_m",
        n=2,
        m=4,
    )


def test_names_that_no_table_has() -> None:
    assert problems_of(
        default={"weights": {"quantizer": "kmean"}, "prune": {"method": "nm"}, "codec": "atuo"}
    ) == [
        (
            "$.compression.default.weights.quantizer: unknown quantizer 'kmean', did you mean "
            f"'kmeans'? allowed: {QUANTIZERS}"
        ),
        (
            "$.compression.default.prune.method: unknown pruner 'nm', did you mean 'n_m'? "
            f"allowed: {PRUNERS}"
        ),
        (
            "$.compression.default.codec: unknown codec 'atuo', did you mean 'auto'? "
            f"allowed: {CODECS}"
        ),
    ]


SENTENCES = {
    '{"weights": {"quantizer": "uniform", "palette": 16}}': (
        "weights.palette: uniform takes no palette, it takes: bits, scale, group_size"
    ),
    '{"weights": {"quantizer": "kmeans", "mu": 3}}': (
        "weights.mu: kmeans takes no mu, it takes: bits, scale, group_size, palette"
    ),
    '{"weights": {"step": 0.5}}': (
        "weights.step: uniform takes no step, it takes: bits, scale, group_size"
    ),
    '{"weights": {"quantizer": "entropy_uniform", "scale": "per_channel"}}': (
        "weights.scale: entropy_uniform takes no scale, it takes: bits, step, sqnr_db, dead_zone"
    ),
    '{"weights": {"quantizer": "entropy_uniform", "step": 0.5, "sqnr_db": 20}}': (
        "weights.step: of no use with sqnr_db; give one of them"
    ),
    '{"weights": {"quantizer": "asymmetric"}}': (
        "weights.bits: out of range for asymmetric, found 8, allowed: 2 to 7"
    ),
    '{"weights": {"quantizer": "interval256", "bits": 4}}': (
        "weights.bits: out of range for interval256, found 4, allowed: 8"
    ),
    '{"weights": {"bits": 4, "palette": 17}}': (
        "weights.palette: too large, found 17 entries, allowed at 4 bits: 16"
    ),
    '{"weights": {"quantizer": "kmeans", "scale": "per_group"}}': (
        "weights.group_size: missing, scale: per_group needs it"
    ),
    '{"prune": {"method": "n_m", "n": 2}}': "prune.m: missing, method: n_m needs it",
    '{"prune": {"method": "n_m", "n": 5, "m": 4}}': "prune.n: found 5, more than m of 4",
    '{"prune": {"method": "n_m", "n": 2, "m": 4, "sparsity": 0.5}}': (
        "prune.sparsity: n_m takes no sparsity, it takes: n, m"
    ),
    '{"prune": {"lanes": 8}}': ("prune.lanes: magnitude takes no lanes, it takes: sparsity, scope"),
    '{"prune": {"method": "balanced", "sparsity": 0.5}}': (
        "prune.lanes: missing, method: balanced needs it"
    ),
    '{"prune": {"method": "rate_distortion", "sparsity": 0.5, "target_bits": 2}}': (
        "prune.sparsity: of no use with target_bits; give one of them"
    ),
    '{"codec": {"name": "bitmap", "by": "cycles"}}': "codec.by: of no use with codec bitmap",
    '{"codec": {"name": "auto", "palette": true}}': "codec.palette: auto takes no palette",
    '{"codec": {"name": "bitmap", "parameters": {"lanes": 4}}}': (
        "codec.parameters.lanes: bitmap takes no lanes, it takes: palette"
    ),
}


@pytest.mark.parametrize("section", SENTENCES)
def test_settings_that_do_not_fit_together(section: str) -> None:
    problems = problems_of(default=json.loads(section))
    assert problems == [f"$.compression.default.{SENTENCES[section]}"]


def test_what_a_name_does_not_take_is_found_without_matrices() -> None:
    spec = spec_of(default={"weights": {"quantizer": "uniform", "mu": 3}}, rules=[])
    assert find_problems(spec) == [
        (
            ("default", "weights", "mu"),
            "uniform takes no mu, it takes: bits, scale, group_size",
        )
    ]


# -------------------------------------------------------------------------------- scheme files


def load(tmp_path: Path, text: str, *overrides: str) -> Workload:
    path = tmp_path / "w.yaml"
    path.write_text(GRAPH + text)
    return load_workload(path, overrides)


def problems_in(tmp_path: Path, text: str, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, *overrides)
    return [line.replace(f"{tmp_path}/", "") for line in caught.value.problems]


@pytest.mark.parametrize("name", scheme_names())
def test_schemes_that_travel_with_azsim(tmp_path: Path, name: str) -> None:
    text = (workloads_directory() / "schemes" / f"{name}.yaml").read_text()
    assert text.startswith("# ")
    workload = load(tmp_path, f"compression: {name}\n")
    assert list(workload.source.schemes) == [f"{name}.yaml"]
    result = run(workload, verify=True, timeline=False)
    assert result.comparison is not None
    assert result.comparison.bit_exact
    files = result.provenance["files_sha256"]
    assert isinstance(files, dict)
    assert f"{name}.yaml" in files


def test_the_schemes() -> None:
    assert scheme_names() == (
        "int4_2of4",
        "int4_s50",
        "int8_dense",
        "int8_s50",
        "palette16_s75",
    )


def test_a_scheme_beside_the_workload_is_the_same_as_one_written_in_it(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "default: {weights: {bits: 4}}\nrules:\n  - {match: 'enc*', codec: raw}\n"
    )
    there = load(tmp_path, "compression: mine.yaml\n")
    here = load(
        tmp_path,
        "compression:\n  default: {weights: {bits: 4}}\n  rules:\n"
        "    - {match: 'enc*', codec: raw}\n",
    )
    assert there.compression == here.compression
    assert str(there.place(("compression", "rules", 0, "codec"))) == (
        f"{tmp_path / 'mine.yaml'}:3:28"
    )


def test_a_scheme_is_an_axis_and_may_be_changed(tmp_path: Path) -> None:
    workload = load(
        tmp_path,
        "compression: int8_s50\n",
        "compression.default.weights.bits=6",
        "workload.compression=int4_s50",
        "compression.default.prune.sparsity=0.75",
    )
    rule = workload.compression.default
    assert rule.weights is not None
    assert rule.prune is not None
    assert (rule.weights.bits, rule.prune.sparsity) == (4, 0.75)
    assert list(workload.source.schemes) == ["int8_s50.yaml", "int4_s50.yaml"]


def test_errors_name_the_scheme_file(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "default:\n  weights: {bits: 9}\n  prune: {method: n_m, sparsity: 0.5}\nrule: []\n"
    )
    assert problems_in(tmp_path, "compression: mine.yaml\nhardwre: az1\n") == [
        (
            "mine.yaml:2:19: $.compression.default.weights.bits: out of range, found 9, "
            "allowed: an integer from 2 to 8"
        ),
        (
            "mine.yaml:3:34: $.compression.default.prune.sparsity: n_m takes no sparsity, it "
            "takes: n, m"
        ),
        (
            "mine.yaml:4:1: $.compression.rule: unknown key 'rule', did you mean 'rules'? "
            "allowed: 'default', 'rules'"
        ),
        (
            "w.yaml:15:1: $.hardwre: unknown key 'hardwre', did you mean 'hardware'? allowed: "
            + ", ".join(f"'{key}'" for key in json_schema(WorkloadFile)["properties"])
        ),
    ]


def test_a_scheme_file_that_is_not_there(tmp_path: Path) -> None:
    assert problems_in(tmp_path, "compression: int4_s5\n") == [
        (
            "w.yaml:14:14: $.compression: unknown scheme 'int4_s5', did you mean 'int4_s50'? "
            f"allowed: {SCHEMES}, or the path of a .yaml file"
        )
    ]
    assert problems_in(tmp_path, "compression: other.yaml\n") == [
        "w.yaml:14:14: $.compression: other.yaml: no such file"
    ]
    (tmp_path / "bad.yaml").write_text("{")
    (problem,) = problems_in(tmp_path, "compression: bad.yaml\n")
    assert problem.startswith("w.yaml:14:14: $.compression: bad.yaml:")
    (tmp_path / "list.yaml").write_text("[]")
    (problem,) = problems_in(tmp_path, "compression: list.yaml\n")
    assert problem.startswith("list.yaml:1:1: $.compression: wrong type, found an empty list")
    (problem,) = problems_in(tmp_path, "compression: 5\n")
    assert problem == (
        "w.yaml:14:14: $.compression: wrong type, found 5, allowed: a mapping with the keys "
        "'default', 'rules', or a string; quote it: \"5\""
    )


def test_a_string_is_in_the_schema_of_a_workload() -> None:
    kinds = json_schema(WorkloadFile)["properties"]["compression"]["anyOf"]
    assert [kind.get("type") for kind in kinds] == [None, "string"]


def test_a_rule_that_matches_nothing_is_found_where_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("rules:\n  - {match: 'x*', codec: raw}\n")
    workload = load(tmp_path, "compression: mine.yaml\n")
    with pytest.raises(ConfigError) as caught:
        compress_workload(workload)
    (problem,) = caught.value.problems
    assert problem.startswith(f"{tmp_path / 'mine.yaml'}:2:13: $.compression.rules[0].match: 'x*'")


# ---------------------------------------------------------------------------------- codec: auto


def chip(*codecs: str) -> Hardware:
    az1 = load_hardware("az1")
    return replace(az1, decoder=replace(az1.decoder, codecs=codecs))


def stored(compiled: Compiled) -> dict[str, tuple[str, int]]:
    return {weight.name: (weight.codec, weight.encoded_bytes) for weight in compiled.weights}


@pytest.mark.parametrize("by", ["bytes", "cycles"])
def test_auto_takes_the_best_that_the_chip_decodes(tmp_path: Path, by: str) -> None:
    rules = (
        f"compression:\n  default: {{codec: {{name: auto, by: {by}}}}}\n  rules:\n"
        "    - {match: 'enc*', prune: {sparsity: 0.9}}\n"
    )
    hardware = chip("raw", "bitmap", "zero_run")
    chosen = stored(compile_workload(load(tmp_path, rules), hardware))
    alternatives = {
        codec: stored(
            compile_workload(load(tmp_path, rules, f"compression.default.codec={codec}"), hardware)
        )
        for codec in hardware.decoder.codecs
    }
    if by == "bytes":
        for name, (_, num_bytes) in chosen.items():
            assert num_bytes == min(entry[name][1] for entry in alternatives.values())
    assert chosen["encoder.weight"][0] != "raw"
    assert chosen["decoder.weight"][0] == "raw"  # dense: a mask would only add to it
    assert stored(compile_workload(load(tmp_path, rules), hardware)) == chosen
    # Only what the chip has is a candidate.
    names = {
        codec for codec, _ in stored(compile_workload(load(tmp_path, rules), chip("raw"))).values()
    }
    assert names == {"raw"}


def test_a_run_says_what_auto_chose_and_keeps_its_bounds(tmp_path: Path) -> None:
    text = "compression: {default: {prune: {sparsity: 0.75}, codec: auto}}\n"
    result = run(load(tmp_path, text), verify=True, timeline=False)
    assert result.comparison is not None
    assert result.comparison.bit_exact
    assert "auto" not in {weight.codec for weight in result.weights}
    assert result.notes == ()
    cycles, bound = result.summary["cycles"], result.summary["bound_cycles"]
    assert isinstance(cycles, int)
    assert isinstance(bound, int)
    assert bound <= cycles
    plain = run(load(tmp_path, text, "compression.default.codec=raw"), timeline=False)
    for name, array in result.outputs.items():
        np.testing.assert_array_equal(array, plain.outputs[name])


def test_a_chip_without_palettes_stores_none(tmp_path: Path) -> None:
    text = (
        "compression:\n"
        "  default: {weights: {bits: 4, palette: 16}, codec: {name: raw, palette: true}}\n"
    )
    workload = load(tmp_path, text)
    plain = run(workload, chip("raw"), timeline=False)
    assert plain.notes == (
        "2 tensors ask for raw+palette, which this chip cannot decode; its image holds raw",
    )
    for weight in plain.weights:
        assert weight.codec == "raw"
        assert weight.encoded_bytes >= weight.weights  # int8 values, as the chip reads them
    indexed = run(workload, chip("raw", "palette"), timeline=False)
    assert indexed.notes == ()
    for weight in indexed.weights:
        assert weight.encoded_bytes < 0.75 * weight.weights
    for name, array in plain.outputs.items():
        np.testing.assert_array_equal(array, indexed.outputs[name])


# --------------------------------------------------------------------------------- calibration


def test_a_calibration_input_tells_where_bits_are_worth_most(tmp_path: Path) -> None:
    text = "compression: {default: {prune: {method: rate_distortion, sparsity: 0.7}}}\n"
    plain = compress_workload(load(tmp_path, text)).weights
    # Column 0 sees large activations, so its weights stay.
    np.savez(tmp_path / "loud.npz", x=np.where(np.arange(32) == 0, 100, 1).astype("f4")[None])
    loud = compress_workload(load(tmp_path, text + "calibration: {npz: loud.npz}\n")).weights
    name = "encoder.weight"
    assert np.count_nonzero(loud[name].codes[:, 0]) > np.count_nonzero(plain[name].codes[:, 0])
    assert np.count_nonzero(loud[name].codes) <= np.count_nonzero(plain[name].codes) + 1
