"""Sweep files: what is read, what is refused, and that a point is what `--set` gives."""

# ruff: noqa: E501

from __future__ import annotations

import itertools
import json
import pickle
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azsim.errors import ConfigError
from azsim.frontend.workload import load_workload
from azsim.hardware import load_hardware
from azsim.sweeps.expressions import parse_expression
from azsim.sweeps.objectives import Objective, names_bounds
from azsim.sweeps.point import overrides_of, point_of
from azsim.sweeps.space import Sweep, Trial, count, designs, yaml_text
from azsim.sweeps.strategies import size_of, start
from azsim.sweeps.strategies.grid import points
from azsim.sweeps.sweep_file import load_sweep, sweep_names
from azsim.sweeps.worker import SweepEvaluator, code_sha256

_REST = """
objectives:
  latency: {key: latency_s, unit: s}
"""


def load(folder: Path, text: str, rest: str = _REST, overrides: tuple[str, ...] = ()) -> Sweep:
    path = folder / "sweep.yaml"
    path.write_text(f"name: s\nworkload: gemm\n{text}{rest}", "utf-8")
    return load_sweep(path, overrides)


def problems(folder: Path, text: str, rest: str = _REST) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(folder, text, rest)
    return [sentence.removeprefix(f"{folder}/sweep.yaml:") for sentence in caught.value.problems]


# ------------------------------------------------------------------------------- right files


@pytest.mark.parametrize("name", sweep_names())
def test_sweeps_that_travel_with_azsim_are_right(name: str) -> None:
    sweep = load_sweep(name)
    assert sweep.name == name
    assert size_of(sweep) > 0
    point_of(sweep, Trial(0, next(designs(sweep.axes, sweep.constraints))))


def test_ranges_are_numbers_and_whole_where_the_key_is(tmp_path: Path) -> None:
    sweep = load(
        tmp_path,
        """axes:
  latency_ns: {path: hardware.dram.latency_ns, range: {from: 0, to: 0.3, count: 4}}
  queue: {path: hardware.mac.queue_depth, log_range: {from: 1, to: 8, count: 7}}
  lanes: {path: hardware.vector.lanes, range: {from: 16, to: 4, step: 4}}
  sparsity: {path: scheme.default.prune.sparsity, range: {from: 0.1, to: 0.9, step: 0.4}}
""",
    )
    assert [axis.values for axis in sweep.axes] == [
        (0.0, 0.1, 0.2, 0.3),
        (1, 2, 3, 4, 6, 8),
        (16, 12, 8, 4),
        (0.1, 0.5, 0.9),
    ]
    assert sweep.axis("sparsity").target == "workload.compression.default.prune.sparsity"
    assert sweep.notes == ("queue: values are rounded to whole numbers, 6 of 7 are left",)


def test_another_content_of_a_file_that_the_workload_names_is_another_sweep(tmp_path: Path) -> None:
    axes = "axes:\n  input: {path: workload.input, values: [{npz: a.npz}, {npz: b.npz}]}\n"
    workload = "name: w\nmodel: {builder: gemm, m: 1, k: 4, n: 4}\ninput: {npz: a.npz}\n"
    (tmp_path / "w.yaml").write_text(workload, "utf-8")
    found = []
    for content in (b"one", b"two", b"two"):
        (tmp_path / "b.npz").write_bytes(content)
        path = tmp_path / "s.yaml"
        path.write_text(f"name: s\nworkload: w.yaml\n{axes}{_REST}", "utf-8")
        found.append(load_sweep(path).definition["files"])
    assert found[0] != found[1] == found[2]
    assert {key for key in found[0] if found[0][key] != found[1][key]} == {"file b.npz"}


def test_grid_counts_like_an_odometer_and_leaves_out_what_does_not_hold(tmp_path: Path) -> None:
    sweep = load(
        tmp_path,
        """axes:
  lanes: {path: hardware.mac.lanes, values: [16, 32, 64]}
  per_lane: {path: hardware.mac.macs_per_lane, values: [2, 4, 8]}
  skip: {path: hardware.mac.zero_skip, values: [none, weights]}
  window: {path: hardware.mac.window, values: [8, 16], when: skip == 'weights' and lanes > 16}
constraints: [lanes * per_lane == 128]
""",
    )
    assert [tuple(trial.design.values()) for trial in points(sweep)] == [
        (16, 8, "none"),
        (16, 8, "weights"),
        (32, 4, "none"),
        (32, 4, "weights", 8),
        (32, 4, "weights", 16),
        (64, 2, "none"),
        (64, 2, "weights", 8),
        (64, 2, "weights", 16),
    ]
    assert [trial.number for trial in points(sweep)] == list(range(8))
    assert size_of(sweep) == 8


