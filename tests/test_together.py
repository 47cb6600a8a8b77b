"""Several frames in a round of the frame loop."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

import azsim
from azsim.compiler import ways
from azsim.compiler.schedule import FRAME_LOOP, Item, Repeat, Schedule, Storage, walk
from azsim.compiler.together import together
from azsim.evaluate import evaluate_stream
from azsim.hardware import load_hardware
from azsim.ops.lowering import Access
from compiled import AZ1, chip, execute_graph, frames_for, graph_of, node
from graphs import compress
from plain_schedule import run_schedule


def stream(frames: int) -> Schedule:
    """Frames that come from DRAM, are multiplied by what the one before left, and go there.

    What a frame computes stays in ``x``; its weight comes anew before each one but the first.
    """
    whole = {name: Access(name, 0, 1, 4, 4, 1) for name in ("x", "y", "state", "w")}
    given = Access("input", 0, 1, 4, 4, 1, {FRAME_LOOP: 4})
    result = Access("output", 0, 1, 4, 4, 1, {FRAME_LOOP: 4})
    weight = Access("weight", 0, 1, 4, 4, 1)
    again = Item("load", "w", {"dst": whole["w"], "src": weight})
    body = (
        Item("load", "in", {"dst": whole["x"], "src": given, "paced": 1}),
        Item("vector_unary", "y", {"dst": whole["y"], "src": whole["x"], "function": "neg"}),
        Item(
            "vector_binary",
            "h",
            {
                "dst": whole["state"],
                "src": whole["state"],
                "src2": whole["y"],
                "function": "add",
            },
        ),
        Item(
            "vector_binary",
            "o",
            {"dst": whole["y"], "src": whole["state"], "src2": whole["w"], "function": "mul"},
        ),
        replace(again, but_last=FRAME_LOOP if frames > 1 else None),
        Item("store", "out", {"dst": result, "src": whole["y"]}),
    )
    body = tuple(item for item in body if frames > 1 or item.layer != "w")
    first = Item("load", "", {"dst": whole["state"], "src": Access("before", 0, 1, 4, 4, 1)})
    after = Item("store", "", {"dst": Access("after", 0, 1, 4, 4, 1), "src": whole["state"]})
    storages = {name: Storage(name, "activation", "i32", 16, name == "state") for name in whole}
    storages["w"] = replace(storages["w"], persistent=True)
    outside = {"input": 16 * frames, "output": 16 * frames, "weight": 16, "before": 16, "after": 16}
    storages |= {name: Storage(name, "dram", "i32", size) for name, size in outside.items()}
    return Schedule((again, first), body, (after,), frames, storages)


def same_numbers(found: Schedule, given: Schedule, seed: int) -> tuple[list[Item], list[Item]]:
    """Items of both in the order of execution, when both have left the same numbers in DRAM."""
    rng = np.random.default_rng(seed)
    dram = {
        name: rng.integers(1, 100, storage.size_bytes // 4)
        for name, storage in given.storages.items()
        if storage.space == "dram"
    }
    ours, wanted = ({name: array.copy() for name, array in dram.items()} for _ in range(2))
    run, plain = run_schedule(found, ours), run_schedule(given, wanted)
    for name, array in wanted.items():
        assert ours[name].tolist() == array.tolist()
    return run, plain


@pytest.mark.parametrize("per_round", [2, 3, 4])
@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 7, 8, 11])
def test_frames_together_do_the_same(frames: int, per_round: int) -> None:
    given = stream(frames)
    found = together(given, AZ1, per_round)
    run, plain = same_numbers(found, given, frames)
    layers, plainly = (Counter(item.layer for item in items) for items in (run, plain))
    shares = frames >= 2 * per_round
    rounds, left = divmod(frames, per_round)
    assert layers.pop("w", 0) == (rounds + left if shares else plainly["w"])
    del plainly["w"]
    assert layers == plainly
    seen = [item.frame for item in run if item.layer == "y"]
    paced = sum(item.operands.get("paced") == 1 for item in run)
    if frames < per_round:
        assert found == given
        return
    assert (found.rounds, found.per_round, paced) == (rounds, per_round, rounds)
    assert seen == [*range(per_round)] * rounds + [*range(per_round, per_round + left)]


@pytest.mark.parametrize("may_share", [False, True])
@pytest.mark.parametrize("per_round", [1, 2, 3, 4])
@pytest.mark.parametrize("frames", [1, 2, 3, 5, 8, 9, 11, 12, 14])
def test_a_last_round_behind_the_loop_does_the_same(
    frames: int, per_round: int, may_share: bool
) -> None:
    given = stream(frames)
    found = together(given, AZ1, per_round, may_share=may_share, last_apart=True)
    rounds, left = divmod(frames, per_round)
    if rounds < 3:
        assert found == given
        return
    run, plain = same_numbers(found, given, frames)
    layers, plainly = (Counter(item.layer for item in items) for items in (run, plain))
    shares = may_share and per_round > 1
    assert found.shares_loads == shares
    assert layers.pop("w") == (rounds + left if shares else plainly["w"])
    del plainly["w"]
    assert layers == plainly
    assert found.rounds == rounds - 1
    assert sum(item.operands.get("paced") == 1 for item in run) == rounds
    seen = [item.frame for item in run if item.layer == "y"]
    behind = range(per_round, 2 * per_round + left)
    assert seen == [*range(per_round)] * (rounds - 1) + [*behind]


@pytest.mark.parametrize("per_round", [2, 4])
def test_each_frame_has_buffers_of_its_own_but_for_what_outlives_a_frame(per_round: int) -> None:
    found = together(stream(2 * per_round + 1), AZ1, per_round)

    def touched(items: tuple[Item | Repeat, ...]) -> set[str]:
        return {name for item in walk(items) for name in item.buffers}

    own = {f"{name}~{frame}" for name in "xy" for frame in range(1, per_round)}
    around = {"state", "w", "input", "output"}
    assert touched(found.body) == {"x", "y", "weight"} | own | around
    assert touched(found.finish) == {f"x~{per_round}", f"y~{per_round}", "after"} | around
    assert found.storages["x~1"] == replace(found.storages["x"], name="x~1")


def test_a_copy_has_a_name_that_nothing_else_has() -> None:
    given = stream(4)
    taken = {**given.storages, "x~1": Storage("x~1", "dram", "i32", 16)}
    found = together(replace(given, storages=taken), AZ1, 2)
    assert found.copies == {("x", 1): "x~1~", ("y", 1): "y~1"}
    assert found.storages["x~1"] == taken["x~1"]


def test_a_tensor_may_have_the_name_of_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "_WORTH_LATENCY", math.inf)
    nodes = [
        node("Tanh", ["z"], "a"),
        node("Sigmoid", ["x"], "a~1"),
        node("Tanh", ["x"], "c"),
        node("Add", ["a~1", "c"], "d"),
        node("Mul", ["d", "a"], "y"),
    ]
    graph = graph_of({"x": (1, 64), "z": (1, 1)}, {}, nodes, ["y"])
    frames = frames_for(graph, 6)
    ran = execute_graph(compress(graph), AZ1, frames)
    wanted, _ = evaluate_stream(graph, frames, {}, {}, compress(graph))
    assert ran.compiled.schedule.per_round == 4
    assert ran.execution.outputs["y"].tobytes() == wanted["y"].tobytes()


def test_frames_stay_apart_where_something_repeats_or_weights_come_again() -> None:
    given = stream(6)
    loop = Repeat(7, 65, given.body[1:2])
    looped = replace(given, body=(*given.body, loop))
    assert together(looped, AZ1, 2) == looped
    long = replace(given, body=given.body * 101)
    assert together(long, AZ1, 2) == long
    half = replace(given, body=given.body * 51)
    assert together(half, AZ1, 2) != half == together(half, AZ1, 4)
    held = replace(given.storages["w"], space="weight", persistent=False)
    again = replace(given, storages={**given.storages, "w": held})
    assert together(again, AZ1, 2) == again
    assert together(given, chip(activation_sram__bytes=64), 2) == given


@pytest.mark.parametrize("period_s", [None, 1e-4])
def test_frames_that_arrive_are_computed_one_by_one(
    period_s: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ways, "_WORTH_LATENCY", math.inf)
    graph = graph_of({"x": (1, 64)}, {}, [node("Tanh", ["x"], "t"), node("Neg", ["t"], "y")], "y")
    ran = execute_graph(compress(graph), AZ1, frames_for(graph, 8), period_s=period_s)
    per_round = 4 if period_s is None else 1
    assert ran.compiled.program.stream.together == ran.compiled.schedule.per_round == per_round


@pytest.mark.slow
@pytest.mark.parametrize("room_bytes", [3_328, 3_584, 131_072])
@pytest.mark.parametrize("frames", [2, 5, 16])
def test_frames_share_a_round_only_where_that_is_shorter(
    frames: int, room_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    workload = azsim.load_workload("attention_window_small", [f"input.random.frames={frames}"])
    hardware = load_hardware("az1", [f"activation_sram.bytes={room_bytes}"])
    chosen = azsim.run(workload, hardware).statistics
    monkeypatch.setattr(ways, "_PER_ROUND", ())
    apart = azsim.run(workload, hardware).statistics
    if room_bytes == 131_072:
        assert (chosen.chunks_together, apart.chunks_together) == (4 if frames == 5 else 2, 1)
        assert chosen.cycles < 0.98 * apart.cycles
    else:
        assert chosen.cycles <= apart.cycles


@pytest.mark.slow
def test_a_program_does_not_depend_on_the_process() -> None:
    code = (
        "import azsim, hashlib\n"
        "from azsim.pipeline import compile_workload\n"
        "from azsim.hardware import load_hardware\n"
        "from azsim.isa import assembly\n"
        "workload = azsim.load_workload('attention_window_small', ['input.random.frames=9'])\n"
        "program = compile_workload(workload, load_hardware('az1')).program\n"
        "assert program.stream.together == 2\n"
        "print(hashlib.sha256(assembly.format(program).encode()).hexdigest())\n"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(texts) == 1


@pytest.mark.slow
def test_progress_counts_frames() -> None:
    workload = azsim.load_workload("attention_window_small", ["input.random.frames=7"])
    seen: list[tuple[str, int, int]] = []
    azsim.run(workload, load_hardware("az1"), progress=lambda *done: seen.append(done))
    assert ("execute", 7, 7) in seen
    assert max(done for stage, done, _ in seen if stage == "execute") <= 7
