"""Results of stages are taken from other runs if and only if nothing that they read differs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

import azsim
from azsim.code_version import rooms_of
from azsim.frontend.workload import Workload, load_workload
from azsim.hardware import Hardware, load_hardware
from azsim.hardware.description import structural_keys
from azsim.hardware.plan import value_of, with_value
from azsim.sim.result import BOUND_KEYS
from azsim.stages.keys import StageKeys, content_key
from azsim.stages.reuse import STAGES, StageCache, num_bytes
from azsim.stages.shelf import Shelf
from azsim.sweeps.evaluate import evaluate, group_key, point_key

WORKLOAD = """
name: tiny
model: {builder: lstm_cell, inputs: 12, hidden: 16}
input: {random: {seed: 1, frames: 5}}
stream: {chunk_frames: 1}
compression:
  default: {weights: {bits: 8}, prune: {sparsity: 0.5}, codec: bitmap}
"""


@dataclass(frozen=True)
class Point:
    workload: Workload
    hardware: Hardware
    preset: Hardware


@pytest.fixture
def workload_file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(WORKLOAD)
    return path


def point(path: Path, *overrides: str, **hardware: object) -> Point:
    preset = load_hardware("az1")
    chip = preset
    for key, value in hardware.items():
        chip = with_value(chip, key.replace("__", "."), value)
    return Point(load_workload(path, overrides), chip, preset)


def whole(found: Point) -> dict[str, object]:
    chip, preset = found.hardware, found.preset
    result = azsim.run(found.workload, chip, preset=preset, timeline=False, bounded=False)
    return {key: value for key, value in result.summary.items() if key != "layers"}


def made(found: Mapping[str, Mapping[str, int]]) -> set[str]:
    return {stage for stage, counts in found.items() if "made" in counts}


CHANGES = {
    "nothing": ((), {}, set()),
    "timing key": ((), {"clock_hz": 300_000_000}, {"run"}),
    "window": ((), {"mac__window": 4}, {"run"}),
    "structural key": (
        (),
        {"weight_sram__bytes": 4096},
        {"program", "execution", "accuracy", "run"},
    ),
    "codec": (
        ("compression.default.codec=huffman",),
        {},
        {"prepared", "program", "execution", "accuracy", "run"},
    ),
    "sparsity": (
        ("compression.default.prune.sparsity=0.75",),
        {},
        {"codes", "prepared", "program", "execution", "accuracy", "run"},
    ),
    "input": (("input.random.seed=2",), {}, set(STAGES) - {"model", "codes"}),
    "model": (("model.seed=3",), {}, set(STAGES)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_makes_what_depends_on_it_anew_and_gives_the_figures_of_a_run(
    change: str, workload_file: Path
):
    overrides, hardware, remade = CHANGES[change]
    cache = StageCache()
    first, second = point(workload_file), point(workload_file, *overrides, **hardware)

    assert made(evaluate(first, cache).reused) == set(STAGES)
    found = evaluate(second, cache)

    assert made(found.reused) == remade
    assert found.summary == whole(second)


def test_every_key_of_the_hardware_is_in_the_key_of_a_point_and_structural_ones_in_its_groups(
    workload_file: Path,
):
    base = point(workload_file)
    others = {
        "decoder.codecs": ("raw",),
        "decoder.at": "read",
        "mac.dataflow": "outer",
        "mac.zero_skip": "none",
        "name": "other",
    }
    timing = (
        *("clock_hz", "dram.bytes_per_s", "dram.latency_ns", "dram.banks", "decoder.lanes"),
        *("mac.window", "mac.lanes", "mac.queue_depth", "vector.lanes"),
        *("sequencer.issue_cycles", "weight_sram.write_bytes_per_cycle"),
    )
    for key in (*structural_keys(), *timing, "name"):
        value = others.get(key) or value_of(base.hardware, key) + 1
        other = replace(base, hardware=with_value(base.hardware, key, value))
        assert point_key(other) != point_key(base), key
        same_group = group_key(other) == group_key(base)
        assert same_group == (key not in structural_keys()), key


def test_the_place_of_a_file_and_how_values_were_given_do_not_count(
    workload_file: Path, tmp_path: Path
):
    (tmp_path / "elsewhere").mkdir()
    other = tmp_path / "elsewhere" / "renamed.yaml"
    other.write_text(WORKLOAD.replace("sparsity: 0.5", "sparsity: 0.25"))

    assert point_key(point(workload_file)) == point_key(
        point(other, "compression.default.prune.sparsity=0.5")
    )


def test_a_file_that_is_named_counts_with_its_content(tmp_path: Path, workload_file: Path):
    text = WORKLOAD.replace("{random: {seed: 1, frames: 5}}", "{npz: input.npz}")
    workload_file.write_text(text)
    keys = []
    for seed in (0, 1, 0):
        values = np.random.default_rng(seed).standard_normal((5, 12)).astype(np.float32)
        np.savez(tmp_path / "input.npz", x=values)
        keys.append(point_key(point(workload_file)))

    assert keys[0] == keys[2] != keys[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "module",
    [
        "azsim.stages.model",
        "azsim.frontend.workload_inputs",
        "azsim.compression.compress",
        "azsim.evaluate",
        "azsim.compiler.compile",
        "azsim.sim.execute",
        "azsim.sim.timing",
    ],
)
def test_the_code_of_a_stage_is_all_that_it_imports(module: str):
    text = f"import sys, {module}; print(*[m for m in sys.modules if m.startswith('azsim.')])"
    found = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, check=True
    ).stdout.split()
    rooms = rooms_of(module)

    assert module in found
    assert not [name for name in found if ".".join(name.split(".")[1:3]) not in rooms
                and name.split(".")[1] not in rooms and name != "azsim.stages"]  # fmt: skip


def test_timing_does_not_depend_on_the_compiler():
    assert not {"compiler", "frontend", "models", "ops"} & rooms_of("azsim.sim.timing")


# ------------------------------------------------------------------------------------- memory


def test_memory_holds_what_was_used_last_and_the_last_of_each_stage():
    cache = StageCache(memory_bytes=2500)
    for key in "abcd":
        cache.value("codes", key, lambda: np.zeros(1000, np.uint8))
    cache.value("model", "m", lambda: np.zeros(9000, np.uint8))
    for key in "dcba":
        cache.value("codes", key, lambda: np.zeros(1000, np.uint8))
    cache.value("model", "m", lambda: np.zeros(9000, np.uint8))

    assert cache.counts["codes", "made"] == 7  # only the last one was still there
    assert cache.counts["model", "memory"] == 1


def test_bytes_of_a_value_count_each_array_once():
    array = np.zeros(100, np.int32)
    value = {"a": array, "b": [array, array[:10], b"12345"], "c": MappingProxyType({1: array})}
    assert num_bytes(value) == 405


# --------------------------------------------------------------------------------------- disk


@dataclass(frozen=True)
class Value:
    array: np.ndarray
    text: bytes
    small: MappingProxyType[str, int]


def value_of_bytes(count: int, seed: int = 0) -> Value:
    rng = np.random.default_rng(seed)
    array = rng.integers(0, 256, count).astype(np.uint8)
    return Value(array, rng.bytes(count), MappingProxyType({"a": seed}))


def test_bounds_are_found_where_they_are_asked_for(workload_file: Path):
    here, cache = point(workload_file), StageCache()
    without, found = evaluate(here, cache), evaluate(here, cache, bounded=True)
    whole_run = azsim.run(here.workload, here.hardware)

    assert {key: without.summary[key] for key in BOUND_KEYS} == dict.fromkeys(BOUND_KEYS)
    assert {**without.summary, **{key: found.summary[key] for key in BOUND_KEYS}} == found.summary
    assert found.summary["bound_cycles"] == whole_run.bounds.bound_cycles > 0
    assert found.summary["bound_by"] == whole_run.bounds.bound_by
    unbounded = azsim.run(here.workload, here.hardware, bounded=False)
    with pytest.raises(ValueError, match="tiny: the run's bounds were not asked for"):
        _ = unbounded.bounds


def test_a_result_comes_back_from_disk_and_can_be_written_to(tmp_path: Path):
    value = value_of_bytes(100_000)
    Shelf(tmp_path).save("program", "k", value)
    found = Shelf(tmp_path).load("program", "k")
    assert found is not None
    found.array[:] = 0
    again = Shelf(tmp_path).load("program", "k")

    assert again is not None
    assert Shelf(tmp_path).load("program", "other") is None
    assert type(again.array) is np.ndarray
    np.testing.assert_array_equal(again.array, value.array)
    assert (again.text, again.small) == (value.text, value.small)


def test_equal_arrays_lie_on_disk_once(tmp_path: Path):
    shelf = Shelf(tmp_path)
    value = value_of_bytes(1 << 20)
    for key in "abcd":
        shelf.save("program", key, value)

    size = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert size < 2.1 * (1 << 20)


@pytest.mark.parametrize("damage", ["cut", "gone", "nonsense", "empty"])
def test_a_result_that_cannot_be_read_is_made_again(damage: str, tmp_path: Path):
    shelf = Shelf(tmp_path)
    shelf.save("program", "k", value_of_bytes(100_000))
    data = max((tmp_path / "data").rglob("*"), key=lambda path: path.is_file())
    entry = tmp_path / "program" / "k"
    if damage == "cut":
        data.write_bytes(data.read_bytes()[:1000])
    elif damage == "gone":
        data.unlink()
    else:
        entry.write_bytes(b"\x80nonsense" if damage == "nonsense" else b"")

    assert shelf.load("program", "k") is None
    shelf.save("program", "k", value_of_bytes(100_000))
    cache = StageCache(shelf=shelf)
    cache.value("program", "k", lambda: pytest.fail("made though it is there"))


def test_files_stay_below_the_limit_and_those_used_last_stay(tmp_path: Path):
    shelf = Shelf(tmp_path, most_bytes=1 << 20)
    for seed in range(12):
        shelf.save("program", str(seed), value_of_bytes(1 << 17, seed))

    size = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert size <= 1 << 20
    assert shelf.load("program", "11") is not None
    assert shelf.load("program", "0") is None


def test_a_folder_that_cannot_be_written_keeps_nothing_and_disturbs_nobody(tmp_path: Path):
    (tmp_path / "file").write_text("")
    cache = StageCache(shelf=Shelf(tmp_path / "file" / "stages"))
    cache.shares = True

    assert cache.value("program", "k", lambda: 3) == 3
    assert cache.counts["program", "made"] == 1


@pytest.mark.slow
def test_two_processes_that_need_one_result_make_it_once(tmp_path: Path):
    text = (
        "import sys, time; from pathlib import Path;"
        "from azsim.stages.reuse import StageCache; from azsim.stages.shelf import Shelf;"
        "cache = StageCache(shelf=Shelf(Path(sys.argv[1]))); cache.shares = True;"
        "cache.value('program', 'k', lambda: time.sleep(1) or 'result');"
        "print(*[where for _, where in cache.counts])"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", text, str(tmp_path)], stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    assert sorted(process.communicate()[0].split() for process in running) == [[b"disk"], [b"made"]]


def test_runs_of_another_process_are_found_on_disk(workload_file: Path, tmp_path: Path):
    first, second = (StageCache(shelf=Shelf(tmp_path / "stages")) for _ in range(2))
    here = point(workload_file)
    one = evaluate(here, first, share=True)
    other = evaluate(point(workload_file, mac__window=4), second)
    again = evaluate(here, StageCache(shelf=Shelf(tmp_path / "stages")))

    assert {where for counts in one.reused.values() for where in counts} == {"made"}
    assert made(other.reused) == {"run"}
    assert other.summary == whole(point(workload_file, mac__window=4))
    assert again.reused == {"run": {"disk": 1}}
    assert again.summary == one.summary


# ------------------------------------------------------------------------------------- keys


def test_content_keys_tell_values_apart():
    values = [
        None, 0, 0.0, False, "", b"", (), {}, {"a": 1}, {"a": 1.0}, (1, 2), ((1,), 2), ("1", 2),
        {"a": {"b": 1}}, {"a": 1, "b": 2}, {"b": 2, "a": 1}, np.zeros(2), np.zeros(2, np.float32),
        np.zeros((1, 2)), np.ones(2), "a", b"a", ["a", "b"], ["ab"], -0.0,
    ]  # fmt: skip
    keys = [content_key(value) for value in values]
    assert len(set(keys)) == len(keys)
    assert content_key([1, 2]) == content_key((1, 2))
    with pytest.raises(TypeError, match="no key for object"):
        content_key(object())


@pytest.mark.slow
def test_keys_of_a_workload_are_those_of_another_process(workload_file: Path):
    chip = load_hardware("az1")
    text = (
        "import sys; from azsim.frontend.workload import load_workload;"
        "from azsim.hardware import load_hardware; from azsim.stages.keys import StageKeys;"
        "chip = load_hardware('az1'); print(StageKeys(load_workload(sys.argv[1]), chip, chip).run)"
    )
    found = subprocess.run(
        [sys.executable, "-c", text, str(workload_file)], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert found == StageKeys(load_workload(workload_file), chip, chip).run