def test_batches_of_the_grid_end(tmp_path: Path) -> None:
    sweep = load_sweep("small_clock")
    strategy = start(sweep)
    batch = strategy.ask()
    assert batch == list(points(sweep))
    for trial in batch:
        strategy.tell(trial, None)
    assert strategy.ask() == []


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_count_is_the_number_of_designs(data: st.DataObject) -> None:
    axes, rules = data.draw(_spaces())
    found = list(designs(axes, rules))
    assert count(axes, rules) == len(found)
    assert len({json.dumps(design) for design in found}) == len(found)
    # The definition: every combination, rules and conditions asked of the whole of it.
    wanted = []
    for values in itertools.product(*(axis.values for axis in axes)):
        design: dict[str, Any] = {}
        for axis, value in zip(axes, values, strict=True):
            if axis.when is None or axis.when.holds(design):
                design[axis.name] = value
        if all(rule.holds(design) for rule in rules) and design not in wanted:
            wanted.append(design)
    assert found == wanted


@st.composite
def _spaces(draw: st.DrawFn) -> Any:
    from azsim.sweeps.expressions import parse_expression
    from azsim.sweeps.space import Axis

    names = ["a", "b", "c", "d"][: draw(st.integers(1, 4))]
    axes = []
    for i, name in enumerate(names):
        values = tuple(range(draw(st.integers(1, 4))))
        when = None
        if i and draw(st.booleans()):
            other = draw(st.sampled_from(names[:i]))
            when = parse_expression(f"{other} {draw(st.sampled_from(['<', '==', '>']))} 1")
        axes.append(Axis(name, "path", f"hardware.{name}", values, when))
    texts = draw(st.lists(st.sampled_from(_rules(names)), max_size=2))
    return tuple(axes), tuple(parse_expression(text) for text in texts)


def _rules(names: list[str]) -> list[str]:
    pairs = list(itertools.product(names, names))
    return [f"{a} + {b} < 4" for a, b in pairs] + [f"{a} != {b}" for a, b in pairs]


# ------------------------------------------------------------------------------------ points

_MIXED = """set: [scheme.default.activations.bits=16, hardware.dram.banks=4]
axes:
  chip: {hardware: [az1, az2, chip.yaml]}
  scheme: {scheme: [int4_s50, palette16_s75, own.yaml]}
  sparsity: {path: scheme.default.prune.sparsity, values: [0, 0.25, 1.0e-05]}
  codec: {path: scheme.default.codec, values: [bitmap, lane_tans, {name: bitmap, palette: true}]}
  n: {path: workload.model.n, values: [32, 64]}
  clock: {path: hardware.clock_hz, log_range: {from: 1.0e+8, to: 1.0e+9, count: 5}}
  sram: {path: hardware.weight_sram.bytes, values: [262_144, 524_288]}
  latency_ns: {path: hardware.dram.latency_ns, values: [40.5, 80]}
"""


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    folder = tmp_path_factory.mktemp("mixed")
    (folder / "chip.yaml").write_text("extends: az1_lite\nname: chip\n", "utf-8")
    (folder / "own.yaml").write_text("default: {weights: {bits: 5}}\n", "utf-8")
    return load(folder, _MIXED)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_point_is_what_set_gives(mixed: Sweep, data: st.DataObject) -> None:
    design = {axis.name: data.draw(st.sampled_from(axis.values)) for axis in mixed.axes}
    trial = Trial(0, design)
    texts = overrides_of(mixed, trial)
    workload = load_workload("gemm", [text for text in texts if text.startswith("workload.")])
    chip = mixed.path.parent / "chip.yaml" if design["chip"] == "chip.yaml" else design["chip"]
    hardware = load_hardware(chip, [text for text in texts if text.startswith("hardware.")])
    point = point_of(mixed, trial)
    assert (point.workload, point.hardware) == (workload, hardware)
    assert point.workload.compression.default.activations is not None
    assert point.workload.compression.default.activations.bits == 16
    assert point.hardware.clock_hz == design["clock"]
    # The preset has the structural keys of the point, and the timing keys of the chip as it was.
    before = load_hardware(chip)
    assert point.preset.weight_sram.bytes == design["sram"]
    assert (point.preset.clock_hz, point.preset.dram) == (before.clock_hz, before.dram)


