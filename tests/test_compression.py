"""Rules, pruning, quantization, the int32 proof, and all of them together."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from pydantic import TypeAdapter, ValidationError

from azsim.codecs import codec_names
from azsim.compression.compress import compress, dense_bytes, dequantize, entropy_bits
from azsim.compression.prune import prune
from azsim.compression.quantize import quantize, split_segments
from azsim.compression.scheme import CompressionSpec, ResolvedRule, find_problems, resolve
from azsim.errors import ConfigError, InputError
from azsim.ir import CodecChoice

NAMES = ["encoder.0.weight", "encoder.1.weight", "decoder.weight"]


def spec_of(**section):
    return TypeAdapter(CompressionSpec).validate_json(json.dumps(section))


def problems_of(spec, names=NAMES):
    with pytest.raises(ConfigError) as caught:
        resolve(spec, names)
    return list(caught.value.problems)


# --------------------------------------------------------------------------------------- scheme


def test_nothing_given_is_the_built_in_base():
    assert resolve(CompressionSpec(), NAMES) == dict.fromkeys(NAMES, ResolvedRule())
    base = ResolvedRule()
    assert (base.weight_bits, base.weight_scale, base.group_size) == (8, "per_channel", None)
    assert (base.activation_bits, base.activation_scale) == (8, "dynamic")
    assert (base.sparsity, base.prune_scope) == (0.0, "tensor")
    assert base.codec == CodecChoice("bitmap", {})


def test_rules_merge_key_by_key_and_later_wins():
    spec = spec_of(
        default={
            "weights": {"bits": 8, "scale": "per_tensor"},
            "prune": {"sparsity": 0.5},
            "codec": {"name": "bitmap", "palette": True},
        },
        rules=[
            {"match": "encoder.*", "weights": {"bits": 4}, "activations": {"bits": 16}},
            {"match": "*.1.*", "weights": {"bits": 3}, "prune": {"scope": "global"}},
            {"match": "decoder*", "codec": "zero_run"},
        ],
    )
    palette = CodecChoice("bitmap", {"palette": True})
    common = {"weight_scale": "per_tensor", "sparsity": 0.5}
    assert resolve(spec, NAMES) == {
        NAMES[0]: ResolvedRule(weight_bits=4, activation_bits=16, codec=palette, **common),
        NAMES[1]: ResolvedRule(
            weight_bits=3, activation_bits=16, prune_scope="global", codec=palette, **common
        ),
        NAMES[2]: ResolvedRule(codec=CodecChoice("zero_run", {}), **common),
    }


def test_patterns_are_case_sensitive():
    spec = spec_of(rules=[{"match": "ENCODER.*", "weights": {"bits": 4}}])
    assert problems_of(spec)[0].startswith("$.compression.rules[0].match: 'ENCODER.*' matches no")


def test_a_rule_that_matches_nothing():
    spec = spec_of(
        rules=[
            {"match": "*", "weights": {"bits": 4}},
            {"match": "encodr.0.*", "weights": {"bits": 4}},
            {"weights": {"bits": 4}},
        ]
    )
    assert problems_of(spec) == [
        (
            "$.compression.rules[1].match: 'encodr.0.*' matches no weight matrix; the nearest is "
            "'encoder.0.weight'; there are: encoder.0.weight, encoder.1.weight, decoder.weight"
        ),
        "$.compression.rules[2].match: missing key, allowed: a pattern of initializer names",
    ]
    many = [f"layer.{i}" for i in range(25)]
    assert problems_of(spec_of(rules=[{"match": "x"}]), many)[0].endswith("layer.19 and 5 more")
    assert problems_of(spec_of(rules=[{"match": "x"}]), []) == [
        "$.compression.rules[0].match: 'x' matches no weight matrix; there are: none"
    ]


def test_settings_that_do_not_fit_together():
    spec = spec_of(
        default={"match": "*", "codec": "bitmp"},
        rules=[
            {"match": "encoder.0.*", "weights": {"scale": "per_group"}},
            {"match": "encoder.1.*", "weights": {"group_size": 32}},
            {"match": "decoder.*", "codec": {"name": "palette", "palette": True}},
        ],
    )
    known = ", ".join(codec_names())
    assert problems_of(spec) == [
        "$.compression.default.match: the default has no pattern; move it to rules",
        (
            "$.compression.default.codec: unknown codec 'bitmp', did you mean 'bitmap'? allowed: "
            f"{known}, auto"
        ),
        "$.compression.rules[0].weights.group_size: missing, scale: per_group needs it",
        "$.compression.rules[1].weights.group_size: of no use with scale: per_channel",
        "$.compression.rules[2].codec.palette: palette takes no palette",
    ]


def test_what_is_wrong_without_knowing_the_names():
    spec = spec_of(default={"codec": "raw"}, rules=[{"match": "x"}, {"codec": "lzma"}])
    assert find_problems(spec) == [
        (
            ("rules", 1, "codec"),
            f"unknown codec 'lzma', allowed: {', '.join(codec_names())}, auto",
        ),
        (("rules", 1, "match"), "missing key, allowed: a pattern of initializer names"),
    ]


def test_a_bare_name_is_in_the_schema_of_a_codec():
    schema = TypeAdapter(CompressionSpec).json_schema()
    kinds = schema["$defs"]["Rule"]["properties"]["codec"]["anyOf"]
    assert {"type": "string"} in kinds


def test_a_rule_may_take_groups_away():
    spec = spec_of(
        default={"weights": {"scale": "per_group", "group_size": 32}},
        rules=[{"match": "decoder.*", "weights": {"scale": "per_channel"}}],
    )
    resolved = resolve(spec, NAMES)
    assert resolved[NAMES[0]].group_size == 32
    assert resolved[NAMES[2]].group_size is None


@pytest.mark.parametrize(
    ("section", "place", "kind"),
    [
        ({"weights": {"bits": 9}}, ("weights", "bits"), "less_than_equal"),
        ({"weights": {"bits": 1}}, ("weights", "bits"), "greater_than_equal"),
        ({"prune": {"sparsity": 1.5}}, ("prune", "sparsity"), "less_than"),
        ({"prune": {"sparsity": 1}}, ("prune", "sparsity"), "less_than"),
        ({"prune": {"sparsity": -0.1}}, ("prune", "sparsity"), "greater_than_equal"),
        ({"activations": {"bits": 12}}, ("activations", "bits"), "literal_error"),
        ({"weights": {"bit": 8}}, ("weights", "bit"), "unexpected_keyword_argument"),
        ({"weights": {"bits": "8"}}, ("weights", "bits"), "int_type"),
    ],
)
def test_values_out_of_range_are_found_by_the_types(section, place, kind):
    with pytest.raises(ValidationError) as caught:
        spec_of(default=section)
    (error,) = caught.value.errors()
    assert error["loc"] == ("default", *place)
    assert error["type"] == kind


# ---------------------------------------------------------------------------------------- prune


def rule(**changes):
    return ResolvedRule(**changes)


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.5, 0.75, 0.99])
def test_prune_counts_exactly_and_takes_the_smallest(sparsity):
    matrix = np.random.default_rng(0).standard_normal((37, 53)).astype(np.float32)
    before = matrix.copy()
    (pruned,) = prune({"w": matrix}, {"w": rule(sparsity=sparsity)}).values()
    gone = pruned == 0
    assert np.count_nonzero(gone) == round(sparsity * matrix.size)
    assert np.abs(matrix[gone]).max(initial=0) < np.abs(matrix[~gone]).min()
    np.testing.assert_array_equal(pruned[~gone], matrix[~gone])
    np.testing.assert_array_equal(matrix, before)


def test_prune_breaks_ties_by_index_and_counts_zeros_that_are_there():
    matrix = np.array([[0, 1, -1, 1], [-0.0, -1, 1, 2]], np.float32)
    (pruned,) = prune({"w": matrix}, {"w": rule(sparsity=0.5)}).values()
    np.testing.assert_array_equal(pruned, [[0, 0, 0, 1], [0, -1, 1, 2]])
    assert not np.signbit(pruned[1, 0])
    (same,) = prune({"w": matrix}, {"w": rule(sparsity=0.25)}).values()
    np.testing.assert_array_equal(same, matrix)


def test_global_scope_pools_tensors_of_one_sparsity():
    small = np.full((2, 4), 0.1, np.float32)
    large = np.full((2, 4), 9.0, np.float32)
    rules = {
        "small": rule(sparsity=0.5, prune_scope="global"),
        "large": rule(sparsity=0.5, prune_scope="global"),
        "other": rule(sparsity=0.25, prune_scope="global"),
        "alone": rule(sparsity=0.5),
    }
    pruned = prune({"small": small, "large": large, "other": small, "alone": small}, rules)
    zeros = {name: matrix.size - np.count_nonzero(matrix) for name, matrix in pruned.items()}
    assert zeros == {"small": 8, "large": 0, "other": 2, "alone": 4}
    assert list(pruned) == ["small", "large", "other", "alone"]


# ------------------------------------------------------------------------------------- quantize


def expected_codes(matrix, scales, segments, bits):
    """Each weight alone, in the words of the definition."""
    limit = 2 ** (bits - 1) - 1
    codes = np.zeros(matrix.shape, int)
    for s, (start, stop) in enumerate(itertools.pairwise(segments)):
        for n in range(matrix.shape[0]):
            for k in range(start, stop):
                quotient = np.float32(matrix[n, k]) / np.float32(scales[s, n])
                codes[n, k] = min(max(round(float(quotient)), -limit), limit)
    return codes


@settings(max_examples=60, deadline=None)
@given(
    matrix=npst.arrays(
        np.float32,
        npst.array_shapes(min_dims=2, max_dims=2, max_side=9),
        elements=st.one_of(
            st.just(0.0), st.floats(-(2.0**120), 2.0**120, width=32, allow_subnormal=True)
        ),
    ),
    bits=st.integers(2, 8),
    kind=st.sampled_from(["per_tensor", "per_channel", "per_group"]),
    group_size=st.integers(1, 10),
)
def test_quantize_as_defined(matrix, bits, kind, group_size):
    grouped = group_size if kind == "per_group" else None
    found = quantize(matrix, rule(weight_bits=bits, weight_scale=kind, group_size=grouped))
    codes, scales, segments = found.codes, found.scales, found.segments
    rows, columns = matrix.shape
    limit = np.float32(2 ** (bits - 1) - 1)
    width = group_size if kind == "per_group" else columns
    assert segments == (*range(0, columns, width), columns)
    assert scales.shape == (len(segments) - 1, rows)
    assert (codes.dtype, scales.dtype) == (np.int8, np.float32)
    for s, (start, stop) in enumerate(itertools.pairwise(segments)):
        for n in range(rows):
            part = matrix if kind == "per_tensor" else matrix[n, start:stop]
            scale = np.abs(part).max() / limit
            assert scales[s, n] == (scale if scale else 1)
    np.testing.assert_array_equal(codes, expected_codes(matrix, scales, segments, bits))


def test_quantize_rounds_half_to_even_and_leaves_zero_rows_at_scale_one():
    matrix = np.array([[127, 0.5, 1.5, -2.5], [0, 0, 0, 0]], np.float32)
    found = quantize(matrix, rule())
    np.testing.assert_array_equal(found.codes, [[127, 0, 2, -2], [0, 0, 0, 0]])
    np.testing.assert_array_equal(found.scales, [[1, 1]])


# ------------------------------------------------------------------------------------ int32 proof


def assert_proven(codes, segments, activation_bits):
    limit = 2 ** (activation_bits - 1) - 1
    for start, stop in itertools.pairwise(segments):
        sums = np.abs(codes[:, start:stop].astype(np.int64)).sum(axis=1) * limit
        assert sums.max() <= 2**31 - 1


@pytest.mark.parametrize("activation_bits", [8, 16])
@pytest.mark.parametrize("columns", [1, 516, 517, 5000, 140_000])
def test_split_of_the_worst_codes(columns, activation_bits):
    codes = np.full((2, columns), 127, np.int8)
    codes[0] = 1
    scales = np.array([[2, 3]], np.float32)
    new_scales, segments = split_segments(codes, scales, (0, columns), activation_bits)
    assert_proven(codes, segments, activation_bits)
    # 516 codes of 127 fit at 16 bits, and 133,144 at 8 bits.
    most = {8: 133_144, 16: 516}[activation_bits]
    if columns <= most:
        assert segments == (0, columns)
    else:
        width = most // 64 * 64
        last = next(b for b in range(0, columns, width) if columns - b <= most)
        assert segments == (*range(0, last + 1, width), columns)
    np.testing.assert_array_equal(new_scales, np.repeat(scales, len(segments) - 1, axis=0))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), columns=st.integers(1, 6000), data=st.data())
def test_split_is_greedy_and_proven(seed, columns, data):
    rng = np.random.default_rng(seed)
    codes = (rng.integers(-127, 128, (3, columns)) * (rng.random((3, columns)) < 0.8)).astype(
        np.int8
    )
    group = data.draw(st.integers(max(1, columns // 3), columns))
    bounds = (*range(0, columns, group), columns)
    scales = rng.random((len(bounds) - 1, 3)).astype(np.float32)
    new_scales, segments = split_segments(codes, scales, bounds, 16)
    assert set(bounds) <= set(segments)
    assert_proven(codes, segments, 16)
    assert len(new_scales) == len(segments) - 1
    for i, (start, stop) in enumerate(itertools.pairwise(segments)):
        origin = max(j for j, bound in enumerate(bounds) if bound <= start)
        np.testing.assert_array_equal(new_scales[i], scales[origin])
        if stop not in bounds:
            assert stop % 64 == 0
            longer = min(stop + 64, bounds[origin + 1])
            sums = np.abs(codes[:, start:longer].astype(np.int64)).sum(axis=1)
            assert sums.max() * 32767 > 2**31 - 1


# ------------------------------------------------------------------------------------- compress


def matrices():
    rng = np.random.default_rng(3)
    return {name: rng.standard_normal((12, 40)).astype(np.float32) for name in NAMES}


def test_compress_prunes_quantizes_and_keeps_the_rule():
    floats = matrices()
    rules = {
        NAMES[0]: rule(sparsity=0.5, codec=CodecChoice("zero_run")),
        NAMES[1]: rule(weight_bits=4, weight_scale="per_group", group_size=16, activation_bits=16),
        NAMES[2]: rule(weight_bits=3, weight_scale="per_tensor", activation_scale="static"),
    }
    weights = compress(floats, rules, {NAMES[2]: 12.7})
    assert list(weights) == NAMES
    first, second, third = weights.values()
    assert np.count_nonzero(first.codes == 0) >= 240
    assert first.codec == CodecChoice("zero_run")
    assert (first.segments, first.num_scales, first.activation_scale) == ((0, 40), 12, None)
    assert (second.segments, second.num_scales) == ((0, 16, 32, 40), 36)
    assert (second.bits, second.activation_bits, dense_bytes(second)) == (4, 16, 240)
    assert (third.num_scales, dense_bytes(third)) == (1, 180)
    assert third.activation_scale == np.float32(12.7) / np.float32(127)
    for name, weight in weights.items():
        assert np.abs(weight.codes).max() <= 2 ** (weight.bits - 1) - 1
        restored = dequantize(weight)
        assert restored.dtype == np.float32
        kept = restored != 0
        step = np.repeat(weight.scales, np.diff(weight.segments), axis=0).T
        assert (np.abs(restored - floats[name])[kept] <= step[kept] * 0.501).all()


def test_static_scale_of_an_input_that_is_always_zero_is_one():
    floats = {"w": np.ones((1, 1), np.float32)}
    rules = {"w": rule(activation_scale="static")}
    assert compress(floats, rules, {"w": 0.0})["w"].activation_scale == 1.0


def test_split_happens_where_it_must():
    floats = {"w": np.ones((2, 1000), np.float32)}
    weight = compress(floats, {"w": rule(activation_bits=16)})["w"]
    assert weight.segments == (0, 512, 1000)
    assert weight.num_scales == 2
    np.testing.assert_array_equal(dequantize(weight), floats["w"])


def test_all_bad_weights_are_named_at_once():
    floats: dict[str, np.ndarray] = dict(matrices())
    floats[NAMES[0]][3, 5] = np.nan
    floats[NAMES[0]][4, 0] = np.inf
    floats["vector"] = np.ones(3, np.float32)
    floats["double"] = np.ones((3, 2))
    rules = dict.fromkeys(floats, rule()) | {
        NAMES[1]: rule(activation_scale="static"),
        NAMES[2]: rule(activation_scale="static"),
    }
    with pytest.raises(InputError) as caught:
        compress(floats, rules, {NAMES[2]: np.inf})
    assert str(caught.value).splitlines() == [
        "encoder.0.weight: 2 of 480 weights are not finite, the first at row 3, column 5: nan",
        (
            "encoder.1.weight: static activation scale, but no calibration value; give the "
            "workload a calibration input or use scale: dynamic"
        ),
        "decoder.weight: calibration value inf, expected a finite magnitude",
        "vector: weight of type float32 and shape 3, expected float32 N x K",
        "double: weight of type float64 and shape 3 x 2, expected float32 N x K",
    ]


def test_entropy():
    assert entropy_bits(np.zeros(10, np.int8)) == 0
    assert entropy_bits(np.zeros(0, np.int8)) == 0
    assert entropy_bits(np.array([[-1, 1], [2, 3]], np.int8)) == 2