def test_a_sweep_travels_to_other_processes(mixed: Sweep) -> None:
    other = pickle.loads(pickle.dumps(mixed))
    assert other == mixed
    trial = next(points(mixed))
    assert point_of(other, trial) == point_of(mixed, trial)
    assert json.loads(json.dumps(mixed.definition)) == mixed.definition


def test_points_are_cheap(mixed: Sweep) -> None:
    trials = list(itertools.islice(points(mixed), 0, None, 7))[:200]
    point_of(mixed, trials[0])
    begin = time.perf_counter()
    for trial in trials:
        point_of(mixed, trial)
    assert (time.perf_counter() - begin) / len(trials) < 0.01  # 0.4 ms on an idle machine


@given(
    st.recursive(
        st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    )
)
def test_values_are_written_so_that_yaml_reads_them(value: Any) -> None:
    import yaml

    text = yaml_text(value)
    if "\\ud" in json.dumps(value):
        return  # half a surrogate pair is no text
    assert yaml.safe_load(text) == value
    assert repr(yaml.safe_load(text)) == repr(value)


# ----------------------------------------------------------------------------------- bad files


def test_every_error_at_once_with_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(
        """name: bad sweep
workload: gem
set: [hardware.clock_hz=0, foo=1, workload.hardware=az2]
axes:
  clock: {path: hardware.clock_hertz, values: [1, 2]}
  window: {path: hardware.mac.window, values: [4, 0, 4]}
  lanes: {path: hardware.mac.lanes, range: {from: 1, to: 8, count: 3}, when: windw == 4}
  number: {path: hardware.mac.queue_depth, values: [1]}
  two: {path: hardware.mac.queue_depth}
  three: {hardware: [az1, az9]}
  four: {path: chip.foo, values: [1]}
  five: {path: hardware.dram.latency_ns, range: {from: 5, to: 5, count: 3}}
  cycles: {path: hardware.vector.lanes, values: [1]}
constraints: [window *, lanez > 3, "x.y == 'a'", __import__('os'), 1 < 2]
objectives:
  latency: {key: latency, goal: minimise, unit: s}
  cyc: {key: cycles}
  lat: {key: frame_latency_s.p99, unit: ms}
  frame: {key: frame_latency_s, unit: s}
strategy: {gird: {}}
""",
        "utf-8",
    )
    with pytest.raises(ConfigError) as caught:
        load_sweep(path)
    axes = "clock, window, lanes, number, two, three, four, five, cycles"
    figures = "and the keys of summary.json"
    sentences = [sentence.removeprefix(f"{path}:") for sentence in caught.value.problems]
    assert sentences[1].startswith(
        "2:11: $.workload: unknown workload 'gem', did you mean 'gemm'? "
    )
    assert sentences[:1] + sentences[2:] == [
        (
            "1:7: $.name: wrong form, found the string 'bad sweep', allowed: letters, digits, '_', '-' "
            "and '.', as it names a folder"
        ),
        (
            "3:7: $.set[0]: hardware.clock_hz: out of range, found 0, allowed: an integer from 1000 to "
            "100000000000"
        ),
        (
            "3:28: $.set[1]: not an override, found 'foo=1', allowed: workload.PATH=VALUE, "
            "hardware.PATH=VALUE, scheme.PATH=VALUE"
        ),
        (
            "3:35: $.set[2]: the chip is chosen by the sweep's key 'hardware', found one for the "
            "workload"
        ),
        (
            "5:17: $.axes.clock.path: hardware.clock_hertz: unknown key 'clock_hertz', did you mean "
            "'clock_hz'? allowed: 'name', 'source', 'clock_hz', 'dram', 'decoder', 'weight_sram', "
            "'activation_sram', 'mac', 'vector', 'sequencer'"
        ),
        (
            "6:51: $.axes.window.values[1]: hardware.mac.window: out of range, found 0, allowed: an "
            "integer from 1 to 1024"
        ),
        "6:54: $.axes.window.values[2]: is there twice, found 4 as items 0 and 2",
        "7:78: $.axes.lanes.when: 'windw' is no axis above this one, allowed: clock, window",
        "8:11: $.axes.number: 'number' is a column of every table of results; choose another name",
        (
            "9:8: $.axes.two: an axis with 'path' and no list of values, allowed: 'values', 'range' or "
            "'log_range'"
        ),
        (
            "10:27: $.axes.three.hardware[1]: unknown hardware 'az9', did you mean 'az2'? allowed: "
            "az1, az1_lite, az2, dense_npu, eie, ethos_u55, or a file beside it"
        ),
        (
            "11:16: $.axes.four.path: not a path, found 'chip.foo', allowed: workload.PATH, "
            "hardware.PATH, scheme.PATH"
        ),
        "12:49: $.axes.five.range: 'from' and 'to' are both 5; two numbers are needed",
        "13:11: $.axes.cycles: 'cycles' is a figure of every run; choose another name",
        "14:15: $.constraints[0]: not an expression: invalid syntax, found 'window *'",
        (
            f"14:25: $.constraints[1]: unknown name 'lanez', did you mean 'lanes'? allowed: {axes}, "
            f"latency, cyc, lat, frame, {figures}"
        ),
        (
            f"14:37: $.constraints[2]: unknown name 'x.y', allowed: {axes}, latency, cyc, lat, frame, "
            f"{figures}"
        ),
        (
            "14:50: $.constraints[3]: unknown function '__import__', allowed: abs, ceil, floor, log2, "
            "max, min, round, sqrt, figure"
        ),
        "14:68: $.constraints[4]: names no axis and no figure, found '1 < 2'",
        (
            "16:18: $.objectives.latency.key: unknown name 'latency', did you mean 'latency_s'? "
            f"allowed: {axes}, {figures}"
        ),
        (
            "16:33: $.objectives.latency.goal: not one of the choices, found the string 'minimise', "
            "did you mean 'minimize'? allowed: 'minimize' or 'maximize'"
        ),
        "17:8: $.objectives.cyc.unit: missing key; cycles is in cycles",
        "18:41: $.objectives.lat.unit: wrong unit, found 'ms', allowed: 's'",
        (
            "19:16: $.objectives.frame.key: 'frame_latency_s' has no number of its own, did you mean "
            "'frame_latency_s.p50'?"
        ),
        "20:18: $.strategy.gird: unknown strategy 'gird', did you mean 'grid'? allowed: grid, latin_hypercube, nsga2, random, successive, tpe",
    ]


def test_what_is_missing_does_not_hide_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(
        "axes: {a: {path: hardware.clok_hz, values: [1]}, b: {path: 3}}\n"
        "objectives: {c: {goal: minimize}, d: {key: cycles, unit: s}}\n",
        "utf-8",
    )
    with pytest.raises(ConfigError) as caught:
        load_sweep(path)
    found = [sentence.removeprefix(f"{path}:") for sentence in caught.value.problems]
    assert [sentence.partition(",")[0] for sentence in found] == [
        "1:1: $.name: missing key",
        "1:1: $.workload: missing key",
        "1:18: $.axes.a.path: hardware.clok_hz: unknown key 'clok_hz'",
        "1:60: $.axes.b.path: wrong type",
        "2:17: $.objectives.c.key: missing key",
        "2:58: $.objectives.d.unit: wrong unit",
    ]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            """axes:
  a: {path: hardware.mac.lanes, values: [32, 64]}
  b: {path: hardware.mac.lanes, values: [16]}
""",
            ["5:6: $.axes.b: changes the same key as the axis 'a'"],
        ),
        (
            """axes:
  bits: {path: scheme.default.weights.bits, values: [4, 8]}
  whole: {path: workload.compression, values: [int4_s50]}
""",
            ["5:10: $.axes.whole: overwrites the axis 'bits'; put this one above it"],
        ),
        (
            """set: [workload.compression=int8_dense, hardware.clock_hz=1000]
axes:
  scheme: {scheme: [int4_s50]}
  clock: {path: hardware.clock_hz, values: [1000]}
""",
            [
                ("5:11: $.axes.scheme: is overwritten by the override "
                "'workload.compression=int8_dense'"),
                "6:10: $.axes.clock: overwrites the override 'hardware.clock_hz=1000'",
            ],
        ),
        (
            """axes:
  one: {hardware: [az1]}
  two: {hardware: [az2]}
""",
            [
                ("5:19: $.axes.two.hardware: the axis 'one' has whole hardware already, allowed: "
                "one such axis")
            ],
        ),
        (
            """axes:
  lanes: {path: hardware.mac.lanes, values: [16, 32]}
  chips: {path: workload.hardware, values: [az1]}
constraints: [lanes > 32]
""",
            [
                ("5:17: $.axes.chips.path: whole chips are an axis of their own kind; write "
                "hardware: [NAME, NAME]")
            ],
        ),
        (
            """axes:
  lanes: {path: hardware.mac.lanes, values: [16, 32]}
  window: {path: hardware.mac.window, values: [16, 32]}
constraints: [lanes + window > 10, lanes > 32]
""",
            [
                ("6:36: $.constraints[1]: the design space is empty: none of 4 designs holds "
                "'lanes > 32'")
            ],
        ),
        (
            """axes:
  lanes: {path: hardware.mac.lanes, values: [16, 32]}
constraints: [lanes > 16, lanes < 32]
""",
            ["5:14: $.constraints: the design space is empty: none of 2 designs holds all of them"],
        ),
        (
            """axes:
  skip: {path: hardware.mac.zero_skip, values: [none, both]}
constraints: [skip * 2 > 3]
""",
            [
                ("5:14: $.constraints: 'skip * 2 > 3' cannot be computed: only numbers are "
                "multiplied")
            ],
        ),
        (
            """axes:
  window: {path: hardware.mac.window, values: [2, 4]}
""",
            [
                ("4:48: $.axes.window.values[0]: hardware.mac.window: window too small, found 2, "
                "allowed: at least macs_per_lane (4)")
            ],
        ),
        (
            """axes:
  codec: {path: scheme.default.codec, values: [bitmap, lzma]}
  bits: {path: scheme.default.weights.bits, range: {from: 7, to: 10, step: 1}}
""",
            [
                ("5:52: $.axes.bits.range: workload.compression.default.weights.bits: out of range, "
                "found 9, allowed: an integer from 2 to 8 (and 1 values more)")
            ],
        ),
        (
            """axes:
  codec: {path: scheme.default.codec, values: [{name: rice, palette: true}, lzma]}
""",
            [
                ("4:48: $.axes.codec.values[0]: workload.compression.default.codec.palette: rice "
                "takes no palette"),
                ("4:77: $.axes.codec.values[1]: workload.compression.default.codec: unknown codec "
                "'lzma', allowed: bitmap, csc, dense_block, huffman, lane_tans, nm, palette, raw, "
                "rice, zero_run, auto"),
            ],
        ),
        (
            """axes:
  lanes: {path: hardware.mac.lanes, values: [16, 32]}
  window: {path: hardware.mac.window, values: [16, 32], when: lanes == 31}
""",
            ["5:63: $.axes.window.when: holds for no design, so that the axis is never there"],
        ),
        (
            "".join(
                ["axes:\n"]
                + [
                    f"  a{i}: {{path: hardware.{key}, range: {{from: 1, to: 130, count: 130}}}}\n"
                    for i, key in enumerate(("mac.lanes", "vector.lanes", "mac.drain_lanes"))
                ]
            ),
            [
                ("4:3: $.axes: a grid of 2,197,000 points, allowed: 1,000,000; the other "
                "strategies take a part of it")
            ],
        ),
    ],
)  # fmt: skip
def test_axes_that_do_not_go_together(tmp_path: Path, text: str, wanted: list[str]) -> None:
    assert problems(tmp_path, text) == wanted


@pytest.mark.slow
def test_a_space_too_sparse_to_search_is_said_and_not_waited_for(tmp_path: Path) -> None:
    keys = ("mac.lanes", "vector.lanes", "mac.drain_lanes", "decoder.lanes")
    axes = "".join(
        f"  a{i}: {{path: hardware.{key}, range: {{from: 1, to: 200, count: 200}}}}\n"
        for i, key in enumerate(keys)
    )
    text = f"axes:\n{axes}constraints: [a0 + a1 + a2 + a3 > 900]\n"
    found = problems(tmp_path, text, f"{_REST}strategy: {{random: {{points: 10}}}}\n")
    assert found == [
        (
            "8:14: $.constraints: no design found in 2,500,000 steps; name axes that constraints "
            "relate first"
        )
    ]


def test_a_value_is_right_if_one_design_with_it_is(tmp_path: Path) -> None:
    # A window of 2 is too small for the chip's own four products a lane, not for two.
    sweep = load(
        tmp_path,
        """axes:
  window: {path: hardware.mac.window, values: [2, 4]}
  per_lane: {path: hardware.mac.macs_per_lane, values: [2, 4]}
constraints: [window >= per_lane]
""",
    )
    assert size_of(sweep) == 3


def test_two_axes_of_one_key_may_exclude_each_other(tmp_path: Path) -> None:
    sweep = load(
        tmp_path,
        """axes:
  bits: {path: scheme.default.weights.bits, values: [3, 4]}
  few: {path: scheme.default.weights.palette, values: [4, 8], when: bits == 3}
  many: {path: scheme.default.weights.palette, values: [8, 16], when: bits == 4}
""",
    )
    assert size_of(sweep) == 4


def test_overrides_of_a_command_are_those_of_all_points(tmp_path: Path) -> None:
    text = "axes:\n  lanes: {path: hardware.mac.lanes, values: [16, 32]}\n"
    sweep = load(tmp_path, text, overrides=("workload.model.n=32", "sweep.name=other"))
    assert (sweep.name, sweep.overrides) == ("other", ("workload.model.n=32",))
    assert point_of(sweep, next(points(sweep))).hardware.mac.lanes == 16
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, overrides=("workload.model.q=32", "hardware.mac.lanes=3"))
    assert [one.partition(", allowed")[0] for one in caught.value.problems] == [
        f"{tmp_path}/sweep.yaml:4:10: $.axes.lanes: overwrites the override 'hardware.mac.lanes=3'",
        "--set workload.model.q=32: $.set: workload.model.q: unknown key 'q'",
    ]


def test_unknown_sweep() -> None:
    with pytest.raises(ConfigError) as caught:
        load_sweep("small_clok")
    assert str(caught.value).startswith("unknown sweep 'small_clok', did you mean 'small_clock'? ")


def test_bounds_are_found_where_the_sweep_names_them(tmp_path: Path) -> None:
    plain = load(
        tmp_path, "axes: {clock: {path: hardware.clock_hz, values: [1_000_000, 2_000_000]}}"
    )
    objective = Objective("bound", "bound_cycles", "minimize", "cycles")
    rule = parse_expression("cycles <= 1.1 * critical_path_cycles")

    assert not names_bounds(plain)
    assert names_bounds(replace(plain, objectives=(*plain.objectives, objective)))
    assert names_bounds(replace(plain, figure_constraints=(rule,)))
    found = SweepEvaluator(
        replace(plain, objectives=(*plain.objectives, objective)), code_sha256()
    ).find(Trial(0, {"clock": 1_000_000}), share=False)
    assert (found.figures["bound"] or 0) > 0


def test_the_page_names_all_that_a_file_may_say() -> None:
    from dataclasses import fields

    from azsim.report.figures import FIGURES
    from azsim.sweeps import sweep_file
    from azsim.sweeps.expressions import _FUNCTIONS
    from azsim.sweeps.strategies import strategies

    page = (Path(__file__).parent.parent / "docs" / "sweep_files.md").read_text("utf-8")
    words = {entry.name for entry in fields(sweep_file.SweepFile)}
    words |= {entry.name for entry in fields(sweep_file.AxisFile)}
    words |= {entry.name for entry in fields(sweep_file.ObjectiveFile)}
    for name, module in strategies().items():
        words |= {name, *(entry.name for entry in fields(module.OPTIONS))}
    words |= {*sweep_names(), *_FUNCTIONS, *(set(FIGURES.values()) - {"1"})}
    assert [
        word for word in sorted(words) if f"`{word}`" not in page and f"{word}:" not in page
    ] == []


def test_the_file_of_the_page_is_right(tmp_path: Path) -> None:
    page = (Path(__file__).parent.parent / "docs" / "sweep_files.md").read_text("utf-8")
    whole, refined = (text.partition("```")[0] for text in page.split("```yaml\n")[1:])
    (tmp_path / "my_chip.yaml").write_text("extends: az1\nname: my_chip\n", "utf-8")
    path = tmp_path / "sweep.yaml"
    path.write_text(whole, "utf-8")
    sweep = load_sweep(path)
    assert size_of(sweep) == count(sweep.axes, sweep.constraints)
    assert [rule.text for rule in sweep.figure_constraints] == ["sram_peak_bytes.weight <= 200_000"]
    longer = whole.replace("gemm", "lstm_cell").replace("set: [workload.model.n=256]", "")
    path.write_text(longer.replace("strategy: {grid: {}}", refined), "utf-8")
    assert len(load_sweep(path).rungs) == 3
